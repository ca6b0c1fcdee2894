"""The picture the network sees: one axial slice around the region, windowed and square."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nodogram.case import NoteCode, QualityNote
from nodogram.errors import ImageError, Reason, SettingsError
from nodogram.settings import NetworkSettings
from nodogram.volume import Mask, Volume, bounding_box


@dataclass(frozen=True, eq=False)
class Crop:
    """Network input before normalization.

    Parameters
    ----------
    pixels
        float32 (3, size, size) in [0, 1]: the attenuation window mapped linearly, gray repeated in three channels.
        Made read-only.
    slice_index
        Slice the crop was taken from, counted along the first array axis.
    slice_area_mm2
        Area of the region's largest component in that slice, mm².

    Raises
    ------
    ImageError
        ``GEOMETRY_INVALID`` or ``NOT_FINITE`` if any of the above does not hold.
    """

    pixels: NDArray[np.float32]
    slice_index: int
    slice_area_mm2: float

    def __post_init__(self) -> None:
        pixels = np.array(self.pixels, dtype=np.float32)
        pixels.setflags(write=False)
        object.__setattr__(self, "pixels", pixels)
        if pixels.ndim != 3 or pixels.shape[0] != 3 or pixels.shape[1] != pixels.shape[2] or pixels.size == 0:
            raise ImageError(Reason.GEOMETRY_INVALID, f"crop of shape {pixels.shape}: (3, size, size) is required")
        if not (pixels.min() >= 0 and pixels.max() <= 1):
            raise ImageError(Reason.NOT_FINITE, f"crop values {pixels.min()} to {pixels.max()}: 0 to 1 are required")
        if self.slice_index < 0 or not self.slice_area_mm2 > 0:
            raise ImageError(
                Reason.GEOMETRY_INVALID,
                f"slice {self.slice_index} with {self.slice_area_mm2} mm² of region: a slice that holds some is required",
            )


@dataclass(frozen=True)
class _Span:
    """One side of the picture on one image axis: first edge and length, in input pixels from the first pixel's center."""

    start: float
    length: float


def make_crop(
    volume: Volume, mask: Mask, settings: NetworkSettings, spacing_mm: tuple[float, float, float]
) -> tuple[Crop, tuple[QualityNote, ...]]:
    """Cut the axial slice with the largest area of the region and scale it to a square picture.

    The slice is one of the scanner's own, not blended from neighbors. Of the region's largest component (26-connected)
    the slice with the largest area is taken; of equals the one nearest to the component's centroid, then the lowest.

    ``fixed_mm`` takes a square of ``crop_size_mm`` about the middle of the component's bounding box in that slice, so that
    a millimeter has the same length in every crop; ``bbox_resize`` stretches the bounding box plus ``crop_margin_mm`` to
    a square and keeps neither size nor aspect, as the paper does.

    HU are windowed first and interpolated then, as clipping afterwards would let bone bleed into soft tissue. Pixels are
    interpolated with a triangle as wide as the coarsest of image pixel, model spacing and picture pixel: linear
    interpolation when enlarging, free of aliasing when reducing, and of the same sharpness whatever the scanner's field of
    view. What lies outside the image is the window's lower bound.

    Parameters
    ----------
    volume, mask
        Native image and outline on one grid, slices along the first axis.
    settings
        Crop rule, sizes and window.
    spacing_mm
        Model spacing (z, y, x), mm; the in-plane part sets the sharpness.

    Returns
    -------
    tuple of Crop and tuple of QualityNote
        ``ROI_LARGER_THAN_CROP`` where a fixed square does not hold the region, ``ROI_SEVERAL_COMPONENTS`` where the
        picture shows only the largest of several.
    """
    component, offset, notes = _largest_component(mask)
    index, pixel_count = _largest_slice(component)
    _, rows, columns = bounding_box(component[index : index + 1])
    _, row_mm, column_mm = volume.geometry.spacing_mm
    edges = ((offset[1] + rows.start, offset[1] + rows.stop), (offset[2] + columns.start, offset[2] + columns.stop))
    size_mm = (rows.stop - rows.start) * row_mm, (columns.stop - columns.start) * column_mm
    if settings.crop == "fixed_mm" and max(size_mm) > settings.crop_size_mm:
        notes = (
            *notes,
            QualityNote(
                NoteCode.ROI_LARGER_THAN_CROP,
                f"the region measures {size_mm[0]:.1f} x {size_mm[1]:.1f} mm in the chosen slice; "
                f"the crop holds {settings.crop_size_mm:g} mm",
            ),
        )
    low, high = settings.window_hu
    windowed = (np.clip(volume.array[offset[0] + index], low, high).astype(np.float64) - low) / (high - low)
    weights = [
        _weights(_span(edge, mm, settings), mm, model_mm, count, settings.resize_px)
        for edge, mm, model_mm, count in zip(edges, (row_mm, column_mm), spacing_mm[1:], windowed.shape, strict=True)
    ]
    gray = np.clip(weights[0] @ windowed @ weights[1].T, 0, 1).astype(np.float32)
    pixels = np.repeat(gray[None], 3, axis=0)
    return Crop(pixels, offset[0] + index, pixel_count * row_mm * column_mm), notes


