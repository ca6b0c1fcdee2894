"""The two programs the charts bring along, run as pods run them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme
import uvicorn
from fastapi import FastAPI, Response
from scenarios import SERVING, TRAINING
from small_model import DIGEST
from small_server import SmallDoor, small_door

from nodogram.features import FeatureTable
from serving.http_api import build_app
from training.extraction_result import ExtractionManifest, ExtractionResult, make_manifest, write_result
from training.extraction_settings import extraction_settings
from training.shards import Missing, Shard, merge_shards

ASK = SERVING / "files" / "ask.py"
WAIT = TRAINING / "files" / "wait_for_shards.py"
OTHER = "f" * 64
TOKENS = "# clients\n\nrouter:a-token-of-the-router\n"


def run(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    # -I: nothing but the standard library, as in a container without our package.
    command = [sys.executable, "-I", program, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@contextmanager
def served(door: SmallDoor, **tls: Any) -> Iterator[str]:
    """Serve the real application, with the answer of BentoML to /readyz beside it."""
    app: FastAPI = build_app(door.door)
    app.add_api_route("/readyz", lambda: Response(status_code=200 if door.door.lifecycle.is_ready else 503))
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="off", ws="none", **tls)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        end = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < end, "the server did not start"
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(15)


def test_a_ready_server_with_the_right_bundle(tmp_path: Path) -> None:
    with served(small_door(tmp_path)) as url:
        assert run(ASK, url).returncode == 0
        assert run(ASK, url, f"--digest={DIGEST}").stdout == f"/readyz answers 200, bundle {DIGEST[:12]}\n"
        wrong = run(ASK, url, f"--digest={OTHER}")
    assert (wrong.returncode, wrong.stderr.strip()) == (1, f"bundle {DIGEST[:12]} is served; {OTHER[:12]} is required")


def test_a_server_that_is_not_ready_and_one_that_is_not_there(tmp_path: Path) -> None:
    door = small_door(tmp_path)
    door.door.lifecycle.drain()
    with served(door) as url:
        draining = run(ASK, url)
    assert (draining.returncode, draining.stderr.strip()) == (1, "/readyz: status 503; 200 is required")
    gone = run(ASK, url)
    assert gone.returncode == 1
    assert gone.stderr.startswith("ConnectionRefusedError")


def test_tokens_are_shown_and_wanted(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKENS, encoding="utf-8")
    asked = (f"--digest={DIGEST}", f"--token-file={tokens}")
    with served(small_door(tmp_path, token_file=tokens)) as url:
        assert run(ASK, url, *asked).returncode == 0
        without = run(ASK, url, f"--digest={DIGEST}")
    assert (without.returncode, without.stderr.strip()) == (1, "/v1/model: status 401; 200 is required")
    with served(small_door(tmp_path)) as url:
        unguarded = run(ASK, url, *asked)
    assert unguarded.stderr.strip() == "/v1/model without a token: status 200; 401 is required"


def test_mutual_tls(tmp_path: Path) -> None:
    """As the probes ask, with the server's certificate and unchecked; and as the test asks, checking it."""
    authority, stranger = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(tmp_path / "tls.key"))
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(tmp_path / "tls.crt"), append=True)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.crt"))
    tls = {
        "ssl_certfile": str(tmp_path / "tls.crt"),
        "ssl_keyfile": str(tmp_path / "tls.key"),
        "ssl_ca_certs": str(tmp_path / "authority.crt"),
        "ssl_cert_reqs": 2,
    }
    with served(small_door(tmp_path), **tls) as url:
        assert run(ASK, url, f"--tls-folder={tmp_path}").returncode == 0
        assert run(ASK, url).returncode == 1
        authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
        assert run(ASK, url, f"--tls-folder={tmp_path}", f"--digest={DIGEST}").returncode == 0
        stranger.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
        refused = run(ASK, url, f"--tls-folder={tmp_path}")
    assert refused.returncode == 1
    assert "CERTIFICATE_VERIFY_FAILED" in refused.stderr


@pytest.fixture(scope="module")
def manifest() -> ExtractionManifest:
    parameters = extraction_settings("sound", None, None)
    return make_manifest(parameters.settings, parameters.names, allow_border=False)


LABELS = [f"p{number}" for number in range(5)]


def finish(out: Path, shard: Shard, manifest: ExtractionManifest) -> None:
    """Write the result of a shard, as an extraction does."""
    labels = shard.of(LABELS)
    names = manifest.features.names
    table = FeatureTable(labels, names, np.zeros((len(labels), len(names))))
    write_result(ExtractionResult(manifest=manifest, table=table, failures=(), notes=()), shard.folder(out))


def test_the_wait_ends_when_every_shard_can_be_merged(tmp_path: Path, manifest: ExtractionManifest) -> None:
    shards = [Shard(number, 3) for number in (1, 2, 3)]
    for shard in shards[:2]:
        finish(tmp_path, shard, manifest)
    arguments = [sys.executable, "-I", WAIT, tmp_path, "--shards=3", "--timeout-s=60", "--interval-s=0.05"]
    with subprocess.Popen(list(map(str, arguments)), stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stderr is not None
        assert waiting.stderr.readline() == "2 of 3 shards have finished; waiting for 3/3\n"
        assert waiting.poll() is None
        assert merge_shards(tmp_path, LABELS, 3) == Missing((shards[2],), shards[2].of(LABELS))
        finish(tmp_path, shards[2], manifest)
        assert waiting.wait(30) == 0
        assert waiting.stderr.read() == "all 3 shards have finished\n"
    merged = merge_shards(tmp_path, LABELS, 3)
    assert not isinstance(merged, Missing)
    assert list(merged.table.case_ids) == LABELS


def test_a_shard_begun_anew_is_waited_for(tmp_path: Path, manifest: ExtractionManifest) -> None:
    """An extraction removes the manifest first and writes it last."""
    finish(tmp_path, Shard(1, 1), manifest)
    assert run(WAIT, tmp_path, "--shards=1", "--timeout-s=0").stderr == "all 1 shards have finished\n"
    (Shard(1, 1).folder(tmp_path) / "manifest.json").unlink()
    assert merge_shards(tmp_path, LABELS, 1) == Missing((Shard(1, 1),), tuple(LABELS))
    ended = run(WAIT, tmp_path, "--shards=1", "--timeout-s=0")
    # Not a failure: the merge that follows names what is missing.
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (0, "no longer waiting for 1/1")
