"""A bundle made by hand and patients for it, shared by the tests that go from files to documents."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from example_external import write_clinical_bundle

from nodogram.synthesis.cohort import write_cohort
from training.cohort import load_cohort

PATIENTS = 30


@pytest.fixture(scope="session")
def clinical_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clinical_bundle(tmp_path_factory.mktemp("external") / "bundle")


@pytest.fixture(scope="session")
def small_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 30 patients, of whom one has a broken image, one no CT report and one an outcome that is none."""
    folder = tmp_path_factory.mktemp("elsewhere") / "cohort"
    write_cohort(folder, patient_count=PATIENTS, seed=9, signal=1.0, image_format="nifti", matrix=96, slice_count=24, jobs=1)
    load_cohort(folder).patients[3].image.write_bytes(b"no image")
    with (folder / "cohort.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows[0]["ct_reported_lnm"] = ""
    rows[1]["outcome"] = "7"
    with (folder / "cohort.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder
