"""CT series from DICOM files: refuse what is not one trustworthy volume, decode the rest to HU.

Headers are read and checked before any pixel, so that a wrong series is refused in a fraction of a second.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels.utils import pixel_array
from pydicom.uid import JPEG2000, JPEG2000Lossless

from nodogram.case import NoteCode, QualityNote, SeriesSource
from nodogram.errors import ImageError, Reason
from nodogram.geometry import Geometry
from nodogram.imaging.enhanced_ct import described, is_multiframe, read_frames
from nodogram.imaging.expansion import check_frame_sizes, check_inflated_size
from nodogram.imaging.loaded import MAXIMUM_VOXELS, LoadedSeries, check_voxel_count, foreign_file
from nodogram.imaging.plausibility import plausibility_notes
from nodogram.imaging.rescale import Rescale, to_hounsfield
from nodogram.imaging.slice_stack import Plane, stack_planes
from nodogram.volume import Volume

# DICOM PS3.4 B.5: objects that share a folder with a series and are no images of it.
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_NOT_IMAGES = tuple(_STORAGE + root for root in ("11.", "66", "88.", "104.", "481.3", "481.5", "481.8"))
_LOSSY_SYNTAXES = frozenset(
    "1.2.840.10008.1.2.4." + end for end in ("50", "51", "81", "91", "203")
)  # fmt: skip
# Decoding releases the interpreter only in part; more threads were not faster.
_DECODING_THREADS = 2
_PREAMBLE = 132
# Suffixes by which a file claims to be DICOM, whatever is left of its contents.
_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")


def is_dicom_file(path: Path) -> bool:
    """Tell by its magic number (DICOM PS3.10, 7.1) whether a file is DICOM."""
    with path.open("rb") as stream:
        return stream.read(_PREAMBLE)[128:] == b"DICM"


def sop_class_uid(path: Path) -> str:
    """Return the SOP class of a DICOM file; empty where it gives none.

    Raises
    ------
    ImageError
        ``UNREADABLE_FILE``, or ``IMAGE_TOO_LARGE`` by what it inflates to.
    """
    with foreign_file(path.name):
        check_inflated_size(path)
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"])
        return str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or "")


def find_series_files(folder: Path) -> tuple[Path, ...]:
    """Find the DICOM images in a folder and the folders in it.

    Directory files, outlines, segmentations, reports, documents and plans are passed over, files of other formats and
    hidden files as well. A file that can only be a damaged image is refused: at either end of the stack it would be missed
    by no later check.

    Parameters
    ----------
    folder
        Where to look.

    Returns
    -------
    tuple of Path
        At least one file, sorted by name.

    Raises
    ------
    ImageError
        ``FILE_NOT_FOUND``, ``NO_IMAGES`` or ``UNREADABLE_FILE``.
    """
    if not folder.is_dir():
        raise ImageError(Reason.FILE_NOT_FOUND, f"{folder} is not a folder")
    candidates = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and path.name.upper() != "DICOMDIR" and not path.name.startswith(".")
    )
    dicom = [path for path in candidates if is_dicom_file(path)]
    damaged = [path for path in set(candidates).difference(dicom) if _is_damaged_image(path)]
    if damaged:
        raise ImageError(
            Reason.UNREADABLE_FILE,
            f"{len(damaged)} of {len(candidates)} files, such as {min(damaged).name}, are empty or have lost their header; "
            "fetch the series again",
        )
    files = tuple(path for path in dicom if not sop_class_uid(path).startswith(_NOT_IMAGES))
    if not files:
        raise ImageError(
            Reason.NO_IMAGES, f"{folder} holds {len(candidates)} files and no DICOM image; a CT series is required"
        )
    return files


def _is_damaged_image(path: Path) -> bool:
    """Tell whether a file without DICOM's magic number is named like an image, or has no type at all and only zeros."""
    if path.suffix.lower() in _DICOM_SUFFIXES:
        return True
    # Many archives name files by number or UID alone.
    if path.suffix and not path.suffix[1:].isdigit():
        return False
    with path.open("rb") as stream:
        return not any(stream.read(_PREAMBLE))


