"""Everything the pack is written from: the documents of a run, and what is asked of them most often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nodogram.bundle import BundleManifest
from nodogram.nomogram import Nomogram
from nodogram.radiomics.manifest import feature_names, image_names
from training.evidence.document import RunEvidence
from training.evidence.sample_result import SampleEvidence
from training.model_names import OUT_OF_FOLD, TEST
from training.recipe import Recipe
from training.report.model_rows import chosen_row
from training.report.pack.external import ExternalValidation
from training.report.pack.session import Session
from training.results import FeatureSet, ModelPerformance, RunResults, Sample


@dataclass(frozen=True, eq=False)
class PackFacts:
    """A finished run, and where a reader finds what.

    Attributes
    ----------
    manifest
        Of the run's bundle.
    session
        Machine and software of the run; ``None`` if nobody recorded them.
    external
        A validation on patients from elsewhere; ``None`` if there was none.
    table_numbers
        Printed number of each table, such as ``Table 1``, by the stem of its file.
    figures
        Stems of the figures on disk.
    """

    results: RunResults
    evidence: RunEvidence
    nomogram: Nomogram
    manifest: BundleManifest
    session: Session | None = None
    external: ExternalValidation | None = None
    table_numbers: Mapping[str, str] | None = None
    figures: Sequence[str] = ()

    @property
    def recipe(self) -> Recipe:
        """How the model was fitted."""
        return self.results.recipe

    @property
    def development_count(self) -> int:
        """Patients learned from."""
        return self.manifest.training.development_count

    @property
    def development_events(self) -> int:
        """Patients with the outcome among those learned from."""
        return self.manifest.training.development_event_count

    @property
    def test_count(self) -> int:
        """Patients set aside for testing."""
        return self.manifest.training.test_count

    @property
    def test_events(self) -> int:
        """Patients with the outcome among those set aside."""
        row = self.chosen("nomogram", TEST)
        return 0 if row is None else row.event_count

    @property
    def fold_count(self) -> int:
        """Folds the development patients were really dealt to, which may be fewer than the recipe asks for."""
        return len(self.evidence.leakage.folds)

    @property
    def was_split_at_random(self) -> bool:
        """Whether the recipe drew the test patients; otherwise the cohort named them."""
        return not self.results.split_from_cohort

    @property
    def final_sample(self) -> Sample:
        """The sample that says most about new patients: test, or out-of-fold without test patients."""
        return TEST if self.test_count else OUT_OF_FOLD

    @property
    def radiomic_count(self) -> int:
        """Radiomic features computed for each patient."""
        return len(feature_names(self.recipe.radiomics))

    @property
    def image_count(self) -> int:
        """Images, original and filtered, radiomic features were computed on."""
        return len(image_names(self.recipe.radiomics)) if self.recipe.radiomics.enabled else 0

    @property
    def predictor_labels(self) -> tuple[str, ...]:
        """Clinical candidates, in the order of the cohort's description."""
        return tuple(dict.fromkeys(row.predictor for row in self.results.odds_ratios))

    @property
    def kept_labels(self) -> tuple[str, ...]:
        """Clinical predictors in the nomogram."""
        return tuple(p.label for p in self.manifest.predictors)

    @property
    def score_branches(self) -> tuple[str, ...]:
        """What the score is made of: one selection on fused features, or one for each source."""
        branches = tuple(dict.fromkeys(row.branch for row in self.results.selection_counts))
        return ("dlr",) if "dlr" in branches else branches

    @property
    def was_filtered_by_agreement(self) -> bool:
        """Whether radiomic features had to agree between two outlines before anything was selected."""
        return any(row.step.lower().startswith("icc") for row in self.results.selection_counts)

    def chosen(self, feature_set: FeatureSet, sample: Sample) -> ModelPerformance | None:
        """Return the row of Table 5."""
        return chosen_row(self.results.models, feature_set, sample)

    def measured(self, feature_set: FeatureSet, sample: Sample) -> SampleEvidence | None:
        """Return everything that was measured of a model of Table 5."""
        return self.evidence.of(feature_set, sample)

    def where(self, *, tables: Sequence[str] = (), figures: Sequence[str] = (), files: Sequence[str] = ()) -> str:
        """Say where something is shown; what this run does not have is left out.

        Parameters
        ----------
        tables
            Stems of tables.
        figures
            Beginnings of stems of figures.
        files
            Files, relative to the folder of the run.
        """
        numbers = self.table_numbers or {}
        drawn = [stem for prefix in figures for stem in self.figures if stem.startswith(prefix)]
        parts = [
            *(numbers[stem] for stem in tables if stem in numbers),
            *(f"figures/{stem}" for stem in dict.fromkeys(drawn)),
            *files,
        ]
        return "; ".join(parts)
