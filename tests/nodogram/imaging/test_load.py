from __future__ import annotations

import re
from itertools import permutations
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from nodogram.errors import NodogramError, Reason
from nodogram.geometry import Geometry
from nodogram.imaging.load import RTSTRUCT_CLASS, load_case, load_image, load_region
from nodogram.imaging.volume_file import write_mask_file, write_volume_file
from nodogram.volume import Mask
from tests.nodogram.imaging.faulty_series import FRAME_UID, MATRIX, SLICES, write_series


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_series(tmp_path_factory.mktemp("series"))


def box_mask(geometry: Geometry, span: tuple[slice, slice, slice] = (slice(4, 9), slice(20, 40), slice(25, 35))) -> Mask:
    array = np.zeros(geometry.shape, dtype=bool)
    array[span] = True
    return Mask(array, geometry)


def write_rtstruct(path: Path, mask: Mask) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = RTSTRUCT_CLASS, "1.2.3.4"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = RTSTRUCT_CLASS, "1.2.3.4", "RTSTRUCT"
    roi, contours = Dataset(), Dataset()
    roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = 1, "GTV", FRAME_UID
    contours.ReferencedROINumber, contours.ContourSequence = 1, []
    slices, rows, columns = mask.box
    for k in range(slices.start, slices.stop):
        item = Dataset()
        corners = [
            (rows.start, columns.start),
            (rows.start, columns.stop),
            (rows.stop, columns.stop),
            (rows.stop, columns.start),
        ]
        item.ContourGeometricType, item.NumberOfContourPoints = "CLOSED_PLANAR", 4
        points = [mask.geometry.patient_position_mm((k, row - 0.5, column - 0.5)) for row, column in corners]
        item.ContourData = [f"{v:.4f}" for point in points for v in point]
        contours.ContourSequence.append(item)
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [roi], [contours]
    path.parent.mkdir(exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_dicom_and_nifti_give_the_same_case(series: Path, tmp_path: Path) -> None:
    image = load_image(series)
    mask = box_mask(image.volume.geometry)
    rtstruct = write_rtstruct(tmp_path / "rs" / "rs.dcm", mask)
    write_volume_file(tmp_path / "image.nii.gz", image.volume)
    write_mask_file(tmp_path / "roi.nrrd", mask)
    dicom = load_case("a", series, rtstruct.parent, roi_name="GTV", clinical={"age": 50})
    nifti = load_case("a", tmp_path / "image.nii.gz", tmp_path / "roi.nrrd", roi_name="1")
    np.testing.assert_array_equal(dicom.mask.array, mask.array)
    np.testing.assert_array_equal(nifti.mask.array, mask.array)
    np.testing.assert_array_equal(nifti.volume.array, dicom.volume.array)
    assert (dicom.source.roi_name, dicom.source.roi_sop_instance_uid) == ("GTV", "1.2.3.4")
    assert len(dicom.source.sop_instance_uids) == SLICES
    assert dicom.clinical == {"age": 50}
    assert nifti.source.series_instance_uid is None
    assert dicom.case_id == "a"


@pytest.mark.parametrize(
    ("face", "axis", "index"),
    [
        ("first slice (inferior)", 0, 0),
        ("last slice (superior)", 0, SLICES - 1),
        ("first row (anterior)", 1, 0),
        ("last row (posterior)", 1, MATRIX - 1),
        ("first column (right)", 2, 0),
        ("last column (left)", 2, MATRIX - 1),
    ],
)
def test_a_region_at_a_face_of_the_image_is_refused(series: Path, tmp_path: Path, face: str, axis: int, index: int) -> None:
    image = load_image(series)
    span = [slice(4, 9), slice(20, 40), slice(25, 35)]
    span[axis] = slice(index, index + 1)
    write_mask_file(tmp_path / "roi.nii", box_mask(image.volume.geometry, (span[0], span[1], span[2])))
    with pytest.raises(NodogramError, match=re.escape(f"ROI_TOUCHES_BORDER: the region reaches the {face} of")):
        load_region(tmp_path / "roi.nii", image, None)


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_the_same_grid_stored_in_another_order_is_turned(series: Path, tmp_path: Path, axes: tuple[int, int, int]) -> None:
    image = load_image(series)
    mask = box_mask(image.volume.geometry)
    write_mask_file(tmp_path / "straight.nii", mask)
    stored = sitk.PermuteAxes(sitk.ReadImage(str(tmp_path / "straight.nii")), axes)
    for number, flips in enumerate(((True, False, False), (False, True, True), (True, True, True))):
        path = tmp_path / f"turned{number}.nii"
        sitk.WriteImage(sitk.Flip(stored, flips), str(path))
        np.testing.assert_array_equal(load_region(path, image, None).mask.array, mask.array)


def test_an_outline_on_another_grid_is_refused_with_both_grids(series: Path, tmp_path: Path) -> None:
    image = load_image(series)
    grid = image.volume.geometry
    moved = Geometry(grid.shape, grid.spacing_mm, (grid.origin_mm[0] + 1, *grid.origin_mm[1:]), grid.direction)
    write_mask_file(tmp_path / "roi.nii", box_mask(moved))
    with pytest.raises(NodogramError, match=r"ROI_GEOMETRY_MISMATCH.*\(-39\.00.*\(-40\.00"):
        load_region(tmp_path / "roi.nii", image, None)


def test_what_cannot_be_an_outline_is_refused(series: Path, tmp_path: Path) -> None:
    image = load_image(series)
    mask = box_mask(image.volume.geometry)
    (tmp_path / "text.txt").write_text("x")
    write_mask_file(tmp_path / "roi.nii", mask)
    for path, name, reason in (
        (tmp_path / "absent.nii", None, Reason.FILE_NOT_FOUND),
        (tmp_path / "text.txt", None, Reason.UNSUPPORTED_FORMAT),
        (series / "001.dcm", None, Reason.UNSUPPORTED_FORMAT),
        (series, None, Reason.FILE_NOT_FOUND),
        (tmp_path / "roi.nii", "GTV", Reason.ROI_NOT_FOUND),
        (tmp_path / "roi.nii", "2", Reason.ROI_NOT_FOUND),
    ):
        with pytest.raises(NodogramError) as refusal:
            load_region(path, image, name)
        assert refusal.value.reason is reason
    write_rtstruct(tmp_path / "two" / "a.dcm", mask)
    write_rtstruct(tmp_path / "two" / "b.dcm", mask)
    with pytest.raises(NodogramError, match=r"ROI_AMBIGUOUS.*a\.dcm, b\.dcm"):
        load_region(tmp_path / "two", image, None)


def test_what_cannot_be_an_image_is_refused_and_names_what_can(series: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("x")
    with pytest.raises(NodogramError, match=r"UNSUPPORTED_FORMAT.*DICOM CT series.*\.nii, \.nii\.gz, \.nrrd"):
        load_image(tmp_path / "text.jpg")
    with pytest.raises(NodogramError, match="FILE_NOT_FOUND"):
        load_image(tmp_path / "absent")
    with pytest.raises(NodogramError, match="TOO_FEW_SLICES"):
        load_image(series / "001.dcm")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_outlines_always_give_an_expected_failure(series: Path, tmp_path: Path) -> None:
    image = load_image(series)
    path = write_rtstruct(tmp_path / "rs.dcm", box_mask(image.volume.geometry))
    good = path.read_bytes()
    last = pydicom.dcmread(path).ROIContourSequence[0].ContourSequence[0].ContourData
    assert len(last) == 12
    rng = np.random.default_rng(6)
    for trial in range(40):
        length = int(rng.integers(1, len(good) - 400))
        path.write_bytes(good[:132] + rng.bytes(length) if trial % 2 else good[:length])
        with pytest.raises(NodogramError):
            load_region(path, image, None)
