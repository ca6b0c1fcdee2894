from __future__ import annotations

import tarfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from nodogram.case import NoteCode, SeriesSource
from nodogram.errors import NodogramError, Reason
from nodogram.geometry import Geometry
from nodogram.imaging.load import load_case
from nodogram.imaging.rtstruct import _closed_contours, _Region, fill_polygon, read_rtstruct
from nodogram.imaging.volume_file import read_mask_file

ANGLE = np.radians(20)
AXIAL = np.eye(3)
OBLIQUE = np.array([[1, 0, 0], [0, np.cos(ANGLE), -np.sin(ANGLE)], [0, np.sin(ANGLE), np.cos(ANGLE)]])
CORONAL = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
SOURCE = SeriesSource(frame_of_reference_uid="1.2.3")


def grid(direction: NDArray[np.float64] = AXIAL, pixel_mm: tuple[float, float] = (1.0, 1.0)) -> Geometry:
    return Geometry((9, 80, 90), (3.0, *pixel_mm), (-30.0, 12.0, 50.0), direction)


def ellipse(center: tuple[float, float], radii: tuple[float, float], points: int = 400) -> NDArray[np.float64]:
    """Column, row in pixels."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([center[0] + radii[0] * np.cos(angle), center[1] + radii[1] * np.sin(angle)], axis=1)


def contour(geometry: Geometry, level: float, pixels: NDArray[np.float64], kind: str = "CLOSED_PLANAR") -> Dataset:
    points = [geometry.patient_position_mm((level, row, column)) for column, row in pixels]
    item = Dataset()
    item.ContourGeometricType, item.NumberOfContourPoints = kind, len(points)
    item.ContourData = [f"{v:.6f}" for point in points for v in point]
    return item


def structure_set(regions: dict[str, Sequence[Dataset]], frame: str = "1.2.3") -> Dataset:
    dataset = Dataset()
    dataset.SOPInstanceUID = "1.2.9"
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(regions.items(), 1):
        roi, item = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, frame
        item.ReferencedROINumber, item.ContourSequence = number, list(contours)
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(item)
    return dataset


@pytest.mark.parametrize("direction", [AXIAL, OBLIQUE, CORONAL])
@pytest.mark.parametrize("pixel_mm", [(1.0, 1.0), (1.2, 0.8)])
@pytest.mark.parametrize("radii_mm", [(25.0, 18.0), (4.0, 4.0)])
def test_an_ellipse_holds_exactly_the_pixels_of_its_equation(
    direction: NDArray[np.float64], pixel_mm: tuple[float, float], radii_mm: tuple[float, float]
) -> None:
    geometry = grid(direction, pixel_mm)
    center, radii = (41.3, 38.7), (radii_mm[0] / pixel_mm[1], radii_mm[1] / pixel_mm[0])
    shape = ellipse(center, radii, 4000)
    region = read_rtstruct(structure_set({"GTV": [contour(geometry, k, shape) for k in (3, 4)]}), geometry, SOURCE, None)
    rows, columns = np.mgrid[:80, :90]
    inside = ((columns - center[0]) / radii[0]) ** 2 + ((rows - center[1]) / radii[1]) ** 2 < 1
    np.testing.assert_array_equal(region.mask.array[3], inside)
    np.testing.assert_array_equal(region.mask.array[4], inside)
    assert region.mask.voxel_count == 2 * inside.sum()
    assert (region.roi_name, region.roi_sop_instance_uid, region.notes) == ("GTV", "1.2.9", ())


def test_holes_and_keyholes_are_empty() -> None:
    geometry = grid()
    outer, inner = ellipse((40, 40), (20.3, 20.3)), ellipse((40, 40), (8.2, 8.2))
    keyhole = np.concatenate([outer, outer[:1], inner[::-1], inner[-1:]])
    two = structure_set({"GTV": [contour(geometry, 4, outer), contour(geometry, 4, inner)]})
    crossed = structure_set({"GTV": [contour(geometry, 4, shape, "CLOSEDPLANAR_XOR") for shape in (outer, inner)]})
    ring = fill_polygon(outer, (80, 90)) & ~fill_polygon(inner, (80, 90))
    for dataset in (two, crossed, structure_set({"GTV": [contour(geometry, 4, keyhole)]})):
        np.testing.assert_array_equal(read_rtstruct(dataset, geometry, SOURCE, None).mask.array[4], ring)


def test_edges_count_half_open() -> None:
    square = np.array([[2.0, 3], [6, 3], [6, 5], [2, 5]])
    expected = np.zeros((10, 10), dtype=bool)
    expected[3:5, 2:6] = True
    np.testing.assert_array_equal(fill_polygon(square, (10, 10)), expected)
    np.testing.assert_array_equal(fill_polygon(square[::-1], (10, 10)), expected)


@given(
    st.lists(st.tuples(st.floats(-5, 25), st.floats(-5, 25)), min_size=3, max_size=9),
    st.floats(-3, 23),
)
def test_a_cut_polygon_loses_and_doubles_no_pixel(points: list[tuple[float, float]], cut: float) -> None:
    polygon = np.array(points)
    corner = np.array([[cut, cut]])
    whole = fill_polygon(polygon, (20, 20))
    # A triangle fan around any point has the parity of the polygon itself.
    fan = np.zeros((20, 20), dtype=bool)
    for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        fan ^= fill_polygon(np.concatenate([corner, a[None], b[None]]), (20, 20))
    np.testing.assert_array_equal(fan, whole)


def test_other_contours_and_gaps_are_remarked() -> None:
    geometry = grid()
    shape = ellipse((40, 40), (10, 10))
    items = [contour(geometry, k, shape) for k in (2, 4, 6)] + [contour(geometry, 3, shape, "POINT")]
    region = read_rtstruct(structure_set({"GTV": items}), geometry, SOURCE, None)
    assert [note.code for note in region.notes] == [NoteCode.ROI_CONTOUR_IGNORED, NoteCode.ROI_CONTOUR_GAP]
    assert np.flatnonzero(region.mask.array.any(axis=(1, 2))).tolist() == [2, 4, 6]


@pytest.mark.parametrize("step", [1 / 3, 1 / 2])
def test_contours_of_a_finer_stack_are_refused_and_never_cancel(step: float) -> None:
    geometry, shape = grid(), ellipse((40, 40), (10, 10))
    dataset = structure_set({"GTV": [contour(geometry, 2 + k * step, shape) for k in range(9)]})
    with pytest.raises(NodogramError, match=r"ROI_CONTOUR_INVALID.*fall on one slice"):
        read_rtstruct(dataset, geometry, SOURCE, None)


def test_a_contour_exported_twice_counts_once() -> None:
    geometry, shape = grid(), ellipse((40, 40), (10, 10))
    once = structure_set({"GTV": [contour(geometry, 4, shape)]})
    twice = structure_set({"GTV": [contour(geometry, 4, shape)] * 2})
    region = read_rtstruct(twice, geometry, SOURCE, None)
    np.testing.assert_array_equal(region.mask.array, read_rtstruct(once, geometry, SOURCE, None).mask.array)
    assert [note.code for note in region.notes] == [NoteCode.ROI_CONTOUR_IGNORED]


@given(
    st.tuples(*[st.integers(-3_000_000, 3_000_000).map(lambda n: n / 10_000)] * 3),
    st.sampled_from([0.9765625, 0.488281, 0.7, 0.3, 1.171875]),
)
def test_vertices_on_pixel_centers_count_alike_wherever_the_image_is(origin: tuple[float, float, float], pixel: float) -> None:
    geometry = Geometry((5, 64, 64), (3.0, pixel, pixel), origin, AXIAL)
    square = np.array([[20.0, 20], [40, 20], [40, 40], [20, 40]])
    mask = read_rtstruct(structure_set({"GTV": [contour(geometry, 2, square)]}), geometry, SOURCE, None).mask
    assert mask.box == (slice(2, 3), slice(20, 40), slice(20, 40))
    assert mask.voxel_count == 400


def test_a_name_chooses_the_region_and_one_with_contours_needs_none() -> None:
    geometry = grid()
    small, large = ([contour(geometry, 4, ellipse((40, 40), (r, r)))] for r in (5, 15))
    both = structure_set({"small": small, "large": large, "empty": []})
    assert read_rtstruct(both, geometry, SOURCE, "large").mask.voxel_count > 500
    alone = structure_set({"large": large, "empty": []})
    assert read_rtstruct(alone, geometry, SOURCE, None).roi_name == "large"
    with pytest.raises(NodogramError, match=r"ROI_AMBIGUOUS.*'small', 'large'"):
        read_rtstruct(both, geometry, SOURCE, None)
    with pytest.raises(NodogramError, match=r"ROI_NOT_FOUND.*'small', 'large', 'empty'"):
        read_rtstruct(both, geometry, SOURCE, "Large")


def faulty(case: str) -> Dataset:
    geometry, shape = grid(), ellipse((40, 40), (10, 10))
    good = contour(geometry, 4, shape)
    tilted, short, odd = contour(geometry, 4, shape), contour(geometry, 4, shape[:2]), contour(geometry, 4, shape)
    tilted.ContourData = [v if i else str(float(v) + 3) for i, v in enumerate(tilted.ContourData[2::-1])] + list(
        tilted.ContourData[3:]
    )
    odd.ContourData = list(odd.ContourData)[:-1]
    items = {
        "above": [good, contour(geometry, 9.1, shape)],
        "beside": [good, contour(geometry, 4, shape + 200)],
        "tilted": [tilted],
        "short": [short],
        "odd": [odd],
        "between centers": [contour(geometry, 4, ellipse((40.5, 40.5), (0.2, 0.2)))],
        "points only": [contour(geometry, 4, shape, "POINT")],
        "no contours": [],
        "other frame": [good],
        "other frame of the set": [good],
    }[case]
    dataset = structure_set({"GTV": items}, "9.9" if case == "other frame" else "1.2.3")
    if case == "other frame of the set":
        del dataset.StructureSetROISequence[0].ReferencedFrameOfReferenceUID
        dataset.FrameOfReferenceUID = "9.9"
    return dataset


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("above", Reason.ROI_OUTSIDE_IMAGE),
        ("beside", Reason.ROI_OUTSIDE_IMAGE),
        ("tilted", Reason.ROI_CONTOUR_INVALID),
        ("short", Reason.ROI_CONTOUR_INVALID),
        ("odd", Reason.ROI_CONTOUR_INVALID),
        ("between centers", Reason.ROI_EMPTY),
        ("points only", Reason.ROI_EMPTY),
        ("no contours", Reason.ROI_EMPTY),
        ("other frame", Reason.ROI_FRAME_OF_REFERENCE_MISMATCH),
        ("other frame of the set", Reason.ROI_FRAME_OF_REFERENCE_MISMATCH),
    ],
)
def test_an_unusable_outline_is_refused(case: str, reason: Reason) -> None:
    with pytest.raises(NodogramError) as refusal:
        read_rtstruct(faulty(case), grid(), SOURCE, None)
    assert refusal.value.reason is reason


def from_file(coordinates: bytes, implicit: bool = False) -> Dataset:
    """A structure set of one contour, written with these bytes as its data and read back."""
    padded = coordinates + b" " * (len(coordinates) % 2)
    item = contour(grid(), 4, ellipse((40, 40), (10, 10)))
    # pydicom tidies what it writes, so the bytes take the place of as many others in what it has written.
    item.ContourData = ["7"] * (len(padded) // 2)
    place = b"\\".join([b"7"] * (len(padded) // 2)) + b" " * bool(padded)
    file = BytesIO()
    pydicom.dcmwrite(file, structure_set({"GTV": [item]}), implicit_vr=implicit, little_endian=True)
    written = file.getvalue()
    assert not place or written.count(place) == 1
    dataset = pydicom.dcmread(BytesIO(written.replace(place, padded) if place else written), force=True)
    read = dataset.ROIContourSequence[0].ContourSequence[0].get_item("ContourData")
    assert (read.value or b"") == padded
    return dataset


def coordinates_of_an_ellipse() -> list[bytes]:
    return [str(value).encode() for value in contour(grid(), 4, ellipse((40.3, 39.1), (10, 10))).ContourData]


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("padding", [b"", b" ", b"\0", b" \0"])
@pytest.mark.parametrize("form", [b"%b", b" %b", b"%b  "])
def test_numbers_read_from_a_file_are_those_set_however_they_are_padded(form: bytes, padding: bytes, implicit: bool) -> None:
    numbers = coordinates_of_an_ellipse()
    dataset = from_file(b"\\".join(form % number for number in numbers) + padding, implicit)
    found = read_rtstruct(dataset, grid(), SOURCE, None)
    as_set = read_rtstruct(structure_set({"GTV": [contour(grid(), 4, ellipse((40.3, 39.1), (10, 10)))]}), grid(), SOURCE, None)
    np.testing.assert_array_equal(found.mask.array, as_set.mask.array)
    # The same once pydicom has turned the bytes into numbers of its own.
    assert len(dataset.ROIContourSequence[0].ContourSequence[0].ContourData) == len(numbers)
    np.testing.assert_array_equal(read_rtstruct(dataset, grid(), SOURCE, None).mask.array, found.mask.array)


@given(st.lists(st.floats(-9e5, 9e5).map(lambda value: f"{value:.9g}"[:16]), min_size=9, max_size=30))
def test_numbers_are_pydicoms(texts: list[str]) -> None:
    whole = texts[: len(texts) // 3 * 3]
    item = from_file("\\".join(whole).encode()).ROIContourSequence[0].ContourSequence[0]
    (points,), ignored = _closed_contours(_Region("GTV", "1.2.3", (item,)))
    assert points.ravel().tolist() == [float(value) for value in item.ContourData]
    assert ignored == 0


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        (b"abc", "not numbers"),
        (b"1,5", "not numbers"),
        (b"1.2.3", "not numbers"),
        (b"\xb2", "not numbers"),
        (b"", "not numbers"),
        (b"1\0", "not numbers"),
        (b"nan", "1200 coordinates"),
        (b"-inf", "1200 coordinates"),
        (b"1e999", "1200 coordinates"),
    ],
)
def test_coordinates_that_are_not_numbers_are_refused(bad: bytes, found: str) -> None:
    numbers = coordinates_of_an_ellipse()
    numbers[7] = bad
    with pytest.raises(NodogramError, match=found) as refusal:
        read_rtstruct(from_file(b"\\".join(numbers)), grid(), SOURCE, None)
    assert refusal.value.reason is Reason.ROI_CONTOUR_INVALID


@pytest.mark.parametrize("coordinates", [b"", b"  ", b"12.5", b"\\".join([b"1"] * 8)])
def test_contours_without_enough_coordinates_are_refused(coordinates: bytes) -> None:
    with pytest.raises(NodogramError, match="at least 3 finite points") as refusal:
        read_rtstruct(from_file(coordinates), grid(), SOURCE, None)
    assert refusal.value.reason is Reason.ROI_CONTOUR_INVALID


@pytest.mark.parametrize(("name", "voxels"), [("STS_002", 17090), ("STS_008", 8862)])
def test_real_outlines_equal_the_published_masks(tmp_path: Path, test_data: Path, name: str, voxels: int) -> None:
    with tarfile.open(test_data / "sts" / f"{name}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    case = load_case(name, tmp_path / name / "CT" / "image", tmp_path / name / "CT" / "mask")
    published = read_mask_file(test_data / "radiomics" / "sts_nifti_masks" / f"{name}_CT_mask.nii.gz")
    assert case.mask.voxel_count == voxels
    assert case.mask.geometry.is_same_grid(published.geometry)
    np.testing.assert_array_equal(case.mask.array, published.array)
    assert case.source.roi_name == "GTV_Mass_CT"
    assert case.source.roi_sop_instance_uid
