"""NIfTI and NRRD files: volumes and masks in and out, with bytes that depend on the contents alone."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from nodogram.case import SeriesSource
from nodogram.errors import ImageError, Reason, RegionError, SurroundingsError
from nodogram.geometry import Geometry
from nodogram.imaging.loaded import MAXIMUM_VOXELS, LoadedSeries, check_voxel_count, foreign_file
from nodogram.imaging.plausibility import plausibility_notes
from nodogram.volume import Mask, Volume

SUFFIXES = (".nii", ".nii.gz", ".nrrd")
_LISTED_LABELS = 10
_HEADER_BYTES = 65536
# The library takes no less for the offset of the voxels either.
_NIFTI1_HEADER_BYTES, _NIFTI2_HEADER_BYTES = 348, 540
# Of the types of NIfTI that are at least one byte; the library goes by the type and ignores how many bits the header says.
_NIFTI_BITS = {
    2: 8,
    256: 8,
    4: 16,
    512: 16,
    8: 32,
    768: 32,
    16: 32,
    64: 64,
    1024: 64,
    1280: 64,
    1536: 128,
    32: 64,
    1792: 128,
    2048: 256,
    128: 24,
    2304: 32,
}
_LITTLE_ENDIAN_HEADER_SIZES = (struct.pack("<i", 348), struct.pack("<i", 540))
_CHUNK_BYTES = 2**20


def is_volume_file(path: Path) -> bool:
    """Tell by its name whether a file is NIfTI or NRRD."""
    return path.name.lower().endswith(SUFFIXES)


def read_volume_file(path: Path, *, maximum_voxels: int = MAXIMUM_VOXELS) -> LoadedSeries:
    """Read a CT volume in HU from ``.nii``, ``.nii.gz`` or ``.nrrd``, with a ``HU_IMPLAUSIBLE`` note as it applies.

    Parameters
    ----------
    path
        The file.
    maximum_voxels
        Larger images are refused.

    Raises
    ------
    ImageError
        ``FILE_NOT_FOUND``, ``UNSUPPORTED_FORMAT``, ``UNREADABLE_FILE``, ``NOT_FINITE``, ``GEOMETRY_INVALID`` or
        ``IMAGE_TOO_LARGE``.
    """
    array, geometry = _read(path, maximum_voxels)
    volume = Volume(array.astype(np.float32), geometry)
    return LoadedSeries(volume, SeriesSource(), plausibility_notes(volume.array))


def read_mask_file(path: Path, label: int | None = None, *, maximum_voxels: int = MAXIMUM_VOXELS) -> Mask:
    """Read a region from a label image.

    Parameters
    ----------
    path
        ``.nii``, ``.nii.gz`` or ``.nrrd`` file.
    label
        Value of the wanted voxels; ``None`` takes the only value other than 0.
    maximum_voxels
        Larger images are refused.

    Raises
    ------
    ImageError
        ``FILE_NOT_FOUND``, ``UNSUPPORTED_FORMAT``, ``UNREADABLE_FILE``, ``NOT_FINITE``, ``GEOMETRY_INVALID`` or
        ``IMAGE_TOO_LARGE``.
    RegionError
        ``ROI_EMPTY``, ``ROI_NOT_FOUND`` or, without a label where there are several, ``ROI_AMBIGUOUS``.
    """
    array, geometry = _read(path, maximum_voxels)
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


def _read(path: Path, maximum_voxels: int) -> tuple[NDArray[np.generic], Geometry]:
    _check_name(path)
    if not path.is_file():
        raise ImageError(Reason.FILE_NOT_FOUND, f"{path} is not a file")
    with foreign_file(path.name):
        if path.name.lower().endswith(".nrrd"):
            _refuse_detached(path)
        else:
            _check_nifti(path, maximum_voxels)
        reader: Any = sitk.ImageFileReader()  # type: ignore[no-untyped-call]
        reader.SetImageIO("NrrdImageIO" if path.name.lower().endswith(".nrrd") else "NiftiImageIO")
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        size, components = reader.GetSize(), reader.GetNumberOfComponents()
        if len(size) != 3 or components != 1:
            raise ImageError(
                Reason.UNSUPPORTED_FORMAT,
                f"{path.name} holds {len(size)} dimensions of {components} components; one scalar 3-D image is required",
            )
        check_voxel_count(size[::-1], path.name, maximum_voxels)
        image = reader.Execute()
        array = sitk.GetArrayFromImage(image)
        return array, Geometry(array.shape, image.GetSpacing()[::-1], image.GetOrigin(), np.array(image.GetDirection()))


def _refuse_detached(path: Path) -> None:
    """Refuse a header that names other files: an outside file must not choose what is read from the disk."""
    with path.open("rb") as stream:
        # As the library does: a carriage return alone ends a line as well.
        lines = stream.read(_HEADER_BYTES).lower().splitlines()
    end = lines.index(b"") if b"" in lines else None
    if any(line.startswith((b"data file:", b"datafile:")) for line in lines[:end]):
        raise ImageError(Reason.UNSUPPORTED_FORMAT, f"{path.name} keeps its voxels in another file; one file is required")
    if end is None:
        raise ImageError(Reason.UNREADABLE_FILE, f"{path.name} has no end of its header within {_HEADER_BYTES} bytes")


def _check_nifti(path: Path, maximum_voxels: int) -> None:
    """Refuse what the library would silently read as zeros: voxels beyond the end of the file, and NaN and infinity.

    Compressed files are read to the end, which checks their checksum.
    """
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as stream:
        content = bytearray(stream.read(_NIFTI2_HEADER_BYTES))
        offset, required, real = _nifti_layout(bytes(content), path.name, maximum_voxels)
        available = len(content)
        # A little more than required reaches the end of every honest file, and no end of a decompression bomb.
        while available <= required + _CHUNK_BYTES and (chunk := stream.read(_CHUNK_BYTES)):
            available += len(chunk)
            if real is not None:
                content += chunk
    if available < required:
        raise ImageError(Reason.UNREADABLE_FILE, f"{path.name} ends after {available} of {required} bytes; it is truncated")
    if real is not None and not np.isfinite(np.frombuffer(content[offset:required], dtype=real)).all():
        raise ImageError(Reason.NOT_FINITE, f"{path.name} has voxels that are NaN or infinite; finite numbers are required")


def _nifti_layout(header: bytes, name: str, maximum_voxels: int) -> tuple[int, int, np.dtype[np.generic] | None]:
    """First and last byte of the voxels, and their type if it is real (NIfTI-1.1 and NIfTI-2, https://nifti.nimh.nih.gov)."""
    order = "<" if header[:4] in _LITTLE_ENDIAN_HEADER_SIZES else ">"
    if header[344:347] == b"n+1":
        dimensions = struct.unpack_from(order + "8h", header, 40)
        kind, bits = struct.unpack_from(order + "2h", header, 70)
        offset = max(int(struct.unpack_from(order + "f", header, 108)[0]), _NIFTI1_HEADER_BYTES)
    elif header[4:7] == b"n+2":
        dimensions = struct.unpack_from(order + "8q", header, 16)
        kind, bits = struct.unpack_from(order + "2h", header, 12)
        offset = max(int(struct.unpack_from(order + "q", header, 168)[0]), _NIFTI2_HEADER_BYTES)
    else:
        raise ImageError(Reason.UNREADABLE_FILE, f"{name} is no NIfTI file of one part (n+1 or n+2)")
    if bits != _NIFTI_BITS.get(kind):
        raise ImageError(Reason.UNREADABLE_FILE, f"{name} has voxels of type {kind} in {bits} bits, which is no type of NIfTI")
    shape = [max(1, size) for size in dimensions[1 : 1 + min(7, max(0, dimensions[0]))]]
    check_voxel_count(shape[::-1], name, maximum_voxels)
    count = math.prod(shape)
    real = {16: np.dtype(order + "f4"), 64: np.dtype(order + "f8")}.get(kind)
    return offset, offset + count * bits // 8, real


def _write(path: Path, array: NDArray[np.generic], geometry: Geometry) -> None:
    _check_name(path)
    image: Any = sitk.GetImageFromArray(array)
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
