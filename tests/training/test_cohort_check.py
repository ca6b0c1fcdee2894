"""The check on real files: a sound cohort, and one fault per patient."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nodogram.case import NoteCode
from nodogram.errors import Reason
from nodogram.imaging.volume_file import read_mask_file, read_volume_file, write_mask_file, write_volume_file
from nodogram.synthesis.cohort import write_cohort
from nodogram.volume import Mask
from training.cohort import read_cohort
from training.cohort_advice import ADVICE
from training.cohort_check import CohortReport, check_cohort


def synthesize(folder: Path, count: int, image_format: str) -> Path:
    return write_cohort(
        folder, patient_count=count, seed=6, signal=1.0, image_format=image_format, matrix=64, slice_count=24  # type: ignore[arg-type]
    )  # fmt: skip


def check(folder: Path, jobs: int = 1) -> CohortReport:
    return check_cohort(*read_cohort(folder), jobs=jobs)


def errors(report: CohortReport) -> list[tuple[str | None, str]]:
    return [(f.patient_id, f.code) for f in report.findings if f.severity == "error"]


@pytest.fixture(scope="module")
def dicom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize(tmp_path_factory.mktemp("dicom") / "c", 4, "dicom")


@pytest.fixture
def nifti(tmp_path: Path) -> Path:
    return synthesize(tmp_path, 4, "nifti")


def test_sound_cohort(dicom: Path) -> None:
    report = check(dicom)
    assert not report.has_errors
    assert report.readable_count == 4
    assert [(s.split, s.patient_count, s.event_count) for s in report.splits] == [("development", 2, 1), ("test", 2, 1)]
    (row,) = report.acquisitions
    assert row.image_count == 4
    assert vars(row.acquisition) == {
        "manufacturer": "nodogram synthesis",
        "kvp": 120.0,
        "convolution_kernel": "SOFT",
        "slice_thickness_mm": 3.125,
        "slice_spacing_mm": 3.125,
        "pixel_spacing_mm": 3.92,
    }
    assert report.region_volume_cm3 is not None
    assert 1 < report.region_volume_cm3.minimum <= report.region_volume_cm3.median <= report.region_volume_cm3.maximum < 27


def test_processes_and_progress_change_nothing(dicom: Path) -> None:
    seen: list[str] = []
    parallel = check_cohort(*read_cohort(dicom), jobs=2, progress=seen.append)
    assert parallel == check(dicom)
    assert sorted(seen) == ["SYN-0001", "SYN-0002", "SYN-0003", "SYN-0004"]


def test_few_events_are_a_warning(dicom: Path) -> None:
    (finding,) = check(dicom).findings
    assert (finding.patient_id, finding.code, finding.severity) == (None, "COHORT_TOO_SMALL", "warning")
    # One coefficient for each of two binary candidates and one for the DLR score.
    assert finding.message.startswith("1 development patients in the rarer outcome class for 3 candidate coefficients")
    assert finding.message.endswith("30 are wanted")


def test_one_line_per_faulty_patient(nifti: Path) -> None:
    patients = nifti / "patients"
    (patients / "SYN-0001" / "ct.nii.gz").write_bytes(b"no image")
    outline = patients / "SYN-0002" / "tumor.nii.gz"
    mask = read_mask_file(outline)
    write_mask_file(outline, Mask(mask.array[2:-2], mask.geometry.crop((2, 0, 0), (22, 64, 64))))
    (patients / "SYN-0003" / "tumor.nii.gz").unlink()
    report = check(nifti)
    assert errors(report) == [
        ("SYN-0003", Reason.FILE_NOT_FOUND.value),
        ("SYN-0001", Reason.UNREADABLE_FILE.value),
        ("SYN-0002", Reason.ROI_GEOMETRY_MISMATCH.value),
    ]
    assert report.has_errors
    assert report.readable_count == 1
    assert all(f.advice for f in report.findings)


def test_remarks_are_warnings(dicom: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(dicom, folder)
    series = folder / "patients" / "SYN-0001" / "ct"
    shutil.copy(series / "0005.dcm", series / "copy.dcm")
    report = check(folder)
    assert not report.has_errors
    assert [(f.patient_id, f.code, f.severity) for f in report.findings if f.patient_id] == [
        ("SYN-0001", "DUPLICATE_FILE", "warning")
    ]


def test_second_outlines_are_read_too(nifti: Path) -> None:
    lines = (nifti / "cohort.csv").read_text(encoding="utf-8").splitlines()
    columns = ["roi_reader_b", *("patients/SYN-0001/tumor.nii.gz" if k else "bad.nii.gz" for k in range(4))]
    (nifti / "bad.nii.gz").write_bytes(b"no outline")
    (nifti / "cohort.csv").write_text("\n".join(f"{a},{b}" for a, b in zip(lines, columns, strict=True)), encoding="utf-8")
    report = check(nifti)
    assert errors(report) == [("SYN-0001", Reason.UNREADABLE_FILE.value)]
    assert [f.message.startswith("roi_reader_b: ") for f in report.findings if f.severity == "error"] == [True]


def test_one_series_in_two_folders(dicom: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(dicom, folder)
    for name in ("ct", "tumor.dcm"):
        place = folder / "patients" / "SYN-0003" / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        source = folder / "patients" / "SYN-0001" / name
        shutil.copytree(source, place) if source.is_dir() else shutil.copy(source, place)
    assert errors(check(folder)) == [("SYN-0003", Reason.PATIENT_DUPLICATE.value)]


def test_table_that_cannot_be_read(tmp_path: Path) -> None:
    report = check(tmp_path)
    assert errors(report) == [(None, "FILE_NOT_FOUND")] * 2
    assert report.splits == ()
    assert report.title is None


def test_report_is_plain_json(nifti: Path) -> None:
    image = nifti / "patients" / "SYN-0001" / "ct.nii.gz"
    volume = read_volume_file(image).volume
    write_volume_file(image, volume)
    report = check(nifti)
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert document["readable_count"] == 4
    assert document["error_count"] == 0
    assert document["warning_count"] == len(document["findings"])
    assert document["acquisitions"][0]["acquisition"]["kvp"] is None
    assert set(document["region_volume_cm3"]) == {"minimum", "median", "maximum"}


def test_every_reason_of_images_regions_and_cohorts_and_every_note_has_advice() -> None:
    others = (
        "SETTINGS",
        "RECIPE",
        "WEIGHTS",
        "FEATURE",
        "BUNDLE",
        "EXPORT",
        "HELD_OUT",
        "MODEL",
        "RUN",
        "DEADLINE",
        "DEPENDENCY",
        "OUTPUT",
        *("REQUEST", "ARCHIVE", "UNAUTHENTICATED", "ENDPOINT", "METHOD", "QUEUE", "NOT_READY", "CANCELLED", "CASE_WORKER"),
        *("PROVIDER", "INTERNAL"),
    )
    for code in (*Reason, *NoteCode):
        if not code.startswith(others):
            assert ADVICE.get(code), code
