"""Unpacking of uploaded zip files: nothing in one decides where, how much or what kind of file is written."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from nodogram.errors import Reason, ServiceError

_CHUNK_BYTES = 2**20
# Entry of the central directory (APPNOTE 4.3.12) with a name and extra fields longer than those of any export.
_DIRECTORY_BYTES_PER_FILE = 512
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Bits 0, 6 and 13 of the general purpose flags (APPNOTE 4.4.4).
_ENCRYPTED = 0x2041
_IMAGE_SUFFIXES = (".dcm", ".dicom", ".ima")
# Everything that zipfile and zlib are known to raise on bytes that are no sound archive.
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error),
    *(EOFError, ValueError, LookupError, ArithmeticError, RuntimeError, OSError),
)


@dataclass(frozen=True)
class ArchiveLimits:
    """How much an archive may hold.

    Attributes
    ----------
    maximum_bytes
        Of all files unpacked.
    maximum_files
        Entries, folders included.
    """

    maximum_bytes: int
    maximum_files: int


def unpack(path: Path, folder: Path, limits: ArchiveLimits) -> int:
    """Write the files of a zip archive flat into a folder, under names of our own.

    They are numbered in the order of their names, as the files of an export folder would be read, and keep of their names
    only what :func:`nodogram.imaging.dicom_series.find_series_files` looks at: ``.dcm`` for every suffix of DICOM, none for
    none or a number, ``.other`` for the rest. Directory files (DICOMDIR) and hidden files are left out.

    Parameters
    ----------
    path
        The archive: stored or deflated entries, ZIP64 included (PKWARE APPNOTE 6.3).
    folder
        Exists and is empty. Whatever has been written by the time of an error stays.
    limits
        Checked before the directory of the archive is read, against what it announces, and while files are written.

    Returns
    -------
    int
        Number of files written.

    Raises
    ------
    ServiceError
        ``ARCHIVE_INVALID`` if it is no zip, damaged, encrypted, compressed in another way, holds no file, or an entry with an
        absolute name, a ``..`` in it or that is no plain file or folder; ``ARCHIVE_TOO_LARGE``.
    """
    with _CappedFile(path, limits) as stream:
        with _damage_refused("the archive"):
            archive = zipfile.ZipFile(stream)
        entries = archive.infolist()
        _check_entries(entries, limits)
        files = sorted((entry for entry in entries if _is_wanted(entry)), key=_name)
        left = limits.maximum_bytes
        for number, entry in enumerate(files, start=1):
            left -= _write(archive, entry, folder / f"{number:06d}{_suffix(entry)}", left, limits)
    return len(files)


class _CappedFile(io.FileIO):
    """A file that refuses to be read in pieces larger than a permitted central directory.

    The library reads the directory in one piece of the size the archive announces, and makes an object of each 46 bytes of
    it, whatever count the archive gives: this is the one place where their number can be bounded beforehand.
    """

    def __init__(self, path: Path, limits: ArchiveLimits) -> None:
        super().__init__(path, "rb")
        self._most = max(limits.maximum_files * _DIRECTORY_BYTES_PER_FILE, _CHUNK_BYTES)
        self._limits = limits

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = self._most  # asked for the end of the file only, which is shorter
        if size > self._most:
            needed = f"{self._limits.maximum_files} files need no more than {self._most}"
            raise _too_large(f"a directory of {size} bytes", needed)
        return super().read(size) or b""


def _check_entries(entries: Sequence[zipfile.ZipInfo], limits: ArchiveLimits) -> None:
    if len(entries) > limits.maximum_files:
        raise _too_large(f"{len(entries)} files and folders", f"at most {limits.maximum_files} are taken")
    for number, entry in enumerate(entries, start=1):
        fault = _fault(entry)
        if fault is not None:
            raise _invalid(f"entry {number} of the archive {fault}")
    files = [entry for entry in entries if not _is_folder(entry)]
    if not files:
        raise _invalid("the archive holds no file; those of one DICOM series are required")
    announced = sum(entry.file_size for entry in files)
    if announced > limits.maximum_bytes:
        raise _too_large(f"{announced} bytes", f"at most {limits.maximum_bytes} are taken")


def _fault(entry: zipfile.ZipInfo) -> str | None:
    """Say what is wrong with one entry; the name is not quoted, it may be the patient's."""
    # Of all systems: a name that is harmless here may not be meant to be.
    name = PureWindowsPath(entry.orig_filename)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if "\0" in entry.orig_filename:
        return "has a zero byte in its name"
    if name.anchor:
        return "has an absolute name"
    if ".." in name.parts:
        return "has a name that leaves the archive ('..')"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or device; plain files and folders are required"
    if entry.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if entry.compress_type not in _METHODS:
        return f"is compressed by method {entry.compress_type}; stored (0) or deflated (8) is required"
    return None


def _name(entry: zipfile.ZipInfo) -> PurePosixPath:
    # Some programs for Windows write its separator, against APPNOTE 4.4.17.
    return PurePosixPath(entry.filename.replace("\\", "/"))


def _is_folder(entry: zipfile.ZipInfo) -> bool:
    return entry.filename.endswith(("/", "\\"))


def _is_wanted(entry: zipfile.ZipInfo) -> bool:
    name = _name(entry).name
    return not (_is_folder(entry) or name.startswith(".") or name.upper() == "DICOMDIR")


def _suffix(entry: zipfile.ZipInfo) -> str:
    suffix = _name(entry).suffix.lower()
    if suffix in _IMAGE_SUFFIXES:
        return ".dcm"
    return "" if not suffix or suffix[1:].isdigit() else ".other"


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, left: int, limits: ArchiveLimits) -> int:
    """Write one file of at most ``left`` bytes and return its size."""
    what = f"file {path.stem} of the archive"
    written = 0
    with _damage_refused(what):
        source = archive.open(entry)
    with source, path.open("xb") as target:
        while True:
            # At its end the checksum is compared. Only reading is the archive's fault: a full disk must not look like damage.
            with _damage_refused(what):
                chunk = source.read(_CHUNK_BYTES)
            if not chunk:
                break
            written += len(chunk)
            if written > left:
                raise _too_large(f"more than {limits.maximum_bytes} bytes", "no more are taken")
            target.write(chunk)
    if written != entry.file_size:
        raise _invalid(f"{what} has {written} bytes of the {entry.file_size} announced")
    return written


@contextmanager
def _damage_refused(what: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise _invalid(f"{what} cannot be read ({type(error).__name__}); it is damaged or no zip file") from error


def _invalid(message: str) -> ServiceError:
    return ServiceError(Reason.ARCHIVE_INVALID, message)


def _too_large(found: str, required: str) -> ServiceError:
    return ServiceError(Reason.ARCHIVE_TOO_LARGE, f"the archive holds {found}; {required}")
