"""A training run, top to bottom: cohort and recipe in; bundle, predictions, tables, figures and report out."""

from __future__ import annotations

import csv
import hashlib
import io
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nodogram import __version__
from nodogram.errors import CohortError
from nodogram.features import FeatureTable
from nodogram.settings import canonical_json
from training.atomic_file import atomic_file, write_atomically
from training.cohort import Cohort, Patient, read_cohort
from training.crossfit import FinalFit, FoldResult, TrainingData, fit_final, fit_fold
from training.evaluate import Evaluation, evaluate_run
from training.evidence.document import EVIDENCE_FILE
from training.evidence.gather import RunMaterial, gather_evidence
from training.evidence.honesty import FinishedRun, gather_honesty
from training.export import FittedModel, software_versions, write_bundle
from training.extraction import (
    ExtractedCase,
    ExtractionFailure,
    ExtractionTask,
    extract_all,
    feature_table,
)
from training.nomogram_model import FittedNomogram, fit_nomogram_model
from training.output_folder import claim_output
from training.progress import RunProgress
from training.recipe import HonestySettings, Recipe, load_recipe
from training.report.pack.session import record_session
from training.report.write import write_all
from training.results import FlowStep, RunResults
from training.splits import Split, make_split
from training.summary import Findings, run_results
from training.weights import InitialWeights, resolve_initial_weights

PHASES = 10
# Fewer events per candidate predictor than this makes coefficients unstable (TRIPOD+AI item 10; Riley et al. 2020).
EVENTS_PER_PREDICTOR = 10


@dataclass(frozen=True)
class RunOptions:
    """How, not what, to train.

    Attributes
    ----------
    jobs
        Processes for extraction and classifiers.
    strict
        Stop at the first patient that cannot be used.
    cache
        Folder of extracted cases; several runs may share one.
    """

    resume: bool
    jobs: int
    strict: bool = False
    cache: Path | None = None


def train_run(cohort_path: Path, recipe_name: str, out: Path, options: RunOptions, progress: RunProgress) -> RunResults:
    """Train, export, evaluate and report.

    Returns
    -------
    results : RunResults
        What ``run.json`` holds.

    Raises
    ------
    NodogramError
        With the reason why the run cannot start or go on; ``--resume`` continues it once that is mended.
    """
    started = time.monotonic()
    recipe = load_recipe(recipe_name)
    material = _gather(cohort_path, recipe, out, options, progress)
    weights = resolve_initial_weights(recipe.finetune.initial_weights if recipe.network.enabled else ("none",))

    folds = _cross_fit(material, recipe, weights, options, progress)

    progress.phase("Final chain on all development patients, backbone to ONNX")
    split, data = material.split, material.data
    final = fit_final(split, data, recipe, weights, material.work / "final", jobs=options.jobs, resume=options.resume)

    progress.phase("Clinical model and nomogram")
    fitted = fit_nomogram_model(folds, final, split, data, material.cohort, recipe)

    progress.phase("Bundle: parity check, known answers")
    model = _model(material, recipe, weights, final, fitted)
    bundle_digest = write_bundle(model, out / "bundle")
    progress.say(f"bundle {bundle_digest[:12]}")

    progress.phase(f"Evaluation: {len(split.test)} test patients through the reloaded bundle")
    evaluation = evaluate_run(
        out / "bundle", material.patients, split, data, folds, final, fitted, recipe, options.jobs, progress
    )
    _write_predictions(evaluation, split, data.outcome, out)

    progress.phase(f"Honesty: {honesty_text(recipe.honesty)}")
    honesty = gather_honesty(
        FinishedRun(
            data=data,
            split=split,
            recipe=recipe,
            weights=weights,
            folds=folds,
            final=final,
            fitted=fitted,
            centres={p.patient_id: p.centre for p in material.patients},
        ),
        material.work / "honesty",
        jobs=options.jobs,
        resume=options.resume,
        progress=progress,
    )

    progress.phase("Evidence: intervals, comparisons, subgroups, agreement, explanation")
    finished = _evidence_material(material, recipe, folds, final, fitted, evaluation, out / "bundle")
    for duplicate in finished.duplicates:
        progress.warn(f"the same {duplicate.what}: patients {' and '.join(duplicate.case_ids)}")
    evidence = gather_evidence(finished, honesty, jobs=options.jobs, progress=progress)

    progress.phase("Tables, figures, report")
    findings = Findings(
        cohort=material.cohort,
        patients=material.patients,
        recipe=recipe,
        recipe_digest=material.recipe_digest,
        bundle_digest=bundle_digest,
        initial_weights=model.initial_weights,
        warnings=(*model.notes, *evidence.leakage.warnings),
        flow=_flow(material),
        split=split,
        folds=folds,
        final=final,
        fitted=fitted,
        models=evaluation.models,
    )
    results = run_results(
        findings,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        duration_s=time.monotonic() - started,
        software=tuple(sorted({**software_versions(), "nodogram": __version__}.items())),
    )
    record_session(out)
    write_all(results, evidence, fitted.stage.fit.nomogram, out)
    write_atomically(out / EVIDENCE_FILE, evidence.model_dump_json())
    write_atomically(out / "run.json", results.model_dump_json(indent=1))
    return results


