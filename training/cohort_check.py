"""Quality control of a cohort before anything is trained: every image and outline is read as training would read it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from nodogram.case import Case, QualityNote
from nodogram.errors import NodogramError, Reason
from nodogram.imaging.load import load_case
from training.cohort import Cohort, CohortProblem, Patient, Severity
from training.cohort_advice import advice_for

# Fewer events per candidate coefficient make estimates unstable (Peduzzi et al. 1996, doi:10.1016/S0895-4356(96)00236-3).
EVENTS_PER_COEFFICIENT = 10


@dataclass(frozen=True)
class Finding:
    """One line of the check.

    Attributes
    ----------
    patient_id
        Whose; ``None`` for the cohort as a whole.
    code
        Reason or note code.
    message, advice
        What was found, and what to do.
    severity
        Patients with an error cannot be trained on.
    """

    patient_id: str | None
    code: str
    message: str
    advice: str
    severity: Severity


@dataclass(frozen=True)
class Acquisition:
    """How an image was made; lengths in mm, ``None`` where the source does not say."""

    manufacturer: str | None
    kvp: float | None
    convolution_kernel: str | None
    slice_thickness_mm: float | None
    slice_spacing_mm: float
    pixel_spacing_mm: float


@dataclass(frozen=True)
class AcquisitionCount:
    """How many images were made in one way."""

    acquisition: Acquisition
    image_count: int


@dataclass(frozen=True)
class SplitCount:
    """Patients and events of one split, as listed in the table."""

    split: str
    patient_count: int
    event_count: int


@dataclass(frozen=True)
class VolumeRange:
    """Volumes of the outlined regions, cm³."""

    minimum: float
    median: float
    maximum: float


@dataclass(frozen=True)
class CohortReport:
    """What the check found.

    Attributes
    ----------
    title, outcome_name, outcome_provenance
        From ``cohort.toml``; ``None`` if it could not be read.
    splits
        ``all`` where the table has no split.
    readable_count
        Patients whose image and outline could be read.
    """

    title: str | None
    outcome_name: str | None
    outcome_provenance: str | None
    splits: tuple[SplitCount, ...]
    readable_count: int
    acquisitions: tuple[AcquisitionCount, ...]
    region_volume_cm3: VolumeRange | None
    findings: tuple[Finding, ...]

    @property
    def has_errors(self) -> bool:
        """Tell whether anything stands in the way of using every patient."""
        return any(f.severity == "error" for f in self.findings)

    def count(self, severity: Severity) -> int:
        """Return the number of findings of a severity."""
        return sum(f.severity == severity for f in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return plain dictionaries, lists, texts and numbers."""
        return {**asdict(self), "error_count": self.count("error"), "warning_count": self.count("warning")}


@dataclass(frozen=True)
class _Inspected:
    """What is kept of a patient once the voxels are gone."""

    patient_id: str
    findings: tuple[Finding, ...]
    acquisition: Acquisition | None = None
    series_instance_uid: str | None = None
    volume_cm3: float | None = None


def check_cohort(
    cohort: Cohort | None,
    problems: Sequence[CohortProblem],
    *,
    jobs: int = 1,
    progress: Callable[[str], None] | None = None,
) -> CohortReport:
    """Read every patient's image and outlines.

    Parameters
    ----------
    cohort, problems
        As returned by :func:`training.cohort.read_cohort`.
    jobs
        Processes.
    progress
        Called with the identifier of each patient that was read.
    """
    findings = [Finding(p.patient_id, p.reason.value, p.message, p.advice, p.severity) for p in problems]
    if cohort is None:
        return CohortReport(None, None, None, (), 0, (), None, tuple(findings))
    inspected = _inspect_all(cohort.patients, jobs, progress)
    findings += [*_sample_size(cohort), *_shared_series(inspected)]
    findings += [finding for one in inspected for finding in one.findings]
    readable = [one for one in inspected if one.acquisition is not None]
    counts = Counter(one.acquisition for one in readable if one.acquisition is not None)
    volumes = [one.volume_cm3 for one in readable if one.volume_cm3 is not None]
    return CohortReport(
        title=cohort.definition.title,
        outcome_name=cohort.definition.outcome.name,
        outcome_provenance=cohort.definition.outcome.provenance,
        splits=_split_counts(cohort.patients),
        readable_count=len(readable),
        acquisitions=tuple(AcquisitionCount(acquisition, n) for acquisition, n in counts.most_common()),
        region_volume_cm3=VolumeRange(min(volumes), float(np.median(volumes)), max(volumes)) if volumes else None,
        findings=tuple(findings),
    )


