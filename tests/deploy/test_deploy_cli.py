"""``nodogram deploy`` as typed: exit status, documents on stdout, one coded line on stderr."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner, Result

import deploy
from deploy.cli import deploy_app, parse_duration
from tests.deploy.conftest import IMAGE
from tests.deploy.emulator.emulator import Emulator
from tests.deploy.emulator.faults import Fault
from tests.deploy.releases import FIRST, NAMESPACE, install_serving

IMPORT = re.compile(r"^\s*(import|from) kubernetes\b", re.MULTILINE)


def typed(emulator: Emulator, *arguments: str) -> Result:
    kubeconfig = str(emulator.kubeconfig(NAMESPACE))
    return CliRunner().invoke(deploy_app, [arguments[0], "--kubeconfig", kubeconfig, *arguments[1:]])


def document(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_train_prints_one_document_and_leaves_log_and_outcome(emulator: Emulator, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = typed(emulator, "train", "-r", "night", "--recipe", "paper", "--json", "--out", str(out), "--env", "EPOCHS=1")
    assert result.exit_code == 0, result.output
    found = document(result)
    assert (found["state"], found["result"]["bundle_digest"], found["reason"]) == ("done", "a" * 64, None)
    assert json.loads((out / "outcome.json").read_text()) == found
    assert [line.split(" ", 1)[1] for line in (out / "job.log").read_text().splitlines()] == [
        "[1/2] Cohort",
        "      line 0",
        "[2/2] Bundle",
    ]
    job = emulator.store.find("Job", NAMESPACE, found["job"])
    assert job is not None
    arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments == ["train", "--cohort", "/cohort", "--recipe", "paper", "--out", "/run", "--resume"]


def test_a_refusal_of_the_training_is_exit_status_1_with_its_reason(emulator: Emulator) -> None:
    result = typed(emulator, "train", "-r", "night", "--env", "BEHAVIOR=refuse")
    assert result.exit_code == 1
    assert "TRAINING_REFUSED COHORT_TOO_SMALL 12 patients, at least 30 are required" in result.stderr
    assert result.stdout == ""


def test_what_can_be_tried_again_is_exit_status_3(emulator: Emulator) -> None:
    result = typed(emulator, "train", "-r", "night", "--env", "BEHAVIOR=crash", "--json")
    assert result.exit_code == 3
    assert document(result)["reason"] == "JOB_FAILED"


def test_without_following_the_job_is_only_named(emulator: Emulator) -> None:
    result = typed(emulator, "train", "-r", "night", "--run", "june", "--no-follow", "--json")
    assert (result.exit_code, document(result)["job"]) == (0, "night-nodogram-training-june")
    assert document(result)["state"] == "submitted"


def test_a_coded_line_and_no_traceback_for_what_the_server_refuses(emulator: Emulator) -> None:
    emulator.faults.add(Fault("POST", "/jobs$", code=403, message="exceeded quota: jobs"))
    result = typed(emulator, "train", "-r", "night")
    assert result.exit_code == 3
    assert "QUOTA_EXCEEDED cannot create Job" in result.stderr
    assert "Traceback" not in result.output


def test_promote_status_and_rollback(emulator: Emulator) -> None:
    install_serving(emulator, "clinic", IMAGE, replicas=1)
    promoted = typed(
        emulator, "promote", "-r", "clinic", "--uri", "s3://b/second", "--digest", "2" * 64, "--expect-digest", FIRST, "--json"
    )
    assert promoted.exit_code == 0, promoted.output
    assert document(promoted)["state"] == "promoted"
    assert document(promoted)["rollout"]["is_complete"] is True
    again = typed(emulator, "promote", "-r", "clinic", "--uri", "s3://b/second", "--digest", "2" * 64)
    assert "serves 222222222222 (s3://b/second) already; nothing was changed" in again.stderr
    status = typed(emulator, "status", "--json")
    (serving,) = document(status)["serving"]
    assert (serving["bundle"]["digest"], serving["previous"]["digest"]) == ("2" * 64, FIRST)
    assert "release clinic serves 222222222222" in typed(emulator, "status").stdout
    back = typed(emulator, "rollback", "-r", "clinic", "--no-wait", "--json")
    assert (document(back)["bundle"]["digest"], document(back)["rollout"]) == (FIRST, None)
    lost = typed(emulator, "promote", "-r", "clinic", "--uri", "s3://b/3", "--digest", "3" * 64, "--expect-digest", "2" * 64)
    assert lost.exit_code == 1
    assert "PROMOTION_CONFLICT" in lost.stderr


def test_a_failed_rollout_is_undone_if_asked(emulator: Emulator) -> None:
    install_serving(emulator, "clinic", IMAGE, replicas=1, deadline_s=1)
    bad = ("--uri", "s3://b/bad", "--digest", "d" * 64)
    result = typed(emulator, "promote", "-r", "clinic", *bad, "--undo-on-failure", "--timeout", "120s")
    assert result.exit_code == 1
    assert "ROLLOUT_FAILED" in result.stderr
    assert f"The release goes back to {FIRST[:12]}" in result.stderr
    found = emulator.store.find("ConfigMap", NAMESPACE, "clinic-nodogram-serving-bundle")
    assert found is not None
    assert found["data"]["digest"] == FIRST


def decision(folder: Path, champion: str, challenger: str, verdict: str = "promoted") -> tuple[Path, Path]:
    """Write what a gate would, as far as the client reads it; return the decision and the gate's public key."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    folder = folder / f"{champion[0]}-{challenger[0]}-{verdict}"
    folder.mkdir(exist_ok=True)
    public = folder / "gate.pub"
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    event = {
        "kind": "decision",
        "verdict": verdict,
        "champion": {"digest": champion},
        "challenger": {"digest": challenger},
        "plan": {"name": "default", "version": 1, "approval": {"required": False, "key": None}},
    }
    content = json.dumps({"event": event}, sort_keys=True, separators=(",", ":")).encode()
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    seal = {
        "digest": hashlib.sha256(content).hexdigest(),
        "public_key": base64.b64encode(raw).decode(),
        "signature": base64.b64encode(key.sign(content)).decode(),
    }
    path = folder / "decision.json"
    line = json.dumps({"entry": {"event": event}, "seal": seal}, sort_keys=True, separators=(",", ":"))
    path.write_text(f"{line}\n", encoding="utf-8")
    return path, public


