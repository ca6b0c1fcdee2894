"""Everything a run knows, gathered into its evidence: samples, comparisons, subgroups, honesty, agreement, explanation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed, parallel_config

from nodogram.clinical import ClinicalPredictor
from nodogram.deep.embed import FEATURE_COUNT
from nodogram.radiomics.manifest import feature_names
from training.cohort import Cohort, Patient
from training.crossfit import FinalFit, FoldResult, TrainingData
from training.evaluate import Evaluation, Scored, Scores
from training.evidence.acquisition import acquisition_table
from training.evidence.baselines import SimpleModel, ct_report, report_model, volume_model
from training.evidence.comparisons import ComparisonFamily, Contender, compare_models
from training.evidence.confounders import confounder_report
from training.evidence.document import ModelEvidence, RunEvidence
from training.evidence.explanation import explain
from training.evidence.honesty_result import HonestyEvidence
from training.evidence.incremental import BaseModel, IncrementalValue, incremental_value
from training.evidence.leakage import Duplicate, find_duplicates, leakage_report
from training.evidence.repeated import gather_agreement
from training.evidence.sample import sample_evidence
from training.evidence.sample_result import SampleEvidence, SampleSettings
from training.evidence.sample_size import CohortCounts, SampleSizePlan, plan_sample_size
from training.evidence.subgroups import SubgroupTable, characteristics, node_negative_patients, subgroup_table
from training.extraction import ExtractedCase
from training.model_names import FEATURE_SETS, OUT_OF_FOLD, SAMPLES, TEST, feature_set_label
from training.nomogram_model import FittedNomogram, freeze_threshold
from training.progress import RunProgress
from training.recipe import Recipe
from training.results import FeatureSet, Sample
from training.splits import Split


@dataclass(frozen=True, eq=False)
class RunMaterial:
    """What evidence is gathered from.

    Attributes
    ----------
    cases, second
        Extracted cases by patient, and those of a second outline.
    bundle
        Folder of the bundle.
    """

    cohort: Cohort
    patients: tuple[Patient, ...]
    recipe: Recipe
    split: Split
    data: TrainingData
    cases: Mapping[str, ExtractedCase]
    second: Mapping[str, ExtractedCase]
    folds: tuple[FoldResult, ...]
    final: FinalFit
    fitted: FittedNomogram
    evaluation: Evaluation
    bundle: Path

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Honest samples there are patients in."""
        return (OUT_OF_FOLD, TEST) if self.split.test else (OUT_OF_FOLD,)

    @cached_property
    def duplicates(self) -> tuple[Duplicate, ...]:
        """Patients with the very same features: for the log only."""
        return find_duplicates(self.patients, self.cases)


def gather_evidence(run: RunMaterial, honesty: HonestyEvidence, *, jobs: int, progress: RunProgress) -> RunEvidence:
    """Measure, compare and explain the models of a run.

    Parameters
    ----------
    honesty
        What the refits of the whole chain said (:mod:`training.evidence.honesty`).
    jobs
        Processes.
    """
    acquisition = {c: run.cases[c].acquisition for c in run.data.case_ids}
    settings = sample_settings(run.recipe)
    models = {m.feature_set: m for m in _table_five(run.evaluation.scored)}
    development, test = ([acquisition[c] for c in ids if c in acquisition] for ids in (run.split.development, run.split.test))
    return RunEvidence(
        models=_models(run, models, settings, jobs, progress),
        acquisition=acquisition_table((("Development", development), *((("Test", test),) if test else ()))),
        confounders=confounder_report(models["dlr"].out_of_fold, acquisition),
        comparisons=_comparisons(run, models),
        incremental=_incremental(run, models, settings),
        subgroups=_subgroups(run, models["nomogram"], settings),
        leakage=leakage_report(
            run.split,
            run.folds,
            run.recipe,
            duplicates=run.duplicates,
            second_outlines=sum(c in run.second for c in run.split.development),
            candidates=len(run.fitted.candidates),
        ),
        honesty=honesty,
        agreement=gather_agreement(
            run.patients, run.split, run.data, run.second, run.final, run.fitted, run.recipe, jobs=jobs, progress=progress
        ),
        sample_size=run_sample_size(run.split, run.data, run.fitted.candidates, run.recipe),
        explanation=explain(run.final, run.fitted, run.split, run.data, run.recipe, run.bundle),
    )


def sample_settings(recipe: Recipe) -> SampleSettings:
    """Return how samples are looked at, as the recipe says."""
    return SampleSettings(replicates=max(recipe.evaluation.bootstrap_replicates, 1), seed=recipe.seed)


def run_sample_size(
    split: Split, data: TrainingData, candidates: Sequence[ClinicalPredictor], recipe: Recipe
) -> SampleSizePlan:
    """Compare the cohort with what a nomogram of its candidates needs, at the AUC the recipe anticipated."""
    development, test = (data.outcome_of(ids) for ids in (split.development, split.test))
    return plan_sample_size(
        prevalence=float(development.mean()),
        candidates=1 + sum(len(p.column_names) for p in candidates),
        auc=recipe.evaluation.anticipated_auc,
        branches=candidate_features(recipe),
        cohort=CohortCounts(
            development_patients=len(development),
            development_events=int(development.sum()),
            test_patients=len(test),
            test_events=int(test.sum()),
        ),
    )


