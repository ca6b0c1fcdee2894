"""The whole server as an operator meets it: readiness, its end, its refusals to start."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from running_server import Served, running

from nodogram.bundle import BundleManifest, list_files
from serving.client import Client, RefusedError


def case_of(cohort: Path) -> tuple[Path, Path]:
    patient = sorted((cohort / "patients").iterdir())[0]
    return next(patient.glob("*ct*")), next(p for p in patient.iterdir() if "ct" not in p.name)


def seal(bundle: Path) -> None:
    """Make the digests of a changed bundle true again."""
    path = bundle / "bundle.json"
    document = json.loads(path.read_text())
    document["files"] = list_files(bundle)
    document["digest"] = BundleManifest.model_validate(document).content_digest()
    path.write_text(json.dumps(document))


def test_ready_after_its_known_answers_and_says_so(served: Served) -> None:
    log = [json.loads(line) for line in served.log.read_text().splitlines() if line.startswith("{")]
    events = [line["event"] for line in log]
    assert events.index("known answer reproduced") < events.index("ready")
    figures = [line["probability_difference"] for line in log if line["event"] == "known answer reproduced"]
    assert figures
    assert max(figures) <= 1e-4
    assert httpx.get(f"{served.url}/livez").status_code == 200
    families = {family.name: family for family in text_string_to_metric_families(httpx.get(f"{served.url}/metrics").text)}
    assert families["nodogram_ready"].samples[0].value == 1
    assert families["nodogram_provider_info"].samples[0].labels["active"] == "CPUExecutionProvider"
    # Nothing of BentoML's own, whose labels are paths as they were asked for.
    assert all(name.startswith("nodogram_") for name in families)


def test_a_bundle_that_does_not_reproduce_is_never_ready(tiny_run: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_run / "bundle", bundle)
    expected = sorted((bundle / "cases").glob("*/expected.json"))[0]
    document = json.loads(expected.read_text())
    document["dlr_probability"] = document["dlr_probability"] / 2 + 0.001
    expected.write_text(json.dumps(document))
    seal(bundle)
    with running(bundle, tmp_path, ready=False) as server:
        server.wait_for('"event": "not ready"')
        assert "BUNDLE_KNOWN_ANSWER_FAILED" in server.log.read_text()
        assert httpx.get(f"{server.url}/readyz").status_code == 503
        assert httpx.get(f"{server.url}/livez").status_code == 200
        with Client(server.url) as client, pytest.raises(RefusedError, match="NOT_READY"):
            client.model()


def test_a_provider_that_fell_back_is_never_ready(tiny_run: Path, tmp_path: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("there may be a GPU")
    with running(tiny_run / "bundle", tmp_path, "--provider", "cuda", ready=False) as server:
        server.wait_for('"event": "not ready"')
        assert "PROVIDER_UNAVAILABLE" in server.log.read_text()
        assert not server.is_ready()


def test_the_end_is_announced_and_work_in_flight_is_finished(tiny_run: Path, tiny_cohort: Path, tmp_path: Path) -> None:
    image, roi = case_of(tiny_cohort)
    answers: list[float | None] = []
    with running(tiny_run / "bundle", tmp_path, "--case-workers", "1", NODOGRAM_DRAIN_DELAY_S="1.5") as server:

        def ask() -> None:
            with Client(server.url) as client:
                answers.append(client.predict(image, roi).dlr_score.probability)

        askers = [threading.Thread(target=ask) for _ in range(6)]
        for asker in askers:
            asker.start()
        time.sleep(0.2)
        family = psutil.Process(server.process.pid).children(recursive=True)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for('"event": "draining"')
        # Not ready at once, though requests are still answered.
        assert httpx.get(f"{server.url}/readyz").status_code == 503
        for asker in askers:
            asker.join(60)
        assert server.process.wait(60) == 0
    assert len(answers) == len(askers)
    assert '"event": "stopped"' in server.log.read_text()
    assert family
    assert not psutil.wait_procs(family, timeout=5)[1]


@pytest.mark.parametrize(
    ("options", "environment", "said"),
    [
        (["--host", "0.0.0.0"], {}, "token_file is required"),  # noqa: S104 - refused
        (["--host", "nonsense"], {}, "NODOGRAM_HOST"),
        ([], {"NODOGRAM_MAXIMUM_CASE": "3"}, "NODOGRAM_MAXIMUM_CASE is unknown"),
        ([], {"NODOGRAM_MAXIMUM_CASES": "0"}, "NODOGRAM_MAXIMUM_CASES"),
        ([], {"NODOGRAM_TLS_KEY": "x.pem"}, "required together"),
        (["--token-file", "missing"], {}, "missing"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(
    tiny_run: Path, options: list[str], environment: dict[str, str], said: str
) -> None:
    command = [sys.executable, "-m", "nodogram", "serve", "--bundle", str(tiny_run / "bundle"), *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, **environment}, timeout=60)
    assert done.returncode == 1
    assert "SETTINGS_INVALID" in done.stderr
    assert said in " ".join(done.stderr.split())


def test_a_missing_bundle_is_said_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nodogram", "serve", "--bundle", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "BUNDLE_NOT_FOUND" in done.stderr) == (1, True)


def test_tokens_are_wanted_by_both_protocols(tiny_run: Path, tmp_path: Path) -> None:
    from serving.grpc_client import GrpcClient

    secret = secrets.token_hex(12)
    (tmp_path / "tokens").write_text(f"pacs:{secret}\n")
    with running(tiny_run / "bundle", tmp_path, "--token-file", str(tmp_path / "tokens")) as server:
        with Client(server.url) as client, pytest.raises(RefusedError, match="UNAUTHENTICATED"):
            client.model()
        with Client(server.url, token=secret) as client:
            assert client.model().name
        (tmp_path / "image.nii").write_bytes(b"")
        with GrpcClient(server.grpc_target) as grpc, pytest.raises(RefusedError, match="UNAUTHENTICATED"):
            grpc.predict(tmp_path / "image.nii", tmp_path / "image.nii")
        assert secret not in server.log.read_text()
        assert httpx.get(f"{server.url}/metrics").status_code == 200
