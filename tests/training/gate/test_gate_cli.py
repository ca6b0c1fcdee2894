"""``nodogram gate`` as typed by a user."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from example_gate import APPROVER, KEY, Story
from typer.testing import CliRunner, Result

from training.external.signature import fingerprint
from training.gate.ledger import load_state
from training.gate_cli import gate

SHIPPED = Path(__file__).parents[3] / "training" / "gate" / "plans" / "default.toml"


def run(*arguments: object) -> Result:
    """Run the command as the root command mounts it."""
    app = typer.Typer()
    app.add_typer(gate, name="gate")
    app.command("other")(lambda: None)
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["gate", *(str(a) for a in arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def write_keys(folder: Path) -> Path:
    pairs: dict[str, Ed25519PrivateKey] = {"gate": KEY, "approver": APPROVER}
    for name, key in pairs.items():
        (folder / f"{name}.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{name}.pub").write_bytes(public)
    return folder


def judge(story: Story, folder: Path, name: str, *more: object, champion: str = "champion") -> Result:
    inputs = story.inputs(name, champion)
    given = ("--champion", inputs.champion, "--challenger", inputs.challenger, "--bundle", inputs.bundle)
    return run(*given, "--ledger", folder / "ledger.jsonl", "--key", folder / "gate.pem", *more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_keys(tmp_path)


def test_promoted_ends_with_zero_and_refused_with_one(story: Story, folder: Path) -> None:
    good = judge(story, folder, "better")
    assert good.exit_code == 0
    assert "PROMOTED" in good.stdout
    assert "lower bound above -0.05" in good.stdout
    assert "The plan locks no test set" in good.stdout
    bad = judge(story, folder, "worse", champion="better")
    assert bad.exit_code == 1
    assert "REFUSED" in bad.stdout
    assert "the lower bound does not lie above -0.05" in bad.stdout.replace("\n", " ")


def test_json_is_the_line_of_the_ledger(story: Story, folder: Path) -> None:
    result = judge(story, folder, "better", "--json", "--decision", folder / "decision.json")
    text = (folder / "ledger.jsonl").read_text(encoding="utf-8")
    assert result.stdout == text
    assert (folder / "decision.json").read_text(encoding="utf-8") == text


def test_what_is_missing_is_a_usage_error(story: Story, folder: Path) -> None:
    result = run("--champion", story.folder)
    assert result.exit_code == 2
    assert "--challenger, --bundle, --ledger, --key" in result.output


def test_verify_says_who_signed_and_finds_a_change(story: Story, folder: Path) -> None:
    judge(story, folder, "better")
    ledger = folder / "ledger.jsonl"
    whole = run("verify", ledger, "--public-key", folder / "gate.pub", "--json")
    found = json.loads(whole.stdout)
    assert whole.exit_code == 0
    assert found["champion"] == story.digest("better")
    assert found["former"] == story.digest("champion")
    assert found["key_fingerprints"] == [fingerprint(KEY.public_key())]
    assert run("verify", ledger, "--public-key", folder / "approver.pub").exit_code == 1
    assert run("verify", ledger, "--head", "0" * 64).exit_code == 1
    ledger.write_text(ledger.read_text(encoding="utf-8").replace('"promoted"', '"refused"'), encoding="utf-8")
    changed = run("verify", ledger)
    assert changed.exit_code == 1
    assert "its signature is not one of its content" in changed.stdout


def test_approval_and_rollback(story: Story, folder: Path) -> None:
    plan = folder / "plan.toml"
    text = SHIPPED.read_text(encoding="utf-8")
    name = fingerprint(APPROVER.public_key())
    asked = text.replace("required = false", "required = true").replace('key = "none"', f'key = "{name}"')
    plan.write_text(asked.replace("replicates = 2000", "replicates = 200"), encoding="utf-8")
    waiting = judge(story, folder, "better", "--plan", plan)
    assert waiting.exit_code == 1
    assert "AWAITING APPROVAL" in waiting.stdout
    ledger = folder / "ledger.jsonl"
    given = ("--key", folder / "approver.pem", "--decision", folder / "decision.json", "--note", "agreed")
    confirmed = run("approve", ledger, *given)
    assert confirmed.exit_code == 0
    assert len((folder / "decision.json").read_text(encoding="utf-8").splitlines()) == 2
    assert load_state(ledger).champion == story.digest("better")
    back = run("rollback", ledger, "--key", folder / "gate.pem")
    assert back.exit_code == 0
    assert story.digest("champion") in back.stdout
    assert load_state(ledger).champion == story.digest("champion")


def test_the_registry_follows(story: Story, folder: Path) -> None:
    from training.registry import BundleRegistry
    from training.tracking import TrackingStore, tracking_client

    where = str(folder / "tracking")
    uri = "s3://bundles/better.tar"
    assert judge(story, folder, "better", "--registry", where, "--uri", uri).exit_code == 0
    assert judge(story, folder, "worse", "--registry", where, champion="better").exit_code == 1
    with tracking_client(TrackingStore.at(where)) as client:
        registry = BundleRegistry(client)
        champion, former = registry.find("champion"), registry.find("former")
        assert champion is not None
        assert former is not None
        assert (champion.digest, champion.uri) == (story.digest("better"), uri)
        assert former.digest == story.digest("champion")
        assert former.uri == f"urn:sha256:{former.digest}"
    assert run("rollback", folder / "ledger.jsonl", "--key", folder / "gate.pem", "--registry", where).exit_code == 0
    with tracking_client(TrackingStore.at(where)) as client:
        restored = BundleRegistry(client).find("champion")
        assert restored is not None
        assert restored.digest == story.digest("champion")
