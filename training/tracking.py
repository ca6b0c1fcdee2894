"""Runs in MLflow: parameters, metrics and figures of a finished run, in a local store or on a tracking server.

Aggregates only: no patient, no path of a patient's file, no picture of a patient. MLflow's own telemetry is off.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from nodogram.errors import NodogramError, Reason, SurroundingsError, TrainingError
from training.results import Estimate, ModelPerformance, RunResults, load_results

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

LOCAL = "local"
LOCAL_FOLDER = Path("tracking")
EXPERIMENT = "nodogram"
# What MLflow takes in one call.
PARAMETERS_AT_ONCE, METRICS_AT_ONCE = 100, 1000
LONGEST_VALUE = 6000
# Slices of patients with what the network looked at.
FIGURES_OF_PATIENTS = ("activation_maps",)
BUNDLE_DOCUMENTS = ("bundle.json", "MODEL_CARD.md")
ESTIMATES = (
    "auc",
    "accuracy",
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "calibration_slope",
    "calibration_intercept",
)
# A server that does not answer must not hold up a run for minutes; who set these variables keeps them.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}


@dataclass(frozen=True)
class TrackingStore:
    """Where runs and models are recorded.

    Attributes
    ----------
    uri
        Of an MLflow store or server.
    artifacts
        URI of the folder of files; ``None`` leaves it to the server.
    """

    uri: str
    artifacts: str | None = None

    @classmethod
    def at(cls, where: str) -> TrackingStore:
        """Return the store meant by ``local`` (a folder ``tracking`` here), by a folder, or by a URI."""
        if "://" in where:
            return cls(where)
        folder = (LOCAL_FOLDER if where == LOCAL else Path(where)).resolve()
        return cls(f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri())


@contextmanager
def tracking_client(store: TrackingStore) -> Iterator[MlflowClient]:
    """Yield a client of a store; a local one is made if absent.

    Raises
    ------
    SurroundingsError
        ``DEPENDENCY_MISSING`` without MLflow; ``OUTPUT_NOT_WRITABLE`` if the store cannot be reached or written.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when MLflow is imported
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    try:
        with warnings.catch_warnings():
            # SQLAlchemy's about how MLflow uses it; nothing a user could do.
            warnings.simplefilter("ignore")
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise SurroundingsError(Reason.DEPENDENCY_MISSING, f"{error.name}: pip install 'nodogram[track]'") from error
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        _make_folder(store)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield MlflowClient(tracking_uri=store.uri, registry_uri=store.uri)
    except (MlflowException, OSError) as error:
        text = str(error).splitlines()[0]
        raise SurroundingsError(Reason.OUTPUT_NOT_WRITABLE, f"the tracking store {store.uri}: {text}") from error


def track_run(run: Path, store: TrackingStore) -> str:
    """Record a finished run; a run that is there already is not recorded twice.

    Parameters
    ----------
    run
        Folder of the run.

    Returns
    -------
    run_id : str
        Of MLflow.

    Raises
    ------
    TrainingError
        ``RUN_MISMATCH`` if the folder holds no finished run.
    SurroundingsError
        As :func:`tracking_client`; the run itself is not touched.
    """
    results = _results(run)
    with tracking_client(store) as client:
        experiment = _experiment(client, store)
        found = _recorded(client, experiment, results)
        if found is not None:
            return found
        end_ms = int(datetime.fromisoformat(results.created).timestamp() * 1000)
        start_ms = end_ms - int(1000 * results.duration_s)
        name = f"{results.recipe.name} {results.created[:16]}"
        run_id = str(client.create_run(experiment, start_ms, tags=run_tags(results), run_name=name).info.run_id)
        _log(client, run_id, results, end_ms)
        for path, folder in artifacts(run):
            client.log_artifact(run_id, str(path), folder)
        client.set_terminated(run_id, "FINISHED", end_ms)
        return run_id


