"""Bytes from elsewhere: failures to read them are told from failures to write, and their digest is kept."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from nodogram.errors import BundleError, NodogramError, Reason

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_Result = TypeVar("_Result")


class ByteStream(Protocol):
    """What is read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""

    def close(self) -> object:
        """Let go of it."""


class Incoming(io.RawIOBase):
    """A stream whose every failure is a :class:`BundleError`.

    Parameters
    ----------
    stream
        Closed with this one.
    label
        What messages call it.
    sha256, size_bytes
        What the whole must be; ``None`` where nobody has said.
    """

    def __init__(self, stream: ByteStream, label: str, sha256: str | None = None, size_bytes: int | None = None) -> None:
        super().__init__()
        self._stream = stream
        self._label = label
        self._sha256 = sha256
        self._left = size_bytes
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        """Say so."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read a piece; the end is believed only if size and digest are right."""
        view = memoryview(buffer).cast("B")
        chunk = reading(self._label, lambda: self._stream.read(len(view)))
        view[: len(chunk)] = chunk
        self._digest.update(chunk)
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:
                raise self._changed("is longer than announced")
        if not chunk:
            self._check_end()
        return len(chunk)

    def close(self) -> None:
        """Close what it reads from."""
        self._stream.close()
        super().close()

    def _check_end(self) -> None:
        if self._left:
            raise self._changed(f"was cut off, {self._left} bytes are missing")
        if self._sha256 is not None and self._digest.hexdigest() != self._sha256:
            raise self._changed(f"has SHA-256 {self._digest.hexdigest()[:12]}…, {self._sha256[:12]}… was announced")

    def _changed(self, fault: str) -> BundleError:
        return BundleError(Reason.BUNDLE_DIGEST_MISMATCH, f"{self._label} {fault}")


def reading(label: str, read: Callable[[], _Result]) -> _Result:
    """Return what a read gives.

    Raises
    ------
    BundleError
        ``UNAUTHENTICATED`` for a refusal, ``BUNDLE_NOT_FOUND`` for whatever else it raises.
    """
    try:
        return read()
    except NodogramError:
        raise
    except PermissionError as error:
        raise BundleError(Reason.UNAUTHENTICATED, f"{label} may not be read: {_cause(error)}") from error
    except Exception as error:  # every storage library has exceptions of its own
        raise BundleError(Reason.BUNDLE_NOT_FOUND, f"{label} cannot be read: {_cause(error)}") from error


def _cause(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
