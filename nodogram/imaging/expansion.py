"""Compressed DICOM that would become far more than an image: found out before it is unpacked."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

from nodogram.errors import ImageError, Reason

# Two bytes for each of half the voxels that are taken at most, in one file.
MAXIMUM_INFLATED_BYTES = 2**30
# Deflate makes no more of a byte (https://www.zlib.net/zlib_tech.html).
_MAXIMUM_RATIO = 1032
_CHUNK_BYTES = 2**16
# Start of codestream and of its size, ISO/IEC 15444-1 A.4.1 and A.5.1; of images, ISO/IEC 10918-1 B.1.1.3.
_J2K_START = b"\xff\x4f\xff\x51"
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))
_NOT_FRAMES = frozenset((0xC4, 0xC8, 0xCC))


def check_inflated_size(path: Path) -> None:
    """Refuse a file of the deflated transfer syntax (DICOM PS3.5 A.5) by what it inflates to; the library inflates it at once.

    Parameters
    ----------
    path
        DICOM file.

    Raises
    ------
    ImageError
        ``IMAGE_TOO_LARGE`` for more than 1 GiB.
    """
    if path.stat().st_size * _MAXIMUM_RATIO <= MAXIMUM_INFLATED_BYTES:
        return
    inflater, inflated = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with path.open("rb") as stream:
        read_preamble(stream, force=False)
        # To the first element beyond, as the library does, and not as far as the length in the file says.
        meta = read_dataset(stream, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        while chunk := stream.read(_CHUNK_BYTES):
            inflated += len(inflater.decompress(chunk))
            if inflated > MAXIMUM_INFLATED_BYTES:
                raise ImageError(
                    Reason.IMAGE_TOO_LARGE,
                    f"{path.name} inflates to more than {MAXIMUM_INFLATED_BYTES} bytes, which is the limit",
                )


def check_frame_sizes(dataset: Dataset) -> None:
    """Refuse compressed frames that say another size of themselves than the header; decoders allocate what frames say.

    Parameters
    ----------
    dataset
        Image, with its pixels.

    Raises
    ------
    ImageError
        ``PIXEL_DECODE``.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in JPEG2000TransferSyntaxes:
        sizes_of = _j2k_sizes
    elif syntax in (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes):
        sizes_of = _jpeg_sizes
    else:
        return
    required = int(dataset.Rows), int(dataset.Columns)
    for frame in generate_frames(dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames") or 1)):
        for found in sizes_of(frame):
            if found != required:
                raise ImageError(
                    Reason.PIXEL_DECODE,
                    f"a compressed frame says it has {found[0]} x {found[1]} pixels, the header {required[0]} x {required[1]}",
                )


def _j2k_sizes(frame: bytes) -> Iterator[tuple[int, int]]:
    """Rows and columns of every codestream: one, or one in a file of boxes, where it may begin anywhere."""
    start = frame.find(_J2K_START)
    while start >= 0:
        x_size, y_size, x_offset, y_offset = (
            int.from_bytes(frame[start + at : start + at + 4], "big") for at in (8, 12, 16, 20)
        )
        yield y_size - y_offset, x_size - x_offset
        start = frame.find(_J2K_START, start + 1)


def _jpeg_sizes(frame: bytes) -> Iterator[tuple[int, int]]:
    """Rows and columns of every frame header before the first scan."""
    start = 0
    while start + 9 <= len(frame):
        marker = frame[start + 1]
        if frame[start] != 0xFF or marker in (0xFF, *_STANDALONE):
            # Fill bytes, or a marker that has nothing behind it.
            start += 1 if frame[start] != 0xFF or marker == 0xFF else 2
            continue
        if marker == 0xDA:
            return
        if (0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES) or marker == 0xF7:
            yield int.from_bytes(frame[start + 5 : start + 7], "big"), int.from_bytes(frame[start + 7 : start + 9], "big")
        start += 2 + int.from_bytes(frame[start + 2 : start + 4], "big")
