"""Enhanced and legacy converted enhanced CT: planes and rescaling of every frame of one file.

Frames are checked and stacked exactly as single images are, so that both forms of one series give one volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from nodogram.errors import ImageError, Reason
from nodogram.imaging.rescale import Rescale
from nodogram.imaging.slice_stack import Plane


@dataclass(frozen=True)
class Frame:
    """One frame: where it is and how its values become HU."""

    plane: Plane
    rescale: Rescale


def is_multiframe(header: Dataset) -> bool:
    """Tell whether an image keeps its geometry frame by frame (DICOM PS3.3 C.7.6.16)."""
    return "PerFrameFunctionalGroupsSequence" in header or int(header.get("NumberOfFrames") or 1) > 1


def read_frames(header: Dataset) -> tuple[Frame, ...]:
    """Read plane and rescaling of each frame, in stored order.

    Parameters
    ----------
    header
        Enhanced CT image without its pixels.

    Raises
    ------
    ImageError
        ``NO_GEOMETRY``, ``NO_RESCALE`` or ``NOT_HU``.
    """
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    frames = header.get("PerFrameFunctionalGroupsSequence") or []
    if len(frames) != int(header.get("NumberOfFrames") or 1):
        raise ImageError(
            Reason.NO_GEOMETRY,
            f"{len(frames)} frames are described of {header.get('NumberOfFrames')}; a position for each is required",
        )
    return tuple(Frame(_plane(header, shared, frame), _rescale(header, shared, frame)) for frame in frames)


def described(header: Dataset, keyword: str) -> Any:
    """Return an attribute of an image wherever its kind keeps it, or ``None``.

    A single image has it itself; an enhanced one may have it in a functional group of all frames or of the first, which a
    legacy converted image uses for whatever has no better place (DICOM PS3.3 C.7.6.16.2.25).
    """
    value = header.get(keyword)
    if value not in (None, ""):
        return value
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in (header.get(groups) or [Dataset()])[0]:
            for item in list(group.value or ())[:1] if group.VR == "SQ" else ():
                if item.get(keyword) not in (None, ""):
                    return item.get(keyword)
    return None


def _group(shared: Dataset, frame: Dataset, sequence: str) -> Dataset:
    """Return a frame's functional group, its own before the shared one; empty where there is neither."""
    items = frame.get(sequence) or shared.get(sequence)
    return items[0] if items else Dataset()


def _plane(header: Dataset, shared: Dataset, frame: Dataset) -> Plane:
    position = _group(shared, frame, "PlanePositionSequence").get("ImagePositionPatient")
    orientation = _group(shared, frame, "PlaneOrientationSequence").get("ImageOrientationPatient")
    spacing = _group(shared, frame, "PixelMeasuresSequence").get("PixelSpacing")
    if not position or not orientation or not spacing:
        raise ImageError(Reason.NO_GEOMETRY, "a frame has no position, orientation or pixel spacing, which are required")
    return Plane(
        position_mm=tuple(float(v) for v in position),
        orientation=tuple(float(v) for v in orientation),
        pixel_spacing_mm=tuple(float(v) for v in spacing),
        matrix=(int(header.Rows), int(header.Columns)),
        frame_of_reference_uid=str(header.get("FrameOfReferenceUID") or "") or None,
    )


def _rescale(header: Dataset, shared: Dataset, frame: Dataset) -> Rescale:
    return Rescale.from_dataset(_group(shared, frame, "PixelValueTransformationSequence"), _padding(header))


def _padding(header: Dataset) -> Dataset:
    padding = Dataset()
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        value = described(header, keyword)
        if value is not None:
            padding.add_new(keyword, "SS" if int(value) < 0 else "US", int(value))
    return padding
