"""A cohort on disk: independent of processes and interruptions, stratified, and never over somebody else's data."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from nodogram.errors import Reason, SurroundingsError
from nodogram.imaging.load import load_case
from nodogram.synthesis.cohort import SynthesisParameters, patient_rng, plan_cohort, write_cohort
from nodogram.synthesis.phantom import synthesize_patient

ARGUMENTS: dict[str, Any] = {
    "patient_count": 4,
    "seed": 9,
    "signal": 1.0,
    "image_format": "nifti",
    "matrix": 64,
    "slice_count": 24,
}


def contents(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "cohort.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort") / "c", **ARGUMENTS)


def test_bytes_do_not_depend_on_the_number_of_processes(written: Path, tmp_path: Path) -> None:
    done: list[str] = []
    write_cohort(tmp_path, **ARGUMENTS, jobs=2, progress=done.append)
    assert contents(tmp_path) == contents(written)
    assert sorted(done) == ["SYN-0001", "SYN-0002", "SYN-0003", "SYN-0004"]


def test_interrupted_cohort_is_continued(written: Path, tmp_path: Path) -> None:
    write_cohort(tmp_path, **ARGUMENTS)
    kept = tmp_path / "patients" / "SYN-0001" / "ct.nii.gz"
    stamp = kept.stat().st_mtime_ns
    # What a killed process leaves: a patient without its final name, and no table yet.
    (tmp_path / "patients" / "SYN-0002").rename(tmp_path / "patients" / ".SYN-0002.tmp")
    (tmp_path / "cohort.csv").unlink()
    write_cohort(tmp_path, **ARGUMENTS)
    assert contents(tmp_path) == contents(written)
    assert kept.stat().st_mtime_ns == stamp


@pytest.mark.parametrize("change", [{"seed": 10}, {"signal": 0.5}, {"patient_count": 5}, {"matrix": 48}])
def test_another_cohort_is_not_mixed_in(written: Path, change: dict[str, Any]) -> None:
    before = contents(written)
    with pytest.raises(SurroundingsError, match="other parameters") as caught:
        write_cohort(written, **{**ARGUMENTS, **change})
    assert caught.value.reason is Reason.OUTPUT_NOT_WRITABLE
    assert contents(written) == before


def test_a_real_cohort_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "cohort.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(SurroundingsError, match="not synthetic"):
        write_cohort(tmp_path, **ARGUMENTS)
    assert contents(tmp_path) == {"cohort.csv": b"mine"}


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(SurroundingsError) as caught:
        write_cohort(tmp_path / "file" / "c", **ARGUMENTS)
    assert caught.value.reason is Reason.OUTPUT_NOT_WRITABLE


def test_table_says_what_the_images_were_drawn_from(written: Path) -> None:
    rows = table(written)
    for index, row in enumerate(rows, start=1):
        patient = synthesize_patient(patient_rng(9, index), signal=1.0, matrix=64, slice_count=24, outcome=int(row["outcome"]))
        case = load_case(row["patient_id"], written / row["image"], written / row["roi"], roi_name=row["roi_name"] or None)
        np.testing.assert_array_equal(case.volume.array, patient.volume.array)
        np.testing.assert_array_equal(case.mask.array, patient.mask.array)
        assert float(row["age_years"]) == patient.clinical["age_years"]
        assert {name: row[name] for name in ("ct_reported_lnm", "tumour_site", "sex", "t_stage")} == {
            name: value for name, value in patient.clinical.items() if name != "age_years"
        }


def test_dicom_outlines_alternate(tmp_path: Path) -> None:
    write_cohort(tmp_path, **{**ARGUMENTS, "image_format": "dicom", "patient_count": 2})
    rows = table(tmp_path)
    assert [pydicom.dcmread(tmp_path / row["roi"]).Modality for row in rows] == ["RTSTRUCT", "SEG"]
    for row in rows:
        case = load_case(row["patient_id"], tmp_path / row["image"], tmp_path / row["roi"], roi_name=row["roi_name"])
        assert case.mask.voxel_count > 50


@pytest.mark.parametrize("count", [20, 40, 57, 235])
def test_outcome_and_split_are_stratified(count: int) -> None:
    plans = plan_cohort(SynthesisParameters(count, 1, 0.0, "nifti", 0.3, 64, 24))
    for split, size in (("development", 0.7 * count), ("test", 0.3 * count)):
        outcomes = [p.outcome for p in plans if p.split == split]
        assert len(outcomes) == pytest.approx(size, abs=1)
        assert sum(outcomes) == pytest.approx(0.4 * len(outcomes), abs=1)


def test_no_test_split_no_column(tmp_path: Path) -> None:
    write_cohort(tmp_path, **{**ARGUMENTS, "patient_count": 2}, test_fraction=0.0)
    assert "split" not in table(tmp_path)[0]


@pytest.mark.parametrize(
    "change", [{"patient_count": 0}, {"seed": -1}, {"signal": 2.0}, {"image_format": "png"}, {"test_fraction": 1.0}]
)
def test_arguments_out_of_range(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"required|at least"):
        write_cohort(tmp_path, **{**ARGUMENTS, **change})