@dataclass(frozen=True, eq=False)
class Extracted:
    """Usable cases by patient, second readings by patient, and what failed."""

    cases: Mapping[str, ExtractedCase]
    repeated: Mapping[str, ExtractedCase]
    failures: tuple[ExtractionFailure, ...]


@dataclass(frozen=True, eq=False)
class Material:
    """What the fits start from: who is in, on which side of the split, with which features.

    Attributes
    ----------
    table_exclusions
        Rows refused before any image was read, by reason.
    work
        Folder of everything ``--resume`` reads back.
    """

    cohort: Cohort
    recipe_digest: str
    table_exclusions: Counter[str]
    extracted: Extracted
    patients: tuple[Patient, ...]
    split: Split
    data: TrainingData
    work: Path


def _gather(cohort_path: Path, recipe: Recipe, out: Path, options: RunOptions, progress: RunProgress) -> Material:
    cohort, table_exclusions = _read(cohort_path, options, progress)
    recipe_digest = hashlib.sha256(canonical_json(recipe.model_dump(mode="json"))).hexdigest()
    identity = {"nodogram": __version__, "recipe": recipe_digest, "cohort": cohort.digest}
    work = claim_output(out, identity, "a run", resume=options.resume)
    progress.phase(f"Radiomics and network crops of {len(cohort.patients)} patients")
    extracted = _extract(cohort, recipe, options, work, progress)
    patients = tuple(p for p in cohort.patients if p.patient_id in extracted.cases)
    data = _training_data(patients, extracted, recipe)
    _write_features(data, out)
    split = make_split(patients, recipe.split, recipe.seed)
    return Material(cohort, recipe_digest, table_exclusions, extracted, patients, split, data, work)


def _cross_fit(
    material: Material, recipe: Recipe, weights: InitialWeights, options: RunOptions, progress: RunProgress
) -> tuple[FoldResult, ...]:
    split = material.split
    progress.phase(
        f"Cross-fitting: the whole chain in {len(split.folds)} folds of {len(split.development)} development patients"
    )
    progress.say(f"backbone starts from: {weights.description}")
    folds = []
    with progress.steps("fold", len(split.folds)) as advance:
        for fold in split.folds:
            folder = material.work / f"fold-{fold.index + 1}"
            folds.append(fit_fold(fold, material.data, recipe, weights, folder, jobs=options.jobs, resume=options.resume))
            advance(_chosen(folds[-1]))
    return tuple(folds)


def _evidence_material(
    material: Material,
    recipe: Recipe,
    folds: tuple[FoldResult, ...],
    final: FinalFit,
    fitted: FittedNomogram,
    evaluation: Evaluation,
    bundle: Path,
) -> RunMaterial:
    return RunMaterial(
        cohort=material.cohort,
        patients=material.patients,
        recipe=recipe,
        split=material.split,
        data=material.data,
        cases=material.extracted.cases,
        second=material.extracted.repeated,
        folds=folds,
        final=final,
        fitted=fitted,
        evaluation=evaluation,
        bundle=bundle,
    )


