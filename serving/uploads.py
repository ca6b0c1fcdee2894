"""From a multipart body (RFC 7578) to a case whose bulk lies in files, within limits that hold while the body is read.

Nothing of a client's file name survives but its kind; every file is written under a name of ours.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from nodogram.case import ClinicalRecord
from nodogram.errors import Reason, ServiceError, SurroundingsError
from serving.requests import CaseRequest, StoredFiles

FILE_SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "image": (".zip", ".dcm", ".nii.gz", ".nii", ".nrrd"),
    "roi": (".dcm", ".nii.gz", ".nii", ".nrrd"),
}
"""File fields and the kinds each takes."""
TEXT_FIELDS = ("clinical", "roi_name", "case_id", "nomogram_required")
FIELDS = (*FILE_SUFFIXES, *TEXT_FIELDS)
MAXIMUM_TEXT_BYTES = 2**16
"""Of one field that is no file."""
MAXIMUM_NAME_LENGTH = 128
"""Characters of ``case_id`` and ``roi_name``."""
# Where a kind of file says what it is: PKWARE APPNOTE 4.3.7; DICOM PS3.10 7.1; RFC 1952; NRRD 5; NIfTI-1; NIfTI-2.
_MAGIC = (
    (".zip", 0, b"PK\x03\x04"),
    (".dcm", 128, b"DICM"),
    (".nii.gz", 0, b"\x1f\x8b"),
    (".nrrd", 0, b"NRRD"),
    (".nii", 344, b"n+1\x00"),
    (".nii", 4, b"n+2\x00"),
)
_MAGIC_END = 348
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Digits a whole number may have to stay one; a longer one is read as a float, as JavaScript does.
_EXACT_DIGITS = 15


async def receive_case(
    headers: Mapping[str, str], chunks: AsyncIterator[bytes], folder: Path, *, maximum_bytes: int, case_id: str
) -> CaseRequest:
    """Read the body of a request for a prediction.

    Parameters
    ----------
    headers
        Of the request, names in lower case.
    chunks
        The body.
    folder
        Where its files go.
    maximum_bytes
        Of the whole body.
    case_id
        If the body names none.

    Raises
    ------
    ServiceError
        ``REQUEST_INVALID``, ``REQUEST_TOO_LARGE`` or ``UNSUPPORTED_FORMAT``.
    SurroundingsError
        ``OUTPUT_NOT_WRITABLE``.
    """
    boundary = _boundary(headers.get("content-type"))
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > maximum_bytes:
        raise _too_large(maximum_bytes)
    form = _Form(folder)
    try:
        await _parse(boundary, chunks, form, maximum_bytes)
        return _case(form, case_id)
    except OSError as error:
        raise SurroundingsError(Reason.OUTPUT_NOT_WRITABLE, f"the folder for uploads: {error.strerror}") from error
    finally:
        form.close()


async def _parse(boundary: bytes, chunks: AsyncIterator[bytes], form: _Form, maximum_bytes: int) -> None:
    received = 0
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": form.begin,
                "on_header_field": form.header_name,
                "on_header_value": form.header_value,
                "on_header_end": form.header_end,
                "on_headers_finished": form.open,
                "on_part_data": form.data,
                "on_part_end": form.end_part,
                "on_end": form.end,
            },
        )
        async for chunk in chunks:
            received += len(chunk)
            if received > maximum_bytes:
                raise _too_large(maximum_bytes)
            # Chunks come as the socket gives them, 64 KiB at most: written to the page cache faster than handed to a thread.
            parser.write(chunk)
    except FormParserError as error:
        raise _invalid(f"the body is no multipart/form-data with the boundary of its content-type: {error}") from error
    if not form.is_complete:
        raise _invalid("the body ends before the closing boundary of its content-type")


class _Part(Protocol):
    def write(self, data: bytes) -> None: ...

    def end(self) -> None: ...

    def close(self) -> None: ...


class _Text:
    """A field that is no file."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._data = bytearray()
        self.text = ""

    def write(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > MAXIMUM_TEXT_BYTES:
            raise ServiceError(
                Reason.REQUEST_TOO_LARGE, f"field {self._name} has more than {MAXIMUM_TEXT_BYTES} bytes, which is the limit"
            )

    def end(self) -> None:
        try:
            self.text = self._data.decode("utf-8")
        except UnicodeDecodeError:
            raise _invalid(f"field {self._name} is not UTF-8") from None

    def close(self) -> None:
        """Nothing is open."""


class _File:
    """A field that is a file; its kind is taken from the client's name, else from its first bytes."""

    def __init__(self, name: str, client_name: str, folder: Path) -> None:
        self._name = name
        self._suffix = _suffix(name, client_name)
        self.path = folder / name
        self._stream: BinaryIO = self.path.open("xb", buffering=0)

    def write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[self._stream.write(left) :]

    def end(self) -> None:
        self._stream.close()
        with self.path.open("rb") as stream:
            head = stream.read(_MAGIC_END)
        if not head:
            raise _invalid(f"field {self._name} is an empty file")
        suffix = self._suffix or _sniff(head)
        if suffix not in FILE_SUFFIXES[self._name]:
            kinds = ", ".join(FILE_SUFFIXES[self._name])
            raise ServiceError(
                Reason.UNSUPPORTED_FORMAT,
                f"field {self._name}: neither the file name nor its first bytes say one of {kinds}, which is required",
            )
        self.path = self.path.rename(self.path.with_name(self._name + suffix))

    def close(self) -> None:
        self._stream.close()


class _Form:
    """Collects the fields while a parser reads the body."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._header_name = b""
        self._header_value = b""
        self._disposition = b""
        self._part: _Part | None = None
        self.files: dict[str, _File] = {}
        self.texts: dict[str, _Text] = {}
        self.is_complete = False

    def begin(self) -> None:
        self._header_name = self._header_value = self._disposition = b""

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def open(self) -> None:
        kind, options = parse_options_header(self._disposition)
        if kind != b"form-data" or b"name" not in options:
            raise _invalid("a part has no header 'content-disposition: form-data; name=...'")
        name = options[b"name"].decode("utf-8", "replace")
        if name not in FIELDS:
            raise _invalid(f"field {name[:64]!r} is unknown; known are {', '.join(FIELDS)}")
        # What is known once cannot come in too many parts.
        if name in self.files or name in self.texts:
            raise _invalid(f"field {name} is there twice")
        if name in FILE_SUFFIXES:
            client_name = options.get(b"filename", b"").decode("utf-8", "replace")
            self._part = self.files[name] = _File(name, client_name, self._folder)
        else:
            self._part = self.texts[name] = _Text(name)

    def data(self, data: bytes, start: int, end: int) -> None:
        if self._part is not None:
            self._part.write(data[start:end])

    def end_part(self) -> None:
        if self._part is not None:
            self._part.end()
        self._part = None

    def end(self) -> None:
        self.is_complete = True

    def text(self, name: str) -> str:
        return self.texts[name].text if name in self.texts else ""

    def close(self) -> None:
        for file in self.files.values():
            file.close()


def _case(form: _Form, case_id: str) -> CaseRequest:
    for name in FILE_SUFFIXES:
        if name not in form.files:
            raise _invalid(f"field {name} is missing; a file is required")
    required = form.text("nomogram_required") or "false"
    if required not in ("true", "false"):
        raise _invalid("field nomogram_required: true or false is required")
    return CaseRequest(
        case_id=_label("case_id", form) or case_id,
        source=StoredFiles(form.files["image"].path, form.files["roi"].path, _label("roi_name", form) or None),
        clinical=_clinical(form.text("clinical")),
        nomogram_required=required == "true",
    )


def _label(name: str, form: _Form) -> str:
    text = form.text(name)
    if len(text) > MAXIMUM_NAME_LENGTH:
        raise _invalid(f"field {name} has {len(text)} characters; at most {MAXIMUM_NAME_LENGTH} are allowed")
    if _CONTROL.search(text):
        raise _invalid(f"field {name} has a control character")
    return text


def _clinical(text: str) -> ClinicalRecord:
    if not text.strip():
        return {}
    try:
        record = json.loads(
            text, object_pairs_hook=_object, parse_int=_whole, parse_float=_finite, parse_constant=_not_a_number
        )
    except json.JSONDecodeError as error:
        raise _invalid(f"field clinical is not JSON: {error}") from error
    except RecursionError:
        raise _invalid("field clinical is nested too deeply; an object of strings and numbers is required") from None
    if not isinstance(record, dict):
        raise _invalid("field clinical: an object of strings and numbers is required")
    for name, value in record.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise _invalid(f"field clinical: {name[:64]!r} is neither a string nor a number")
        if any("\ud800" <= character <= "\udfff" for character in f"{name}{value}"):
            raise _invalid("field clinical has half of a surrogate pair")
    return record


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise _invalid("field clinical names the same finding twice")
    return record


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= _EXACT_DIGITS else _finite(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _not_a_number(digits)


def _not_a_number(_: str) -> NoReturn:
    raise _invalid("field clinical: finite numbers are required")


def _boundary(content_type: str | None) -> bytes:
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise ServiceError(Reason.UNSUPPORTED_FORMAT, "the content-type of the body is not multipart/form-data")
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise _invalid("the content-type of the body has no boundary")
    return boundary


def _suffix(field: str, client_name: str) -> str | None:
    name = client_name.lower()
    return next((suffix for suffix in FILE_SUFFIXES[field] if name.endswith(suffix)), None)


def _sniff(head: bytes) -> str | None:
    return next((suffix for suffix, start, magic in _MAGIC if head[start:].startswith(magic)), None)


def _invalid(message: str) -> ServiceError:
    return ServiceError(Reason.REQUEST_INVALID, message)


def _too_large(maximum_bytes: int) -> ServiceError:
    return ServiceError(Reason.REQUEST_TOO_LARGE, f"the body has more than {maximum_bytes} bytes, which is the limit")
