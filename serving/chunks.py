"""From the messages of a gRPC call to a case whose bulk lies in files, within limits that hold while they arrive."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import BinaryIO

from nodogram_api.v1 import nomogram_pb2 as pb

from nodogram.errors import Reason, ServiceError, SurroundingsError
from serving import wire
from serving.requests import CaseRequest, StoredFiles, StoredRegion

MAXIMUM_CHUNK_BYTES = 2**18
"""Payload of one message of a stream."""
MAXIMUM_REGION_BYTES = 2**26
"""Of a whole ``PredictRegionRequest``."""
# A chunk in its message: tag and length.
_FRAME_BYTES = 16

Receive = Callable[[], Awaitable[bytes | None]]
"""Gives the next message as it came, ``None`` after the last."""


async def receive_case(receive: Receive, folder: Path, *, maximum_bytes: int, case_id: str) -> CaseRequest:
    """Read a stream of ``PredictRequest``: a header, chunks of the image, chunks of the outline.

    Parameters
    ----------
    receive
        The stream.
    folder
        Where its files go.
    maximum_bytes
        Of all messages.
    case_id
        If the header names none.

    Raises
    ------
    ServiceError
        ``REQUEST_INVALID``, ``REQUEST_TOO_LARGE`` or ``UNSUPPORTED_FORMAT``.
    SurroundingsError
        ``OUTPUT_NOT_WRITABLE``.
    """
    received = 0
    with _Upload(folder) as upload:
        while (raw := await receive()) is not None:
            received += len(raw)
            if received > maximum_bytes:
                raise _too_large("the stream", maximum_bytes)
            if len(raw) > MAXIMUM_CHUNK_BYTES + _FRAME_BYTES:
                raise _too_large("a message of the stream", MAXIMUM_CHUNK_BYTES)
            # Written to the page cache faster than handed to a thread.
            upload.add(wire.parse(raw, pb.PredictRequest))
        return upload.case(case_id)


def store_region(raw: bytes, file: Path, *, maximum_bytes: int, case_id: str) -> CaseRequest:
    """Read a ``PredictRegionRequest``; its arrays go into one file as they are, to be compared with their grid by the reader.

    Parameters
    ----------
    raw
        The message as it came.
    file
        Where its voxels go.
    maximum_bytes, case_id
        As in :func:`receive_case`.

    Raises
    ------
    ServiceError
        ``REQUEST_INVALID`` or ``REQUEST_TOO_LARGE``.
    ImageError
        ``GEOMETRY_INVALID``.
    SurroundingsError
        ``OUTPUT_NOT_WRITABLE``.
    """
    limit = min(maximum_bytes, MAXIMUM_REGION_BYTES)
    if len(raw) > limit:
        raise _too_large("the message", limit)
    message = wire.parse(raw, pb.PredictRegionRequest)
    source = StoredRegion(file, len(message.hu), len(message.mask), wire.geometry(message.geometry))
    request = CaseRequest(
        case_id=wire.label("case_id", message.case_id) or case_id,
        source=source,
        clinical=wire.clinical_record(message.clinical),
        nomogram_required=message.nomogram_required,
    )
    try:
        with file.open("wb") as stream:
            stream.write(message.hu)
            stream.write(message.mask)
    except OSError as error:
        raise _not_writable(error) from error
    return request


class _Upload:
    """What has come of one stream; its parts come in one order only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._header: pb.PredictHeader | None = None
        self._image = self._roi = folder
        self._open: tuple[Path, BinaryIO] | None = None
        self._has_roi = False

    def __enter__(self) -> _Upload:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def add(self, message: pb.PredictRequest) -> None:
        content = message.WhichOneof("content")
        if content == "header":
            self._begin(message.header)
        elif content == "image_chunk":
            self._write(message.image_chunk, is_roi=False)
        elif content == "roi_chunk":
            self._write(message.roi_chunk, is_roi=True)
        else:
            raise wire.invalid("a message of the stream has neither header nor chunk")

    def case(self, case_id: str) -> CaseRequest:
        self._close()
        header = self._header
        if header is None:
            raise wire.invalid("the stream is empty; a header, the image and the outline are required")
        for name, path in (("image", self._image), ("outline", self._roi)):
            if not path.is_file():
                raise wire.invalid(f"the stream has ended before the first chunk of the {name}")
        return CaseRequest(
            case_id=wire.label("case_id", header.case_id) or case_id,
            source=StoredFiles(self._image, self._roi, wire.label("roi_name", header.roi_name) or None),
            clinical=wire.clinical_record(header.clinical),
            nomogram_required=header.nomogram_required,
        )

    def _begin(self, header: pb.PredictHeader) -> None:
        if self._header is not None:
            raise wire.invalid("the stream has a second header; one, in the first message, is required")
        image, roi = wire.file_names(header)
        self._image, self._roi = self._folder / image, self._folder / roi
        self._header = header

    def _write(self, chunk: bytes, *, is_roi: bool) -> None:
        if self._header is None:
            raise wire.invalid("the first message of the stream is no header")
        if self._has_roi and not is_roi:
            raise wire.invalid("a chunk of the image comes after one of the outline; the image is required first")
        if not chunk:
            raise wire.invalid(f"a chunk is empty; 1 to {MAXIMUM_CHUNK_BYTES} bytes are required")
        if len(chunk) > MAXIMUM_CHUNK_BYTES:
            raise _too_large("a chunk", MAXIMUM_CHUNK_BYTES)
        self._has_roi = is_roi
        try:
            self._stream(self._roi if is_roi else self._image).write(chunk)
        except OSError as error:
            raise _not_writable(error) from error

    def _stream(self, path: Path) -> BinaryIO:
        if self._open is None or self._open[0] != path:
            self._close()
            self._open = path, path.open("xb")
        return self._open[1]

    def _close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None


def _too_large(what: str, maximum_bytes: int) -> ServiceError:
    return ServiceError(Reason.REQUEST_TOO_LARGE, f"{what} has more than {maximum_bytes} bytes, which is the limit")


def _not_writable(error: OSError) -> SurroundingsError:
    return SurroundingsError(Reason.OUTPUT_NOT_WRITABLE, f"the folder for uploads: {error.strerror}")
