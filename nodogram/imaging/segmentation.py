"""Outlines from DICOM segmentations: binary, fractional and label map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID
from scipy import ndimage

from nodogram.case import NoteCode, QualityNote, SeriesSource
from nodogram.errors import Reason, RegionError
from nodogram.geometry import SAME_GRID_TOLERANCE_VOXEL, Geometry
from nodogram.imaging.expansion import check_frame_sizes
from nodogram.imaging.loaded import MAXIMUM_VOXELS, LoadedRegion, check_voxel_count, foreign_file
from nodogram.volume import Mask

FRACTION_INSIDE = 0.5
SEGMENTATION_CLASSES = (UID("1.2.840.10008.5.1.4.1.1.66.4"), UID("1.2.840.10008.5.1.4.1.1.66.7"))


def read_segmentation(
    dataset: Dataset | Path,
    geometry: Geometry,
    source: SeriesSource,
    roi_name: str | None,
    *,
    maximum_voxels: int = MAXIMUM_VOXELS,
) -> LoadedRegion:
    """Read one segment on the grid of its image.

    Parameters
    ----------
    dataset
        Segmentation or its file.
    geometry
        Grid of the image.
    source
        Provenance of the image, for its frame of reference.
    roi_name
        Segment label, or segment number in digits; ``None`` takes the only segment.
    maximum_voxels
        A segmentation of more voxels in all its frames is refused.

    Returns
    -------
    LoadedRegion
        Exact where the grids agree, though the segmentation may cover less of it; else nearest neighbor with a
        ``ROI_RESAMPLED`` note. Fractional segments are inside from one half.

    Raises
    ------
    RegionError
        ``ROI_NOT_FOUND``, ``ROI_AMBIGUOUS``, ``ROI_EMPTY``, ``ROI_OUTSIDE_IMAGE`` or ``ROI_FRAME_OF_REFERENCE_MISMATCH``.
    ImageError
        ``UNREADABLE_FILE``, ``PIXEL_DECODE`` or ``IMAGE_TOO_LARGE``.
    """
    with foreign_file("the segmentation"):
        segmentation = _open(dataset)
        frames = (int(segmentation.get("NumberOfFrames") or 1), segmentation.Rows, segmentation.Columns)
        check_voxel_count(frames, "the segmentation", maximum_voxels)
        number, name = _choose(segmentation, roi_name)
        frame = segmentation.get("FrameOfReferenceUID")
        if frame and source.frame_of_reference_uid and str(frame) != source.frame_of_reference_uid:
            raise RegionError(
                Reason.ROI_FRAME_OF_REFERENCE_MISMATCH,
                f"segment {name!r} was drawn in another coordinate system than the image's; "
                "an outline of this image is required",
            )
    with foreign_file("the frames of the segmentation", Reason.PIXEL_DECODE):
        check_frame_sizes(segmentation)
        inside, affine = _segment_volume(segmentation, number)
    if not inside.any():
        raise RegionError(Reason.ROI_EMPTY, f"segment {name!r} has no voxel; at least one is required")
    array, exact, outside = _place(inside, affine, geometry)
    if outside or not array.any():
        raise RegionError(
            Reason.ROI_OUTSIDE_IMAGE,
            f"{outside} of {np.count_nonzero(inside)} voxels of segment {name!r} lie outside the image; "
            "an outline of this image is required",
        )
    note = QualityNote(NoteCode.ROI_RESAMPLED, "the segmentation is on another grid and was resampled to the nearest voxel")
    return LoadedRegion(
        Mask(array, geometry), name, str(segmentation.get("SOPInstanceUID") or "") or None, () if exact else (note,)
    )


def _open(dataset: Dataset | Path) -> Any:
    if isinstance(dataset, Path):
        return hd.seg.segread(dataset)
    return hd.seg.Segmentation.from_dataset(dataset, copy=True)


def _choose(segmentation: Any, roi_name: str | None) -> tuple[int, str]:
    # A label map may describe its background as segment 0, which no one means by a region.
    segments = [
        (int(item.SegmentNumber), str(item.get("SegmentLabel") or ""))
        for item in segmentation.SegmentSequence
        if int(item.SegmentNumber) != 0
    ]
    names = ", ".join(f"{number} {label!r}" for number, label in segments) or "none"
    if roi_name is None:
        matching = segments
    else:
        matching = [s for s in segments if s[1] == roi_name] or [s for s in segments if str(s[0]) == roi_name]
    if not matching:
        raise RegionError(Reason.ROI_NOT_FOUND, f"no segment is {roi_name or 'there'!r}; the segmentation holds {names}")
    if len(matching) > 1:
        raise RegionError(Reason.ROI_AMBIGUOUS, f"{len(matching)} segments qualify of {names}; name exactly one")
    return matching[0]


def _segment_volume(segmentation: Any, number: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Membership on the segmentation's own grid, and the affine (4, 4) of its array indices, LPS mm."""
    # The tolerance admits positions rounded to hundredths of a millimeter, which the library refuses by default.
    volume = segmentation.get_volume(segment_numbers=[number], combine_segments=False, atol=0.1)
    array = np.asarray(volume.array)
    array = array[..., 0] if array.ndim == 4 else array
    return np.asarray(array >= FRACTION_INSIDE, dtype=np.bool_), np.asarray(volume.affine, dtype=np.float64)


def _place(inside: NDArray[np.bool_], affine: NDArray[np.float64], geometry: Geometry) -> tuple[NDArray[np.bool_], bool, int]:
    """Put a segment on the image's grid; whether every voxel met a voxel center of the image, and how many lie beyond it."""
    reverse = np.eye(4)[[2, 1, 0, 3]]
    image_affine = geometry.index_to_patient @ reverse
    image_from_segment = np.linalg.inv(image_affine) @ affine
    array = np.zeros(geometry.shape, dtype=np.bool_)
    voxels = np.argwhere(inside)
    index = voxels @ image_from_segment[:3, :3].T + image_from_segment[:3, 3]
    nearest = np.rint(index).astype(np.intp)
    within = ((nearest >= 0) & (nearest < geometry.shape)).all(axis=1)
    outside = int(np.count_nonzero(~within))
    axes = image_from_segment[:3, :3]
    same_lattice = np.abs(np.abs(axes) - np.rint(np.abs(axes))).max() < SAME_GRID_TOLERANCE_VOXEL and np.allclose(
        np.sort(np.rint(np.abs(axes)), axis=1), [[0, 0, 1]] * 3
    )
    if same_lattice and np.abs(index - nearest).max() <= SAME_GRID_TOLERANCE_VOXEL:
        array[tuple(nearest[within].T)] = True
        return array, True, outside
    back = np.linalg.inv(image_from_segment)
    # Only this boundary rule reaches to the outer edge of the border voxels; others stop at their centers.
    ndimage.affine_transform(
        inside.astype(np.uint8),
        back[:3, :3],
        back[:3, 3],
        output_shape=geometry.shape,
        output=array.view(np.uint8),
        order=0,
        mode="grid-constant",
    )
    return array, False, outside
