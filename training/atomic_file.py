"""Files that are there whole or not at all, whenever the process is killed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nodogram.errors import Reason, SurroundingsError

PARTIAL = ".partial"


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a stream whose bytes become the file at the end of the block, and never if it fails.

    Several processes may write the same file at the same time: one of them wins. A killed process leaves at most a file
    that ends in ``.partial``.

    Raises
    ------
    SurroundingsError
        ``OUTPUT_NOT_WRITABLE``.
    """
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise _not_writable(path, error) from error


def write_atomically(path: Path, text: str) -> None:
    """Write text, UTF-8, so that a killed process leaves the old file or the new one, never a part.

    Raises
    ------
    SurroundingsError
        ``OUTPUT_NOT_WRITABLE``.
    """
    with atomic_file(path) as stream:
        stream.write(text.encode())


def remove_file(path: Path) -> None:
    """Remove a file, if it is there.

    Raises
    ------
    SurroundingsError
        ``OUTPUT_NOT_WRITABLE``.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _not_writable(path, error) from error


def _not_writable(path: Path, error: OSError) -> SurroundingsError:
    return SurroundingsError(Reason.OUTPUT_NOT_WRITABLE, f"{path} cannot be written: {error.strerror}")
