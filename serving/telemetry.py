"""What an operator may know of the server: Prometheus metrics, none of which says anything of one patient.

Every label has a closed set of values: what is not in it is counted as ``other``. Gauges say how they are put together where
several processes serve (https://prometheus.github.io/client_python/multiprocess/).
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from nodogram.bundle import ModelBundle
from nodogram.case import NoteCode
from nodogram.errors import Reason
from nodogram.nomogram import SCORE
from nodogram.predict import Prediction
from serving.drift import DriftMonitor
from serving.status import OK

OTHER = "other"
PROTOCOLS = frozenset({"http", "grpc"})
METHODS = frozenset({"predict", "predict_region", "model", "nomogram"})
REASONS = frozenset({OK, *(reason.value for reason in Reason)})
STAGES = ("decode", "prepare", "radiomics", "queue", "backbone", "fuse")
ANSWERS = ("nomogram", "score_only")

# From below a millisecond, what fusing takes, to the longest timeout.
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
_PROBABILITIES = tuple(round(step / 20, 2) for step in range(1, 21))
_DIGEST_LENGTH = 12
# Of prometheus-client; BentoML sets it before its worker imports the service.
_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@dataclass(frozen=True)
class Exposition:
    """All metrics as text, and which text format it is."""

    content: bytes
    content_type: str


def expose(accept: str | None = None) -> Exposition:
    """Return the metrics of every process of this server.

    Parameters
    ----------
    accept
        Header of this name, which chooses between the Prometheus text format and OpenMetrics.
    """
    encode, content_type = choose_encoder(accept or "")
    return Exposition(encode(_all_processes()), content_type)


class Telemetry:
    """The metrics of one server.

    Parameters
    ----------
    registry
        Where they are collected; the one of the process by default, which takes them once only.
    drift_window
        Values of each predictor the drift figures look back on.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY, *, drift_window: int = 500) -> None:
        _forget_dead_processes()
        self._drift_window = drift_window
        self._monitor: DriftMonitor | None = None
        self._service_metrics(registry)
        self._model_metrics(registry)
        for stage in STAGES:
            self._stage_seconds.labels(stage)
        for answer in ANSWERS:
            self._predictions.labels(answer)
        for code in NoteCode:
            self._notes.labels(code.value)

    def _service_metrics(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "nodogram_requests", "Requests answered, by reason; OK if nothing was wrong.",
            ("protocol", "method", "reason"), registry=registry,
        )  # fmt: skip
        self._request_seconds = Histogram(
            "nodogram_request_seconds", "Time from the first byte of a request to its answer.",
            ("protocol", "method"), registry=registry, buckets=_SECONDS,
        )  # fmt: skip
        self._stage_seconds = Histogram(
            "nodogram_stage_seconds", "Time of one case in one stage.", ("stage",), registry=registry, buckets=_SECONDS
        )
        self._batch_size = Histogram(
            "nodogram_batch_size", "Crops in one call of the backbone.", registry=registry, buckets=_BATCH_SIZES
        )
        self._batch_seconds = Histogram(
            "nodogram_backbone_batch_seconds", "Time of one call of the backbone.", registry=registry, buckets=_SECONDS
        )
        self._queue_depth = Gauge(
            "nodogram_queue_depth", "Cases or crops that wait.", ("queue",), registry=registry, multiprocess_mode="livesum"
        )
        self._queue_oldest = Gauge(
            "nodogram_queue_oldest_seconds", "How long the first of them has waited.",
            ("queue",), registry=registry, multiprocess_mode="livemax",
        )  # fmt: skip
        # The least of all processes: a server is ready when every one of them is.
        self._ready = Gauge(
            "nodogram_ready", "1 while new requests should be sent here, else 0.",
            registry=registry, multiprocess_mode="livemin",
        )  # fmt: skip

    def _model_metrics(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
            # The largest of all processes: an information is true if it is anywhere, and of bad news the worst counts.
            return Gauge(name, text, labels, registry=registry, multiprocess_mode="livemax")

        self._provider = gauge(
            "nodogram_provider_info",
            "Execution provider of the backbone, asked for and in use; always 1.",
            ("wanted", "active"),
        )
        self._bundle = gauge(
            "nodogram_bundle_info", "The model that is served; always 1.", ("name", "digest", "nodogram_version", "outcome")
        )
        self._known_answer = gauge(
            "nodogram_known_answer_difference", "How far a known-answer case was off in probability at the start.", ("case",)
        )
        self._probability = Histogram(
            "nodogram_predicted_probability", "Probability of the outcome, where there is one.",
            registry=registry, buckets=_PROBABILITIES,
        )  # fmt: skip
        self._predictions = Counter(
            "nodogram_predictions",
            "Predictions, with the nomogram or with the DLR score alone.",
            ("answer",),
            registry=registry,
        )
        self._out_of_range = Counter(
            "nodogram_out_of_range", "Predictions with this predictor outside its development range.",
            ("predictor",), registry=registry,
        )  # fmt: skip
        self._notes = Counter(
            "nodogram_quality_notes", "Predictions with at least one note of this code.", ("code",), registry=registry
        )
        self._drift_psi = gauge(
            "nodogram_drift_psi", "Population stability index against the development data; absent below 50 values.",
            ("predictor",),
        )  # fmt: skip
        self._drift_chance = gauge(
            "nodogram_drift_psi_chance", "What the index exceeds by chance in one window of a hundred.", ("predictor",)
        )
        self._drift_window_predictions = gauge(
            "nodogram_drift_window_predictions", "Predictions the drift figures look back on at the moment."
        )

    def request(self, protocol: str, method: str, reason: str, seconds: float) -> None:
        """Count one request that was answered after ``seconds``."""
        place = _known(protocol, PROTOCOLS), _known(method, METHODS)
        self._requests.labels(*place, _known(reason, REASONS)).inc()
        self._request_seconds.labels(*place).observe(seconds)

    def stage(self, stage: str, seconds: float) -> None:
        """Observe one stage of a case that leads to no prediction; :meth:`prediction` observes its own."""
        self._stage_seconds.labels(_known(stage, STAGES)).observe(seconds)

    def prediction(self, prediction: Prediction) -> None:
        """Count one prediction: its stages, probability, notes, predictors out of range, and what it adds to the drift."""
        for stage, seconds in prediction.stage_s.items():
            self.stage(stage, seconds)
        for code in {note.code for note in prediction.notes}:
            self._notes.labels(code.value).inc()
        values: dict[str, float | str] = {SCORE: prediction.dlr.value}
        if prediction.reading is None:
            self._predictions.labels("score_only").inc()
        else:
            self._predictions.labels("nomogram").inc()
            self._probability.observe(prediction.reading.probability)
            for contribution in prediction.reading.contributions:
                values[contribution.predictor] = contribution.value
                if contribution.out_of_range:
                    self._out_of_range.labels(contribution.predictor).inc()
        self._watch_drift(values)

    def _watch_drift(self, values: dict[str, float | str]) -> None:
        if self._monitor is None:
            return
        self._monitor.update(values)
        self._drift_window_predictions.set(self._monitor.predictions)
        for drift in self._monitor.figures():
            self._drift_psi.labels(drift.predictor).set(drift.psi)
            self._drift_chance.labels(drift.predictor).set(drift.chance)

    def batch(self, size: int, seconds: float) -> None:
        """Observe one call of the backbone with ``size`` crops."""
        self._batch_size.observe(size)
        self._batch_seconds.observe(seconds)

    def queue(self, name: Literal["cases", "backbone"], depth: int, oldest_s: float) -> None:
        """Say how many wait in a queue, and how long the first of them has, s."""
        self._queue_depth.labels(name).set(depth)
        self._queue_oldest.labels(name).set(oldest_s)

    def provider(self, wanted: str, active: str) -> None:
        """Say which execution provider was asked for and which is in use."""
        self._provider.labels(wanted, active).set(1)

    def bundle(self, bundle: ModelBundle) -> None:
        """Say which model is served, and compare what it is asked with its development data from now on."""
        manifest = bundle.manifest
        self._bundle.labels(
            manifest.name, manifest.digest[:_DIGEST_LENGTH], manifest.nodogram_version, manifest.outcome.name
        ).set(1)
        for term in bundle.nomogram.terms:
            self._out_of_range.labels(term.predictor)
        self._monitor = DriftMonitor(bundle.reference, manifest.training.development_count, self._drift_window)

    def ready(self, is_ready: bool) -> None:
        """Say whether new requests should be sent here."""
        self._ready.set(is_ready)

    def known_answer(self, name: str, probability_difference: float) -> None:
        """Say how far a known-answer case was off."""
        self._known_answer.labels(name).set(probability_difference)


def _known(value: str, values: Collection[str]) -> str:
    return value if value in values else OTHER


def _all_processes() -> CollectorRegistry:
    if not os.environ.get(_FOLDER_VARIABLE):
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # has no annotations
    return registry


def _forget_dead_processes() -> None:
    """Drop the gauges of processes that were killed: nobody else does, and their queues would stay full for ever."""
    folder = os.environ.get(_FOLDER_VARIABLE)
    if not folder:
        return
    for pid in {int(file.stem.rpartition("_")[2]) for file in Path(folder).glob("gauge_live*.db")}:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]  # has no annotations
        except PermissionError:
            continue
