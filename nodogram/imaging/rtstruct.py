"""Outlines from RT structure sets.

One pixel rule for training and service: a voxel is inside if its center is. Edges count half-open, so that regions that
share a border share no voxel; contours of one slice combine by exclusive or, which makes holes and keyholes come out
right (DICOM PS3.3 C.8.8.6). Nothing is filled in between slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from nodogram.case import NoteCode, QualityNote, SeriesSource
from nodogram.errors import Reason, RegionError
from nodogram.geometry import Geometry
from nodogram.imaging.loaded import LoadedRegion, foreign_file
from nodogram.volume import Mask

CLOSED_TYPES = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
# A contour may leave its slice by this share of the slice spacing before it counts as drawn on another plane.
PLANE_TOLERANCE_SHARE = 0.1
_HALF_SLICE = 0.5 + 1e-6
# Planning systems put vertices exactly on pixel centers; the noise of the change of coordinates must not decide for them.
_PIXEL_DECIMALS = 6
_MINIMUM_POINTS = 3


def read_rtstruct(dataset: Dataset, geometry: Geometry, source: SeriesSource, roi_name: str | None) -> LoadedRegion:
    """Rasterize one region of an RT structure set on the grid of its image.

    Parameters
    ----------
    dataset
        RT structure set.
    geometry
        Grid of the image, of any orientation.
    source
        Provenance of the image, for its frame of reference.
    roi_name
        Name of the region; ``None`` takes the only one with contours.

    Returns
    -------
    LoadedRegion
        With ``ROI_CONTOUR_IGNORED`` and ``ROI_CONTOUR_GAP`` notes as they apply.

    Raises
    ------
    RegionError
        ``ROI_NOT_FOUND``, ``ROI_AMBIGUOUS``, ``ROI_EMPTY``, ``ROI_FRAME_OF_REFERENCE_MISMATCH``, ``ROI_OUTSIDE_IMAGE`` or
        ``ROI_CONTOUR_INVALID``.
    ImageError
        ``UNREADABLE_FILE``.
    """
    with foreign_file("the RT structure set"):
        regions = _regions(dataset)
        region = _choose(regions, roi_name)
        _check_frame_of_reference(region, source)
        contours, ignored = _closed_contours(region)
    distinct = _distinct(contours)
    mask = _rasterize(distinct, geometry, region.name)
    notes: tuple[QualityNote, ...] = ()
    if ignored:
        message = f"{ignored} contours are not closed planar and were not used"
        notes += (QualityNote(NoteCode.ROI_CONTOUR_IGNORED, message),)
    if len(distinct) < len(contours):
        message = f"{len(contours) - len(distinct)} contours repeat another point for point and count once"
        notes += (QualityNote(NoteCode.ROI_CONTOUR_IGNORED, message),)
    drawn = np.asarray(mask.array.any(axis=(1, 2)))[mask.box[0]]
    if not drawn.all():
        message = f"{int((~drawn).sum())} slices between the first and the last contour have none and stay empty"
        notes += (QualityNote(NoteCode.ROI_CONTOUR_GAP, message),)
    return LoadedRegion(mask, region.name, str(dataset.get("SOPInstanceUID") or "") or None, notes)


def fill_polygon(vertices: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill a closed polygon by the even-odd rule at pixel centers.

    Parameters
    ----------
    vertices
        (n, 2) of column, row in pixels; pixel centers are at integers. The last vertex joins the first.
    shape
        Rows, columns.

    Returns
    -------
    NDArray
        bool (rows, columns). A center on a left or upper edge is inside, on a right or lower edge outside.
    """
    rows, columns = shape
    x0, y0 = vertices.T
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    # Taken upward, an edge that two polygons share rounds alike in both, whichever way each runs along it.
    down = y0 > y1
    x0, x1 = np.where(down, x1, x0), np.where(down, x0, x1)
    y0, y1 = np.where(down, y1, y0), np.where(down, y0, y1)
    # Each edge crosses the rows from its lower end, included, to its upper end, excluded: no vertex counts twice.
    first = np.clip(np.ceil(y0), 0, rows).astype(np.intp)
    stop = np.clip(np.ceil(y1), 0, rows).astype(np.intp)
    count = stop - first
    edge = np.repeat(np.arange(len(x0)), count)
    row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    crossing = x0[edge] + (row - y0[edge]) * (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
    crossing = np.round(crossing, _PIXEL_DECIMALS)
    column = np.clip(np.ceil(crossing), 0, columns).astype(np.intp)
    # All pixels at or right of a crossing change sides; column `columns` collects crossings beyond the image.
    flips = np.bincount(row * (columns + 1) + column, minlength=rows * (columns + 1)).reshape(rows, columns + 1)
    inside: NDArray[np.bool_] = (np.cumsum(flips, axis=1)[:, :columns] & 1).astype(np.bool_)
    return inside


@dataclass(frozen=True, eq=False)
class _Region:
    """A named region and the items of its contours."""

    name: str
    frame_of_reference_uid: str
    contours: tuple[Dataset, ...]


def _regions(dataset: Dataset) -> tuple[_Region, ...]:
    contours: dict[int, tuple[Dataset, ...]] = {}
    for item in dataset.get("ROIContourSequence") or ():
        number = int(item.ReferencedROINumber)
        contours[number] = contours.get(number, ()) + tuple(item.get("ContourSequence") or ())
    return tuple(
        _Region(
            str(item.get("ROIName") or ""),
            str(item.get("ReferencedFrameOfReferenceUID") or dataset.get("FrameOfReferenceUID") or ""),
            contours.get(int(item.ROINumber), ()),
        )
        for item in dataset.get("StructureSetROISequence") or ()
    )


def _choose(regions: Sequence[_Region], roi_name: str | None) -> _Region:
    names = ", ".join(repr(region.name) for region in regions) or "none"
    matching = [region for region in regions if (region.contours if roi_name is None else region.name == roi_name)]
    if not matching and roi_name is None:
        raise RegionError(Reason.ROI_EMPTY, f"no region has a contour; the structure set names {names}")
    if not matching:
        raise RegionError(Reason.ROI_NOT_FOUND, f"no region is named {roi_name!r}; the structure set names {names}")
    if len(matching) > 1:
        found = ", ".join(repr(region.name) for region in matching)
        raise RegionError(Reason.ROI_AMBIGUOUS, f"{len(matching)} regions qualify: {found}; name exactly one")
    return matching[0]


def _check_frame_of_reference(region: _Region, source: SeriesSource) -> None:
    expected = source.frame_of_reference_uid
    if expected and region.frame_of_reference_uid and region.frame_of_reference_uid != expected:
        raise RegionError(
            Reason.ROI_FRAME_OF_REFERENCE_MISMATCH,
            f"region {region.name!r} was drawn in another coordinate system than the image's; "
            "an outline of this image is required",
        )


def _closed_contours(region: _Region) -> tuple[list[NDArray[np.float64]], int]:
    """Points (n, 3), LPS mm, of each closed planar contour, and the number of other contours."""
    closed = [item for item in region.contours if item.get("ContourGeometricType") in CLOSED_TYPES]
    contours = []
    for item in closed:
        values = _coordinates(item, region.name)
        if values.size % 3 or values.size < 3 * _MINIMUM_POINTS or not np.isfinite(values).all():
            raise RegionError(
                Reason.ROI_CONTOUR_INVALID,
                f"a contour of {region.name!r} has {values.size} coordinates; at least {_MINIMUM_POINTS} finite points of 3 "
                "are required",
            )
        contours.append(values.reshape(-1, 3))
    ignored = len(region.contours) - len(closed)
    if not closed:
        raise RegionError(Reason.ROI_EMPTY, f"region {region.name!r} has no closed planar contour among its {ignored}")
    return contours, ignored


def _coordinates(contour: Dataset, name: str) -> NDArray[np.float64]:
    """Read Contour Data at once; element by element, as pydicom would, millions of numbers take seconds."""
    element = contour.get_item("ContourData")
    value = None if element is None else element.value
    try:
        if isinstance(value, bytes):
            text = value.strip(b" \0")
            return np.array(text.split(b"\\") if text else (), dtype=np.float64)
        return np.array(value or (), dtype=np.float64)
    except ValueError as error:
        raise RegionError(
            Reason.ROI_CONTOUR_INVALID, f"a contour of {name!r} has coordinates that are not numbers; numbers are required"
        ) from error


def _distinct(contours: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Drop repeated contours: exclusive or would turn a contour that was exported twice into nothing."""
    return list({points.tobytes(): points for points in contours}.values())


def _rasterize(contours: Sequence[NDArray[np.float64]], geometry: Geometry, name: str) -> Mask:
    array = np.zeros(geometry.shape, dtype=np.bool_)
    slices, rows, columns = geometry.shape
    outside = 0
    level_of_slice: dict[int, float] = {}
    for points in contours:
        index = ((points - geometry.origin_mm) @ geometry.direction) / np.array(geometry.spacing_mm[::-1])
        lowest, highest = index.min(axis=0), index.max(axis=0)
        if highest[2] - lowest[2] > PLANE_TOLERANCE_SHARE:
            raise RegionError(
                Reason.ROI_CONTOUR_INVALID,
                f"a contour of {name!r} leaves its plane by {(highest[2] - lowest[2]) * geometry.spacing_mm[0]:.2f} mm; "
                "contours in the planes of the image are required",
            )
        level = float(index[:, 2].mean())
        nearest = int(np.floor(level + 0.5))
        in_stack = -_HALF_SLICE <= level <= slices - 1 + _HALF_SLICE
        in_plane = highest[0] > -0.5 and highest[1] > -0.5 and lowest[0] < columns - 0.5 and lowest[1] < rows - 0.5
        if not (in_stack and in_plane):
            outside += 1
            continue
        nearest = min(max(nearest, 0), slices - 1)
        # Exclusive or is for contours of one plane; those of a finer stack would erase each other.
        if abs(level_of_slice.setdefault(nearest, level) - level) > PLANE_TOLERANCE_SHARE:
            raise RegionError(
                Reason.ROI_CONTOUR_INVALID,
                f"contours of {name!r} on planes {abs(level_of_slice[nearest] - level) * geometry.spacing_mm[0]:.2f} mm apart "
                "fall on one slice of the image; an outline drawn on the slices of this image is required",
            )
        array[nearest] ^= fill_polygon(np.round(index[:, :2], _PIXEL_DECIMALS), (rows, columns))
    if outside:
        raise RegionError(
            Reason.ROI_OUTSIDE_IMAGE,
            f"{outside} of {len(contours)} contours of {name!r} lie outside the image; an outline of this image is required",
        )
    if not array.any():
        raise RegionError(Reason.ROI_EMPTY, f"no voxel center lies inside the contours of {name!r}; at least one is required")
    return Mask(array, geometry)
