"""A bundle as one tar, read as it comes in: plain files and folders under relative names, and nothing else."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from nodogram.bundle import MANIFEST
from nodogram.errors import BundleError, Reason

# A bundle has some dozens of files and some 100 MB; far above both, something else was packed.
LARGEST_UNPACKED_BYTES = 8 * 2**30
LARGEST_FILE_COUNT = 10_000
_CHUNK_BYTES = 2**20
_DAMAGE = (tarfile.TarError, zlib.error, EOFError, ValueError)


def unpack_bundle(stream: IO[bytes], folder: Path) -> Path:
    """Unpack the tar of a bundle, plain or compressed, without seeking in it.

    Parameters
    ----------
    stream
        Read to its end, so that whoever counts or hashes its bytes has seen all of them.
    folder
        Exists and is empty. Whatever has been written by the time of an error stays.

    Returns
    -------
    Path
        Where ``bundle.json`` lies: the folder itself, or the only one in it.

    Raises
    ------
    BundleError
        ``ARCHIVE_INVALID`` if it is no tar, cut off, or holds a link, a device, a name twice or one that leaves the folder;
        ``ARCHIVE_TOO_LARGE``; ``BUNDLE_NOT_FOUND`` if there is no bundle in it.
    """
    left = LARGEST_UNPACKED_BYTES
    try:
        with tarfile.open(fileobj=stream, mode="r|*") as archive:
            for number, member in enumerate(archive, start=1):
                left -= member.size
                if number > LARGEST_FILE_COUNT or left < 0:
                    raise BundleError(
                        Reason.ARCHIVE_TOO_LARGE,
                        f"the archive holds more than {LARGEST_FILE_COUNT} files or {LARGEST_UNPACKED_BYTES} bytes; "
                        "that is no bundle",
                    )
                _extract(archive, member, folder)
    except _DAMAGE as error:
        raise _invalid(f"is damaged, cut off or no tar ({error or type(error).__name__})") from error
    while stream.read(_CHUNK_BYTES):
        pass
    return _bundle_folder(folder)


def safe_name(name: str) -> PurePosixPath | None:
    """Return a relative name that stays in its folder on every system, or ``None``."""
    path = PurePosixPath(name)
    parts = path.parts
    if not parts or path.is_absolute() or ".." in parts or any(c in name for c in "\\:\0"):
        return None
    return path


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    if member.isdir() and PurePosixPath(member.name) == PurePosixPath("."):
        return
    name = safe_name(member.name)
    if name is None:
        raise _invalid(f"holds {member.name!r}, which would be written outside the bundle")
    path = folder / name
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    source = archive.extractfile(member) if member.isreg() else None
    if source is None:
        raise _invalid(f"holds {member.name!r}, a link or device; plain files and folders are required")
    if path.exists():
        raise _invalid(f"holds {member.name!r} twice")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as target:
        while chunk := source.read(_CHUNK_BYTES):
            target.write(chunk)


def _bundle_folder(folder: Path) -> Path:
    candidates, entries = [folder], list(folder.iterdir())
    if len(entries) == 1:
        candidates += entries
    for candidate in candidates:
        if (candidate / MANIFEST).is_file():
            return candidate
    raise BundleError(
        Reason.BUNDLE_NOT_FOUND, f"the archive holds no {MANIFEST}, neither at the top nor in the only folder that is there"
    )


def _invalid(fault: str) -> BundleError:
    return BundleError(Reason.ARCHIVE_INVALID, f"the archive {fault}")
