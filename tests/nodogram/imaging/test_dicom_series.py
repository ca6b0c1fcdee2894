from __future__ import annotations

import shutil
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from nodogram.case import NoteCode
from nodogram.errors import ImageError, NodogramError, Reason
from nodogram.imaging.dicom_series import find_series_files, read_series
from nodogram.imaging.loaded import LoadedSeries
from nodogram.imaging.slice_stack import Plane, stack_planes
from tests.nodogram.imaging.faulty_series import (
    AXIAL,
    MATRIX,
    ORIGIN_MM,
    PIXEL_MM,
    SLICES,
    SPACING_MM,
    Change,
    expected_hu,
    write_series,
)

COS, SIN = float(np.cos(np.radians(15))), float(np.sin(np.radians(15)))


def load(folder: Path) -> LoadedSeries:
    return read_series(find_series_files(folder))


def codes(series: LoadedSeries) -> list[NoteCode]:
    return [note.code for note in series.notes]


def position(z_of: dict[int, float]) -> Change:
    def change(d: Dataset, k: int) -> None:
        if k in z_of:
            d.ImagePositionPatient = [*ORIGIN_MM[:2], ORIGIN_MM[2] + z_of[k]]

    return change


def setting(only: int | None = None, **values: object) -> Change:
    def change(d: Dataset, k: int) -> None:
        if only is None or k == only:
            for keyword, value in values.items():
                if value is None:
                    delattr(d, keyword)
                else:
                    setattr(d, keyword, value)

    return change


def dropping(*indices: int) -> Change:
    return lambda _, k: k not in indices


def smaller(d: Dataset, k: int) -> None:
    if k == 3:
        d.Rows, d.PixelData = MATRIX // 2, d.PixelData[: MATRIX * MATRIX]


def truncated(d: Dataset, k: int) -> None:
    if k == 3:
        d.PixelData = d.PixelData[:-1000]


def test_a_sound_series_has_its_values_geometry_and_source(tmp_path: Path) -> None:
    series = load(write_series(tmp_path))
    grid = series.volume.geometry
    np.testing.assert_array_equal(series.volume.array, expected_hu())
    assert series.notes == ()
    assert grid.spacing_mm == pytest.approx((SPACING_MM, *PIXEL_MM))
    assert grid.origin_mm == ORIGIN_MM
    np.testing.assert_array_equal(grid.direction, np.eye(3))
    source = series.source
    assert len(set(source.sop_instance_uids)) == SLICES
    # Files and numbers run backwards: the first slice is the file of the highest number.
    assert source.sop_instance_uids[0] == pydicom.dcmread(tmp_path / f"{SLICES:03d}.dcm").SOPInstanceUID
    assert (source.manufacturer, source.manufacturer_model_name, source.convolution_kernel) == ("Maker", "Model", "B30f")
    assert (source.kvp, source.slice_thickness_mm, source.contrast_bolus_agent) == (120.0, SPACING_MM, "Iohexol")


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        (Reason.MISSING_SLICES, dropping(7)),
        (Reason.MISSING_SLICES, dropping(7, 8)),
        (Reason.MISSING_SLICES, dropping(4, 11)),
        (Reason.TOO_FEW_SLICES, dropping(*range(2, SLICES))),
        (Reason.NONUNIFORM_SPACING, position({k: 20 + 3.0 * (k - 10) for k in range(10, SLICES)})),
        (Reason.OVERLAPPING_POSITIONS, position({5: 8.0})),
        (Reason.NO_GEOMETRY, setting(ImagePositionPatient=None)),
        (Reason.NO_GEOMETRY, setting(4, PixelSpacing=None)),
        (Reason.NO_GEOMETRY, setting(4, ImageOrientationPatient=["1", "0", "0"])),
        (Reason.BAD_ORIENTATION, setting(ImageOrientationPatient=["1", "0", "0", "0.5", "0.5", "0"])),
        (Reason.MIXED_ORIENTATION, setting(4, ImageOrientationPatient=["0", "1", "0", "0", "0", "-1"])),
        (Reason.MIXED_MATRIX, smaller),
        (Reason.MIXED_PIXEL_SPACING, setting(4, PixelSpacing=[1.5, 1.3])),
        (Reason.MIXED_FRAME_OF_REFERENCE, setting(4, FrameOfReferenceUID=generate_uid())),
        (Reason.MULTIPLE_SERIES, setting(4, SeriesInstanceUID=generate_uid())),
        (Reason.NOT_CT, setting(Modality="MR")),
        (Reason.NO_RESCALE, setting(RescaleSlope=None, RescaleIntercept=None)),
        (Reason.NO_RESCALE, setting(4, RescaleSlope=0)),
        (Reason.NOT_HU, setting(RescaleType="US")),
        (Reason.PIXEL_DECODE, truncated),
        (Reason.NO_IMAGES, setting(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])),
    ],
)
@pytest.mark.filterwarnings("ignore:The pixel data length is odd:UserWarning")
def test_a_fault_is_refused_with_its_reason(tmp_path: Path, reason: Reason, change: Change) -> None:
    with pytest.raises(ImageError) as refusal:
        load(write_series(tmp_path, change))
    assert refusal.value.reason is reason
    assert "Secret" not in str(refusal.value)