def read_series(paths: Sequence[Path], *, maximum_voxels: int = MAXIMUM_VOXELS) -> LoadedSeries:
    """Read the files of one CT series as one volume in HU.

    Slices are sorted along row × column of their orientation, whatever their names and numbers. HU are stored value ×
    slope + intercept of each slice (DICOM PS3.3 C.11.1), not below -1024, where also padding goes.

    Parameters
    ----------
    paths
        Files in any order: single-frame CT images, or one (legacy converted) enhanced CT image.
    maximum_voxels
        Larger series are refused by their headers, before pixels are read.

    Returns
    -------
    LoadedSeries
        With ``DUPLICATE_FILE``, ``LOCALIZER_DROPPED``, ``LOSSY_COMPRESSION``, ``HU_IMPLAUSIBLE`` and ``MULTIFRAME`` notes
        as they apply.

    Raises
    ------
    ImageError
        ``FILE_NOT_FOUND``, ``NO_IMAGES``, ``UNREADABLE_FILE``, ``MULTIPLE_SERIES``, ``NOT_CT``, ``NO_GEOMETRY``,
        ``NO_RESCALE``, ``NOT_HU``, ``PIXEL_DECODE``, ``UNSUPPORTED_FORMAT``, ``IMAGE_TOO_LARGE`` or a reason of
        :func:`nodogram.imaging.slice_stack.stack_planes`.
    """
    if not paths:
        raise ImageError(Reason.NO_IMAGES, "no file was given; a CT series is required")
    headers = [(path, _read_header(path)) for path in paths]
    with foreign_file("the header of a DICOM file"):
        headers, notes = _drop_duplicates(headers)
        _check_one_series([header for _, header in headers])
        if any(is_multiframe(header) for _, header in headers):
            return _read_multiframe(headers, notes, maximum_voxels)
        headers, dropped = _drop_localizers(headers)
        geometry, order = stack_planes([_plane(header) for _, header in headers])
        headers = [headers[i] for i in order]
        rescales = [Rescale.from_dataset(header, header) for _, header in headers]
        source = _source([header for _, header in headers])
        lossy = _lossy_note([header for _, header in headers])
    check_voxel_count(geometry.shape, "the series", maximum_voxels)
    array = _decode(headers, rescales, geometry)
    return LoadedSeries(Volume(array, geometry), source, (*notes, *dropped, *lossy, *plausibility_notes(array)))


def _read_header(path: Path) -> Dataset:
    if not path.is_file():
        raise ImageError(Reason.FILE_NOT_FOUND, f"{path} is not a file")
    with foreign_file(path.name):
        try:
            check_inflated_size(path)
            return pydicom.dcmread(path, stop_before_pixels=True)
        except InvalidDicomError as error:
            raise ImageError(Reason.UNSUPPORTED_FORMAT, f"{path.name} is not a DICOM file") from error


_Headers = list[tuple[Path, Dataset]]
_Notes = tuple[QualityNote, ...]


def _drop_duplicates(headers: _Headers) -> tuple[_Headers, _Notes]:
    kept: dict[tuple[str, str], tuple[Path, Dataset]] = {}
    for path, header in headers:
        # Slices whose sender gave all of them one identifier differ in position and are not the same slice.
        key = str(header.get("SOPInstanceUID", path)), str(header.get("ImagePositionPatient"))
        kept.setdefault(key, (path, header))
    repeated = len(headers) - len(kept)
    note = QualityNote(NoteCode.DUPLICATE_FILE, f"{repeated} files repeat an image of the series and were not used")
    return list(kept.values()), (note,) if repeated else ()


def _check_one_series(headers: Sequence[Dataset]) -> None:
    series = {str(header.get("SeriesInstanceUID")) for header in headers}
    unnamed = sum(not header.get("SeriesInstanceUID") for header in headers)
    if 0 < unnamed < len(headers):
        raise ImageError(
            Reason.UNREADABLE_FILE, f"{unnamed} of {len(headers)} files name no series and may be truncated; fetch them again"
        )
    if len(series) > 1:
        raise ImageError(Reason.MULTIPLE_SERIES, f"the files belong to {len(series)} series; exactly one is required")
    modalities = sorted({str(header.get("Modality")) for header in headers})
    if modalities != ["CT"]:
        raise ImageError(Reason.NOT_CT, f"the modality is {', '.join(modalities)}; CT is required")


def _drop_localizers(headers: _Headers) -> tuple[_Headers, _Notes]:
    kept = [(path, header) for path, header in headers if "LOCALIZER" not in (header.get("ImageType") or ())]
    dropped = len(headers) - len(kept)
    if not dropped:
        return headers, ()
    if not kept:
        raise ImageError(Reason.NO_IMAGES, f"all {dropped} images are localizers; a CT series is required")
    return kept, (QualityNote(NoteCode.LOCALIZER_DROPPED, f"{dropped} localizer images were not used"),)


def _plane(header: Dataset) -> Plane:
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns"):
        if not header.get(keyword):
            raise ImageError(Reason.NO_GEOMETRY, f"image {header.get('InstanceNumber')} has no {keyword}, which is required")
    return Plane(
        position_mm=tuple(float(v) for v in header.ImagePositionPatient),
        orientation=tuple(float(v) for v in header.ImageOrientationPatient),
        pixel_spacing_mm=tuple(float(v) for v in header.PixelSpacing),
        matrix=(int(header.Rows), int(header.Columns)),
        frame_of_reference_uid=_text(header, "FrameOfReferenceUID"),
    )


