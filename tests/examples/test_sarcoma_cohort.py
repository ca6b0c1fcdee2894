"""The sarcoma example on the real archives, and on what is no such data set."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nodogram.imaging.load import load_case
from training.cohort import load_cohort

PROGRAM = Path(__file__).parents[2] / "examples" / "sarcoma_cohort.py"
# One patient of each outcome, with small archives.
PATIENTS = ("STS_019", "STS_032")


def run(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, PROGRAM, source, out], capture_output=True, text=True, check=False)


@pytest.fixture
def source(test_data: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    shutil.copy(test_data / "sts" / "outcome.csv", folder)
    for patient_id in PATIENTS:
        shutil.copy(test_data / "sts" / f"{patient_id}.tar.xz", folder)
    return folder


def listed(out: Path) -> list[tuple[str, int]]:
    return [(p.patient_id, p.outcome) for p in load_cohort(out).patients]


def test_archives(source: Path, tmp_path: Path) -> None:
    outcomes = dict(line.split(",") for line in (source / "outcome.csv").read_text(encoding="utf-8").split())
    result = run(source, tmp_path / "out")
    assert result.returncode == 0
    assert result.stdout == f"2 patients in {tmp_path / 'out'}\n"
    assert len(result.stderr.splitlines()) == len(outcomes) - 1 - len(PATIENTS)
    assert listed(tmp_path / "out") == [(p, int(outcomes[p])) for p in PATIENTS]
    cohort = load_cohort(tmp_path / "out")
    assert cohort.definition.outcome.provenance == "clinical"
    assert cohort.definition.predictors == ()
    for patient in cohort.patients:
        case = load_case(patient.patient_id, patient.image, patient.roi, roi_name=patient.roi_name)
        assert case.mask.volume_cm3 > 10
        assert case.source.kvp == 140.0


def test_folders_are_left_where_they_are(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "first")
    for patient_id in PATIENTS:
        shutil.move(tmp_path / "first" / patient_id, source)
        (source / f"{patient_id}.tar.xz").unlink()
    assert run(source, tmp_path / "second").returncode == 0
    assert sorted(p.name for p in (tmp_path / "second").iterdir()) == ["cohort.csv", "cohort.toml"]
    assert [os.path.normpath(p.image) for p in load_cohort(tmp_path / "second").patients] == [
        str(source / patient_id / "CT" / "image") for patient_id in PATIENTS
    ]


def test_unpacked_patients_are_not_unpacked_again(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out")
    before = listed(tmp_path / "out")
    for patient_id in PATIENTS:
        (source / f"{patient_id}.tar.xz").unlink()
    assert run(source, tmp_path / "out").returncode == 0
    assert listed(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (None, "No such file"),
        ("id,y\nSTS_001,0\n", "needs the columns patient_id and lung_metastasis"),
        ("patient_id,lung_metastasis\nSTS_001,0\n", "no STS_NNN/CT/image"),
    ],
)
def test_something_else(tmp_path: Path, outcome: str | None, message: str) -> None:
    if outcome is not None:
        (tmp_path / "outcome.csv").write_text(outcome, encoding="utf-8")
    result = run(tmp_path, tmp_path / "out")
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
