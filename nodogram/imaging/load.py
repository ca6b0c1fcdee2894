"""From paths to a case: any supported image with any supported outline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom

from nodogram.case import Case, ClinicalRecord, NoteCode, QualityNote
from nodogram.errors import ImageError, Reason, RegionError
from nodogram.geometry import Geometry
from nodogram.imaging.dicom_series import find_series_files, is_dicom_file, read_series, sop_class_uid
from nodogram.imaging.loaded import MAXIMUM_VOXELS, LoadedRegion, LoadedSeries, foreign_file
from nodogram.imaging.rtstruct import read_rtstruct
from nodogram.imaging.segmentation import SEGMENTATION_CLASSES, read_segmentation
from nodogram.imaging.volume_file import SUFFIXES, is_volume_file, read_mask_file, read_volume_file
from nodogram.volume import Mask

RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
_FACES = (("first slice", "last slice"), ("first row", "last row"), ("first column", "last column"))
_PATIENT_SIDES = (("right", "left"), ("anterior", "posterior"), ("inferior", "superior"))


def load_image(path: Path, *, maximum_voxels: int = MAXIMUM_VOXELS) -> LoadedSeries:
    """Read a CT image.

    Parameters
    ----------
    path
        Folder of one DICOM series, one enhanced CT file, or a NIfTI or NRRD file in HU.
    maximum_voxels
        Larger images are refused by their headers (``IMAGE_TOO_LARGE``).

    Raises
    ------
    ImageError
        ``FILE_NOT_FOUND``, ``UNSUPPORTED_FORMAT``, or a reason of
        :func:`nodogram.imaging.dicom_series.read_series` or :func:`nodogram.imaging.volume_file.read_volume_file`.
    """
    if path.is_dir():
        return read_series(find_series_files(path), maximum_voxels=maximum_voxels)
    _check_file(path)
    if is_volume_file(path):
        return read_volume_file(path, maximum_voxels=maximum_voxels)
    if is_dicom_file(path):
        return read_series([path], maximum_voxels=maximum_voxels)
    raise _unsupported(path, "a folder with a DICOM CT series, one enhanced CT file")


def load_region(
    path: Path,
    image: LoadedSeries,
    roi_name: str | None,
    *,
    allow_border: bool = False,
    maximum_voxels: int = MAXIMUM_VOXELS,
) -> LoadedRegion:
    """Read the outline of a tumor.

    Parameters
    ----------
    path
        RT structure set, DICOM segmentation, NIfTI or NRRD label image, or a folder with exactly one of the former two.
    image
        The image it was drawn on.
    roi_name
        Name of the region or segment, or in digits the label of a label image; ``None`` where there is only one.
    allow_border
        Take a region that reaches the border of the image, with a note ``ROI_TOUCHES_BORDER``, instead of refusing it.
    maximum_voxels
        Outlines of more voxels are refused (``IMAGE_TOO_LARGE``).

    Raises
    ------
    ImageError
        ``FILE_NOT_FOUND``, ``UNSUPPORTED_FORMAT``, ``UNREADABLE_FILE`` or ``PIXEL_DECODE``.
    RegionError
        ``ROI_GEOMETRY_MISMATCH``, ``ROI_EMPTY``, ``ROI_TOUCHES_BORDER``, or a reason of the reader of the format.
    """
    if path.is_dir():
        path = _only_outline(path)
    _check_file(path)
    if is_volume_file(path):
        region = _read_label_image(path, roi_name, image.volume.geometry, maximum_voxels)
    elif is_dicom_file(path):
        region = _read_dicom_outline(path, image, roi_name, maximum_voxels)
    else:
        raise _unsupported(path, "an RT structure set, a DICOM segmentation")
    _check_grid(region.mask.geometry, image.volume.geometry)
    return check_border(region, allow_border=allow_border)


def load_case(
    case_id: str,
    image: Path,
    roi: Path,
    *,
    roi_name: str | None = None,
    clinical: ClinicalRecord | None = None,
    allow_border: bool = False,
    maximum_voxels: int = MAXIMUM_VOXELS,
) -> Case:
    """Read image and outline of one patient.

    Parameters
    ----------
    case_id
        The caller's own label.
    image, roi
        Paths as for :func:`load_image` and :func:`load_region`.
    roi_name
        Region where the outline file holds several.
    clinical
        Raw clinical values by predictor name.
    allow_border, maximum_voxels
        As for :func:`load_region`.

    Raises
    ------
    ImageError, RegionError
        As :func:`load_image` and :func:`load_region`.
    """
    series = load_image(image, maximum_voxels=maximum_voxels)
    region = load_region(roi, series, roi_name, allow_border=allow_border, maximum_voxels=maximum_voxels)
    source = replace(series.source, roi_sop_instance_uid=region.roi_sop_instance_uid, roi_name=region.roi_name or None)
    return Case(case_id, series.volume, region.mask, dict(clinical or {}), source, series.notes + region.notes)


def check_border(region: LoadedRegion, *, allow_border: bool = False) -> LoadedRegion:
    """Refuse a region that reaches the border of its image, or remark on it.

    Raises
    ------
    RegionError
        ``ROI_TOUCHES_BORDER``, unless ``allow_border``, which adds a note of this code.
    """
    mask = region.mask
    touched = [
        f"{face} ({_patient_side(mask.geometry, axis, last)})"
        for axis, (span, size, faces) in enumerate(zip(mask.box, mask.array.shape, _FACES, strict=True))
        for last, (face, touches) in enumerate(zip(faces, (span.start == 0, span.stop == size), strict=True))
        if touches
    ]
    if not touched:
        return region
    found = f"the region reaches the {' and the '.join(touched)} of the image and may go on beyond"
    if not allow_border:
        raise RegionError(Reason.ROI_TOUCHES_BORDER, f"{found}; an image that holds the whole tumor is required")
    return replace(region, notes=(*region.notes, QualityNote(NoteCode.ROI_TOUCHES_BORDER, found)))


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise ImageError(Reason.FILE_NOT_FOUND, f"{path} does not exist")


def _unsupported(path: Path, dicom: str) -> ImageError:
    return ImageError(
        Reason.UNSUPPORTED_FORMAT,
        f"{path.name} is neither DICOM nor a known file; {dicom} or {', '.join(SUFFIXES)} is required",
    )


def _only_outline(folder: Path) -> Path:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name.upper() != "DICOMDIR")
    outlines = [
        path for path in files if is_dicom_file(path) and sop_class_uid(path) in (RTSTRUCT_CLASS, *SEGMENTATION_CLASSES)
    ]
    if not outlines:
        raise ImageError(
            Reason.FILE_NOT_FOUND, f"{folder} holds no RT structure set or DICOM segmentation; exactly one is required"
        )
    if len(outlines) > 1:
        found = ", ".join(path.name for path in outlines[:10])
        raise RegionError(Reason.ROI_AMBIGUOUS, f"{folder} holds {len(outlines)} outlines ({found}); name one file")
    return outlines[0]


def _read_label_image(path: Path, roi_name: str | None, image: Geometry, maximum_voxels: int) -> LoadedRegion:
    if roi_name is not None and not (roi_name.isascii() and roi_name.isdigit()):
        raise RegionError(
            Reason.ROI_NOT_FOUND, f"{path.name} has numbers and no names; a label in digits is required, not {roi_name!r}"
        )
    mask = read_mask_file(path, None if roi_name is None else int(roi_name), maximum_voxels=maximum_voxels)
    return LoadedRegion(_turned(mask, image), roi_name or "")


def _turned(mask: Mask, image: Geometry) -> Mask:
    """Order and turn the index axes of a mask as the image's: another program may store the same grid upside down."""
    own = mask.geometry
    between = image.direction.T @ own.direction
    order = [int(axis) for axis in np.abs(between).argmax(axis=1)]
    turned = [bool(between[axis, own_axis] < 0) for axis, own_axis in enumerate(order)]
    if sorted(order) != [0, 1, 2] or (order == [0, 1, 2] and not any(turned)):
        return mask
    axes = tuple(2 - axis for axis in reversed(order))
    steps = tuple(slice(None, None, -1 if turn else 1) for turn in reversed(turned))
    array = mask.array.transpose(axes)[steps]
    start = [0.0, 0.0, 0.0]
    for axis, turn in zip(order, turned, strict=True):
        start[2 - axis] = own.shape[2 - axis] - 1.0 if turn else 0.0
    depth, height, width = (own.spacing_mm[axis] for axis in axes)
    return Mask(
        array,
        Geometry(
            shape=array.shape,
            spacing_mm=(depth, height, width),
            origin_mm=own.patient_position_mm((start[0], start[1], start[2])),
            direction=own.direction[:, order] * np.where(turned, -1.0, 1.0),
        ),
    )


