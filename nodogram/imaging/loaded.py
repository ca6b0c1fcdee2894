"""What the readers hand over: an image or an outline with its provenance and remarks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from nodogram.case import QualityNote, SeriesSource
from nodogram.errors import ImageError, NodogramError, Reason
from nodogram.volume import Mask, Volume

# A whole-body study of 1,024 slices of 1,024 x 1,024; a damaged header asks for far more and is refused before allocation.
MAXIMUM_VOXELS = 2**30


@dataclass(frozen=True, eq=False)
class LoadedSeries:
    """Image as read.

    Parameters
    ----------
    volume
        Voxels in HU with their grid.
    source
        Provenance; all ``None`` for formats without any.
    notes
        Remarks made while reading.
    """

    volume: Volume
    source: SeriesSource
    notes: tuple[QualityNote, ...] = ()


@dataclass(frozen=True, eq=False)
class LoadedRegion:
    """Outline as read, on the grid of its image.

    Parameters
    ----------
    mask
        Voxels inside.
    roi_name
        Name or label the file gives the region; empty where it gives none.
    roi_sop_instance_uid
        Identifier of the DICOM object, or ``None``.
    notes
        Remarks made while reading.
    """

    mask: Mask
    roi_name: str
    roi_sop_instance_uid: str | None = None
    notes: tuple[QualityNote, ...] = ()


def check_voxel_count(shape: Sequence[int], what: str, maximum: int) -> None:
    """Refuse an image by what its header announces, before anything is allocated.

    Raises
    ------
    ImageError
        ``IMAGE_TOO_LARGE``.
    """
    count = math.prod(int(size) for size in shape)
    if count > maximum:
        size = " x ".join(str(size) for size in shape)
        raise ImageError(Reason.IMAGE_TOO_LARGE, f"{what} announces {size} = {count} voxels; at most {maximum} are taken")


@contextmanager
def foreign_file(what: str, reason: Reason = Reason.UNREADABLE_FILE) -> Iterator[None]:
    """Turn whatever a parser raises on a broken file into an expected failure.

    Only the kind of the parser's error is quoted: its text may repeat the contents of the file, such as a name.

    Parameters
    ----------
    what
        The file or part that is read, for the message.
    reason
        Reason of the error raised instead.

    Raises
    ------
    ImageError
        With ``reason``. Errors of :mod:`nodogram.errors` pass unchanged.
    """
    try:
        yield
    except NodogramError:
        raise
    except Exception as error:
        raise ImageError(
            reason, f"{what} cannot be read ({type(error).__name__}); the file is damaged or not standard"
        ) from error