def _model(material: Material, recipe: Recipe, weights: InitialWeights, final: FinalFit, fitted: FittedNomogram) -> FittedModel:
    development = material.split.development
    return FittedModel(
        final=final,
        stage=fitted.stage,
        split=material.split,
        data=material.data,
        cohort=material.cohort,
        recipe=recipe,
        recipe_digest=material.recipe_digest,
        initial_weights=weights.description if recipe.network.enabled else "no network",
        threshold=fitted.threshold,
        threshold_rule=fitted.threshold_rule,
        acquisitions=[material.extracted.cases[c].acquisition for c in development],
        records=[fitted.records[c] for c in development],
        development_score=[float(s) for s in fitted.development_score],
        notes=_warnings(material, recipe, weights, final, fitted),
    )


def _read(path: Path, options: RunOptions, progress: RunProgress) -> tuple[Cohort, Counter[str]]:
    """Read the cohort table; rows with errors leave with their reason."""
    progress.phase("Cohort")
    cohort, problems = read_cohort(path)
    errors = [p for p in problems if p.severity == "error"]
    for problem in problems:
        progress.warn(f"{problem.patient_id or 'table'} {problem.reason} {problem.message}")
    if cohort is None or (errors and options.strict) or any(p.patient_id is None for p in errors):
        first = errors[0]
        raise CohortError(first.reason, f"{first.message} ({len(errors)} errors in the cohort table)")
    progress.say(
        f"{len(cohort.patients)} patients, {sum(p.outcome for p in cohort.patients)} with {cohort.definition.outcome.name}"
    )
    excluded = {p.patient_id: p.reason.value for p in errors}
    return cohort, Counter(excluded.values())


def _extract(cohort: Cohort, recipe: Recipe, options: RunOptions, work: Path, progress: RunProgress) -> Extracted:
    first = [ExtractionTask(p.patient_id, p.image, p.roi, p.roi_name) for p in cohort.patients]
    second = [
        ExtractionTask(p.patient_id, p.image, other, p.roi_name)
        for p in cohort.patients
        if recipe.radiomics.enabled and (other := p.roi_reader_b or p.roi_repeat) is not None
    ]
    cache = options.cache or work / "cases"
    collected: list[dict[str, ExtractedCase]] = []
    failures: list[ExtractionFailure] = []
    for title, tasks in (("extract", first), ("second outline", second)):
        cases: dict[str, ExtractedCase] = {}
        with progress.steps(title, max(len(tasks), 1)) as advance:
            for result in extract_all(tasks, recipe.model, cache, jobs=options.jobs):
                if isinstance(result, ExtractedCase):
                    cases[result.label] = result
                else:
                    failures.append(result)
                    progress.warn(f"{result.label} {result.reason} {result.message}")
                advance("")
        collected.append(cases)
    if failures and options.strict:
        raise CohortError(
            failures[0].reason, f"{len(failures)} cases cannot be used and --strict was given: {failures[0].message}"
        )
    return Extracted(collected[0], collected[1], tuple(sorted(failures, key=lambda f: f.label)))


def _training_data(patients: tuple[Patient, ...], extracted: Extracted, recipe: Recipe) -> TrainingData:
    ids = tuple(p.patient_id for p in patients)
    cases = [extracted.cases[c] for c in ids]
    repeated = [extracted.repeated[c] for c in ids if c in extracted.repeated]
    pixels = [c.pixels for c in cases if c.pixels is not None]
    return TrainingData(
        case_ids=ids,
        outcome={p.patient_id: p.outcome for p in patients},
        radiomics=feature_table(cases) if recipe.radiomics.enabled else None,
        pixels=np.stack(pixels) if recipe.network.enabled else None,
        repeated=feature_table(repeated) if repeated else None,
    )