def test_gantry_tilt_is_refused_and_an_oblique_stack_is_not(tmp_path: Path) -> None:
    orientation = (1.0, 0.0, 0.0, 0.0, COS, -SIN)
    with pytest.raises(ImageError, match=r"GANTRY_TILT.*15\.0 degrees"):
        load(write_series(tmp_path / "tilt", orientation=orientation, stack=(0.0, 0.0, 1.0)))
    series = load(write_series(tmp_path / "oblique", orientation=orientation))
    np.testing.assert_array_equal(series.volume.array, expected_hu())
    np.testing.assert_allclose(series.volume.geometry.direction[:, 2], [0, SIN, COS], atol=1e-9)


def test_one_slice_pushed_sideways_is_refused(tmp_path: Path) -> None:
    def change(d: Dataset, k: int) -> None:
        if k == 9:
            d.ImagePositionPatient = [ORIGIN_MM[0] + 3, ORIGIN_MM[1], ORIGIN_MM[2] + k * SPACING_MM]

    with pytest.raises(ImageError, match="GANTRY_TILT"):
        load(write_series(tmp_path, change))


def test_small_gaps_that_add_up_are_refused() -> None:
    def planes(late_mm: float) -> list[Plane]:
        z = np.cumsum([2.0] * 50 + [late_mm] * 50)
        return [Plane((0.0, 0.0, float(p)), AXIAL, (1.0, 1.0), (8, 8), None) for p in z]

    stack_planes(planes(2.02))
    with pytest.raises(ImageError, match="NONUNIFORM_SPACING"):
        stack_planes(planes(2.09))


def test_jitter_of_positions_within_tolerance_is_accepted(tmp_path: Path) -> None:
    change = position({k: round(k * SPACING_MM + 0.02 * (-1) ** k, 3) for k in range(SLICES)})
    np.testing.assert_array_equal(load(write_series(tmp_path, change)).volume.array, expected_hu())


def test_the_same_file_twice_counts_once_and_two_phases_are_refused(tmp_path: Path) -> None:
    folder = write_series(tmp_path)
    shutil.copy(folder / "007.dcm", folder / "copy.dcm")
    series = load(folder)
    assert codes(series) == [NoteCode.DUPLICATE_FILE]
    np.testing.assert_array_equal(series.volume.array, expected_hu())
    again = pydicom.dcmread(folder / "007.dcm")
    again.SOPInstanceUID = generate_uid()
    again.save_as(folder / "copy.dcm")
    with pytest.raises(ImageError, match="OVERLAPPING_POSITIONS"):
        load(folder)


