"""NIfTI and NRRD files: volumes and masks in and out, with bytes that depend on the contents alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from nodogram.case import SeriesSource
from nodogram.errors import ImageError, Reason, RegionError, SurroundingsError
from nodogram.geometry import Geometry
from nodogram.imaging.loaded import LoadedSeries, foreign_file
from nodogram.volume import Mask, Volume

SUFFIXES = (".nii", ".nii.gz", ".nrrd")
# A whole-body study of 1,024 slices of 1,024 x 1,024; a damaged header asks for far more and is refused before allocation.
MAXIMUM_VOXELS = 2**30
_LISTED_LABELS = 10
_HEADER_BYTES = 65536


def is_volume_file(path: Path) -> bool:
    """Tell by its name whether a file is NIfTI or NRRD."""
    return path.name.lower().endswith(SUFFIXES)


def read_volume_file(path: Path) -> LoadedSeries:
    """Read a CT volume in HU from ``.nii``, ``.nii.gz`` or ``.nrrd``.

    Raises
    ------
    ImageError
        ``FILE_NOT_FOUND``, ``UNSUPPORTED_FORMAT``, ``UNREADABLE_FILE``, ``NOT_FINITE`` or ``GEOMETRY_INVALID``.
    """
    array, geometry = _read(path)
    return LoadedSeries(Volume(array.astype(np.float32), geometry), SeriesSource())


def read_mask_file(path: Path, label: int | None = None) -> Mask:
    """Read a region from a label image.

    Parameters
    ----------
    path
        ``.nii``, ``.nii.gz`` or ``.nrrd`` file.
    label
        Value of the wanted voxels; ``None`` takes the only value other than 0.

    Raises
    ------
    ImageError
        ``FILE_NOT_FOUND``, ``UNSUPPORTED_FORMAT``, ``UNREADABLE_FILE``, ``NOT_FINITE`` or ``GEOMETRY_INVALID``.
    RegionError
        ``ROI_EMPTY``, ``ROI_NOT_FOUND`` or, without a label where there are several, ``ROI_AMBIGUOUS``.
    """
    array, geometry = _read(path)
    if not np.isfinite(array).all():
        raise ImageError(Reason.NOT_FINITE, f"{path.name} has voxels that are NaN or infinite; a label image is required")
    labels = np.unique(array)
    labels = labels[labels != 0]
    if labels.size == 0:
        raise RegionError(Reason.ROI_EMPTY, f"{path.name} has no voxel other than 0; at least one is required")
    found = ", ".join(f"{value:g}" for value in labels[:_LISTED_LABELS])
    found += f" and {labels.size - _LISTED_LABELS} more" if labels.size > _LISTED_LABELS else ""
    if label is None:
        if labels.size > 1:
            raise RegionError(Reason.ROI_AMBIGUOUS, f"{path.name} holds the labels {found}; say which one is the region")
        return Mask(array != 0, geometry)
    if label not in labels:
        raise RegionError(Reason.ROI_NOT_FOUND, f"{path.name} has no label {label}; it holds {found}")
    return Mask(array == label, geometry)


def write_volume_file(path: Path, volume: Volume) -> None:
    """Write a volume; int16 where that loses nothing, else float32.

    Raises
    ------
    ImageError
        ``UNSUPPORTED_FORMAT``.
    SurroundingsError
        ``OUTPUT_NOT_WRITABLE``.
    """
    # Far beyond int16 the cast itself wraps, hence the comparison of the values and not of the range alone.
    limits = np.iinfo(np.int16)
    fits = volume.array.min() >= limits.min and volume.array.max() <= limits.max
    lossless = bool(fits) and bool((volume.array == np.rint(volume.array)).all())
    _write(path, volume.array.astype(np.int16) if lossless else volume.array, volume.geometry)


def write_mask_file(path: Path, mask: Mask) -> None:
    """Write a region as uint8 label image of 0 and 1.

    Raises
    ------
    ImageError
        ``UNSUPPORTED_FORMAT``.
    SurroundingsError
        ``OUTPUT_NOT_WRITABLE``.
    """
    _write(path, mask.array.astype(np.uint8), mask.geometry)


def _read(path: Path) -> tuple[NDArray[np.generic], Geometry]:
    _check_name(path)
    if not path.is_file():
        raise ImageError(Reason.FILE_NOT_FOUND, f"{path} is not a file")
    with foreign_file(path.name):
        if path.name.lower().endswith(".nrrd"):
            _refuse_detached(path)
        reader = sitk.ImageFileReader()
        reader.SetImageIO("NrrdImageIO" if path.name.lower().endswith(".nrrd") else "NiftiImageIO")
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        size, components = reader.GetSize(), reader.GetNumberOfComponents()
        if len(size) != 3 or components != 1:
            raise ImageError(
                Reason.UNSUPPORTED_FORMAT,
                f"{path.name} holds {len(size)} dimensions of {components} components; one scalar 3-D image is required",
            )
        if int(np.prod(size, dtype=object)) > MAXIMUM_VOXELS:
            raise ImageError(
                Reason.UNSUPPORTED_FORMAT, f"{path.name} announces {size} voxels; at most {MAXIMUM_VOXELS} are supported"
            )
        image = reader.Execute()
        array = sitk.GetArrayFromImage(image)
        return array, Geometry(array.shape, image.GetSpacing()[::-1], image.GetOrigin(), np.array(image.GetDirection()))


def _refuse_detached(path: Path) -> None:
    """Refuse a header that names other files: an outside file must not choose what is read from the disk."""
    with path.open("rb") as stream:
        header = stream.read(_HEADER_BYTES).split(b"\n\n")[0].lower().replace(b"\r", b"")
    if any(line.startswith((b"data file:", b"datafile:")) for line in header.split(b"\n")):
        raise ImageError(Reason.UNSUPPORTED_FORMAT, f"{path.name} keeps its voxels in another file; one file is required")


def _write(path: Path, array: NDArray[np.generic], geometry: Geometry) -> None:
    _check_name(path)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(geometry.spacing_mm[::-1])
    image.SetOrigin(geometry.origin_mm)
    image.SetDirection(geometry.direction.ravel().tolist())
    try:
        sitk.WriteImage(image, str(path), useCompression=not path.name.lower().endswith(".nii"))
    except RuntimeError as error:
        raise SurroundingsError(Reason.OUTPUT_NOT_WRITABLE, f"{path} cannot be written") from error


def _check_name(path: Path) -> None:
    if not is_volume_file(path):
        raise ImageError(Reason.UNSUPPORTED_FORMAT, f"{path.name}: a name ending in {', '.join(SUFFIXES)} is required")
