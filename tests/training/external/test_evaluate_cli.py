"""``nodogram evaluate`` and ``nodogram evaluate verify`` as typed by a user."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from typer.testing import CliRunner, Result

from nodogram.errors import NodogramError, Reason
from training.evaluate_cli import evaluate
from training.external.signature import read_evaluation


def run(*arguments: object) -> Result:
    """Run the command as the root command mounts it."""
    app = typer.Typer()
    app.add_typer(evaluate, name="evaluate")
    app.command("other")(lambda: None)
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["evaluate", *(str(a) for a in arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("own", "other"):
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{name}.pem").write_bytes(private)
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{name}.pub").write_bytes(public)
    return folder


@pytest.fixture(scope="module")
def out(clinical_bundle: Path, small_cohort: Path, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "out"
    given = ("--bundle", clinical_bundle, "--cohort", small_cohort, "--out", folder, "--jobs", 2)
    result = run(*given, "--sign", keys / "own.pem", "--json")
    assert result.exit_code == 0
    # Nothing but the document on stdout, and it is the one in the file.
    assert result.stdout == (folder / "evaluation.json").read_text(encoding="utf-8")
    return folder


def test_what_was_signed_is_verified(out: Path, keys: Path) -> None:
    result = run("verify", out / "evaluation.json", "--public-key", keys / "own.pub")
    assert result.exit_code == 0
    assert "unchanged since it was signed by the key given" in result.stdout
    assert "27 patients" in result.stdout


def test_a_changed_digit_and_a_wrong_key_end_with_one(out: Path, keys: Path, tmp_path: Path) -> None:
    text = (out / "evaluation.json").read_text(encoding="utf-8")
    count = f'"patient_count": {read_evaluation(text).scores[0].evidence.patient_count}'
    changed = tmp_path / "changed.json"
    changed.write_text(text.replace(count, count[:-1] + "1", 1), encoding="utf-8")
    result = run("verify", changed)
    assert (result.exit_code, "CHANGED" in result.stdout) == (1, True)
    result = run("verify", out / "evaluation.json", "--public-key", keys / "other.pub", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["status"] == "wrong_key"


def test_a_second_time_needs_resume_and_prints_the_answer(clinical_bundle: Path, small_cohort: Path, out: Path) -> None:
    given = ("--bundle", clinical_bundle, "--cohort", small_cohort, "--out", out, "--jobs", 1)
    with pytest.raises(NodogramError) as caught:
        run(*given)
    assert caught.value.reason is Reason.RUN_EXISTS
    before = read_evaluation((out / "evaluation.json").read_text(encoding="utf-8"))
    result = run(*given, "--resume", "--recalibrate", "logistic")
    assert result.exit_code == 0
    after = read_evaluation((out / "evaluation.json").read_text(encoding="utf-8"))
    assert after.scores == before.scores
    assert after.recalibration is not None
    assert after.recalibration.written == "logistic"
    for text in ("Calibration slope", "27 patients", "the flow says why", "report/index.html"):
        assert text in result.stdout


@pytest.mark.parametrize("missing", ["--bundle", "--cohort", "--out"])
def test_usage_errors_end_with_two(missing: str) -> None:
    given = {"--bundle": "b", "--cohort": "c", "--out": "o"}
    result = run(*(part for name, value in given.items() if name != missing for part in (name, value)))
    assert result.exit_code == 2
    assert missing in result.stderr


def test_files_that_are_not_there_have_codes(tmp_path: Path) -> None:
    with pytest.raises(NodogramError) as caught:
        run("verify", tmp_path / "nothing.json")
    assert caught.value.reason is Reason.UNREADABLE_FILE
    with pytest.raises(NodogramError) as caught:
        run("--bundle", tmp_path, "--cohort", tmp_path, "--out", tmp_path / "out")
    assert caught.value.reason is Reason.BUNDLE_NOT_FOUND
    with pytest.raises(NodogramError) as caught:
        run("--bundle", tmp_path, "--cohort", tmp_path, "--out", tmp_path / "out", "--sign", tmp_path / "key.pem")
    assert caught.value.reason is Reason.FILE_NOT_FOUND


def test_help_shows_both_forms() -> None:
    text = run("--help").stdout
    assert "--recalibrate" in text
    assert "verify" in text
