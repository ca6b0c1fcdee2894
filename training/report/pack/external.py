"""A validation on patients from elsewhere: the little of its document that the pack reports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nodogram.errors import Reason, SettingsError, TrainingError
from training.evidence.sample_result import Measure
from training.external.document import ExternalEvaluation
from training.external.recalibration import UpdateEvidence
from training.external.signature import read_evaluation, verify


@dataclass(frozen=True)
class ExternalValidation:
    """The bundle on another cohort, without refitting.

    Attributes
    ----------
    score
        ``nomogram``, or ``score alone`` where clinical findings were missing.
    updates
        What recalibration would do there.
    """

    title: str
    score: str
    patient_count: int
    event_count: int
    auc: Measure | None
    slope: Measure
    in_the_large: Measure
    updates: tuple[UpdateEvidence, ...]


def read_external(path: Path, bundle_digest: str) -> ExternalValidation:
    """Read ``evaluation.json`` as ``nodogram evaluate`` left it.

    Parameters
    ----------
    bundle_digest
        Of the bundle of the run: a validation of another one says nothing about this.

    Raises
    ------
    SettingsError
        ``FILE_NOT_FOUND`` or ``UNREADABLE_FILE``, or ``SETTINGS_INVALID`` if the document was changed.
    TrainingError
        ``RUN_MISMATCH`` if it is of another bundle.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SettingsError(Reason.FILE_NOT_FOUND, f"there is no {path}; nodogram evaluate writes it") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(Reason.UNREADABLE_FILE, f"{path} cannot be read: {error}") from error
    found = verify(text, None)
    if not found.is_trusted:
        raise SettingsError(Reason.SETTINGS_INVALID, f"{path.name}: {found.text}")
    document = read_evaluation(text)
    if document.bundle.digest != bundle_digest:
        raise TrainingError(
            Reason.RUN_MISMATCH,
            f"{path.name} validates the bundle {document.bundle.digest[:12]}, this run made {bundle_digest[:12]}",
        )
    return external_validation(document)


def external_validation(document: ExternalEvaluation) -> ExternalValidation:
    """Return what the pack reports of a validation: of the nomogram, or of the score where no nomogram could be read."""
    nomogram = document.evidence_of("nomogram")
    evidence = document.scores[0].evidence if nomogram is None else nomogram
    discrimination = evidence.discrimination
    return ExternalValidation(
        title=document.cohort.title,
        score="score alone" if nomogram is None else "nomogram",
        patient_count=evidence.patient_count,
        event_count=evidence.event_count,
        auc=None if discrimination is None else discrimination.auc_logit,
        slope=evidence.calibration.slope,
        in_the_large=evidence.calibration.in_the_large,
        updates=() if document.recalibration is None else document.recalibration.updates,
    )
