"""Both models on the same locked patients: two evaluations, paired by identifier, refused where they do not belong together."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from numpy.typing import NDArray

from nodogram.errors import Reason, SettingsError, TrainingError
from nodogram.stats.discrimination import auc
from training.external.document import ExternalEvaluation
from training.external.signature import read_evaluation, verify

EVALUATION, PREDICTIONS = "evaluation.json", "predictions.csv"
# Both files print a float so that it is read back as the same one; the AUC is summed in another order at most.
SAME_AUC = 1e-9


@dataclass(frozen=True, eq=False)
class EvaluatedModel:
    """One folder of ``nodogram evaluate``.

    Attributes
    ----------
    document_digest, predictions_digest
        SHA-256 (hex) of the two files.
    outcome
        0 or 1 by patient, of everybody in the table.
    probability
        Of the nomogram, by patient; who has none is absent.
    """

    document: ExternalEvaluation
    document_digest: str
    predictions_digest: str
    outcome: dict[str, int]
    probability: dict[str, float]


@dataclass(frozen=True, eq=False)
class PairedPredictions:
    """Probabilities of champion and challenger for the same patients, sorted by identifier.

    Attributes
    ----------
    patient_id
        (n,); goes into no document.
    outcome
        int64 (n,), 0 or 1.
    champion, challenger
        float64 (n,), 0 to 1.
    excluded_count
        Patients of the cohort without a probability of either model.
    """

    patient_id: tuple[str, ...]
    outcome: NDArray[np.int64]
    champion: NDArray[np.float64]
    challenger: NDArray[np.float64]
    excluded_count: int

    def __post_init__(self) -> None:
        shapes = {self.outcome.shape, self.champion.shape, self.challenger.shape, (len(self.patient_id),)}
        if len(shapes) != 1 or not np.isin(self.outcome, (0, 1)).all():
            raise ValueError("one outcome of 0 or 1 and one probability of either model per patient are required")

    @property
    def patient_count(self) -> int:
        """Number of patients."""
        return len(self.patient_id)

    @property
    def event_count(self) -> int:
        """Number of patients with the outcome."""
        return int(self.outcome.sum())

    def where(self, chosen: NDArray[np.bool_]) -> PairedPredictions:
        """Return some of the patients, (n,) of truth values."""
        ids = tuple(p for p, taken in zip(self.patient_id, chosen, strict=True) if taken)
        return PairedPredictions(ids, self.outcome[chosen], self.champion[chosen], self.challenger[chosen], 0)


def read_evaluated(folder: Path, key: Ed25519PublicKey | None = None) -> EvaluatedModel:
    """Read an evaluation and its predictions, and check that they belong together.

    Parameters
    ----------
    key
        Whose signature the evaluation must carry; ``None`` asks for none.

    Raises
    ------
    SettingsError
        ``FILE_NOT_FOUND`` or ``UNREADABLE_FILE``; ``SETTINGS_INVALID`` if the evaluation was changed or is not signed as asked.
    TrainingError
        ``RUN_MISMATCH`` if the predictions are not those the evaluation was made of.
    """
    text, table = _bytes(folder / EVALUATION), _bytes(folder / PREDICTIONS)
    try:
        found = verify(text.decode(), key)
        document = read_evaluation(text.decode())
        outcome, probability = _read_table(table.decode())
    except (UnicodeDecodeError, KeyError, ValueError) as error:
        raise SettingsError(Reason.UNREADABLE_FILE, f"{folder.name}: not written by nodogram evaluate: {error}") from error
    if not found.is_trusted:
        raise SettingsError(Reason.SETTINGS_INVALID, f"{folder.name}/{EVALUATION}: {found.text}")
    model = EvaluatedModel(document, _sha256(text), _sha256(table), outcome, probability)
    _check_together(model, folder.name)
    return model


def pair(champion: EvaluatedModel, challenger: EvaluatedModel) -> PairedPredictions:
    """Pair two evaluations patient by patient.

    Raises
    ------
    TrainingError
        ``RUN_MISMATCH`` if bundle, cohort, outcome or patients say that they must not be compared.
    """
    first, second = champion.document, challenger.document
    if first.bundle.digest == second.bundle.digest:
        raise _mismatch(f"champion and challenger are the same bundle, {first.bundle.digest[:12]}…")
    if first.cohort.digest != second.cohort.digest:
        raise _mismatch(
            f"champion and challenger were evaluated on different cohorts, {first.cohort.digest[:12]}… and "
            f"{second.cohort.digest[:12]}…; evaluate both on the locked test set"
        )
    if first.bundle.outcome.name != second.bundle.outcome.name:
        raise _mismatch(f"the champion predicts {first.bundle.outcome.name}, the challenger {second.bundle.outcome.name}")
    if champion.outcome != challenger.outcome:
        different = set(champion.outcome.items()) ^ set(challenger.outcome.items())
        raise _mismatch(f"patients or their outcomes differ between the two tables ({len({p for p, _ in different})} patients)")
    only = (set(champion.probability) - set(challenger.probability), set(challenger.probability) - set(champion.probability))
    if any(only):
        raise _mismatch(
            f"{len(only[0])} patients were predicted by the champion alone and {len(only[1])} by the challenger alone; "
            "both must predict the same ones: the column refused of predictions.csv says why they did not"
        )
    ids = tuple(sorted(champion.probability))
    return PairedPredictions(
        ids,
        np.array([champion.outcome[p] for p in ids], dtype=np.int64),
        np.array([champion.probability[p] for p in ids], dtype=np.float64),
        np.array([challenger.probability[p] for p in ids], dtype=np.float64),
        len(champion.outcome) - len(ids),
    )


def _read_table(text: str) -> tuple[dict[str, int], dict[str, float]]:
    rows = list(csv.DictReader(io.StringIO(text)))
    outcome = {row["patient_id"]: int(row["outcome"]) for row in rows}
    probability = {row["patient_id"]: float(row["probability"]) for row in rows if row["probability"]}
    if len(outcome) != len(rows):
        raise ValueError("a patient occurs twice")
    if not set(outcome.values()) <= {0, 1} or not all(0 <= p <= 1 for p in probability.values()):
        raise ValueError("outcomes must be 0 or 1, and probabilities lie between 0 and 1")
    return outcome, probability


def _check_together(model: EvaluatedModel, name: str) -> None:
    """Hold the table against counts and AUC of the document, which does not hold the table's digest."""
    evidence = model.document.evidence_of("nomogram")
    counts = (len(model.probability), sum(model.outcome[p] for p in model.probability))
    if evidence is None or counts != (evidence.patient_count, evidence.event_count):
        said = (
            "no nomogram" if evidence is None else f"{evidence.patient_count} patients, {evidence.event_count} with the outcome"
        )
        raise _mismatch(
            f"{name}: {PREDICTIONS} holds {counts[0]} patients with a probability, {counts[1]} of them with the outcome, "
            f"{EVALUATION} {said}"
        )
    stated = None if evidence.discrimination is None else evidence.discrimination.auc_plain.value
    if stated is None or not 0 < counts[1] < counts[0]:
        return
    ids = sorted(model.probability)
    found = auc(np.array([model.outcome[p] for p in ids]), np.array([model.probability[p] for p in ids]))
    if abs(found - stated) > SAME_AUC:
        raise _mismatch(f"{name}: {PREDICTIONS} has an AUC of {found:.6f}, {EVALUATION} says {stated:.6f}")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(Reason.FILE_NOT_FOUND, f"{path} cannot be read: {error.strerror}") from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _mismatch(message: str) -> TrainingError:
    return TrainingError(Reason.RUN_MISMATCH, message)
