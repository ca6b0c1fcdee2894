"""All evidence of a run as one typed document: what ``RUN/evidence.json`` holds."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from nodogram.errors import Reason, TrainingError
from nodogram.settings import Settings
from training.evidence.acquisition import AcquisitionTable
from training.evidence.agreement import AgreementReport
from training.evidence.comparisons import ComparisonFamily
from training.evidence.confounders import ConfounderReport
from training.evidence.explanation import Explanation
from training.evidence.honesty_result import HonestyEvidence
from training.evidence.incremental import IncrementalValue
from training.evidence.leakage import LeakageReport
from training.evidence.sample_result import SampleEvidence
from training.evidence.sample_size import SampleSizePlan
from training.evidence.subgroups import SubgroupTable
from training.results import FeatureSet, Sample

EVIDENCE_FILE = "evidence.json"


class ModelEvidence(Settings):
    """One of the models of Table 5 on one sample."""

    feature_set: FeatureSet
    sample: Sample
    evidence: SampleEvidence


class RunEvidence(Settings):
    """What a statistician, a reviewer and a journal ask of a run, beyond ``run.json``.

    Attributes
    ----------
    models
        The models of Table 5 on every sample they have probabilities for.
    agreement
        Of two outlines of the same patients, or of outlines perturbed at random; ``None`` without radiomics or by recipe.
    """

    models: tuple[ModelEvidence, ...]
    acquisition: AcquisitionTable
    confounders: ConfounderReport
    comparisons: tuple[ComparisonFamily, ...]
    incremental: tuple[IncrementalValue, ...]
    subgroups: tuple[SubgroupTable, ...]
    leakage: LeakageReport
    honesty: HonestyEvidence
    agreement: AgreementReport | None
    sample_size: SampleSizePlan
    explanation: Explanation

    def of(self, feature_set: FeatureSet, sample: Sample) -> SampleEvidence | None:
        """Return what was measured of one model on one sample."""
        found = (m.evidence for m in self.models if (m.feature_set, m.sample) == (feature_set, sample))
        return next(found, None)


def load_evidence(run: Path) -> RunEvidence:
    """Read ``evidence.json`` of a finished run.

    Raises
    ------
    TrainingError
        ``RUN_MISMATCH`` if the run has none, or one of another version.
    """
    path = run / EVIDENCE_FILE
    try:
        return RunEvidence.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TrainingError(
            Reason.RUN_MISMATCH, f"{run} has no {EVIDENCE_FILE}: the run is not finished; continue it with --resume"
        ) from error
    except ValidationError as error:
        raise TrainingError(
            Reason.RUN_MISMATCH, f"{path} was written by another version ({error.error_count()} entries differ); train again"
        ) from error
