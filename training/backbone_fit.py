"""Fine-tuning of the backbone on the patients of one scope: one loop, repeatable to the bit, resumable at every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from nodogram.errors import Reason, TrainingError
from nodogram.settings import NetworkSettings
from training.augmentation import central_views, draw_views, random_views, resident_images
from training.backbone import (
    FEATURE_COUNT,
    Backbone,
    batch_bounds,
    build_backbone,
    estimate_batch_norm,
    freeze_through,
    mixed_precision,
    reproducible_on,
    resolve_device,
)
from training.checkpoint import Checkpoint, EpochReport, resumable_checkpoint, run_digest, write_checkpoint
from training.guard import FitScope
from training.patient_folds import distinct_patients
from training.recipe import FinetuneSettings
from training.weights import InitialWeights

__all__ = ["EpochReport", "FinetunedBackbone", "embed", "finetune", "inner_split"]

# Images per call where no gradient is kept; larger ones are no faster and need more memory.
_INFERENCE_BATCH = 32


@dataclass(frozen=True, eq=False)
class FinetunedBackbone:
    """A fine-tuned network and how it came about.

    Attributes
    ----------
    module
        In evaluation mode, on the device it was trained on, weights of the best epoch (the last without validation).
    network
        The settings it was made for.
    initial
        Where it started.
    history
        One report per epoch.
    best_epoch
        Number of the epoch kept, 0 for a network that was not trained.
    seen
        Every patient whose image or outcome played a part, validation included.
    device
        Device used, such as ``cpu`` or ``cuda``.
    steps_per_epoch
        Optimizer steps (D21); 0 if not trained.
    """

    module: Backbone
    network: NetworkSettings
    initial: InitialWeights
    history: tuple[EpochReport, ...]
    best_epoch: int
    seen: tuple[str, ...]
    device: str
    steps_per_epoch: int


@dataclass(frozen=True, eq=False)
class _Task:
    """Everything an epoch needs and does not change; images and outcome lie on the device."""

    images: torch.Tensor
    outcome: torch.Tensor
    train_rows: NDArray[np.int64]
    validation_rows: NDArray[np.int64]
    network: NetworkSettings
    settings: FinetuneSettings
    seed: int

    @property
    def device(self) -> torch.device:
        return self.images.device

    @property
    def bounds(self) -> list[tuple[int, int]]:
        smallest = 2 if self.settings.batch_norm_statistics == "batch" else 1
        return batch_bounds(len(self.train_rows), self.settings.batch_size, smallest=smallest)

    @property
    def is_validated(self) -> bool:
        return len(self.validation_rows) > 0


def finetune(
    crops: NDArray[np.float32] | NDArray[np.uint8],
    outcome: NDArray[np.int64],
    case_ids: Sequence[str],
    *,
    network: NetworkSettings,
    settings: FinetuneSettings,
    initial: InitialWeights,
    seed: int,
    scope: FitScope,
    checkpoint: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    progress: Callable[[EpochReport], None] | None = None,
) -> FinetunedBackbone:
    """Fine-tune ResNet50 on one outcome.

    Equal arguments give equal weights, bit for bit, on the same device with the same number of threads, resumed or not
    and whatever the global generators hold. Random initial weights get their batch-normalization statistics from the
    training crops.

    Parameters
    ----------
    crops
        (n, 3, resize_px, resize_px), float32 in [0, 1] or uint8 in 0..255; one per patient.
    outcome
        (n,), 0 or 1.
    case_ids
        (n,) distinct patients, all within ``scope``.
    settings
        ``validation_fraction`` of each class of these patients decides about early stopping (D9); with
        ``maximum_epochs`` 0 the network stays as it started.
    checkpoint
        File written after every epoch, or ``None``.
    resume
        Go on from ``checkpoint`` if it is there; a damaged one is reported in the log and not used.
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    progress
        Called after every epoch, when its checkpoint is on disk; not for epochs read back from one.

    Raises
    ------
    TrainingError
        ``HELD_OUT_PATIENT_IN_FIT``, ``MODEL_FIT_FAILED`` if one class is missing or the loss is not finite, or
        ``RUN_MISMATCH`` if the checkpoint belongs to another run.
    """
    seen = scope.admit(tuple(case_ids), "the backbone")
    _check(crops, outcome, seen, network, settings)
    target = resolve_device(device)
    fraction = settings.validation_fraction if settings.maximum_epochs else 0.0
    train_rows, validation_rows = inner_split(outcome, fraction, seed, scope.patients(seen))
    with reproducible_on(target):
        task = _Task(
            images=resident_images(crops, target),
            outcome=torch.tensor(outcome, dtype=torch.float32, device=target),
            train_rows=train_rows,
            validation_rows=validation_rows,
            network=network,
            settings=settings,
            seed=seed,
        )
        module = build_backbone(initial, seed).to(target, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if initial.kind == "none":
            with mixed_precision(target):
                rows = torch.from_numpy(train_rows).to(target)
                estimate_batch_norm(module, task.images, rows, network.input_px, _INFERENCE_BATCH)
        freeze_through(module, settings)
        digest = run_digest(crops, outcome, seen, network=network, settings=settings, initial=initial, seed=seed)
        history = _train(module, task, digest, checkpoint, resume, progress)
    return FinetunedBackbone(
        module=module.eval().requires_grad_(False),
        network=network,
        initial=initial,
        history=tuple(history),
        best_epoch=_best_epoch(history),
        seen=seen,
        device=target.type,
        steps_per_epoch=len(task.bounds) if settings.maximum_epochs else 0,
    )


def embed(
    backbone: FinetunedBackbone, crops: NDArray[np.float32] | NDArray[np.uint8]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return features (n, 2048) and logit (n,) of the central views, computed in float32.

    Parameters
    ----------
    crops
        (n, 3, resize_px, resize_px), as for :func:`finetune`.
    """
    device = next(backbone.module.parameters()).device
    features = np.empty((len(crops), FEATURE_COUNT))
    logit = np.empty(len(crops))
    with reproducible_on(device), torch.inference_mode():
        for start, stop in batch_bounds(len(crops), _INFERENCE_BATCH):
            images = resident_images(crops[start:stop], device)
            rows = torch.arange(stop - start, device=device)
            part = backbone.module(central_views(images, rows, backbone.network.input_px))
            features[start:stop], logit[start:stop] = part[0].cpu().numpy(), part[1].cpu().numpy()
    return features, logit


