"""Every recipe of docs/serving.md is run as it is written, but for the ports."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from running_server import Served

from nodogram.synthesis.cohort import write_cohort

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with CT/ and tumor.dcm, as the recipes have it."""
    place = tmp_path_factory.mktemp("recipes")
    cohort = place / "cohort"
    write_cohort(cohort, patient_count=2, seed=2, signal=1.0, image_format="dicom", matrix=160, slice_count=40, jobs=1)
    patient = sorted((cohort / "patients").iterdir())[0]
    shutil.copytree(patient / "ct", place / "CT")
    shutil.copy(next(path for path in patient.iterdir() if path.is_file()), place / "tumor.dcm")
    return place


def run(served: Served, folder: Path, text: str, *command: str) -> str:
    text = text.replace("http://127.0.0.1:3000", served.url).replace("127.0.0.1:3001", served.grpc_target)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [*command, text], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_curl(served: Served, folder: Path) -> None:
    (asking,) = (block for block in blocks("sh") if "curl" in block)
    decoder, text, answers = json.JSONDecoder(), run(served, folder, asking, "bash", "-euo", "pipefail", "-c"), []
    while text.strip():
        answer, end = decoder.raw_decode(text.lstrip())
        answers.append(answer)
        text = text.lstrip()[end:]
    model, nomogram, prediction = answers
    assert {p["name"] for p in model["predictors"]} == {"ct_reported_lnm", "tumour_site"}
    assert nomogram["formula"].startswith("logit(p)")
    assert 0 < prediction["probability"] < 1


def test_python_and_shell(served: Served, folder: Path) -> None:
    (program,) = blocks("python")
    said = run(served, folder, program, sys.executable, "-c")
    assert 0 < float(said.split()[0]) < 1
    request = next(line for line in re.findall(r"`(nodogram request [^`]*)`", PAGE.read_text(encoding="utf-8")))
    for text in (request, request.replace("--url http://127.0.0.1:3000", "--grpc 127.0.0.1:3001")):
        answer = json.loads(run(served, folder, f"{sys.executable} -m {text} --json", "bash", "-euo", "pipefail", "-c"))
        assert [note["code"] for note in answer["notes"]][-1] == "CLINICAL_PREDICTOR_MISSING"
        assert answer["probability"] is None


def test_every_setting_is_described() -> None:
    from serving.config import ServerSettings

    named = set(re.findall(r"NODOGRAM_[A-Z_]+", PAGE.read_text(encoding="utf-8")))
    assert named == {f"NODOGRAM_{name.upper()}" for name in ServerSettings.model_fields}