def _read_dicom_outline(path: Path, image: LoadedSeries, roi_name: str | None, maximum_voxels: int) -> LoadedRegion:
    kind = sop_class_uid(path)
    geometry, source = image.volume.geometry, image.source
    if kind == RTSTRUCT_CLASS:
        with foreign_file(path.name):
            dataset = pydicom.dcmread(path)
        return read_rtstruct(dataset, geometry, source, roi_name)
    if kind in SEGMENTATION_CLASSES:
        return read_segmentation(path, geometry, source, roi_name, maximum_voxels=maximum_voxels)
    raise ImageError(
        Reason.UNSUPPORTED_FORMAT,
        f"{path.name} is a DICOM object of another kind; an RT structure set or segmentation is required",
    )


def _check_grid(outline: Geometry, image: Geometry) -> None:
    if not outline.is_same_grid(image):
        raise RegionError(
            Reason.ROI_GEOMETRY_MISMATCH,
            f"the outline's grid is {_describe(outline)}, the image's {_describe(image)}; one grid is required",
        )


def _describe(geometry: Geometry) -> str:
    spacing = " x ".join(f"{s:.4g}" for s in geometry.spacing_mm)
    origin = ", ".join(f"{o:.2f}" for o in geometry.origin_mm)
    axes = " ".join(f"{c:.3f}" for c in np.ravel(geometry.direction))
    return f"{geometry.shape} at {spacing} mm (z, y, x) from ({origin}) mm along [{axes}]"


def _patient_side(geometry: Geometry, axis: int, last: int) -> str:
    """Side of the patient at the first (0) or last (1) index of an array axis (z, y, x)."""
    cosines = geometry.direction[:, 2 - axis]
    nearest = int(np.abs(cosines).argmax())
    return _PATIENT_SIDES[nearest][last if cosines[nearest] > 0 else 1 - last]