def test_a_localizer_is_dropped(tmp_path: Path) -> None:
    change = setting(0, ImageOrientationPatient=["0", "1", "0", "0", "0", "-1"], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    series = load(write_series(tmp_path, change))
    assert codes(series) == [NoteCode.LOCALIZER_DROPPED]
    np.testing.assert_array_equal(series.volume.array, expected_hu()[1:])


def test_slope_of_each_slice_and_padding_are_applied(tmp_path: Path) -> None:
    def change(d: Dataset, k: int) -> None:
        hu = np.frombuffer(d.PixelData, np.int16).reshape(MATRIX, MATRIX) - 1024
        stored = hu * (1 + k % 3)
        stored[:8] = -30000
        d.RescaleSlope, d.RescaleIntercept = 1 / (1 + k % 3) if k % 3 != 2 else "0.33333333333333", 0
        d.PixelPaddingValue, d.PixelData = -30000, stored.astype(np.int16).tobytes()
        d["PixelPaddingValue"].VR = "SS"

    array = load(write_series(tmp_path, change)).volume.array
    assert (array[:, :8] == -1024).all()
    np.testing.assert_allclose(array[:, 8:], expected_hu()[:, 8:], atol=1e-3)


def test_implausible_values_are_remarked(tmp_path: Path) -> None:
    assert codes(load(write_series(tmp_path, setting(RescaleIntercept=0)))) == [NoteCode.HU_IMPLAUSIBLE]
    assert codes(load(write_series(tmp_path, setting(RescaleIntercept=-3000)))) == [NoteCode.HU_IMPLAUSIBLE]


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_compression_without_loss_changes_nothing(tmp_path: Path, syntax: str) -> None:
    def change(d: Dataset, k: int) -> None:
        d.compress(syntax, generate_instance_uid=False)

    series = load(write_series(tmp_path, change))
    np.testing.assert_array_equal(series.volume.array, expected_hu())
    assert series.notes == ()


def test_compression_with_loss_is_remarked(tmp_path: Path) -> None:
    def change(d: Dataset, k: int) -> None:
        d.compress(JPEG2000, generate_instance_uid=False, j2k_cr=[4])
        d.LossyImageCompression = "01"

    assert codes(load(write_series(tmp_path, change))) == [NoteCode.LOSSY_COMPRESSION]


def test_deflated_and_big_endian_change_nothing(tmp_path: Path) -> None:
    for name, syntax in (("deflated", DeflatedExplicitVRLittleEndian), ("big", ExplicitVRBigEndian)):
        folder = write_series(tmp_path / name)
        for path in folder.iterdir():
            dataset = pydicom.dcmread(path)
            if syntax == ExplicitVRBigEndian:
                dataset.PixelData = np.frombuffer(dataset.PixelData, np.int16).byteswap().tobytes()
            dataset.file_meta.TransferSyntaxUID = syntax
            little = syntax != ExplicitVRBigEndian
            fresh = Dataset()
            fresh.update({element.tag: element for element in dataset})
            fresh.file_meta = dataset.file_meta
            pydicom.dcmwrite(path, fresh, implicit_vr=False, little_endian=little, enforce_file_format=True)
        np.testing.assert_array_equal(load(folder).volume.array, expected_hu())


@pytest.mark.filterwarnings("ignore::UserWarning:highdicom")
def test_an_enhanced_image_equals_its_single_images(tmp_path: Path) -> None:
    def pad(d: Dataset, k: int) -> None:
        stored = np.frombuffer(d.PixelData, np.int16).reshape(MATRIX, MATRIX).copy()
        stored[:4] = 3000
        d.add_new("PixelPaddingValue", "SS", 3000)
        d.PixelData = stored.tobytes()

    folder = write_series(tmp_path / "classic", pad)
    images = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    enhanced = hd.legacy.LegacyConvertedEnhancedCTImage(
        images, series_instance_uid=generate_uid(), series_number=5, sop_instance_uid=generate_uid(), instance_number=1
    )
    (tmp_path / "enhanced").mkdir()
    enhanced.save_as(tmp_path / "enhanced" / "e.dcm")
    classic, multiframe = load(folder), load(tmp_path / "enhanced")
    assert codes(multiframe) == [NoteCode.MULTIFRAME]
    assert multiframe.volume.geometry.is_same_grid(classic.volume.geometry)
    np.testing.assert_array_equal(multiframe.volume.array, classic.volume.array)
    assert (classic.volume.array[:, :4] == -1024).all()
    source = multiframe.source
    assert (source.kvp, source.convolution_kernel, source.slice_thickness_mm) == (120.0, "B30f", SPACING_MM)
    assert len(source.sop_instance_uids) == 1


def test_other_files_of_the_folder_are_passed_over(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "deep" / "er")
    outline = pydicom.dcmread(folder / "001.dcm")
    outline.SOPClassUID = outline.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    outline.save_as(folder / "rs.dcm")
    (folder / "DICOMDIR").write_bytes(b"x")
    (tmp_path / "read.me").write_text("x")
    assert len(find_series_files(tmp_path)) == SLICES


@pytest.mark.parametrize("name", ["001.dcm", "001", "1.2.840.1"])
@pytest.mark.parametrize("content", [b"", bytes(5000)])
def test_an_end_slice_that_arrived_empty_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    folder = write_series(tmp_path)
    (folder / "001.dcm").unlink()
    (folder / name).write_bytes(content)
    with pytest.raises(ImageError, match="UNREADABLE_FILE: 1 of 20 files"):
        load(folder)
    (folder / name).rename(folder / "._001.dcm")
    (folder / "notes.txt").write_bytes(content)
    assert len(find_series_files(folder)) == SLICES - 1


def test_a_slice_cut_off_in_its_header_is_called_truncated(tmp_path: Path) -> None:
    folder = write_series(tmp_path)
    good = (folder / "001.dcm").read_bytes()
    (folder / "001.dcm").write_bytes(good[:400])
    with pytest.raises(ImageError, match="UNREADABLE_FILE: 1 of 20 files name no series"):
        load(folder)


def test_a_decoding_failure_names_image_and_transfer_syntax(tmp_path: Path) -> None:
    def change(d: Dataset, k: int) -> None:
        d.compress(JPEG2000Lossless, generate_instance_uid=False)
        if k == 3:
            d.PixelData = d.PixelData[:60] + bytes(len(d.PixelData) - 60)

    with pytest.raises(ImageError, match=r"PIXEL_DECODE: the pixels of image 18 \(JPEG 2000"):
        load(write_series(tmp_path, change))


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="FILE_NOT_FOUND"):
        find_series_files(tmp_path / "absent")
    with pytest.raises(ImageError, match="NO_IMAGES"):
        find_series_files(tmp_path)
    with pytest.raises(ImageError, match="NO_IMAGES"):
        read_series([])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_files_always_give_an_expected_failure(tmp_path: Path) -> None:
    good = (write_series(tmp_path / "good") / "005.dcm").read_bytes()
    rng = np.random.default_rng(3)
    folder = write_series(tmp_path / "bad")
    for trial in range(40):
        length = int(rng.integers(140, len(good) - 2))
        head = good[:length]
        if trial % 2:
            head = good[:132] + rng.bytes(length)
        (folder / "005.dcm").write_bytes(head)
        with pytest.raises(NodogramError):
            load(folder)
