"""DICOM files read back by independent readers: the same voxels, exactly the same outline, the same bytes twice."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage.measure import points_in_poly

from nodogram.imaging.load import load_case
from nodogram.synthesis.contours import trace_slice
from nodogram.synthesis.dicom_regions import ROI_NAME, write_rtstruct, write_seg
from nodogram.synthesis.dicom_writer import DicomIdentity, write_ct_series
from nodogram.synthesis.phantom import SyntheticPatient, synthesize_patient

IDENTITY = DicomIdentity("SYN-0001", "test")
OUTLINES = {"rtstruct": write_rtstruct, "seg": write_seg}


def write_all(folder: Path, patient: SyntheticPatient) -> Path:
    slices = write_ct_series(folder / "ct", patient, IDENTITY)
    for name, write in OUTLINES.items():
        write(folder / f"{name}.dcm", patient, IDENTITY, slices)
    return folder


@pytest.fixture(scope="module")
def patient() -> SyntheticPatient:
    return synthesize_patient(np.random.default_rng(8), signal=1.0, matrix=96, slice_count=24)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, patient: SyntheticPatient) -> Path:
    return write_all(tmp_path_factory.mktemp("study"), patient)


@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_even_odd_test_of_pixel_centers_gives_back_the_mask(array: np.ndarray) -> None:
    centers = np.argwhere(np.ones_like(array))
    inside = np.zeros(len(centers), dtype=np.bool_)
    for contour in trace_slice(array):
        assert len(np.unique(contour, axis=0)) == len(contour)
        inside ^= points_in_poly(centers, contour)
    np.testing.assert_array_equal(inside.reshape(array.shape), array)


@pytest.mark.parametrize("outline", OUTLINES)
def test_case_is_read_back_exactly(study: Path, patient: SyntheticPatient, outline: str) -> None:
    case = load_case("x", study / "ct", study / f"{outline}.dcm", roi_name=ROI_NAME)
    assert case.volume.geometry.is_same_grid(patient.volume.geometry)
    np.testing.assert_array_equal(case.volume.array, patient.volume.array)
    np.testing.assert_array_equal(case.mask.array, patient.mask.array)
    assert case.notes == ()
    assert (case.source.kvp, case.source.convolution_kernel, case.source.slice_thickness_mm) == (120.0, "SOFT", 3.125)


def test_contours_hold_exactly_the_pixel_centers_of_the_mask(study: Path, patient: SyntheticPatient) -> None:
    geometry = patient.mask.geometry
    contours = pydicom.dcmread(study / "rtstruct.dcm").ROIContourSequence[0].ContourSequence
    position = {pydicom.dcmread(f).SOPInstanceUID: k for k, f in enumerate(sorted((study / "ct").iterdir()))}
    rows, columns = np.indices(geometry.shape[1:]).reshape(2, -1)
    centers = np.column_stack([columns * geometry.spacing_mm[2], rows * geometry.spacing_mm[1]]) + geometry.origin_mm[:2]
    found = np.zeros(geometry.shape, dtype=np.bool_)
    for contour in contours:
        points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
        assert len(points) == contour.NumberOfContourPoints
        index = position[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        assert points[:, 2] == pytest.approx(geometry.patient_position_mm((index, 0, 0))[2], abs=1e-4)
        found[index] ^= points_in_poly(centers, points[:, :2]).reshape(geometry.shape[1:])
    np.testing.assert_array_equal(found, patient.mask.array)


def test_segmentation_by_source_instance_is_the_mask(study: Path, patient: SyntheticPatient) -> None:
    segmentation = highdicom.seg.segread(study / "seg.dcm")
    uids = [pydicom.dcmread(f).SOPInstanceUID for f in sorted((study / "ct").iterdir())]
    pixels = segmentation.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    np.testing.assert_array_equal(pixels[..., 0].astype(bool), patient.mask.array)


def test_stored_values_are_hounsfield_units(study: Path, patient: SyntheticPatient) -> None:
    for index, file in enumerate(sorted((study / "ct").iterdir())):
        dataset = pydicom.dcmread(file)
        hu = dataset.pixel_array * dataset.RescaleSlope + dataset.RescaleIntercept
        np.testing.assert_array_equal(hu, patient.volume.array[index])


def test_nobody_can_be_taken_for_a_person(study: Path) -> None:
    for file in study.rglob("*.dcm"):
        dataset = pydicom.dcmread(file)
        assert str(dataset.PatientName).startswith("SYNTHETIC^")
        assert dataset.PatientID == "SYN-0001"
        assert dataset.PatientBirthDate == ""


def test_one_study_one_frame_of_reference_and_unique_instances(study: Path) -> None:
    datasets = [pydicom.dcmread(file) for file in study.rglob("*.dcm")]
    assert len({d.StudyInstanceUID for d in datasets}) == 1
    assert len({d.FrameOfReferenceUID for d in datasets}) == 1
    assert len({d.SOPInstanceUID for d in datasets}) == len(datasets)
    assert all(d.SOPInstanceUID.startswith("2.25.") and len(d.SOPInstanceUID) <= 64 for d in datasets)


def test_same_patient_same_bytes(study: Path, patient: SyntheticPatient, tmp_path: Path) -> None:
    again = write_all(tmp_path, patient)
    files = sorted(f.relative_to(study) for f in study.rglob("*.dcm"))
    assert len(files) == 26
    for file in files:
        assert (again / file).read_bytes() == (study / file).read_bytes(), file


def test_other_content_other_identifiers() -> None:
    assert IDENTITY.uid("ct", 1) != IDENTITY.uid("ct", 2)
    assert IDENTITY.uid("ct") != DicomIdentity("SYN-0001", "another seed").uid("ct")


@pytest.mark.parametrize("file", ["ct/0007.dcm", "rtstruct.dcm", "seg.dcm"])
def test_objects_obey_their_information_object_definition(study: Path, file: str) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (dicom3tools) is not installed")
    result = subprocess.run(["dciodvfy", "-new", study / file], capture_output=True, text=True, check=False)
    assert "Error" not in result.stdout + result.stderr
    assert result.returncode == 0


@pytest.mark.parametrize("write", OUTLINES.values(), ids=OUTLINES.keys())
def test_writing_leaves_the_mask_alone(write: Callable[..., None], patient: SyntheticPatient, tmp_path: Path) -> None:
    before = patient.mask.array.tobytes()
    slices = write_ct_series(tmp_path / "ct", patient, IDENTITY)
    write(tmp_path / "roi.dcm", patient, IDENTITY, slices)
    assert patient.mask.array.tobytes() == before
