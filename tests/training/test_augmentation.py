from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nodogram.imaging.crop import center_crop
from nodogram.settings import NetworkSettings
from training.augmentation import ViewPlan, central_views, draw_views, random_views, resident_images
from training.recipe import FinetuneSettings

RESIZE, INPUT = 40, 33
NETWORK = NetworkSettings(
    enabled=True,
    crop="fixed_mm",
    crop_size_mm=80,
    crop_margin_mm=0,
    resize_px=RESIZE,
    input_px=INPUT,
    window_hu=(-125, 225),
)
CROPS = np.random.default_rng(0).random((6, 3, RESIZE, RESIZE), dtype=np.float32)
CPU = torch.device("cpu")


def settings(**changes: object) -> FinetuneSettings:
    given: dict[str, object] = {
        "initial_weights": ("none",),
        "frozen_through": "layer3",
        "batch_norm_statistics": "frozen",
        "optimizer": "adamw",
        "learning_rate": 1e-4,
        "weight_decay": 1e-4,
        "batch_size": 4,
        "maximum_epochs": 1,
        "early_stopping_patience": 5,
        "validation_fraction": 0.2,
        "horizontal_flip": True,
        "vertical_flip": True,
        "random_crop": True,
        "intensity_jitter": 0.1,
    }
    return FinetuneSettings.model_validate(given | changes)


def draw(rows: NDArray[np.int64], seed: int = 0, **changes: object) -> ViewPlan:
    return draw_views(rows, NETWORK, settings(**changes), torch.Generator().manual_seed(seed))


def test_views_are_the_planned_slices_flips_and_intensities() -> None:
    plan = draw(np.arange(6))
    views = random_views(resident_images(CROPS, CPU), plan, INPUT).numpy()
    for i, view in enumerate(views):
        top, left = int(plan.top[i]), int(plan.left[i])
        expected = CROPS[int(plan.rows[i]), :, top : top + INPUT, left : left + INPUT]
        expected = expected[:, ::-1] if plan.vertical[i] else expected
        expected = expected[:, :, ::-1] if plan.horizontal[i] else expected
        expected = np.clip(expected * float(plan.gain[i]) + float(plan.offset[i]), 0, 1)
        np.testing.assert_allclose(view, expected, atol=1e-6)
    assert views.shape == (6, 3, INPUT, INPUT)


def test_views_come_channels_last_in_memory() -> None:
    images = resident_images(CROPS, CPU)
    for views in (random_views(images, draw(np.arange(6)), INPUT), central_views(images, torch.arange(6), INPUT)):
        assert views.is_contiguous(memory_format=torch.channels_last)


def test_every_image_is_seen_once_and_only_the_rows_given() -> None:
    rows = np.array([1, 4, 5])
    plan = draw(rows)
    assert sorted(plan.rows.tolist()) == rows.tolist()
    assert len(plan) == 3
    assert plan.part(1, 3).rows.tolist() == plan.rows.tolist()[1:]


def test_draws_stay_in_range_and_reach_both_ends() -> None:
    plan = draw(np.arange(2000))
    for corner in (plan.top, plan.left):
        assert (int(corner.min()), int(corner.max())) == (0, RESIZE - INPUT)
    for flip in (plan.vertical, plan.horizontal):
        assert 0.45 < float(flip.float().mean()) < 0.55
    assert 0.9 <= float(plan.gain.min()) < 0.91 < 1.09 < float(plan.gain.max()) <= 1.1
    assert -0.1 <= float(plan.offset.min()) < -0.09 < 0.09 < float(plan.offset.max()) <= 0.1


def test_draws_follow_the_seed_and_nothing_else() -> None:
    torch.manual_seed(1)
    first = draw(np.arange(50), seed=3)
    torch.manual_seed(2)
    again, other = draw(np.arange(50), seed=3), draw(np.arange(50), seed=4)
    assert torch.equal(first.rows, again.rows)
    assert torch.equal(first.gain, again.gain)
    assert not torch.equal(first.rows, other.rows)


def test_one_change_switched_off_leaves_the_others_as_they_were() -> None:
    full, plain = draw(np.arange(50)), draw(np.arange(50), vertical_flip=False, random_crop=False)
    assert torch.equal(full.rows, plain.rows)
    assert torch.equal(full.horizontal, plain.horizontal)
    assert torch.equal(full.gain, plain.gain)
    assert not plain.vertical.any()


def test_everything_switched_off_is_the_view_of_inference() -> None:
    plan = draw(np.arange(6), horizontal_flip=False, vertical_flip=False, random_crop=False, intensity_jitter=0.0)
    images = resident_images(CROPS, CPU)
    views = random_views(images, plan, INPUT)
    assert torch.equal(views, central_views(images, plan.rows, INPUT))
    np.testing.assert_array_equal(views.numpy(), center_crop(CROPS, INPUT)[plan.rows.numpy()])


def test_bytes_mean_the_same_as_their_fractions() -> None:
    as_bytes = np.random.default_rng(1).integers(0, 256, CROPS.shape, dtype=np.uint8)
    as_floats = (as_bytes / 255).astype(np.float32)
    plan = draw(np.arange(6))
    from_bytes = random_views(resident_images(as_bytes, CPU), plan, INPUT)
    from_floats = random_views(resident_images(as_floats, CPU), plan, INPUT)
    torch.testing.assert_close(from_bytes, from_floats, atol=1e-6, rtol=0)


def test_the_crops_are_copied_never_shared() -> None:
    crops = CROPS.copy()
    crops.setflags(write=False)
    images = resident_images(crops, CPU)
    images.zero_()
    np.testing.assert_array_equal(crops, CROPS)


@pytest.mark.parametrize("wrong", [CROPS[:, :1], CROPS[..., 1:], CROPS.astype(np.float64), CROPS[0]])
def test_crops_of_another_shape_or_type_are_refused(wrong: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="required"):
        resident_images(wrong, CPU)
