from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from numpy.typing import NDArray

from nodogram.case import NoteCode, SeriesSource
from nodogram.errors import NodogramError
from nodogram.geometry import Geometry
from nodogram.imaging.dicom_series import find_series_files, read_series
from nodogram.imaging.segmentation import read_segmentation
from nodogram.imaging.volume_file import read_mask_file
from nodogram.volume import Mask

ANY = SeriesSource()


@pytest.fixture
def samples(test_data: Path) -> Path:
    return test_data / "radiomics" / "dicom_seg"


def positions(mask: Mask) -> NDArray[np.float64]:
    """Sorted patient positions of the voxels: what two grids of one region have in common."""
    index = np.argwhere(mask.array)[:, ::-1]
    affine = mask.geometry.index_to_patient
    points = np.round(index @ affine[:3, :3].T + affine[:3, 3], 2)
    return points[np.lexsort(points.T)]


@pytest.mark.parametrize(
    ("file", "name", "truth"),
    [
        ("liver.dcm", None, "liver_seg.nrrd"),
        ("partial_overlaps.dcm", "1", "partial_overlaps-1.nrrd"),
        ("partial_overlaps.dcm", "2", "partial_overlaps-2.nrrd"),
        ("partial_overlaps.dcm", "3", "partial_overlaps-3.nrrd"),
    ],
)
def test_a_segment_equals_its_published_mask(samples: Path, file: str, name: str | None, truth: str) -> None:
    folder = samples / "dcmqi"
    image = read_series(find_series_files(folder / "ct-3slice"))
    region = read_segmentation(folder / file, image.volume.geometry, image.source, name)
    assert region.notes == ()
    expected = read_mask_file(folder / truth, int(name or 1))
    np.testing.assert_allclose(positions(region.mask), positions(expected), atol=0.05)


def test_a_label_map_equals_its_published_mask(samples: Path) -> None:
    folder = samples / "dcmqi"
    expected = read_mask_file(folder / "sparse_labelmap_noppv_seg.nrrd", 1)
    region = read_segmentation(folder / "sparse-labelmap-noppv.dcm", expected.geometry, ANY, "Liver")
    np.testing.assert_allclose(positions(region.mask), positions(expected), atol=0.05)


def test_segments_are_chosen_by_label(samples: Path) -> None:
    folder = samples / "dcmqi"
    image = read_series(find_series_files(folder / "ct-3slice"))
    grid = image.volume.geometry
    by_label = read_segmentation(folder / "partial_overlaps.dcm", grid, image.source, "GREEN")
    by_number = read_segmentation(folder / "partial_overlaps.dcm", grid, image.source, "1")
    np.testing.assert_array_equal(by_label.mask.array, by_number.mask.array)
    assert by_label.roi_name == by_number.roi_name == "GREEN"
    with pytest.raises(NodogramError, match=r"ROI_AMBIGUOUS.*'GREEN'"):
        read_segmentation(folder / "partial_overlaps.dcm", grid, image.source, None)
    with pytest.raises(NodogramError, match=r"ROI_NOT_FOUND.*'GREEN'"):
        read_segmentation(folder / "partial_overlaps.dcm", grid, image.source, "RED")
    with pytest.raises(NodogramError, match="ROI_FRAME_OF_REFERENCE_MISMATCH"):
        read_segmentation(folder / "liver.dcm", grid, SeriesSource(frame_of_reference_uid="1.2"), None)


def test_another_grid_is_resampled_and_remarked_and_far_away_is_refused(samples: Path) -> None:
    folder = samples / "dcmqi"
    image = read_series(find_series_files(folder / "ct-3slice"))
    grid = image.volume.geometry
    exact = read_segmentation(folder / "liver.dcm", grid, image.source, None).mask
    half = tuple(s / 2 for s in grid.spacing_mm[1:])
    finer = Geometry((3, 1024, 1024), (grid.spacing_mm[0], half[0], half[1]), grid.origin_mm, grid.direction)
    region = read_segmentation(folder / "liver.dcm", finer, image.source, None)
    assert [note.code for note in region.notes] == [NoteCode.ROI_RESAMPLED]
    assert region.mask.volume_cm3 == pytest.approx(exact.volume_cm3, rel=0.01)
    np.testing.assert_array_equal(region.mask.array[:, ::2, ::2], exact.array)
    away = Geometry(grid.shape, grid.spacing_mm, (5000.0, 0.0, 0.0), grid.direction)
    narrow = Geometry((3, 512, 120), grid.spacing_mm, grid.origin_mm, grid.direction)
    for other in (away, narrow):
        with pytest.raises(NodogramError, match=r"ROI_OUTSIDE_IMAGE: \d+ of 107098 voxels"):
            read_segmentation(folder / "liver.dcm", other, image.source, None)


def test_a_binary_region_is_the_same_in_fractional_form(samples: Path) -> None:
    folder = samples / "highdicom"
    volume = hd.seg.segread(folder / "seg_image_ct_binary.dcm").get_volume(segment_numbers=[1])
    spacing, affine = volume.spacing, np.asarray(volume.affine)
    direction = np.stack([affine[:3, k] / spacing[k] for k in (2, 1, 0)], axis=1)
    grid = Geometry(volume.spatial_shape, tuple(spacing), tuple(affine[:3, 3]), direction)
    binary = read_segmentation(folder / "seg_image_ct_binary.dcm", grid, ANY, None)
    fractional = read_segmentation(folder / "seg_image_ct_binary_fractional.dcm", grid, ANY, None)
    np.testing.assert_array_equal(binary.mask.array, fractional.mask.array)
    np.testing.assert_array_equal(binary.mask.array, np.asarray(volume.array)[..., 0] > 0)


def test_a_voxel_that_is_half_inside_is_inside(samples: Path) -> None:
    segmentation = hd.seg.segread(samples / "highdicom" / "seg_image_ct_true_fractional.dcm")
    volume = segmentation.get_volume(segment_numbers=[1])
    spacing, affine = volume.spacing, np.asarray(volume.affine)
    direction = np.stack([affine[:3, k] / spacing[k] for k in (2, 1, 0)], axis=1)
    grid = Geometry(volume.spatial_shape, tuple(spacing), tuple(affine[:3, 3]), direction)
    fraction = np.asarray(volume.array)[..., 0]
    assert ((fraction > 0) & (fraction < 1)).any()
    region = read_segmentation(samples / "highdicom" / "seg_image_ct_true_fractional.dcm", grid, ANY, None)
    np.testing.assert_array_equal(region.mask.array, fraction >= 0.5)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_files_always_give_an_expected_failure(samples: Path, tmp_path: Path) -> None:
    good = (samples / "highdicom" / "seg_image_ct_binary.dcm").read_bytes()
    grid = Geometry((4, 16, 16), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    rng = np.random.default_rng(4)
    for trial in range(20):
        length = int(rng.integers(1, len(good) - 20))
        (tmp_path / "x.dcm").write_bytes(rng.bytes(length) if trial % 2 else good[:length])
        with pytest.raises(NodogramError):
            read_segmentation(tmp_path / "x.dcm", grid, ANY, None)