def _warnings(
    material: Material, recipe: Recipe, weights: InitialWeights, final: FinalFit, fitted: FittedNomogram
) -> tuple[str, ...]:
    """Collect what a reader must know before any number."""
    notes = []
    if recipe.network.enabled and weights.description.startswith("random"):
        notes.append(f"The backbone was trained from {weights.description}.")
    if fitted.stage.calibration.note:
        notes.append(f"Out of fold, {fitted.stage.calibration.note}.")
    notes.extend(fitted.stage.fit.fit.notes)
    notes.extend(f"{b.name}: {note}" for b in final.chain.branches for note in (*b.selection.notes, *b.chosen.notes))
    development = material.split.development
    events = int(material.data.outcome_of(development).sum())
    events = min(events, len(development) - events)
    columns = 1 + sum(len(p.column_names) for p in fitted.candidates)
    if events < EVENTS_PER_PREDICTOR * columns:
        notes.append(
            f"{events} patients in the rarer outcome class, {columns} candidate coefficient{'s' * (columns > 1)} in the "
            f"nomogram: fewer than {EVENTS_PER_PREDICTOR} each; expect wide intervals and overfitting."
        )
    excluded = len({f.label for f in material.extracted.failures}) + material.table_exclusions.total()
    if excluded:
        notes.append(f"{excluded} patients or outlines could not be used; see the cohort flow.")
    if recipe.score.source == "apparent":
        notes.append("The nomogram was fitted on resubstituted DLR scores, as in the paper: its apparent figures are inflated.")
    return tuple(notes)


def _flow(material: Material) -> tuple[FlowStep, ...]:
    extracted, split, refused = material.extracted, material.split, material.table_exclusions
    listed = len(material.cohort.patients) + refused.total()
    # By patient: an image that cannot be read fails with every outline drawn on it.
    failed = Counter({f.label: f.reason.value for f in extracted.failures if f.label not in extracted.cases}.values())
    return (
        FlowStep(label="Listed in the cohort table", count=listed),
        FlowStep(label="Complete rows", count=len(material.cohort.patients), excluded=tuple(sorted(refused.items()))),
        FlowStep(label="Usable image and outline", count=len(extracted.cases), excluded=tuple(sorted(failed.items()))),
        FlowStep(label="Development", count=len(split.development)),
        FlowStep(label="Test", count=len(split.test)),
    )


def _write_features(data: TrainingData, out: Path) -> None:
    table = data.radiomics or FeatureTable(data.case_ids, (), np.empty((len(data.case_ids), 0)))
    columns = {"patient_id": pa.array(table.case_ids), **{n: pa.array(table.values[:, i]) for i, n in enumerate(table.names)}}
    with atomic_file(out / "features.parquet") as stream:
        pq.write_table(pa.table(columns), stream)


def _write_predictions(evaluation: Evaluation, split: Split, outcome: Mapping[str, int], out: Path) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["patient_id", "split", "outcome", "dlr_score_oof", "probability_apparent", "probability_oof", "probability"]
    )
    for c in split.development:
        row = evaluation.development[c]
        writer.writerow([c, "development", outcome[c], *(repr(v) for v in row), ""])
    for c in split.test:
        writer.writerow([c, "test", outcome[c], "", "", "", repr(evaluation.test[c])])
    write_atomically(out / "predictions.csv", stream.getvalue())


def _chosen(fold: FoldResult) -> str:
    return ", ".join(f"{s.branch} {s.classifier} on {len(s.names)} features" for s in fold.selections)


def honesty_text(settings: HonestySettings) -> str:
    """Return how often the whole chain is fitted again, in words."""
    parts = (
        (settings.bootstrap_resamples, "bootstrap resample", "bootstrap resamples"),
        (settings.repeats, "repeat of cross-validation", "repeats of cross-validation"),
        (settings.permutations, "permutation", "permutations"),
        (settings.noise_runs, "run on noise", "runs on noise"),
    )
    asked = (f"{count} {one if count == 1 else many}" for count, one, many in parts if count)
    return ", ".join((*asked, "the untuned network, centers"))