def _inspect_all(patients: Sequence[Patient], jobs: int, progress: Callable[[str], None] | None) -> tuple[_Inspected, ...]:
    runner = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
    found: dict[str, _Inspected] = {}
    for one in runner(delayed(_inspect)(patient) for patient in patients):
        found[one.patient_id] = one
        if progress is not None:
            progress(one.patient_id)
    return tuple(found[p.patient_id] for p in patients)


def _inspect(patient: Patient) -> _Inspected:
    try:
        case = load_case(patient.patient_id, patient.image, patient.roi, roi_name=patient.roi_name)
    except NodogramError as error:
        return _Inspected(patient.patient_id, (_failure(patient, error, ""),))
    findings = [_remark(patient, note) for note in case.notes]
    for column, outline in (("roi_reader_b", patient.roi_reader_b), ("roi_repeat", patient.roi_repeat)):
        findings += _second_outline(patient, column, outline, case)
    return _Inspected(
        patient_id=patient.patient_id,
        findings=tuple(findings),
        acquisition=_acquisition(case),
        series_instance_uid=case.source.series_instance_uid,
        volume_cm3=case.mask.volume_cm3,
    )


def _second_outline(patient: Patient, column: str, outline: Path | None, first: Case) -> list[Finding]:
    if outline is None:
        return []
    try:
        case = load_case(patient.patient_id, patient.image, outline, roi_name=patient.roi_name)
    except NodogramError as error:
        return [_failure(patient, error, f"{column}: ")]
    return [_remark(patient, note, f"{column}: ") for note in case.notes if note not in first.notes]


def _failure(patient: Patient, error: NodogramError, where: str) -> Finding:
    return Finding(patient.patient_id, error.reason.value, where + error.message, advice_for(error.reason), "error")


def _remark(patient: Patient, note: QualityNote, where: str = "") -> Finding:
    return Finding(patient.patient_id, note.code.value, where + note.message, advice_for(note.code), "warning")


def _acquisition(case: Case) -> Acquisition:
    source, spacing = case.source, case.volume.geometry.spacing_mm
    thickness = source.slice_thickness_mm
    # Rounded, or the last digits of a header would split one protocol into many.
    return Acquisition(
        manufacturer=source.manufacturer,
        kvp=source.kvp,
        convolution_kernel=source.convolution_kernel,
        slice_thickness_mm=None if thickness is None else round(thickness, 3),
        slice_spacing_mm=round(spacing[0], 3),
        pixel_spacing_mm=round(spacing[1], 3),
    )


def _split_counts(patients: Sequence[Patient]) -> tuple[SplitCount, ...]:
    outcomes: dict[str, list[int]] = defaultdict(list)
    for patient in patients:
        outcomes[patient.split or "all"].append(patient.outcome)
    return tuple(SplitCount(split, len(values), sum(values)) for split, values in sorted(outcomes.items()))


def _sample_size(cohort: Cohort) -> list[Finding]:
    """Compare events with coefficients: every candidate's, and one for the DLR score."""
    development = [p.outcome for p in cohort.patients if p.split != "test"]
    rarer = min(sum(development), len(development) - sum(development))
    coefficients = 1 + sum(len(p.column_names) for p in cohort.definition.candidates)
    if rarer >= EVENTS_PER_COEFFICIENT * coefficients:
        return []
    message = (
        f"{rarer} development patients in the rarer outcome class for {coefficients} candidate coefficients of the nomogram; "
        f"{EVENTS_PER_COEFFICIENT * coefficients} are wanted"
    )
    return [Finding(None, Reason.COHORT_TOO_SMALL.value, message, advice_for(Reason.COHORT_TOO_SMALL), "warning")]


def _shared_series(inspected: Sequence[_Inspected]) -> list[Finding]:
    """Find one DICOM series copied into the folders of two patients."""
    owners: dict[str, str] = {}
    findings = []
    for one in inspected:
        uid = one.series_instance_uid
        if uid is None:
            continue
        if uid in owners:
            message = f"has the same CT series as {owners[uid]}; a patient is one row"
            advice = advice_for(Reason.PATIENT_DUPLICATE)
            findings.append(Finding(one.patient_id, Reason.PATIENT_DUPLICATE.value, message, advice, "error"))
        owners.setdefault(uid, one.patient_id)
    return findings