def candidate_features(recipe: Recipe) -> dict[str, int]:
    """Return how many image features of each kind are offered to selection."""
    return {
        "radiomic": len(feature_names(recipe.radiomics)) if recipe.radiomics.enabled else 0,
        "deep": FEATURE_COUNT if recipe.network.enabled else 0,
    }


def _table_five(scored: Sequence[Scored]) -> Iterator[Scored]:
    """Yield the model of each feature set that Table 5 shows; a fused one, which has no algorithm of its own, comes first."""
    for feature_set in FEATURE_SETS:
        rows = [m for m in scored if m.chosen and m.feature_set == feature_set]
        if rows:
            yield min(rows, key=lambda m: m.classifier is not None)


def _scores(model: Scored | SimpleModel, sample: Sample) -> Scores:
    return {"development_apparent": model.apparent, "development_out_of_fold": model.out_of_fold, "test": model.test}[sample]


def _threshold(run: RunMaterial, model: Scored | SimpleModel) -> float:
    """Return the frozen threshold of a model by the rule of the recipe."""
    settings = run.recipe.evaluation
    source = model.out_of_fold if settings.threshold_from == "out_of_fold" else model.apparent
    outcome = np.array([run.data.outcome[c] for c in source], dtype=np.int64)
    return freeze_threshold(outcome, np.array(list(source.values())), settings)[0]


def _models(
    run: RunMaterial, models: Mapping[FeatureSet, Scored], settings: SampleSettings, jobs: int, progress: RunProgress
) -> tuple[ModelEvidence, ...]:
    clinical = models.get("clinical")
    wanted = [(m, s) for m in models.values() for s in SAMPLES if _scores(m, s)]
    with parallel_config(backend="loky", inner_max_num_threads=1):
        runner = Parallel(n_jobs=jobs, return_as="generator", batch_size=1)
    tasks = (
        _measuring(run, model, None if clinical is None or model is clinical else clinical, sample, settings)
        for model, sample in wanted
    )
    rows = []
    with progress.steps("measure", len(wanted)) as advance:
        for (model, sample), evidence in zip(wanted, runner(tasks), strict=True):
            rows.append(ModelEvidence(feature_set=model.feature_set, sample=sample, evidence=evidence))
            advance(f"{feature_set_label(model.feature_set).lower()}, {sample.replace('_', ' ')}")
    return tuple(rows)


def _measuring(
    run: RunMaterial, model: Scored, clinical: Scored | None, sample: Sample, settings: SampleSettings
) -> tuple[Callable[..., SampleEvidence], tuple[object, ...], dict[str, object]]:
    scores = _scores(model, sample)
    others = {} if clinical is None else _scores(clinical, sample)
    task: tuple[Callable[..., SampleEvidence], tuple[object, ...], dict[str, object]] = delayed(sample_evidence)(
        np.array([run.data.outcome[c] for c in scores], dtype=np.int64),
        np.array(list(scores.values())),
        _threshold(run, model),
        settings=settings,
        other=np.array([others[c] for c in scores]) if others else None,
    )
    return task


def _comparisons(run: RunMaterial, models: Mapping[FeatureSet, Scored]) -> tuple[ComparisonFamily, ...]:
    volume = volume_model(
        {c: run.cases[c].acquisition.region_volume_cm3 for c in run.data.case_ids}, run.data.outcome, run.split
    )

    def contender(model: Scored | SimpleModel, name: str, label: str, sample: Sample) -> Contender:
        return Contender(name, label, _scores(model, sample), _threshold(run, model))

    return tuple(
        compare_models(
            sample,
            run.data.outcome,
            contender(models["nomogram"], "nomogram", "Nomogram", sample),
            [
                *(contender(m, f, feature_set_label(f), sample) for f, m in models.items() if f != "nomogram"),
                contender(volume, volume.name, volume.label, sample),
            ],
        )
        for sample in run.samples
    )


def _incremental(
    run: RunMaterial, models: Mapping[FeatureSet, Scored], settings: SampleSettings
) -> tuple[IncrementalValue, ...]:
    fitted = run.fitted
    rows: list[IncrementalValue] = []
    clinical = models.get("clinical")
    report = ct_report(run.cohort.definition.predictors)
    alone = None if report is None else report_model(report, fitted.records, run.data.outcome, run.split, run.recipe.clinical)
    for sample in run.samples:
        findings = {} if clinical is None else _scores(clinical, sample)
        bases = [BaseModel("clinical", "Clinical findings", fitted.stage.kept, findings)]
        if report is not None and alone is not None:
            bases.append(BaseModel(report.name, report.label, (report,), _scores(alone, sample)))
        rows.extend(
            incremental_value(
                sample,
                run.data.outcome,
                base,
                kept=fitted.stage.kept,
                records=fitted.records,
                score=_scores(models["dlr"], sample),
                probability=_scores(models["nomogram"], sample),
                settings=settings,
            )
            for base in bases
        )
    return tuple(rows)


def _subgroups(run: RunMaterial, nomogram: Scored, settings: SampleSettings) -> tuple[SubgroupTable, ...]:
    predictors, records = run.cohort.definition.predictors, run.fitted.records
    found = characteristics(
        predictors,
        records,
        {p.patient_id: p.centre for p in run.patients},
        {c: run.cases[c].acquisition for c in run.data.case_ids},
        run.split.development,
    )
    negative = node_negative_patients(predictors, records)
    return tuple(
        subgroup_table(
            sample,
            run.data.outcome,
            _scores(nomogram, sample),
            run.fitted.threshold,
            found,
            node_negative=negative,
            settings=settings,
        )
        for sample in run.samples
    )