def _decode(headers: _Headers, rescales: Sequence[Rescale], geometry: Geometry) -> NDArray[np.float32]:
    array = np.empty(geometry.shape, dtype=np.float32)

    def decode(index: int) -> None:
        path, header = headers[index]
        with foreign_file(f"the header of file {path.name}"):
            what = _pixels_of(header)
        with foreign_file(what, Reason.PIXEL_DECODE):
            stored = _stored_values(pydicom.dcmread(path))
            if stored.shape != array.shape[1:]:
                raise ImageError(Reason.PIXEL_DECODE, f"{what} decode to {stored.shape}; {array.shape[1:]} is required")
            array[index] = to_hounsfield(stored, rescales[index])

    _for_each(decode, len(headers))
    return array


def _pixels_of(header: Dataset) -> str:
    syntax = header.file_meta.get("TransferSyntaxUID")
    return f"the pixels of image {header.get('InstanceNumber')} ({syntax.name if syntax else 'no transfer syntax'})"


def _for_each(work: Callable[[int], None], count: int) -> None:
    with ThreadPoolExecutor(min(_DECODING_THREADS, os.cpu_count() or 1)) as pool:
        for _ in pool.map(work, range(count)):
            pass


def _stored_values(dataset: Dataset) -> NDArray[np.integer]:
    check_frame_sizes(dataset)
    # Of the installed decoders of JPEG 2000 the default choice can be a much slower one.
    openjpeg = dataset.file_meta.TransferSyntaxUID in (JPEG2000, JPEG2000Lossless)
    stored: NDArray[np.integer] = pixel_array(dataset, decoding_plugin="pylibjpeg" if openjpeg else "")
    return stored


def _read_multiframe(headers: _Headers, notes: _Notes, maximum_voxels: int) -> LoadedSeries:
    if len(headers) > 1:
        raise ImageError(
            Reason.UNSUPPORTED_FORMAT, f"{len(headers)} files, at least one of several frames; one such file is required"
        )
    path, header = headers[0]
    frames = read_frames(header)
    geometry, order = stack_planes([frame.plane for frame in frames])
    check_voxel_count(geometry.shape, "the series", maximum_voxels)
    with foreign_file(_pixels_of(header), Reason.PIXEL_DECODE):
        stored = _stored_values(pydicom.dcmread(path))
        array = np.empty(geometry.shape, dtype=np.float32)
        if stored.shape != array.shape:
            raise ImageError(Reason.PIXEL_DECODE, f"the frames decode to {stored.shape}; {array.shape} is required")
        for index, frame in enumerate(order):
            array[index] = to_hounsfield(stored[frame], frames[frame].rescale)
    multiframe = QualityNote(NoteCode.MULTIFRAME, f"read from one enhanced image of {len(frames)} frames")
    every_note = (*notes, multiframe, *_lossy_note([header]), *plausibility_notes(array))
    return LoadedSeries(Volume(array, geometry), _source([header]), every_note)


def _lossy_note(headers: Sequence[Dataset]) -> _Notes:
    count = sum(
        str(header.get("LossyImageCompression", "00")) == "01" or header.file_meta.get("TransferSyntaxUID") in _LOSSY_SYNTAXES
        for header in headers
    )
    if not count:
        return ()
    return (QualityNote(NoteCode.LOSSY_COMPRESSION, f"{count} of {len(headers)} images were compressed with loss"),)


def _source(headers: Sequence[Dataset]) -> SeriesSource:
    first = headers[0]
    return SeriesSource(
        study_instance_uid=_text(first, "StudyInstanceUID"),
        series_instance_uid=_text(first, "SeriesInstanceUID"),
        frame_of_reference_uid=_text(first, "FrameOfReferenceUID"),
        sop_instance_uids=tuple(str(header.get("SOPInstanceUID", "")) for header in headers),
        manufacturer=_text(first, "Manufacturer"),
        manufacturer_model_name=_text(first, "ManufacturerModelName"),
        convolution_kernel=_text(first, "ConvolutionKernel"),
        kvp=_number(first, "KVP"),
        slice_thickness_mm=_number(first, "SliceThickness"),
        contrast_bolus_agent=_text(first, "ContrastBolusAgent"),
    )


def _text(header: Dataset, keyword: str) -> str | None:
    value = described(header, keyword)
    if value is None or isinstance(value, str):
        return str(value).strip() or None if value else None
    return "\\".join(str(part) for part in value) or None


def _number(header: Dataset, keyword: str) -> float | None:
    value = described(header, keyword)
    return None if value in (None, "") else float(value)
