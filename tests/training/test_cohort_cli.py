"""``nodogram cohort``: exit codes, and JSON alone on stdout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nodogram.errors import Reason, SurroundingsError
from nodogram.synthesis.cohort import write_cohort
from training.cohort_cli import cohort_app


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(cohort_app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "c"
    return write_cohort(folder, patient_count=3, seed=2, signal=1.0, image_format="dicom", matrix=64, slice_count=24)


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    write_cohort(tmp_path, patient_count=3, seed=2, signal=1.0, image_format="nifti", matrix=64, slice_count=24)
    (tmp_path / "patients" / "SYN-0002" / "ct.nii.gz").write_bytes(b"no image")
    return tmp_path


def test_check_prints_findings_and_summary(cohort: Path) -> None:
    code, out, err = run("check", cohort)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("warning cohort COHORT_TOO_SMALL ")
    assert lines[-1] == "3 patients readable, 0 errors, 1 warning"
    assert "nodogram synthesis" in out
    assert err == ""


def test_check_fails_with_one_line_per_problem(faulty: Path) -> None:
    code, out, _ = run("check", faulty)
    assert code == 1
    (line,) = [line for line in out.splitlines() if line.startswith("error ")]
    assert line.startswith("error SYN-0002 UNREADABLE_FILE ")
    assert line.endswith("→ copy or export the file again")
    assert out.splitlines()[-1] == "2 patients readable, 1 error, 1 warning"


def test_json_is_one_document_and_nothing_else(cohort: Path, faulty: Path, tmp_path: Path) -> None:
    for folder, code, error_count in ((cohort, 0, 0), (faulty, 1, 1), (tmp_path / "nowhere", 1, 2)):
        found, out, err = run("check", folder, "--json")
        document = json.loads(out)
        assert (found, document["error_count"]) == (code, error_count)
        assert err == ""


def test_synth_writes_a_sound_cohort(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    code, out, err = run("synth", "--out", folder, "--patients", 2, "--seed", 4, "--signal", 0.5, "--format", "nifti")
    assert (code, err) == (0, "")
    assert out == f"2 synthetic patients in {folder}\n"
    assert run("check", folder, "--json")[0] == 0
    parameters = json.loads((folder / "synthesis.json").read_text(encoding="utf-8"))
    assert (parameters["signal"], parameters["matrix"], parameters["slice_count"]) == (0.5, 512, 60)


@pytest.mark.parametrize(
    "arguments",
    [
        ("check",),
        ("synth", "--out", "x"),
        ("synth", "--out", "x", "--patients", 1, "--seed", 1),
        ("synth", "--out", "x", "--patients", 4, "--seed", -1),
        ("synth", "--out", "x", "--patients", 4, "--seed", 1, "--signal", 1.5),
        ("synth", "--out", "x", "--patients", 4, "--seed", 1, "--format", "png"),
        ("synth", "--out", "x", "--patients", 4, "--seed", 1, "--jobs", 0),
    ],
)
def test_usage(arguments: tuple[object, ...]) -> None:
    assert run(*arguments)[0] == 2


def test_refusals_are_left_to_the_caller(cohort: Path) -> None:
    with pytest.raises(SurroundingsError) as caught:
        run("synth", "--out", cohort, "--patients", 3, "--seed", 99)
    assert caught.value.reason is Reason.OUTPUT_NOT_WRITABLE
