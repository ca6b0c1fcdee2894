"""Anatomy at known places, the tumor against its plan, and determinism."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from nodogram.synthesis.anatomy import paint_neck
from nodogram.synthesis.canvas import Canvas, Pose, blank_canvas, smooth_field
from nodogram.synthesis.latents import draw_latents
from nodogram.synthesis.phantom import SyntheticPatient, synthesize_patient
from nodogram.synthesis.tumor import MEAN_HU, paint_tumor, plan_tumor

SPACING = (2.5, 1.0, 1.0)
SHAPE = (30, 220, 220)
STRAIGHT = Pose(scale=1.0, shift_mm=(0.0, 0.0), rotation_rad=0.0, warp_mm=0.0)


def small_patient(seed: int, *, signal: float = 1.0, outcome: int | None = None, matrix: int = 96) -> SyntheticPatient:
    rng = np.random.default_rng([77, seed])
    return synthesize_patient(rng, signal=signal, matrix=matrix, slice_count=30, outcome=outcome)


@pytest.fixture(scope="module")
def straight_neck() -> tuple[Canvas, np.ndarray]:
    rng = np.random.default_rng(5)
    canvas = blank_canvas(rng, SHAPE, SPACING, STRAIGHT)
    return canvas, paint_neck(canvas, rng, draw_latents(rng, signal=0.0))


# Ranges of contrast-enhanced neck CT; positions (z, y, x) in mm of the canonical neck.
@pytest.mark.parametrize(
    ("organ", "position", "low", "high"),
    [
        ("air around", (0, -100, 0), -1001, -999),
        ("trachea", (-28, -20, 0), -1000, -950),
        ("pharynx", (36, -9, 0), -1000, -900),
        ("subcutaneous fat", (0, 57.5, 0), -130, -60),
        ("posterior triangle fat", (-20, 5, 50), -130, -60),
        ("semispinalis muscle", (0, 44, 21), 40, 85),
        ("sternocleidomastoid muscle", (0, -5, 42), 40, 85),
        ("spinal cord", (0, 28.5, 0), 20, 65),
        ("carotid artery", (0, -6.5, 25.5), 120, 230),
        ("jugular vein", (0, -3, -33), 120, 250),
        ("thyroid gland", (-24, -18, 17.5), 120, 190),
        ("hyoid bone", (28.5, -36, 0), 150, 700),
    ],
)
def test_attenuation_of_organs(
    straight_neck: tuple[Canvas, np.ndarray], organ: str, position: tuple[float, float, float], low: float, high: float
) -> None:
    canvas, _ = straight_neck
    index = tuple(
        int(np.abs(axis - value).argmin())
        for axis, value in zip((canvas.z, canvas.row_y, canvas.column_x), position, strict=True)
    )
    assert low <= canvas.hu[index] <= high, organ


def test_vertebrae_alternate_with_discs(straight_neck: tuple[Canvas, np.ndarray]) -> None:
    canvas, _ = straight_neck
    row, column = np.abs(canvas.row_y - 13.5).argmin(), np.abs(canvas.column_x).argmin()
    profile = canvas.hu[:, row, column]
    assert 70 < profile.min() < 125
    assert 150 < profile.max() < 230


def test_depth_is_measured_from_the_skin(straight_neck: tuple[Canvas, np.ndarray]) -> None:
    canvas, depth = straight_neck
    assert (canvas.hu[depth < -2] == -1000).all()
    assert canvas.hu[(depth > 0.7) & (depth < 1.0)].mean() > -150


@pytest.mark.parametrize("seed", range(8))
def test_tumor_is_what_was_planned(seed: int) -> None:
    rng = np.random.default_rng([3, seed])
    canvas = blank_canvas(rng, SHAPE, SPACING, STRAIGHT)
    latents = draw_latents(rng, signal=1.0)
    depth = paint_neck(canvas, rng, latents)
    plan = plan_tumor(latents)
    outline = paint_tumor(canvas, depth, rng, plan, SPACING)
    assert outline.sum() * np.prod(SPACING) / 1000 == pytest.approx(plan.volume_cm3, rel=0.05)
    inside = canvas.hu[outline]
    assert inside.mean() == pytest.approx(MEAN_HU, abs=4)
    assert inside.std() == pytest.approx(plan.texture_hu, rel=0.25, abs=3)
    _, component_count = ndimage.label(outline)
    assert component_count == 1
    centroid_x = canvas.column_x[np.nonzero(outline)[2]].mean()
    assert np.sign(centroid_x) == (1 if latents.side == "left" else -1)


def test_texture_is_seen_in_three_dimensions_and_on_the_largest_slice() -> None:
    planned, whole, slices = [], [], []
    for seed in range(24):
        patient = small_patient(seed, matrix=128)
        hu, outline = patient.volume.array, patient.mask.array
        largest = int(outline.sum(axis=(1, 2)).argmax())
        planned.append(patient.tumor.texture_hu)
        whole.append(hu[outline].std())
        slices.append(hu[largest][outline[largest]].std())
    assert np.corrcoef(planned, whole)[0, 1] > 0.9
    assert np.corrcoef(planned, slices)[0, 1] > 0.8


@pytest.mark.parametrize("seed", range(4))
def test_patient_is_consistent(seed: int) -> None:
    patient = small_patient(seed)
    hu, outline = patient.volume.array, patient.mask.array
    assert hu.dtype == np.float32
    assert (hu == np.rint(hu)).all()
    assert hu.min() >= -1024
    assert hu.max() <= 3071
    assert patient.outcome == patient.latents.outcome
    assert patient.clinical == patient.latents.clinical
    for axis in range(3):
        inside = np.flatnonzero(outline.any(axis=tuple(a for a in range(3) if a != axis)))
        assert inside[0] > 0
        assert inside[-1] < outline.shape[axis] - 1


def test_same_seed_same_voxels() -> None:
    first, second, other = small_patient(1), small_patient(1), small_patient(2)
    assert first.volume.array.tobytes() == second.volume.array.tobytes()
    assert first.mask.array.tobytes() == second.mask.array.tobytes()
    assert first.volume.array.tobytes() != other.volume.array.tobytes()


def test_without_signal_the_outcome_leaves_no_trace_in_the_image() -> None:
    low, high = (small_patient(4, signal=0.0, outcome=y) for y in (0, 1))
    assert low.outcome != high.outcome
    assert low.volume.array.tobytes() == high.volume.array.tobytes()
    assert low.mask.array.tobytes() == high.mask.array.tobytes()
    assert low.clinical == high.clinical


def test_field_of_view_does_not_depend_on_the_matrix() -> None:
    full = synthesize_patient(np.random.default_rng(0), signal=0.0, slice_count=20)
    assert full.volume.geometry.shape == (20, 512, 512)
    assert full.volume.geometry.spacing_mm == (3.75, 0.49, 0.49)
    assert small_patient(0).volume.geometry.spacing_mm == (2.5, 2.6133, 2.6133)


@pytest.mark.parametrize("grid", [{"matrix": 47}, {"slice_count": 19}])
def test_too_small_a_grid(grid: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 20 of 48"):
        synthesize_patient(np.random.default_rng(0), signal=1.0, **grid)


def test_smooth_field_has_zero_mean_and_unit_variance() -> None:
    draws = np.stack([smooth_field(np.random.default_rng(k), (4, 20, 20), (2.0, 1.0, 1.0), 6.0) for k in range(400)])
    # 400 draws of 1,600 correlated voxels; the standard error of each voxel's mean is 0.05.
    assert abs(draws.mean()) < 0.05
    assert np.abs(draws.std(axis=0) - 1).max() < 0.2
