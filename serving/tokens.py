"""Who may ask: named bearer tokens (RFC 6750) from a file that can be replaced while the server runs."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from dataclasses import dataclass
from pathlib import Path

import structlog

from nodogram.errors import Reason, ServiceError, SettingsError

MINIMUM_TOKEN_LENGTH = 16
MAXIMUM_TOKEN_COUNT = 100
_MAXIMUM_FILE_BYTES = 2**18
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
# b64token of RFC 6750, section 2.1: anything else can never arrive in the header.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_log = structlog.get_logger("nodogram.tokens")


@dataclass(frozen=True)
class _Entry:
    name: str
    digest: bytes


@dataclass(frozen=True)
class _Version:
    """What changes when a file is written again or another takes its place, as a mounted secret does."""

    modified_ns: int
    inode: int
    size: int

    @classmethod
    def of(cls, status: os.stat_result) -> _Version:
        return cls(status.st_mtime_ns, status.st_ino, status.st_size)


class Tokens:
    """The tokens of one file.

    The file holds ``name:token`` lines, blank lines and comments after ``#`` at the start of a line: 1 to 100 tokens of at
    least 16 characters of RFC 6750. One name may have several tokens, so that an old and a new one overlap. A changed file
    is read again at the next request; if it is wrong, the tokens read before stay valid and the log says so.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    SettingsError
        ``SETTINGS_INVALID`` with the line that is wrong, never with its content.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries, self._version = _read(path)

    def caller(self, authorization: str | None) -> str:
        """Return the name of the token a request carries.

        Parameters
        ----------
        authorization
            Value of the ``authorization`` header or metadata entry.

        Raises
        ------
        ServiceError
            ``UNAUTHENTICATED``.
        """
        self._refresh()
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise ServiceError(Reason.UNAUTHENTICATED, "no bearer token was sent; 'authorization: Bearer TOKEN' is required")
        digest = _digest(token.strip())
        found = None
        # Every token is compared, and digests are of one length: the time taken says nothing of any token.
        for entry in self._entries:
            if hmac.compare_digest(entry.digest, digest):
                found = entry.name
        if found is None:
            raise ServiceError(Reason.UNAUTHENTICATED, "the bearer token is not known; ask the operator of this server for one")
        return found

    def _refresh(self) -> None:
        try:
            version: _Version | None = _Version.of(self._path.stat())
        except OSError:
            version = None
        if version == self._version:
            return
        # Remembered before it is judged, so that a wrong file is complained of once.
        self._version = version
        try:
            self._entries, self._version = _read(self._path)
        except SettingsError as error:
            _log.error("token file not taken over", reason=error.reason, message=error.message, token_count=len(self._entries))
        else:
            _log.info("token file read again", token_count=len(self._entries))


def _read(path: Path) -> tuple[tuple[_Entry, ...], _Version | None]:
    try:
        with path.open("rb") as stream:
            version = _Version.of(os.fstat(stream.fileno()))
            content = stream.read(_MAXIMUM_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError(Reason.SETTINGS_INVALID, f"token file {path}: {error.strerror}") from error
    if len(content) > _MAXIMUM_FILE_BYTES:
        raise _invalid(path, f"more than {_MAXIMUM_FILE_BYTES} bytes")
    return _parse(path, content), version


def _parse(path: Path, content: bytes) -> tuple[_Entry, ...]:
    entries: list[_Entry] = []
    for number, line in enumerate(content.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith(b"#"):
            continue
        name, _, token = (part.strip() for part in line.decode("utf-8", "replace").partition(":"))
        fault = _fault(name, token)
        if fault is not None:
            raise _invalid(path, f"line {number}: {fault}")
        entry = _Entry(name, _digest(token))
        if any(entry.digest == other.digest for other in entries):
            raise _invalid(path, f"line {number}: this token is there already; every token once is required")
        entries.append(entry)
    if not 1 <= len(entries) <= MAXIMUM_TOKEN_COUNT:
        raise _invalid(path, f"{len(entries)} tokens; 1 to {MAXIMUM_TOKEN_COUNT} lines 'name:token' are required")
    return tuple(entries)


def _fault(name: str, token: str) -> str | None:
    if not token:
        return "'name:token' is required"
    if not _NAME.fullmatch(name):
        return "a name of 1 to 64 letters, digits, '.', '_', '-' and '@' is required before the colon"
    if len(token) < MINIMUM_TOKEN_LENGTH:
        return f"the token has {len(token)} characters; at least {MINIMUM_TOKEN_LENGTH} are required"
    if not _TOKEN.fullmatch(token):
        return (
            "the token has characters that RFC 6750 does not allow; letters, digits and -._~+/ with '=' at the end are required"
        )
    return None


def _invalid(path: Path, fault: str) -> SettingsError:
    return SettingsError(Reason.SETTINGS_INVALID, f"token file {path}: {fault}")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
