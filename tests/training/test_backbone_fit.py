from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from nodogram.errors import Reason, SettingsError, SurroundingsError, TrainingError
from nodogram.settings import NetworkSettings
from training.backbone import IMAGENET_MEAN, IMAGENET_STD, batch_bounds, build_backbone, resolve_device
from training.backbone_fit import EpochReport, FinetunedBackbone, embed, finetune, inner_split
from training.guard import FitScope
from training.recipe import FinetuneSettings
from training.torchvision_import import torchvision_models
from training.weights import InitialWeights, resolve_initial_weights

RESIZE, INPUT, COUNT = 64, 48, 10
NETWORK = NetworkSettings(
    enabled=True,
    crop="fixed_mm",
    crop_size_mm=80,
    crop_margin_mm=0,
    resize_px=RESIZE,
    input_px=INPUT,
    window_hu=(-125, 225),
)
OUTCOME = np.array([0, 1] * (COUNT // 2))
CASE_IDS = tuple(f"case-{i}" for i in range(COUNT))
RANDOM = resolve_initial_weights(("none",))
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def crops() -> NDArray[np.float32]:
    """Noise, brighter in the middle where the outcome is 1."""
    pixels = np.random.default_rng(0).random((COUNT, 3, RESIZE, RESIZE), dtype=np.float32) * 0.5
    pixels[OUTCOME == 1, :, 16:48, 16:48] += 0.4
    return pixels


def settings(**changes: object) -> FinetuneSettings:
    given: dict[str, object] = {
        "initial_weights": ("none",),
        "frozen_through": "layer4",
        "batch_norm_statistics": "frozen",
        "optimizer": "adamw",
        "learning_rate": 1e-2,
        "weight_decay": 1e-4,
        "batch_size": 4,
        "maximum_epochs": 2,
        "early_stopping_patience": 5,
        "validation_fraction": 0.2,
        "horizontal_flip": True,
        "vertical_flip": False,
        "random_crop": True,
        "intensity_jitter": 0.05,
    }
    return FinetuneSettings.model_validate(given | changes)


def fit(
    *, chosen: FinetuneSettings | None = None, seed: int = 5, initial: InitialWeights = RANDOM, **changes: object
) -> FinetunedBackbone:
    arguments: dict[str, object] = {"device": "cpu", "scope": FitScope("fold 1", frozenset(CASE_IDS))}
    return finetune(
        crops(),
        OUTCOME,
        CASE_IDS,
        network=NETWORK,
        settings=chosen or settings(),
        initial=initial,
        seed=seed,
        **(arguments | changes),  # type: ignore[arg-type]
    )


def same_weights(a: FinetunedBackbone | nn.Module, b: FinetunedBackbone | nn.Module) -> bool:
    first, second = (x.module.state_dict() if isinstance(x, FinetunedBackbone) else x.state_dict() for x in (a, b))
    return first.keys() == second.keys() and all(torch.equal(first[name].cpu(), second[name].cpu()) for name in first)


def losses(backbone: FinetunedBackbone) -> list[tuple[float, float | None]]:
    return [(report.train_loss, report.validation_loss) for report in backbone.history]


def train_and_tell(checkpoint: str) -> None:
    """Fine-tune and write a line per epoch; run in a process that is to be killed."""

    def tell(report: EpochReport) -> None:
        sys.stdout.write(f"{report.epoch}\n")
        sys.stdout.flush()

    fit(chosen=LONG, checkpoint=Path(checkpoint), progress=tell)


LONG = settings(maximum_epochs=4)


@pytest.fixture(scope="module")
def undisturbed() -> FinetunedBackbone:
    return fit(chosen=LONG)


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, InitialWeights]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        resnet: nn.Module = torchvision_models().resnet50(weights=None)
    path = tmp_path_factory.mktemp("weights") / "resnet50.pth"
    torch.save(resnet.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return resnet, resolve_initial_weights((f"sha256:{digest}@{path}",))


def test_features_are_those_of_torchvision_on_normalized_pixels(resnet_file: tuple[nn.Module, InitialWeights]) -> None:
    resnet, initial = resnet_file
    resnet.eval().fc = nn.Identity()
    pixels = torch.rand(2, 3, INPUT, INPUT, generator=torch.Generator().manual_seed(0))
    normalized = (pixels - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)
    backbone = build_backbone(initial, seed=0)
    with torch.no_grad():
        features, logit = backbone(pixels)
        torch.testing.assert_close(features, resnet(normalized))
        torch.testing.assert_close(logit, features @ backbone.head.weight[0] + backbone.head.bias)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.zeros(1)}, path)
    initial = resolve_initial_weights((f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}@{path}",))
    with pytest.raises(SettingsError, match="ResNet50") as refusal:
        build_backbone(initial, seed=0)
    assert refusal.value.reason is Reason.SETTINGS_INVALID


def test_an_untrained_network_is_the_one_it_started_from(resnet_file: tuple[nn.Module, InitialWeights]) -> None:
    _, initial = resnet_file
    backbone = fit(chosen=settings(maximum_epochs=0), initial=initial)
    assert same_weights(backbone, build_backbone(initial, seed=5))
    assert (backbone.history, backbone.best_epoch, backbone.steps_per_epoch) == ((), 0, 0)
    assert backbone.initial is initial


def test_random_features_are_neither_vanishing_nor_exploding() -> None:
    features, _ = embed(fit(chosen=settings(maximum_epochs=0)), crops())
    assert features.shape == (COUNT, 2048)
    assert 0.05 < features.std(axis=0).mean() < 5
    assert features.max() < 50


def test_only_unfrozen_stages_change() -> None:
    start = fit(chosen=settings(maximum_epochs=0, frozen_through="layer3")).module.state_dict()
    end = fit(chosen=settings(maximum_epochs=1, validation_fraction=0.0, frozen_through="layer3")).module.state_dict()
    changed = {name.split(".")[0] for name in start if not torch.equal(start[name], end[name])}
    assert changed == {"layer4", "head"}
    statistics = [n for n in start if n.startswith("layer4") and "running" in n]
    assert statistics
    assert all(torch.equal(start[n], end[n]) for n in statistics)


def test_frozen_statistics_stay_and_batch_statistics_move_only_where_not_frozen() -> None:
    chosen = settings(maximum_epochs=1, validation_fraction=0.0, frozen_through="layer3", batch_norm_statistics="batch")
    start = fit(chosen=chosen.model_copy(update={"maximum_epochs": 0})).module.state_dict()
    end = fit(chosen=chosen).module.state_dict()
    moved = {name.split(".")[0] for name in start if "running" in name and not torch.equal(start[name], end[name])}
    assert moved == {"layer4"}


def test_a_separable_outcome_is_learned() -> None:
    backbone = fit(chosen=settings(maximum_epochs=12, validation_fraction=0.0, learning_rate=0.02))
    _, logit = embed(backbone, crops())
    assert logit[OUTCOME == 1].min() > logit[OUTCOME == 0].max()
    assert backbone.history[-1].train_loss < backbone.history[0].train_loss


def test_the_best_epoch_is_kept_and_patience_ends_the_run() -> None:
    wild = settings(maximum_epochs=8, learning_rate=0.5, early_stopping_patience=2)
    backbone = fit(chosen=wild)
    validation = [report.validation_loss for report in backbone.history]
    assert backbone.best_epoch == int(np.argmin(validation)) + 1  # type: ignore[arg-type]
    assert len(backbone.history) == min(backbone.best_epoch + 2, 8)
    assert len(backbone.history) > backbone.best_epoch, "the example must overshoot to show anything"
    shorter = fit(chosen=wild.model_copy(update={"maximum_epochs": backbone.best_epoch}))
    assert same_weights(backbone, shorter)


def test_the_result_says_who_was_seen_and_how() -> None:
    told: list[EpochReport] = []
    backbone = fit(progress=told.append)
    assert backbone.seen == CASE_IDS
    assert backbone.device == "cpu"
    assert backbone.steps_per_epoch == 2  # 8 of 10 train, 4 at a time
    assert tuple(told) == backbone.history
    assert [report.epoch for report in told] == [1, 2]
    assert not backbone.module.training
    assert not any(p.requires_grad for p in backbone.module.parameters())


def test_embedding_does_not_depend_on_the_company() -> None:
    backbone = fit(chosen=settings(maximum_epochs=0))
    together, alone = embed(backbone, crops()), embed(backbone, crops()[3:4])
    np.testing.assert_allclose(together[0][3], alone[0][0], atol=1e-5)
    np.testing.assert_allclose(together[1][3], alone[1][0], atol=1e-5)


def test_equal_arguments_give_equal_bits_whatever_the_global_generators_hold() -> None:
    chosen = settings(maximum_epochs=1, frozen_through="layer3")
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    state = torch.get_rng_state()
    first = fit(chosen=chosen)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    second = fit(chosen=chosen)
    assert same_weights(first, second)
    assert losses(first) == losses(second)
    assert not same_weights(first, fit(chosen=chosen, seed=6))


class _InterruptedError(Exception):
    pass


def test_a_run_interrupted_by_an_exception_ends_as_if_undisturbed(tmp_path: Path, undisturbed: FinetunedBackbone) -> None:
    def interrupt(report: EpochReport) -> None:
        if report.epoch == 2:
            raise _InterruptedError

    checkpoint = tmp_path / "fold" / "checkpoint.pt"
    with pytest.raises(_InterruptedError):
        fit(chosen=LONG, checkpoint=checkpoint, progress=interrupt)
    told: list[int] = []
    resumed = fit(chosen=LONG, checkpoint=checkpoint, resume=True, progress=lambda report: told.append(report.epoch))
    assert told == [3, 4]
    assert same_weights(resumed, undisturbed)
    assert losses(resumed) == losses(undisturbed)
    again = fit(chosen=LONG, checkpoint=checkpoint, resume=True, progress=lambda report: told.append(report.epoch))
    assert told == [3, 4]
    assert same_weights(again, undisturbed)


def test_a_run_killed_at_any_moment_ends_as_if_undisturbed(tmp_path: Path, undisturbed: FinetunedBackbone) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_backbone_fit as t; "
    program += f"t.train_and_tell({str(checkpoint)!r})"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    told: list[int] = []
    resumed = fit(chosen=LONG, checkpoint=checkpoint, resume=True, progress=lambda report: told.append(report.epoch))
    assert 1 not in told
    assert same_weights(resumed, undisturbed)
    assert losses(resumed) == losses(undisturbed)


def test_a_damaged_checkpoint_is_reported_and_not_used(
    tmp_path: Path, undisturbed: FinetunedBackbone, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    fit(chosen=LONG, checkpoint=checkpoint)
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    checkpoint.write_bytes(content)
    resumed = fit(chosen=LONG, checkpoint=checkpoint, resume=True)
    assert "is damaged" in caplog.text
    assert same_weights(resumed, undisturbed)


def test_a_checkpoint_of_another_run_is_refused_unless_not_resumed(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    fit(chosen=settings(maximum_epochs=1), checkpoint=checkpoint)
    for other in ({"seed": 6}, {"chosen": settings(maximum_epochs=1, learning_rate=0.02)}):
        with pytest.raises(TrainingError, match="other settings") as refusal:
            fit(**({"chosen": settings(maximum_epochs=1)} | other), checkpoint=checkpoint, resume=True)
        assert refusal.value.reason is Reason.RUN_MISMATCH
    fit(chosen=settings(maximum_epochs=1), seed=6, checkpoint=checkpoint)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_patient_outside_the_scope_is_refused() -> None:
    with pytest.raises(TrainingError, match="1 held-out") as refusal:
        fit(scope=FitScope("fold 1", frozenset(CASE_IDS[1:])))
    assert refusal.value.reason is Reason.HELD_OUT_PATIENT_IN_FIT


def test_one_outcome_alone_cannot_be_learned() -> None:
    ids = CASE_IDS[:2]
    with pytest.raises(TrainingError, match="same outcome") as refusal:
        finetune(
            crops()[:2],
            np.zeros(2, dtype=np.int64),
            ids,
            network=NETWORK,
            settings=settings(),
            initial=RANDOM,
            seed=0,
            scope=FitScope("fold", frozenset(ids)),
        )
    assert refusal.value.reason is Reason.MODEL_FIT_FAILED


def test_a_loss_that_is_not_finite_ends_the_run(resnet_file: tuple[nn.Module, InitialWeights]) -> None:
    pixels = crops()
    pixels[0] = np.nan
    with pytest.raises(TrainingError, match="not finite in epoch 1") as refusal:
        finetune(
            pixels,
            OUTCOME,
            CASE_IDS,
            network=NETWORK,
            settings=settings(validation_fraction=0.0),
            initial=resnet_file[1],
            seed=0,
            scope=FitScope("fold", frozenset(CASE_IDS)),
        )
    assert refusal.value.reason is Reason.MODEL_FIT_FAILED


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused_and_auto_does_without() -> None:
    assert resolve_device("auto").type == "cpu"
    with pytest.raises(SurroundingsError) as refusal:
        resolve_device("cuda")
    assert refusal.value.reason is Reason.DEPENDENCY_MISSING


@given(zeros=st.integers(2, 60), ones=st.integers(2, 60), fraction=st.floats(0.01, 0.49), seed=st.integers(0, 2**31 - 1))
def test_inner_split_keeps_both_classes_on_both_sides(zeros: int, ones: int, fraction: float, seed: int) -> None:
    outcome = np.random.default_rng(seed).permutation(np.array([0] * zeros + [1] * ones))
    train, validation = inner_split(outcome, fraction, seed)
    assert sorted([*train, *validation]) == list(range(len(outcome)))
    for label, count in ((0, zeros), (1, ones)):
        held = int((outcome[validation] == label).sum())
        assert 1 <= held < count
        assert abs(held - fraction * count) <= 1
    np.testing.assert_array_equal(validation, inner_split(outcome, fraction, seed)[1])


@pytest.mark.parametrize(("outcome", "fraction"), [([0, 1, 0, 1], 0.0), ([0, 0, 0, 1], 0.2)])
def test_inner_split_without_validation(outcome: list[int], fraction: float) -> None:
    train, validation = inner_split(np.array(outcome), fraction, seed=0)
    assert train.tolist() == [0, 1, 2, 3]
    assert validation.tolist() == []


def test_batches_cover_everything_and_none_is_below_the_smallest() -> None:
    assert batch_bounds(164, 64) == [(0, 64), (64, 128), (128, 164)]
    assert batch_bounds(9, 4) == [(0, 4), (4, 8), (8, 9)]
    assert batch_bounds(9, 4, smallest=2) == [(0, 4), (4, 9)]
    assert batch_bounds(1, 4, smallest=2) == [(0, 1)]
    assert batch_bounds(0, 4) == []


@pytest.mark.gpu
@NEEDS_CUDA
def test_cuda_repeats_to_the_bit_and_resumes(tmp_path: Path) -> None:
    chosen = settings(maximum_epochs=3, frozen_through="none", batch_norm_statistics="batch", learning_rate=1e-4)
    first = fit(chosen=chosen, device="cuda", checkpoint=tmp_path / "a.pt")
    assert first.device == "cuda"
    assert same_weights(first, fit(chosen=chosen, device="cuda"))

    def interrupt(report: EpochReport) -> None:
        raise _InterruptedError

    with pytest.raises(_InterruptedError):
        fit(chosen=chosen, device="cuda", checkpoint=tmp_path / "b.pt", progress=interrupt)
    assert same_weights(first, fit(chosen=chosen, device="cuda", checkpoint=tmp_path / "b.pt", resume=True))


@pytest.mark.gpu
@NEEDS_CUDA
def test_cuda_embeds_as_the_cpu_does(resnet_file: tuple[nn.Module, InitialWeights]) -> None:
    chosen = settings(maximum_epochs=0)
    on_cuda = embed(fit(chosen=chosen, initial=resnet_file[1], device="cuda"), crops())
    on_cpu = embed(fit(chosen=chosen, initial=resnet_file[1], device="cpu"), crops())
    scale = np.abs(on_cpu[0]).max()
    np.testing.assert_allclose(on_cuda[0], on_cpu[0], atol=1e-5 * scale)
