"""Runs and models in a local MLflow store: every figure, once, and no patient."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from nodogram.errors import NodogramError, Reason
from training.gate.ledger import LedgerState
from training.registry import BundleRegistry
from training.results import load_results
from training.tracking import TrackingStore, artifacts, metrics, parameters, track_run, tracking_client

ONE, TWO, THREE = "1" * 64, "2" * 64, "3" * 64


@pytest.fixture(scope="module")
def store(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrackingStore, Path, str]:
    folder = tmp_path_factory.mktemp("tracking")
    found = TrackingStore.at(str(folder))
    return found, folder, track_run(tiny_run, found)


def test_every_figure_and_every_key_of_the_recipe_is_there(tiny_run: Path, store: tuple[TrackingStore, Path, str]) -> None:
    results = load_results(tiny_run)
    with tracking_client(store[0]) as client:
        run = client.get_run(store[2])
    chosen = next(m for m in results.models if m.feature_set == "nomogram" and m.sample == "test")
    assert run.data.metrics["test.nomogram.auc"] == chosen.auc.value
    assert run.data.metrics["test.nomogram.auc_low"] == chosen.auc.low
    assert metrics(results).items() <= run.data.metrics.items()
    assert run.data.params["classifiers.names"] == str(list(results.recipe.classifiers.names))
    assert run.data.params == parameters(results.recipe.model_dump(mode="json"))
    assert run.data.tags["bundle_digest"] == results.bundle_digest
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time == int(1000 * results.duration_s)


def test_losses_are_kept_by_epoch(tiny_run: Path, store: tuple[TrackingStore, Path, str]) -> None:
    curve = load_results(tiny_run).finetune_curves[0]
    with tracking_client(store[0]) as client:
        history = client.get_metric_history(store[2], f"finetune.{curve.label}.train_loss")
    assert [(m.step, m.value) for m in history] == list(enumerate(curve.train_loss, 1))


def test_figures_are_kept_and_pictures_of_patients_are_not(tiny_run: Path, store: tuple[TrackingStore, Path, str]) -> None:
    kept = {path.name for path in store[1].rglob("figures/*")}
    drawn = {path.name for path in (tiny_run / "figures").iterdir()}
    assert kept == {name for name in drawn if not name.startswith("activation_maps")}
    assert any(name.startswith("roc") for name in kept)
    assert any(name.startswith("activation_maps") for name in drawn)


def test_no_patient_is_in_any_byte(tiny_run: Path, tiny_cohort: Path, store: tuple[TrackingStore, Path, str]) -> None:
    with (tiny_cohort / "cohort.csv").open(encoding="utf-8", newline="") as stream:
        patients = [row["patient_id"].encode() for row in csv.DictReader(stream)]
    assert len(patients) == 40
    names = [*patients, str(tiny_cohort).encode(), str(tiny_run).encode()]
    files = [path for path in store[1].rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        content = path.read_bytes()
        assert not [name for name in names if name in content], path.name


def test_a_run_is_recorded_once(tiny_run: Path, store: tuple[TrackingStore, Path, str]) -> None:
    assert track_run(tiny_run, store[0]) == store[2]


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NodogramError) as refused:
        track_run(tmp_path, TrackingStore.at(str(tmp_path / "tracking")))
    assert refused.value.reason is Reason.RUN_MISMATCH
    assert not (tmp_path / "tracking").exists()


def test_a_store_that_cannot_be_written_says_so(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NodogramError) as refused:
        track_run(tiny_run, TrackingStore.at(str(tmp_path / "file" / "below")))
    assert refused.value.reason is Reason.OUTPUT_NOT_WRITABLE


def test_a_server_that_is_not_there_says_so(tiny_run: Path, monkeypatch: pytest.MonkeyPatch, unused_port: int) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(NodogramError, match="the tracking store http://127") as refused:
        track_run(tiny_run, TrackingStore.at(f"http://127.0.0.1:{unused_port}"))
    assert refused.value.reason is Reason.OUTPUT_NOT_WRITABLE


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_where_a_store_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert TrackingStore.at("local").uri == f"sqlite:///{tmp_path}/tracking/mlflow.db"
    assert TrackingStore.at("elsewhere").artifacts == f"file://{tmp_path}/elsewhere/artifacts"
    assert TrackingStore.at("https://mlflow.example.org") == TrackingStore("https://mlflow.example.org")


def test_telemetry_is_off(store: tuple[TrackingStore, Path, str]) -> None:
    with tracking_client(store[0]):
        from mlflow.telemetry.utils import is_telemetry_disabled

        assert is_telemetry_disabled()


def test_aliases_follow_the_ledger_and_go_back(tmp_path: Path) -> None:
    with tracking_client(TrackingStore.at(str(tmp_path))) as client:
        registry = BundleRegistry(client)
        registry.register(TWO, "oci://registry.example.org/models/nodogram:2")
        for state, champion, former in (
            (LedgerState("a", TWO, ONE), TWO, ONE),
            (LedgerState("b", THREE, TWO), THREE, TWO),
            (LedgerState("c", TWO, THREE), TWO, THREE),
        ):
            registry.follow(state)
            registry.follow(state)
            found = [registry.find(alias) for alias in ("champion", "former", "challenger")]
            assert [b and b.digest for b in found] == [champion, former, None]
        assert len(client.search_model_versions("name = 'nodogram'")) == 3
        champion_now = registry.find("champion")
        assert champion_now is not None
        assert champion_now.uri == "oci://registry.example.org/models/nodogram:2"
        assert client.get_registered_model("nodogram").tags["ledger_head"] == "c"


def test_documents_of_the_bundle_are_kept(tiny_run: Path) -> None:
    assert {path.name for path, folder in artifacts(tiny_run) if folder == "bundle"} == {"bundle.json", "MODEL_CARD.md"}
