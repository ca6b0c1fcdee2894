"""Metrics as a Prometheus server reads them: the official parsers over what is exposed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from small_model import DIGEST, STAGE_S, small_bundle, small_prediction

from nodogram.case import NoteCode
from nodogram.errors import Reason
from nodogram.nomogram import SCORE
from serving.drift import MINIMUM_PREDICTIONS
from serving.telemetry import METHODS, OTHER, PROTOCOLS, REASONS, STAGES, Telemetry

# Prometheus base units, and what has no unit: counts of things, truth values, probabilities and indices.
SUFFIXES = ("_total", "_seconds", "_info", "_size", "_depth", "_ready", "_difference", "_probability", "_psi", "_chance")
COUNTS = {"nodogram_drift_window_predictions"}
PREDICTORS = {SCORE, "tumour_site", "age_years"}
CLOSED = {
    "protocol": PROTOCOLS | {OTHER},
    "method": METHODS | {OTHER},
    "reason": REASONS | {OTHER},
    "stage": {*STAGES, OTHER},
    "queue": {"cases", "backbone"},
    "answer": {"nomogram", "score_only"},
    "code": {code.value for code in NoteCode},
    "predictor": PREDICTORS,
    "case": {"synthetic-1"},
    "wanted": {"CPUExecutionProvider", "CUDAExecutionProvider"},
    "active": {"CPUExecutionProvider"},
    "name": {"small"},
    "digest": {DIGEST[:12]},
    "nodogram_version": {"0.1.0"},
    "outcome": {"lnm"},
}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def telemetry(registry: CollectorRegistry) -> Telemetry:
    return Telemetry(registry)


def exercise(telemetry: Telemetry) -> None:
    telemetry.bundle(small_bundle())
    telemetry.provider("CUDAExecutionProvider", "CPUExecutionProvider")
    telemetry.known_answer("synthetic-1", 1e-7)
    telemetry.ready(True)
    telemetry.queue("cases", 3, 0.5)
    telemetry.queue("backbone", 1, 0.001)
    telemetry.batch(5, 0.02)
    telemetry.stage("decode", 0.3)
    for _ in range(MINIMUM_PREDICTIONS):
        telemetry.prediction(small_prediction(notes=tuple(NoteCode)))
    telemetry.prediction(small_prediction(age=None))
    telemetry.request("http", "predict", "OK", 1.2)
    telemetry.request("grpc", "predict_region", Reason.QUEUE_FULL, 0.001)
    telemetry.request("http", "../../etc/passwd", "Jane Doe", 0.001)


def families(registry: CollectorRegistry) -> list[Metric]:
    """Ours, without the moments of creation, which are no metrics."""
    text = generate_latest(registry).decode()
    return [family for family in text_string_to_metric_families(text) if not family.name.endswith("_created")]


def test_every_metric_has_help_and_a_unit(registry: CollectorRegistry, telemetry: Telemetry) -> None:
    exercise(telemetry)
    found = families(registry)
    assert len(found) == 18
    for family in found:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert name.startswith("nodogram_")
        assert name.endswith(SUFFIXES) or name in COUNTS, name
        assert family.documentation.endswith("."), name


def test_the_documentation_lists_them_all(registry: CollectorRegistry, telemetry: Telemetry) -> None:
    exercise(telemetry)
    rows = re.findall(
        r"^\| `(nodogram_\w+)` \| (\w+)[^|]*\| ([^|]*) ?\|",
        (Path(__file__).parents[2] / "docs" / "observability.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    documented = {name: (kind, {label for label in labels.strip().split(", ") if label}) for name, kind, labels in rows}
    found = {}
    for family in families(registry):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = (family.type, {label for sample in family.samples for label in sample.labels} - {"le"})
    assert documented == found


def test_label_values_come_from_closed_sets(registry: CollectorRegistry, telemetry: Telemetry) -> None:
    exercise(telemetry)
    for family in families(registry):
        for sample in family.samples:
            for label, value in sample.labels.items():
                assert label == "le" or value in CLOSED[label], (sample.name, label, value)


def test_openmetrics_of_it_is_valid(registry: CollectorRegistry, telemetry: Telemetry) -> None:
    exercise(telemetry)
    found = {family.name: family for family in parse_openmetrics(generate_openmetrics(registry).decode())}
    assert found["nodogram_requests"].type == "counter"
    assert found["nodogram_request_seconds"].type == "histogram"


def test_what_is_unknown_is_counted_as_other(registry: CollectorRegistry, telemetry: Telemetry) -> None:
    exercise(telemetry)
    read = registry.get_sample_value
    assert read("nodogram_requests_total", {"protocol": "http", "method": OTHER, "reason": OTHER}) == 1
    assert read("nodogram_requests_total", {"protocol": "http", "method": "predict", "reason": "OK"}) == 1
    assert read("nodogram_requests_total", {"protocol": "grpc", "method": "predict_region", "reason": "QUEUE_FULL"}) == 1


def test_a_prediction_is_counted_with_all_that_belongs_to_it(registry: CollectorRegistry, telemetry: Telemetry) -> None:
    """log odds 0.5 + 1 + 0.1 * 90 = 10.5; an age of 90 lies beyond the axis, which ends at 80."""
    telemetry.bundle(small_bundle())
    notes = (NoteCode.OUT_OF_RANGE, NoteCode.OUT_OF_RANGE, NoteCode.MULTIFRAME)
    telemetry.prediction(small_prediction(score=0.5, site="supraglottic", age=90.0, notes=notes))
    telemetry.prediction(small_prediction(score=-6.5, age=60.0))
    telemetry.prediction(small_prediction(age=None))
    read = registry.get_sample_value
    assert read("nodogram_predictions_total", {"answer": "nomogram"}) == 2
    assert read("nodogram_predictions_total", {"answer": "score_only"}) == 1
    for stage, seconds in STAGE_S.items():
        assert read("nodogram_stage_seconds_count", {"stage": stage}) == 3
        assert read("nodogram_stage_seconds_sum", {"stage": stage}) == pytest.approx(3 * seconds)
    assert read("nodogram_predicted_probability_count") == 2
    assert read("nodogram_predicted_probability_bucket", {"le": "0.35"}) == 0
    assert read("nodogram_predicted_probability_bucket", {"le": "0.4"}) == 1, "expit(-0.5) = 0.378"
    assert read("nodogram_predicted_probability_bucket", {"le": "0.95"}) == 1
    assert read("nodogram_predicted_probability_bucket", {"le": "1.0"}) == 2
    assert read("nodogram_out_of_range_total", {"predictor": "age_years"}) == 1
    assert read("nodogram_out_of_range_total", {"predictor": SCORE}) == 1, "-6.5 lies beyond -2"
    assert read("nodogram_out_of_range_total", {"predictor": "tumour_site"}) == 0
    assert read("nodogram_quality_notes_total", {"code": "OUT_OF_RANGE"}) == 1, "twice in one prediction"
    assert read("nodogram_quality_notes_total", {"code": "MULTIFRAME"}) == 1
    assert read("nodogram_quality_notes_total", {"code": "ROI_RESAMPLED"}) == 0
    assert read("nodogram_drift_window_predictions") == 3


def test_drift_is_absent_until_there_is_enough(registry: CollectorRegistry, telemetry: Telemetry) -> None:
    telemetry.bundle(small_bundle())
    read = registry.get_sample_value
    for _ in range(MINIMUM_PREDICTIONS - 1):
        telemetry.prediction(small_prediction())
    assert read("nodogram_drift_psi", {"predictor": SCORE}) is None
    telemetry.prediction(small_prediction(age=None))
    assert read("nodogram_drift_psi", {"predictor": SCORE}) > 1, "every score the same"
    assert 0 < read("nodogram_drift_psi_chance", {"predictor": SCORE}) < 1
    assert read("nodogram_drift_psi", {"predictor": "age_years"}) is None, "49 ages only"


def test_the_window_is_as_long_as_asked_for(registry: CollectorRegistry) -> None:
    telemetry = Telemetry(registry, drift_window=10)
    telemetry.bundle(small_bundle())
    for _ in range(12):
        telemetry.prediction(small_prediction())
    assert registry.get_sample_value("nodogram_drift_window_predictions") == 10


def test_before_a_bundle_is_loaded_nothing_is_compared(registry: CollectorRegistry, telemetry: Telemetry) -> None:
    telemetry.prediction(small_prediction())
    assert registry.get_sample_value("nodogram_predictions_total", {"answer": "nomogram"}) == 1
    assert registry.get_sample_value("nodogram_drift_window_predictions") == 0
    assert registry.get_sample_value("nodogram_ready") == 0


def test_batches_and_state(registry: CollectorRegistry, telemetry: Telemetry) -> None:
    exercise(telemetry)
    read = registry.get_sample_value
    assert read("nodogram_batch_size_sum") == 5
    assert read("nodogram_batch_size_bucket", {"le": "4.0"}) == 0
    assert read("nodogram_batch_size_bucket", {"le": "8.0"}) == 1
    assert read("nodogram_backbone_batch_seconds_sum") == pytest.approx(0.02)
    assert read("nodogram_queue_depth", {"queue": "cases"}) == 3
    assert read("nodogram_queue_oldest_seconds", {"queue": "cases"}) == 0.5
    assert read("nodogram_ready") == 1
    assert read("nodogram_known_answer_difference", {"case": "synthetic-1"}) == 1e-7
    telemetry.ready(False)
    assert read("nodogram_ready") == 0


def test_nothing_of_one_patient_is_exposed(registry: CollectorRegistry, telemetry: Telemetry) -> None:
    exercise(telemetry)
    assert "SECRET" not in generate_latest(registry).decode()


# Serves a little, says so, and waits to be told to end.
WORKER = """
import sys
sys.path.insert(0, {tests!r})
from small_model import small_bundle, small_prediction
from serving.telemetry import Telemetry, expose
telemetry = Telemetry()
telemetry.bundle(small_bundle())
telemetry.queue("cases", {depth}, {depth} / 2)
telemetry.ready({ready})
telemetry.batch(4, 0.1)
telemetry.known_answer("synthetic-1", {depth} / 1000)
for _ in range({depth}):
    telemetry.prediction(small_prediction())
    telemetry.request("http", "predict", "OK", 0.5)
