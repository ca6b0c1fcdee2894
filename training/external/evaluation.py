"""An external validation, top to bottom: bundle and cohort in; document, predictions, tables, figures and report out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, ValidationError

from nodogram.bundle import ModelBundle, load_bundle
from nodogram.errors import Reason, TrainingError
from training.atomic_file import remove_file, write_atomically
from training.cohort import Cohort
from training.external.cohort import ExternalCohort, read_external_cohort
from training.external.document import ExternalEvaluation
from training.external.findings import REPLICATES, Findings, make_document
from training.external.prediction import Predicted, Refused, predict_cohort
from training.external.prediction_table import predictions_csv
from training.external.recalibration import UpdateForm
from training.external.signature import sealed_text
from training.output_folder import claim_output
from training.progress import RunProgress
from training.report.external_page import write_external_report
from training.results import ModelPerformance

PHASES = 4
EVALUATION, PREDICTIONS = "evaluation.json", "predictions.csv"
_OWN_SAMPLES = ("development_out_of_fold", "test")


class _RunFigures(BaseModel):
    """What is wanted of a ``run.json``; the rest may be of an older or newer version."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    bundle_digest: str
    models: tuple[ModelPerformance, ...]


@dataclass(frozen=True)
class EvaluationOptions:
    """How, not what, to evaluate.

    Attributes
    ----------
    jobs
        Processes.
    resume
        Go on with what is in the folder already.
    recalibrate
        Update whose probabilities are written for each patient besides the bundle's own.
    run
        Folder of the run the bundle came from, for its own figures; ``None`` looks beside the bundle.
    key
        Signs the document.
    replicates
        Bootstrap resamples behind intervals.
    """

    jobs: int = 1
    resume: bool = False
    recalibrate: UpdateForm = "none"
    run: Path | None = None
    key: Ed25519PrivateKey | None = field(default=None, repr=False)
    replicates: int = REPLICATES


def evaluate_bundle(
    bundle_path: Path, cohort_path: Path, out: Path, options: EvaluationOptions, progress: RunProgress
) -> ExternalEvaluation:
    """Predict a cohort with a bundle as it is, measure how well that went, and write it down.

    Parameters
    ----------
    out
        Gets ``evaluation.json``, ``predictions.csv``, ``report/``, ``tables/`` and ``figures/``; ``work/`` is what a resumed
        evaluation reads back.

    Raises
    ------
    NodogramError
        With the reason why the bundle or the cohort cannot be used, or the evaluation cannot go on.
    """
    progress.phase("Bundle and cohort")
    bundle = load_bundle(bundle_path, threads=1)
    own = own_performance(bundle_path, bundle.digest, options.run)
    external = read_external_cohort(cohort_path, bundle.manifest)
    _say_what_was_read(bundle, external, progress)
    identity = {"bundle": bundle.digest, "cohort": external.cohort.digest}
    work = claim_output(out, identity, "an evaluation", resume=options.resume)

    progress.phase(f"{len(external.cohort.patients)} patients through the bundle")
    predicted, refused = _predict(bundle, external.cohort, work, options, progress)

    progress.phase("Discrimination, calibration, utility, case mix")
    document = make_document(Findings(bundle, own, external, predicted, refused, options.recalibrate, options.replicates))

    progress.phase("Tables, figures, report")
    remove_file(out / EVALUATION)
    update = "none" if document.recalibration is None else document.recalibration.written
    write_atomically(out / PREDICTIONS, predictions_csv(predicted, refused, update))
    write_external_report(document, out)
    # Removed first and written last, so that a document is there only when everything belongs to it.
    write_atomically(out / EVALUATION, sealed_text(document, options.key))
    return document


def own_performance(bundle_path: Path, digest: str, run: Path | None) -> tuple[ModelPerformance, ...]:
    """Return how nomogram and score of a bundle did in their own run, without curves; empty if no such run is at hand.

    Parameters
    ----------
    run
        Folder of the run; ``None`` takes the folder the bundle is in, if it holds the run of this very bundle.

    Raises
    ------
    TrainingError
        ``RUN_MISMATCH`` if the run named is no run, or that of another bundle.
    """
    folder = bundle_path.resolve().parent if run is None else run
    try:
        results = _RunFigures.model_validate_json((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        if run is None:
            return ()
        raise TrainingError(Reason.RUN_MISMATCH, f"{run} holds no run.json this software reads") from error
    if results.bundle_digest != digest:
        if run is None:
            return ()
        raise TrainingError(
            Reason.RUN_MISMATCH, f"{run} made the bundle {results.bundle_digest[:12]}…; the one given is {digest[:12]}…"
        )
    return tuple(
        m.model_copy(update={"false_positive_rate": (), "true_positive_rate": ()})
        for m in results.models
        if m.chosen and m.classifier is None and m.feature_set in ("nomogram", "dlr") and m.sample in _OWN_SAMPLES
    )


def _say_what_was_read(bundle: ModelBundle, external: ExternalCohort, progress: RunProgress) -> None:
    outcome = bundle.manifest.outcome
    progress.say(f"bundle {bundle.manifest.name} {bundle.digest[:12]}: {outcome.name} ({outcome.provenance})")
    patients = external.cohort.patients
    progress.say(
        f"{len(patients)} patients of {external.cohort.definition.title}, {sum(p.outcome for p in patients)} with the outcome"
    )
    for warning in external.warnings:
        progress.warn(warning)
    for problem in external.problems:
        progress.warn(f"{problem.patient_id} {problem.reason} {problem.message}")


def _predict(
    bundle: ModelBundle, cohort: Cohort, work: Path, options: EvaluationOptions, progress: RunProgress
) -> tuple[list[Predicted], list[Refused]]:
    predicted, refused = [], []
    place = {p.patient_id: i for i, p in enumerate(cohort.patients)}
    with progress.steps("predict", len(cohort.patients)) as advance:
        for found in predict_cohort(bundle, cohort.patients, work / "patients", jobs=options.jobs, progress=advance):
            if isinstance(found, Predicted):
                predicted.append(found)
            else:
                refused.append(found)
                progress.warn(f"{found.patient.patient_id} {found.reason} {found.message}")
    predicted.sort(key=lambda p: place[p.patient.patient_id])
    refused.sort(key=lambda r: place[r.patient.patient_id])
    return predicted, refused
