"""What was measured on the predicted patients, gathered into the document of an external validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from nodogram import __version__
from nodogram.bundle import ModelBundle
from nodogram.errors import CohortError, Reason
from nodogram.stats.discrimination import compare_aucs_paired
from training.evidence.measured import measured as measure_of
from training.evidence.sample import ONE_OUTCOME, SINGLE_PATIENT, sample_evidence
from training.evidence.sample_result import Measure, SampleEvidence, SampleSettings
from training.external.case_mix import case_mix
from training.external.cohort import ExternalCohort
from training.external.disclosure import MINIMUM_PATIENTS, coarse_settings, coarsened
from training.external.document import (
    AucDifference,
    EvaluatedBundle,
    EvaluatedCohort,
    ExternalEvaluation,
    ScoreEvaluation,
)
from training.external.prediction import Predicted, Refused
from training.external.recalibration import RecalibrationEvidence, UpdateForm, recalibration_evidence
from training.external.statements import make_statements
from training.external.subgroup_result import ExternalSubgroups
from training.external.subgroups import external_subgroups
from training.results import FlowStep, ModelPerformance

REPLICATES = SampleSettings().replicates
_PACKAGES = ("pyradiomics", "SimpleITK", "numpy", "scipy", "PyWavelets")

Vector = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Findings:
    """What an evaluation ends with.

    Attributes
    ----------
    own
        How the bundle did in its own run; may be empty.
    predicted, refused
        In the order of the cohort.
    recalibrate
        The update asked for.
    replicates
        Bootstrap resamples behind intervals.
    """

    bundle: ModelBundle
    own: tuple[ModelPerformance, ...]
    external: ExternalCohort
    predicted: Sequence[Predicted]
    refused: Sequence[Refused]
    recalibrate: UpdateForm
    replicates: int = REPLICATES

    @property
    def missing_count(self) -> int:
        """Predicted patients without a nomogram probability."""
        return sum(p.prediction.probability is None for p in self.predicted)


@dataclass(frozen=True, eq=False)
class _Measured:
    """The scores, the nomogram first where there is one, and what only the nomogram has."""

    scores: tuple[ScoreEvaluation, ...]
    difference: AucDifference | None
    recalibration: RecalibrationEvidence | None


def make_document(found: Findings) -> ExternalEvaluation:
    """Measure what was predicted.

    Raises
    ------
    CohortError
        ``COHORT_TOO_SMALL`` with fewer patients than can be summarized without showing them.
    """
    if len(found.predicted) < MINIMUM_PATIENTS:
        raise CohortError(
            Reason.COHORT_TOO_SMALL,
            f"{len(found.predicted)} patients could be predicted; with fewer than {MINIMUM_PATIENTS} an aggregate shows the "
            "patients",
        )
    measured = _measure(found)
    described = EvaluatedBundle.of(found.bundle.manifest, found.own)
    events = sum(p.patient.outcome for p in found.predicted)
    mix = case_mix(found.bundle, [p.prediction for p in found.predicted], events / len(found.predicted))
    first = measured.scores[0]
    return ExternalEvaluation(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        nodogram_version=__version__,
        software=software_versions(),
        bundle=described,
        cohort=_cohort(found.external),
        warnings=_warnings(found, measured),
        statements=make_statements(first.score, first.evidence, described, mix, measured.recalibration),
        flow=_flow(found),
        scores=measured.scores,
        nomogram_minus_dlr=measured.difference,
        recalibration=measured.recalibration,
        case_mix=mix,
        subgroups=_subgroups(found, measured),
    )


def software_versions() -> tuple[tuple[str, str], ...]:
    """Return the versions that shape predictions and numbers."""
    versions = {name: metadata.version(name) for name in _PACKAGES}
    return tuple(sorted({**versions, "onnxruntime": onnxruntime.__version__, "nodogram": __version__}.items()))


def _measure(found: Findings) -> _Measured:
    threshold = found.bundle.manifest.thresholds[0].value
    outcome = np.array([p.patient.outcome for p in found.predicted], dtype=np.int64)
    score = np.array([p.prediction.dlr_probability for p in found.predicted])
    alone = ScoreEvaluation(score="dlr", without=0, evidence=_evidence(outcome, score, threshold, found.replicates))
    known = np.array([p.prediction.probability is not None for p in found.predicted])
    if known.sum() < MINIMUM_PATIENTS:
        return _Measured((alone,), None, None)
    nomogram = np.array([p.prediction.probability for p in found.predicted if p.prediction.probability is not None])
    outcome, score = outcome[known], score[known]
    evidence = _evidence(outcome, nomogram, threshold, found.replicates, other=score)
    return _Measured(
        (ScoreEvaluation(score="nomogram", without=found.missing_count, evidence=evidence), alone),
        _auc_difference(outcome, nomogram, score),
        recalibration_evidence(outcome, nomogram, threshold, written=found.recalibrate),
    )


def _evidence(
    outcome: Labels, probability: Vector, threshold: float, replicates: int, *, other: Vector | None = None
) -> SampleEvidence:
    settings = coarse_settings(outcome.size, replicates)
    return coarsened(sample_evidence(outcome, probability, threshold, settings=settings, other=other))


def _auc_difference(outcome: Labels, nomogram: Vector, score: Vector) -> AucDifference:
    count, events = int(outcome.size), int(outcome.sum())
    if not 0 < events < count:
        return AucDifference(difference=Measure(value=None, reason=ONE_OUTCOME), patient_count=count)
    found = compare_aucs_paired(outcome, nomogram, score)
    single = min(events, count - events) == 1
    low, high = (None, None) if single else (found.low, found.high)
    return AucDifference(difference=measure_of(found.difference, low, high, SINGLE_PATIENT), patient_count=count)


def _subgroups(found: Findings, measured: _Measured) -> ExternalSubgroups | None:
    if measured.recalibration is None:
        return None
    threshold = found.bundle.manifest.thresholds[0].value
    return external_subgroups(found.predicted, found.external.cohort.definition, threshold, found.replicates)


def _cohort(external: ExternalCohort) -> EvaluatedCohort:
    definition = external.cohort.definition
    return EvaluatedCohort(
        title=definition.title,
        digest=external.cohort.digest,
        outcome_name=definition.outcome.name,
        positive_label=definition.outcome.positive_label,
        outcome_provenance=definition.outcome.provenance,
        centre_count=len({p.centre for p in external.cohort.patients if p.centre is not None}),
    )


def _warnings(found: Findings, measured: _Measured) -> tuple[str, ...]:
    notes = list(found.external.warnings)
    if len({p.patient.outcome for p in found.predicted}) == 1:
        notes.append("All patients have the same outcome: discrimination cannot be judged.")
    if measured.recalibration is None:
        notes.append(
            f"Patients with every clinical finding: {len(found.predicted) - found.missing_count}. With fewer than "
            f"{MINIMUM_PATIENTS} the nomogram is not evaluated, only the DLR score."
        )
    elif found.missing_count:
        notes.append(
            f"Patients without a clinical finding: {found.missing_count}. They have a DLR score and no nomogram probability, "
            "and are in the figures of the score only."
        )
    if measured.recalibration is not None and measured.recalibration.written != found.recalibrate:
        notes.append(f"The update asked for ({found.recalibrate}) cannot be estimated: {measured.recalibration.reason}.")
    excluded = len(found.refused) + found.external.refused.total()
    if excluded:
        notes.append(f"Patients who could not be predicted: {excluded}; the flow says why.")
    notes.append(
        "A bundle knows no patient, so it cannot be told whether patients it was developed on are among these: the evaluation "
        "is external only if the cohort is."
    )
    return tuple(notes)


def _flow(found: Findings) -> tuple[FlowStep, ...]:
    external, predicted, missing = found.external, len(found.predicted), found.missing_count
    readable = len(external.cohort.patients)
    reasons = Counter(r.reason.value for r in found.refused)
    lacking = ((Reason.CLINICAL_PREDICTOR_MISSING.value, missing),) if missing else ()
    return (
        FlowStep(label="Listed in the cohort table", count=readable + external.refused.total()),
        FlowStep(label="Readable rows", count=readable, excluded=tuple(sorted(external.refused.items()))),
        FlowStep(label="Predicted: DLR score", count=predicted, excluded=tuple(sorted(reasons.items()))),
        FlowStep(label="Every clinical finding known: nomogram", count=predicted - missing, excluded=lacking),
    )
