"""The command as a user meets it: real processes, exit codes, nothing but JSON on stdout where JSON was asked for."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

FINDINGS = (
    "--set",
    "ct_reported_lnm=yes",
    "--set",
    "tumour_site=glottic",
    "--set",
    "age_years=61",
    "--set",
    "sex=male",
    "--set",
    "t_stage=T3-4",
)


def nodogram(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nodogram", *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )


def inputs(run: Path, cohort: Path, row: dict[str, str]) -> tuple[str | Path, ...]:
    return "predict", "--bundle", run / "bundle", "--image", cohort / row["image"], "--roi", cohort / row["roi"]


@pytest.fixture(scope="module")
def patient(tiny_cohort: Path) -> dict[str, str]:
    with (tiny_cohort / "cohort.csv").open(encoding="utf-8", newline="") as stream:
        return next(iter(csv.DictReader(stream)))


def predictors(tiny_run: Path) -> list[str]:
    names = [p["name"] for p in json.loads((tiny_run / "bundle" / "bundle.json").read_text())["predictors"]]
    return [
        part
        for flag, part in zip(FINDINGS[::2], FINDINGS[1::2], strict=True)
        if part.split("=")[0] in names
        for part in (flag, part)
    ]


def test_predict_prints_one_json_document_and_draws_the_nomogram(
    tiny_run: Path, tiny_cohort: Path, patient: dict[str, str], tmp_path: Path
) -> None:
    done = nodogram(*inputs(tiny_run, tiny_cohort, patient), *predictors(tiny_run), "--json", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert 0 < document["probability"] < 1
    assert document["total_points"] == pytest.approx(sum(c["points"] for c in document["contributions"]))
    stored = json.loads((tmp_path / "out" / "prediction.json").read_text())
    assert stored["probability"] == document["probability"]
    assert (tmp_path / "out" / "nomogram.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "out" / "nomogram.svg").read_text().count("<svg") == 1


def test_without_clinical_findings_there_is_no_probability(tiny_run: Path, tiny_cohort: Path, patient: dict[str, str]) -> None:
    done = nodogram(*inputs(tiny_run, tiny_cohort, patient), "--json")
    document = json.loads(done.stdout)
    assert document["probability"] is None
    assert "CLINICAL_PREDICTOR_MISSING" in [note["code"] for note in document["notes"]]


def test_prediction_imports_no_torch(tiny_run: Path, tiny_cohort: Path, patient: dict[str, str]) -> None:
    image, roi = str(tiny_cohort / patient["image"]), str(tiny_cohort / patient["roi"])
    program = (
        "import sys; sys.modules['torch'] = None; sys.modules['sklearn'] = None\n"
        "from pathlib import Path\n"
        "from nodogram.bundle import load_bundle\n"
        "from nodogram.imaging.load import load_case\n"
        "from nodogram.predict import predict\n"
        f"case = load_case('x', Path({image!r}), Path({roi!r}))\n"
        f"print(predict(case, load_bundle(Path({str(tiny_run / 'bundle')!r}))).dlr.probability)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert 0 < float(done.stdout) < 1


def test_verify_recomputes_the_known_answers(tiny_run: Path) -> None:
    done = nodogram("bundle", "verify", tiny_run / "bundle", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["known_answers"]) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("bundle", "verify", "nowhere"), 1, "BUNDLE_NOT_FOUND"),
        (("train", "--cohort", "nowhere", "--out", "x"), 1, "nowhere"),
        (("predict", "--bundle", "b"), 2, "--image"),
        (("fly",), 2, "fly"),
        (("--version",), 0, "nodogram"),
    ],
)
def test_exit_codes(arguments: tuple[str, ...], code: int, text: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nodogram", *arguments], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.returncode == code, done.stderr
    assert text in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
