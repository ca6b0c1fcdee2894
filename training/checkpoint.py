"""Fine-tuning checkpoints: a killed process leaves the old file or the new one, and neither damage nor mix-up goes unseen.

File layout: a magic line, the SHA-256 of the payload (32 bytes), the payload. The payload is what ``torch.save`` makes
of tensors, numbers, texts and their containers; it is read with ``weights_only=True``, which executes nothing.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
from dataclasses import astuple, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nodogram.errors import Reason, SurroundingsError, TrainingError
from nodogram.settings import NetworkSettings, canonical_json
from training.recipe import FinetuneSettings
from training.weights import InitialWeights

_MAGIC = b"nodogram fine-tuning checkpoint 1\n"
_DIGEST_LENGTH = hashlib.sha256().digest_size
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch.

    Attributes
    ----------
    epoch
        From 1.
    train_loss
        Mean binary cross-entropy over the training images, in their random views, nats.
    validation_loss
        The same over the validation images, in their central views, or ``None`` without validation.
    seconds
        Training and validation, without the checkpoint, s.
    """

    epoch: int
    train_loss: float
    validation_loss: float | None
    seconds: float


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """State after a finished epoch.

    Random draws need no state here: every epoch draws from a generator of its own, made of the seed and its number.

    Attributes
    ----------
    run_digest
        SHA-256 (hex) of settings, seed, initial weights, patients, outcomes and crops.
    history
        One report per finished epoch.
    model, optimizer
        State dictionaries.
    best
        State dictionary of the best epoch, or ``None`` if that is the last one or no epoch is preferred.
    """

    run_digest: str
    history: tuple[EpochReport, ...]
    model: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    best: dict[str, torch.Tensor] | None


def run_digest(
    crops: NDArray[np.float32] | NDArray[np.uint8],
    outcome: NDArray[np.int64],
    case_ids: tuple[str, ...],
    *,
    network: NetworkSettings,
    settings: FinetuneSettings,
    initial: InitialWeights,
    seed: int,
) -> str:
    """Return the SHA-256 (hex) of all that decides the weights of a fine-tuning; arguments as for ``finetune``."""
    document = {
        "network": network.model_dump(mode="json"),
        # Which sources were named does not matter, only the one found.
        "settings": settings.model_dump(mode="json", exclude={"initial_weights"}),
        "initial": [initial.kind, initial.sha256],
        "seed": seed,
        "case_ids": list(case_ids),
        "outcome": [int(value) for value in outcome],
        "crops": [str(crops.dtype), list(crops.shape)],
    }
    digest = hashlib.sha256(canonical_json(document))
    digest.update(np.ascontiguousarray(crops).data)
    return digest.hexdigest()


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically: a file beside, flushed to disk, then renamed.

    Raises
    ------
    SurroundingsError
        ``OUTPUT_NOT_WRITABLE`` if the folder cannot take it.
    """
    buffer = io.BytesIO()
    torch.save({**vars(checkpoint), "history": [astuple(report) for report in checkpoint.history]}, buffer)
    payload = buffer.getbuffer()
    # A fixed name: whatever a killed process left of it is overwritten by the next.
    temporary = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(_MAGIC + hashlib.sha256(payload).digest())
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise SurroundingsError(Reason.OUTPUT_NOT_WRITABLE, f"checkpoint {path} cannot be written: {error.strerror}") from error


def read_checkpoint(path: Path, digest: str) -> Checkpoint:
    """Read a checkpoint of this very run; its tensors are on the CPU.

    Raises
    ------
    TrainingError
        ``UNREADABLE_FILE`` if the file is damaged, ``RUN_MISMATCH`` if it belongs to another run.
    """
    content = path.read_bytes()
    header = len(_MAGIC) + _DIGEST_LENGTH
    payload = memoryview(content)[header:]
    if not content.startswith(_MAGIC) or hashlib.sha256(payload).digest() != content[len(_MAGIC) : header]:
        raise TrainingError(Reason.UNREADABLE_FILE, f"checkpoint {path} is damaged or not a checkpoint")
    try:
        fields = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        fields["history"] = tuple(EpochReport(*row) for row in fields["history"])
        checkpoint = Checkpoint(**fields)
    except (UnpicklingError, RuntimeError, TypeError, KeyError) as error:
        raise TrainingError(Reason.UNREADABLE_FILE, f"checkpoint {path} does not hold what a checkpoint holds") from error
    if checkpoint.run_digest != digest:
        raise TrainingError(
            Reason.RUN_MISMATCH,
            f"checkpoint {path} belongs to other settings, data or initial weights; remove it or start without resuming",
        )
    return checkpoint


def resumable_checkpoint(path: Path, digest: str) -> Checkpoint | None:
    """Return the checkpoint to go on from; ``None`` if there is none or, after a word in the log, if it is damaged.

    Raises
    ------
    TrainingError
        ``RUN_MISMATCH`` if it belongs to another run, whose work must not be overwritten unasked.
    """
    if not path.is_file():
        return None
    try:
        return read_checkpoint(path, digest)
    except TrainingError as error:
        if error.reason is not Reason.UNREADABLE_FILE:
            raise
        _log.warning("%s; fine-tuning starts from its first epoch", error)
        return None


def _flush_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