def center_crop(pixels: NDArray[np.float32], input_px: int) -> NDArray[np.float32]:
    """Return the middle (..., input_px, input_px) of pictures (..., size, size), as the network sees them at inference.

    Raises
    ------
    SettingsError
        ``SETTINGS_INVALID`` if the pictures are smaller.
    """
    rows, columns = pixels.shape[-2:]
    if input_px > min(rows, columns):
        raise SettingsError(Reason.SETTINGS_INVALID, f"pictures of {rows} x {columns} px hold no {input_px} px square")
    top, left = (rows - input_px) // 2, (columns - input_px) // 2
    return pixels[..., top : top + input_px, left : left + input_px]


def _largest_component(mask: Mask) -> tuple[NDArray[np.bool_], tuple[int, int, int], tuple[QualityNote, ...]]:
    """Largest component inside the region's box, the box's first index, and a note if there are others."""
    box = mask.box
    offset = (box[0].start, box[1].start, box[2].start)
    labels, count = ndimage.label(mask.array[box], structure=np.ones((3, 3, 3)))
    if count == 1:
        return np.asarray(labels == 1), offset, ()
    sizes = np.bincount(labels.ravel())[1:]
    largest = int(np.argmax(sizes)) + 1
    note = QualityNote(
        NoteCode.ROI_SEVERAL_COMPONENTS,
        f"the region has {count} separate parts; the crop is centered on the largest, {sizes.max() / sizes.sum():.1%} of it",
    )
    return np.asarray(labels == largest), offset, (note,)


def _largest_slice(component: NDArray[np.bool_]) -> tuple[int, int]:
    areas = np.count_nonzero(component, axis=(1, 2))
    centroid = float(np.average(np.arange(len(areas)), weights=areas))
    ties = np.flatnonzero(areas == areas.max())
    # Rounded, so that two slices equally far from the centroid tie in floating point as well; argmin takes the lower.
    index = int(ties[np.argmin(np.round(np.abs(ties - centroid), 9))])
    return index, int(areas[index])


def _span(edges: tuple[int, int], pixel_mm: float, settings: NetworkSettings) -> _Span:
    first, last = edges[0] - 0.5, edges[1] - 0.5
    if settings.crop == "bbox_resize":
        margin = settings.crop_margin_mm / pixel_mm
        return _Span(first - margin, last - first + 2 * margin)
    length = settings.crop_size_mm / pixel_mm
    return _Span((first + last - length) / 2, length)


def _weights(span: _Span, pixel_mm: float, model_mm: float, count: int, size_px: int) -> NDArray[np.float64]:
    """Share of each image pixel in each picture pixel, (size_px, count); rows sum to less than 1 beyond the border."""
    pitch = span.length / size_px
    centers = span.start + (np.arange(size_px) + 0.5) * pitch
    width = max(1.0, model_mm / pixel_mm, pitch)
    reach = int(np.ceil(width)) + 1
    # The lattice goes on beyond the image; its pixels there have weight but the value zero.
    lattice = np.floor(centers).astype(np.intp)[:, None] + np.arange(-reach, reach + 1)
    triangle = np.maximum(0.0, 1.0 - np.abs(lattice - centers[:, None]) / width)
    triangle /= triangle.sum(axis=1, keepdims=True)
    weights = np.zeros((size_px, count))
    row, tap = np.nonzero((lattice >= 0) & (lattice < count))
    weights[row, lattice[row, tap]] = triangle[row, tap]
    return weights