def inner_split(
    outcome: NDArray[np.int64], fraction: float, seed: int, patients: Sequence[str] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return sorted training and validation rows: the fraction of each class, at least one and never a whole class.

    Both classes must be able to give one; otherwise all rows train. Rows of one of the ``patients`` (n,) stay together.
    """
    everyone = np.arange(len(outcome))
    first, owner = distinct_patients([str(row) for row in everyone] if patients is None else patients)
    classes = [first[outcome[first] == label] for label in (0, 1)]
    if fraction == 0 or min(len(rows) for rows in classes) < 2:
        return everyone, everyone[:0]
    generator = np.random.default_rng(np.random.SeedSequence((seed, 0)))
    held = [generator.permutation(rows)[: min(max(1, round(fraction * len(rows))), len(rows) - 1)] for rows in classes]
    validation = np.flatnonzero(np.isin(owner, owner[np.concatenate(held)]))
    return np.setdiff1d(everyone, validation), validation


def _train(
    module: Backbone,
    task: _Task,
    digest: str,
    checkpoint: Path | None,
    resume: bool,
    progress: Callable[[EpochReport], None] | None,
) -> list[EpochReport]:
    """Train to the end, leave the best weights in the module and return the history."""
    optimizer = _optimizer(module, task)
    history: list[EpochReport] = []
    best: dict[str, torch.Tensor] | None = None
    stored = resumable_checkpoint(checkpoint, digest) if checkpoint is not None and resume else None
    if stored is not None:
        module.load_state_dict(stored.model)
        optimizer.load_state_dict(stored.optimizer)
        history = list(stored.history)
        best = stored.best or _snapshot(module, task)
    while not _is_finished(history, task):
        history.append(_run_epoch(module, optimizer, task, len(history) + 1))
        is_best = _best_epoch(history) == len(history)
        if is_best:
            best = _snapshot(module, task)
        if checkpoint is not None:
            state = Checkpoint(
                digest,
                tuple(history),
                module.state_dict(),
                optimizer.state_dict(),
                None if is_best else best,
            )
            write_checkpoint(checkpoint, state)
        if progress is not None:
            progress(history[-1])
    if best is not None:
        module.load_state_dict(best)
    return history


def _run_epoch(module: Backbone, optimizer: torch.optim.Optimizer, task: _Task, epoch: int) -> EpochReport:
    start = time.perf_counter()
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence((task.seed, epoch)).generate_state(1)[0]))
    plan = draw_views(task.train_rows, task.network, task.settings, generator).to(task.device)
    total = torch.zeros((), device=task.device)
    for first, last in task.bounds:
        part = plan.part(first, last)
        views = random_views(task.images, part, task.network.input_px)
        total += _training_step(module, optimizer, views, task.outcome[part.rows]) * (last - first)
    train_loss = total.item() / len(plan)
    validation_loss = _validation_loss(module, task) if task.is_validated else None
    if not math.isfinite(train_loss) or not math.isfinite(validation_loss or 0.0):
        raise TrainingError(
            Reason.MODEL_FIT_FAILED,
            f"the fine-tuning loss is not finite in epoch {epoch}; try a learning_rate below {task.settings.learning_rate:g}",
        )
    return EpochReport(epoch, train_loss, validation_loss, time.perf_counter() - start)


def _training_step(
    module: Backbone, optimizer: torch.optim.Optimizer, views: torch.Tensor, outcome: torch.Tensor
) -> torch.Tensor:
    optimizer.zero_grad(set_to_none=True)
    with mixed_precision(views.device):
        features = module.features(views)
    # The head stays in float32: bfloat16 would round the logit to three digits before the loss.
    loss = binary_cross_entropy_with_logits(module.head(features).squeeze(1), outcome)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach()


@torch.no_grad()
def _validation_loss(module: Backbone, task: _Task) -> float:
    modes = {name: part.training for name, part in module.named_modules()}
    module.eval()
    rows = torch.from_numpy(task.validation_rows).to(task.device)
    total = torch.zeros((), device=task.device)
    for first, last in batch_bounds(len(rows), _INFERENCE_BATCH):
        with mixed_precision(task.device):
            features = module.features(central_views(task.images, rows[first:last], task.network.input_px))
        logit = module.head(features).squeeze(1)
        total += binary_cross_entropy_with_logits(logit, task.outcome[rows[first:last]], reduction="sum")
    for name, part in module.named_modules():
        part.training = modes[name]
    return total.item() / len(rows)


def _optimizer(module: Backbone, task: _Task) -> torch.optim.Optimizer:
    kind = torch.optim.AdamW if task.settings.optimizer == "adamw" else torch.optim.Adam
    parameters = [p for p in module.parameters() if p.requires_grad]
    return kind(parameters, lr=task.settings.learning_rate, weight_decay=task.settings.weight_decay, fused=True)


def _is_finished(history: Sequence[EpochReport], task: _Task) -> bool:
    if len(history) >= task.settings.maximum_epochs:
        return True
    return task.is_validated and len(history) - _best_epoch(history) >= task.settings.early_stopping_patience


def _best_epoch(history: Sequence[EpochReport]) -> int:
    """Return the number of the first epoch with the lowest validation loss, or of the last without validation."""
    losses = [report.validation_loss for report in history if report.validation_loss is not None]
    return int(np.argmin(losses)) + 1 if losses else len(history)


def _snapshot(module: Backbone, task: _Task) -> dict[str, torch.Tensor] | None:
    """Copy the weights, unless the last epoch is the one to keep anyhow."""
    return {name: tensor.clone() for name, tensor in module.state_dict().items()} if task.is_validated else None


def _check(
    crops: NDArray[np.float32] | NDArray[np.uint8],
    outcome: NDArray[np.int64],
    case_ids: tuple[str, ...],
    network: NetworkSettings,
    settings: FinetuneSettings,
) -> None:
    size = (network.resize_px, network.resize_px)
    if crops.shape != (len(case_ids), 3, *size) or outcome.shape != (len(case_ids),):
        raise ValueError(f"crops {crops.shape} and outcome {outcome.shape} for {len(case_ids)} cases of {size} pixels")
    if len(set(case_ids)) != len(case_ids):
        raise ValueError("a patient occurs twice; training and validation part would share it")
    present = set(np.unique(outcome).tolist())
    if not present <= {0, 1}:
        raise ValueError(f"outcome must be 0 or 1, found {sorted(present)}")
    if settings.maximum_epochs and len(present) < 2:
        raise TrainingError(Reason.MODEL_FIT_FAILED, "the backbone cannot be fine-tuned: every patient has the same outcome")