def test_promote_takes_only_what_a_trusted_gate_decided(emulator: Emulator, tmp_path: Path) -> None:
    install_serving(emulator, "clinic", IMAGE, replicas=1)

    def promoted(path: Path | None, public: Path, digest: str) -> Result:
        given = () if path is None else ("--decision", str(path))
        bundle = ("--uri", "s3://b/second", "--digest", digest)
        return typed(emulator, "promote", "-r", "clinic", *bundle, *given, "--decision-key", str(public), "--json")

    def config_map() -> dict[str, Any]:
        found = emulator.store.find("ConfigMap", NAMESPACE, "clinic-nodogram-serving-bundle")
        assert found is not None
        return found

    refused, public = decision(tmp_path, FIRST, "2" * 64, verdict="refused")
    assert promoted(None, public, "2" * 64).exit_code == 2
    for path, digest, reason in (
        (refused, "2" * 64, "DECISION_INVALID decision.json: the gate says refused"),
        (decision(tmp_path, FIRST, "2" * 64)[0], "3" * 64, "DECISION_INVALID the decision is about the bundle 222222222222"),
        (decision(tmp_path, "9" * 64, "2" * 64)[0], "2" * 64, "PROMOTION_CONFLICT the decision compares with 999999999999"),
    ):
        result = promoted(path, public, digest)
        assert result.exit_code == 1
        assert reason in " ".join(result.stderr.split())
    assert config_map()["data"]["digest"] == FIRST

    path, public = decision(tmp_path, FIRST, "2" * 64)
    assert promoted(path, public, "2" * 64).exit_code == 0
    noted = config_map()
    assert noted["data"]["digest"] == "2" * 64
    assert hashlib.sha256(path.read_bytes()).hexdigest() in noted["metadata"]["annotations"].values()
    assert document(promoted(path, public, "2" * 64))["state"] == "unchanged"


@pytest.mark.parametrize("content", [None, "not: [a, kubeconfig", "{}"])
def test_a_kubeconfig_that_is_none_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    result = CliRunner().invoke(deploy_app, ["status", "--kubeconfig", str(path)])
    assert result.exit_code == 1
    assert "CLUSTER_CONFIG_INVALID" in result.stderr


def test_a_context_that_is_not_there_is_refused(emulator: Emulator) -> None:
    result = typed(emulator, "status", "--context", "production")
    assert (result.exit_code, "CLUSTER_CONFIG_INVALID" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train"],
        ["train", "-r", "night", "--timeout", "soon"],
        ["train", "-r", "night", "--env", "=1"],
        ["promote", "-r", "clinic", "--uri", "s3://b/k"],
    ],
)
def test_wrong_usage_is_exit_status_2(emulator: Emulator, arguments: list[str]) -> None:
    assert typed(emulator, *arguments).exit_code == 2


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90.0), ("30m", 1800.0), ("1.5h", 5400.0), ("2d", 172800.0)])
def test_durations_carry_their_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_the_official_client_is_imported_in_one_module_and_only_when_a_command_runs() -> None:
    importers = {path.name for path in Path(deploy.__file__).parent.glob("*.py") if IMPORT.search(path.read_text())}
    assert importers == {"cluster.py"}
    program = "import sys, deploy.cli; sys.exit('kubernetes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], check=False).returncode == 0