print("served", flush=True)
sys.stdin.readline()
print(expose("application/openmetrics-text; version=1.0.0").content.decode())
"""


def start_worker(folder: Path, depth: int, *, ready: bool = True) -> subprocess.Popen[str]:
    program = WORKER.format(tests=str(Path(__file__).parent), depth=depth, ready=ready)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)},
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "served\n"
    return process


@pytest.fixture
def two_workers(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    workers = [start_worker(tmp_path, 2), start_worker(tmp_path, 3, ready=False)]
    yield workers
    for worker in workers:
        worker.communicate("", timeout=20)


def exposed(folder: Path) -> CollectorRegistry:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))
    return registry


def test_processes_add_up(tmp_path: Path, two_workers: list[subprocess.Popen[str]]) -> None:
    registry = exposed(tmp_path)
    read = registry.get_sample_value
    assert read("nodogram_requests_total", {"protocol": "http", "method": "predict", "reason": "OK"}) == 5
    assert read("nodogram_stage_seconds_count", {"stage": "radiomics"}) == 5
    assert read("nodogram_request_seconds_bucket", {"protocol": "http", "method": "predict", "le": "0.5"}) == 5
    assert read("nodogram_queue_depth", {"queue": "cases"}) == 5, "the sum"
    assert read("nodogram_queue_oldest_seconds", {"queue": "cases"}) == 1.5, "the longest"
    assert read("nodogram_known_answer_difference", {"case": "synthetic-1"}) == 0.003, "the worst"
    assert read("nodogram_ready") == 0, "one of them is not"
    assert read("nodogram_bundle_info", small_labels()) == 1
    assert list(text_string_to_metric_families(generate_latest(registry).decode()))
    page, _ = two_workers.pop(0).communicate("now\n", timeout=20)
    spoken = {family.name: family for family in parse_openmetrics(page.rstrip("\n") + "\n")}
    counts = [sample.value for sample in spoken["nodogram_batch_size"].samples if sample.name.endswith("_count")]
    assert counts == [2], "of both processes, in the format that was asked for"


def test_a_killed_process_leaves_no_gauge_behind(tmp_path: Path, two_workers: list[subprocess.Popen[str]]) -> None:
    dead = two_workers.pop()
    dead.send_signal(signal.SIGKILL)
    dead.communicate(timeout=20)
    two_workers.append(start_worker(tmp_path, 7))
    read = exposed(tmp_path).get_sample_value
    assert read("nodogram_queue_depth", {"queue": "cases"}) == 9, "what waited in the killed process waits no more"
    assert read("nodogram_ready") == 1
    assert read("nodogram_requests_total", {"protocol": "http", "method": "predict", "reason": "OK"}) == 12, "nor is it lost"


def small_labels() -> dict[str, str]:
    return {"name": "small", "digest": DIGEST[:12], "nodogram_version": "0.1.0", "outcome": "lnm"}