def run_tags(results: RunResults) -> dict[str, str]:
    """Return what identifies a run and what it was made with."""
    tags = {
        "bundle_digest": results.bundle_digest,
        "finished_at": results.created,
        "nodogram_version": results.nodogram_version,
        "cohort_title": results.cohort_title,
        "outcome_name": results.outcome_name,
        "outcome_provenance": results.outcome_provenance,
        "recipe_digest": results.recipe_digest,
        "split_digest": results.split_digest,
        "initial_weights": results.initial_weights,
        "device": results.device,
    }
    return {**tags, **{f"software.{name}": version for name, version in results.software}}


def parameters(document: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Return every leaf of a recipe by its dotted key; a list is one leaf."""
    found: dict[str, str] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            found |= parameters(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = str(value)[:LONGEST_VALUE]
    return found


def metrics(results: RunResults) -> dict[str, float]:
    """Return every defined figure of a run: ``sample.model.figure``, with ``_low`` and ``_high`` for its interval."""
    found: dict[str, float] = {"threshold": results.threshold, "duration_s": results.duration_s}
    for model in results.models:
        found |= _model_metrics(model)
    return found


def artifacts(run: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files of a run that show no patient, with the folder they are kept in."""
    for path in sorted((run / "figures").glob("*")):
        if path.suffix in (".png", ".svg") and not path.stem.startswith(FIGURES_OF_PATIENTS):
            yield path, "figures"
    for name in BUNDLE_DOCUMENTS:
        if (run / "bundle" / name).is_file():
            yield run / "bundle" / name, "bundle"


def _model_metrics(model: ModelPerformance) -> dict[str, float]:
    name = model.feature_set if model.chosen else f"{model.feature_set}.{model.classifier}"
    prefix = f"{model.sample}.{name}"
    found = {
        f"{prefix}.brier": model.brier,
        f"{prefix}.patient_count": float(model.patient_count),
        f"{prefix}.event_count": float(model.event_count),
    }
    for figure in ESTIMATES:
        estimate: Estimate = getattr(model, figure)
        for suffix, value in (("", estimate.value), ("_low", estimate.low), ("_high", estimate.high)):
            if value is not None:
                found[f"{prefix}.{figure}{suffix}"] = value
    return found


def _log(client: MlflowClient, run_id: str, results: RunResults, time_ms: int) -> None:
    from mlflow.entities import Metric, Param

    leaves = [Param(key, value) for key, value in parameters(results.recipe.model_dump(mode="json")).items()]
    for start in range(0, len(leaves), PARAMETERS_AT_ONCE):
        client.log_batch(run_id, params=leaves[start : start + PARAMETERS_AT_ONCE])
    figures = [Metric(key, value, time_ms, 0) for key, value in metrics(results).items()]
    figures += _losses(results, time_ms)
    for start in range(0, len(figures), METRICS_AT_ONCE):
        client.log_batch(run_id, metrics=figures[start : start + METRICS_AT_ONCE])


def _losses(results: RunResults, time_ms: int) -> list[Metric]:
    from mlflow.entities import Metric

    found = []
    for curve in results.finetune_curves:
        for kind, losses in (("train", curve.train_loss), ("validation", curve.validation_loss)):
            key = f"finetune.{curve.label}.{kind}_loss"
            found += [Metric(key, value, time_ms, epoch) for epoch, value in enumerate(losses, 1) if value is not None]
    return found


def _experiment(client: MlflowClient, store: TrackingStore) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    return str(client.create_experiment(EXPERIMENT, artifact_location=store.artifacts))


def _recorded(client: MlflowClient, experiment: str, results: RunResults) -> str | None:
    # A tag called "created" would not be found: MLflow takes the word for the time a run began.
    query = f"tags.bundle_digest = '{results.bundle_digest}' and tags.finished_at = '{results.created}' and status = 'FINISHED'"
    found = client.search_runs([experiment], query, max_results=1)
    return str(found[0].info.run_id) if found else None


def _results(run: Path) -> RunResults:
    try:
        return load_results(run)
    except (OSError, ValidationError) as error:
        raise _no_run(run) from error


def _no_run(run: Path) -> NodogramError:
    return TrainingError(Reason.RUN_MISMATCH, f"{run} holds no run.json this software reads: the run is not finished")


def _make_folder(store: TrackingStore) -> None:
    if store.uri.startswith("sqlite:///"):
        Path(store.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
