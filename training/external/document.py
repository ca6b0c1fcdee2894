"""What an external validation found, as one typed document: what ``evaluation.json`` holds and can be sent back.

Aggregates only: no identifier, no path, no value of a single patient.
"""

from __future__ import annotations

from typing import Literal

from nodogram.bundle import BundleManifest, Outcome, Threshold
from nodogram.settings import Settings
from training.evidence.sample_result import Measure, SampleEvidence
from training.external.case_mix import CaseMix
from training.external.recalibration import RecalibrationEvidence
from training.external.subgroup_result import ExternalSubgroups
from training.results import FlowStep, ModelPerformance

FORMAT_VERSION: Literal[1] = 1

EvaluatedScore = Literal["nomogram", "dlr"]


class EvaluatedBundle(Settings):
    """The model that was used.

    Attributes
    ----------
    own
        How nomogram and score did in their own development, out of fold, and on their own test patients; empty if no run of
        this bundle was at hand, because a bundle itself does not say.
    """

    name: str
    digest: str
    created: str
    nodogram_version: str
    intended_use: str
    outcome: Outcome
    threshold: Threshold
    recipe_name: str
    development_count: int
    development_event_count: int
    test_count: int
    notes: tuple[str, ...]
    own: tuple[ModelPerformance, ...]

    @classmethod
    def of(cls, manifest: BundleManifest, own: tuple[ModelPerformance, ...]) -> EvaluatedBundle:
        """Return what a manifest says."""
        training = manifest.training
        return cls(
            name=manifest.name,
            digest=manifest.digest,
            created=manifest.created,
            nodogram_version=manifest.nodogram_version,
            intended_use=manifest.intended_use,
            outcome=manifest.outcome,
            threshold=manifest.thresholds[0],
            recipe_name=training.recipe_name,
            development_count=training.development_count,
            development_event_count=training.development_event_count,
            test_count=training.test_count,
            notes=training.notes,
            own=own,
        )


class EvaluatedCohort(Settings):
    """On whom it was used.

    Attributes
    ----------
    digest
        SHA-256 of definition and table of the cohort; what its images hold does not enter.
    centre_count
        Distinct centers named in the table.
    """

    title: str
    digest: str
    outcome_name: str
    positive_label: str
    outcome_provenance: str
    centre_count: int


class ScoreEvaluation(Settings):
    """One score on these patients, at the bundle's frozen threshold.

    Attributes
    ----------
    without
        Patients who were predicted and have no such probability: the nomogram has none where a clinical finding is missing.
    """

    score: EvaluatedScore
    without: int
    evidence: SampleEvidence


class AucDifference(Settings):
    """AUC of the nomogram minus that of the score alone, in the same patients, by DeLong; not adjusted for anything."""

    difference: Measure
    patient_count: int


class ExternalEvaluation(Settings):
    """The document of one external validation.

    Attributes
    ----------
    warnings
        Sentences every reader must see first.
    statements
        What was found, as sentences; facts, without advice.
    scores
        The score of everybody who could be predicted, and the nomogram of those whose findings are known.
    recalibration
        Of the nomogram; ``None`` where there is no nomogram.
    subgroups
        Of the nomogram; ``None`` where all would be too small to be told.
    """

    format_version: Literal[1] = FORMAT_VERSION
    created: str
    nodogram_version: str
    software: tuple[tuple[str, str], ...]
    bundle: EvaluatedBundle
    cohort: EvaluatedCohort
    warnings: tuple[str, ...]
    statements: tuple[str, ...]
    flow: tuple[FlowStep, ...]
    scores: tuple[ScoreEvaluation, ...]
    nomogram_minus_dlr: AucDifference | None
    recalibration: RecalibrationEvidence | None
    case_mix: CaseMix
    subgroups: ExternalSubgroups | None

    def evidence_of(self, score: EvaluatedScore) -> SampleEvidence | None:
        """Return what was measured of one score."""
        return next((found.evidence for found in self.scores if found.score == score), None)
