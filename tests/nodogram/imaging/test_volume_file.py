from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nodogram.case import NoteCode
from nodogram.errors import ImageError, NodogramError, Reason, RegionError, SurroundingsError
from nodogram.geometry import Geometry
from nodogram.imaging.volume_file import SUFFIXES, read_mask_file, read_volume_file, write_mask_file, write_volume_file
from nodogram.volume import Mask, Volume

ANGLE = np.radians(20)
OBLIQUE = np.array([[1, 0, 0], [0, np.cos(ANGLE), -np.sin(ANGLE)], [0, np.sin(ANGLE), np.cos(ANGLE)]])
GRID = Geometry((5, 6, 7), (3.0, 0.75, 0.5), (-12.5, 20.25, 100.0), OBLIQUE)


def volume(scale: float = 1.0) -> Volume:
    values = np.random.default_rng(1).integers(-1024, 2000, GRID.shape).astype(np.float32)
    return Volume(values * np.float32(scale), GRID)


def mask() -> Mask:
    array = np.zeros(GRID.shape, dtype=bool)
    array[1:3, 2:5, 3:4] = True
    return Mask(array, GRID)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("scale", "kind"), [(1.0, sitk.sitkInt16), (1.1, sitk.sitkFloat32), (100.0, sitk.sitkFloat32)])
def test_what_is_written_is_read_back_on_the_same_grid(tmp_path: Path, suffix: str, scale: float, kind: int) -> None:
    path = tmp_path / f"image{suffix}"
    write_volume_file(path, volume(scale))
    back = read_volume_file(path).volume
    np.testing.assert_array_equal(back.array, volume(scale).array)
    assert back.geometry.is_same_grid(GRID)
    assert sitk.ReadImage(str(path)).GetPixelID() == kind
    write_mask_file(path, mask())
    np.testing.assert_array_equal(read_mask_file(path).array, mask().array)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_contents_give_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"other_name{suffix}"
    write_volume_file(first, volume())
    write_volume_file(second, volume())
    assert first.read_bytes() == second.read_bytes()


def test_labels_are_chosen_by_number(tmp_path: Path) -> None:
    path = tmp_path / "labels.nii.gz"
    array = mask().array.astype(np.uint8) * 2
    array[4, 5, 6] = 7
    image = sitk.GetImageFromArray(array)
    sitk.WriteImage(image, str(path))
    assert read_mask_file(path, 2).voxel_count == mask().voxel_count
    assert read_mask_file(path, 7).voxel_count == 1
    with pytest.raises(RegionError, match=r"ROI_AMBIGUOUS.*2, 7"):
        read_mask_file(path)
    with pytest.raises(RegionError, match=r"ROI_NOT_FOUND.*2, 7"):
        read_mask_file(path, 1)
    sitk.WriteImage(image * 0, str(path))
    with pytest.raises(RegionError, match="ROI_EMPTY"):
        read_mask_file(path)


def test_other_shapes_formats_and_places_are_refused(tmp_path: Path) -> None:
    flat = tmp_path / "flat.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5), np.int16)), str(flat))
    colored = tmp_path / "colored.nii"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.int16), isVector=True), str(colored))
    cases = {
        flat: Reason.UNSUPPORTED_FORMAT,
        colored: Reason.UNSUPPORTED_FORMAT,
        tmp_path / "x.mha": Reason.UNSUPPORTED_FORMAT,
        tmp_path / "absent.nii": Reason.FILE_NOT_FOUND,
    }
    for path, reason in cases.items():
        with pytest.raises(ImageError) as refusal:
            read_volume_file(path)
        assert refusal.value.reason is reason
    with pytest.raises(SurroundingsError, match="OUTPUT_NOT_WRITABLE"):
        write_volume_file(tmp_path / "no" / "folder.nii", volume())


def test_not_a_number_is_refused(tmp_path: Path) -> None:
    array = volume().array.copy()
    array[0, 0, 0] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "nan.nii"))
    for read in (read_volume_file, read_mask_file):
        with pytest.raises(ImageError, match="NOT_FINITE"):
            read(tmp_path / "nan.nii")


@pytest.mark.parametrize(("low", "high"), [(0, 255), (-3000, -900)])
def test_implausible_values_are_remarked(tmp_path: Path, low: int, high: int) -> None:
    assert read_after_writing(tmp_path, volume()) == []
    values = np.linspace(low, high, 5 * 6 * 7).reshape(GRID.shape).astype(np.float32)
    assert read_after_writing(tmp_path, Volume(values, GRID)) == [NoteCode.HU_IMPLAUSIBLE]


def read_after_writing(folder: Path, written: Volume) -> list[NoteCode]:
    write_volume_file(folder / "image.nii", written)
    return [note.code for note in read_volume_file(folder / "image.nii").notes]


def test_a_header_cannot_name_another_file(tmp_path: Path) -> None:
    (tmp_path / "secret.raw").write_bytes(bytes(8))
    header = b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 2 2\nencoding: raw\ndata file: secret.raw\n\n"
    (tmp_path / "x.nrrd").write_bytes(header)
    with pytest.raises(ImageError, match=r"UNSUPPORTED_FORMAT.*another file"):
        read_volume_file(tmp_path / "x.nrrd")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_files_always_give_an_expected_failure(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    write_volume_file(path, volume())
    good = path.read_bytes()
    rng = np.random.default_rng(2)
    for trial in range(12):
        length = int(rng.integers(1, len(good) - 20))
        path.write_bytes(rng.bytes(length) if trial % 2 else good[:length])
        with pytest.raises(NodogramError):
            read_volume_file(path)


@pytest.mark.parametrize("line", [b"data file: secret.raw\n", b"x: 1\rdata file: secret.raw\n", b"DATAFILE:secret.raw\r\n"])
def test_no_end_of_line_hides_another_file(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "secret.raw").write_bytes(bytes(8))
    (tmp_path / "x.nrrd").write_bytes(b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 2 2\nencoding: raw\n" + line + b"\n")
    with pytest.raises(ImageError, match=r"UNSUPPORTED_FORMAT.*another file"):
        read_volume_file(tmp_path / "x.nrrd")


def test_a_header_that_never_ends_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.nrrd").write_bytes(b"NRRD0004\n" + b"# comment\n" * 10_000)
    with pytest.raises(ImageError, match="UNREADABLE_FILE"):
        read_volume_file(tmp_path / "x.nrrd")


def test_bits_that_are_not_those_of_the_type_are_refused(tmp_path: Path) -> None:
    # The library goes by the type alone and would read beyond the end of the file.
    write_volume_file(tmp_path / "x.nii", volume())
    content = bytearray((tmp_path / "x.nii").read_bytes())
    content[72:74] = (1).to_bytes(2, "little")
    (tmp_path / "x.nii").write_bytes(bytes(content))
    with pytest.raises(ImageError, match=r"UNREADABLE_FILE.*1 bits"):
        read_volume_file(tmp_path / "x.nii")


def test_more_voxels_than_are_taken_are_refused_by_the_header(tmp_path: Path) -> None:
    write_volume_file(tmp_path / "x.nii.gz", volume())
    count = int(np.prod(GRID.shape))
    assert read_volume_file(tmp_path / "x.nii.gz", maximum_voxels=count).volume.array.size == count
    with pytest.raises(ImageError, match=f"IMAGE_TOO_LARGE.*= {count} voxels; at most {count - 1}"):
        read_volume_file(tmp_path / "x.nii.gz", maximum_voxels=count - 1)
