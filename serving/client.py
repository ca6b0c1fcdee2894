"""A client for Python programs: files in, typed documents out, refusals as exceptions with their reason.

>>> with Client("http://127.0.0.1:3000") as client:  # doctest: +SKIP
...     answer = client.predict(Path("CT"), Path("tumor.dcm"), clinical={"ct_reported_lnm": "yes"})
...     print(answer.probability)
"""

from __future__ import annotations

import json
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar

import httpx

from serving.documents import Document, ModelDocument, NomogramDocument, PredictionDocument

# The server closes idle connections after 5 s; a client must give them up before, or its next request meets a closed one.
_KEEPALIVE_S = 2.0
_IN_MEMORY_BYTES = 2**26

_Answer = TypeVar("_Answer", bound=Document)


class RefusedError(Exception):
    """The server did not answer with what was asked for.

    Parameters
    ----------
    status
        HTTP status code; ``None`` over gRPC.
    reason
        Stable code; ``UNKNOWN`` if something between client and server answered.
    detail
        What was found and what is required.
    request_id
        Under which the server's log speaks of it.
    retry_after_s
        When to ask again, s, where the server said so.
    """

    def __init__(
        self, status: int | None, reason: str, detail: str, request_id: str | None, retry_after_s: float | None
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.status = status
        self.reason = reason
        self.detail = detail
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class Client:
    """Asks one server; may be used by several threads.

    Parameters
    ----------
    url
        Of the server, such as ``https://nodogram.example``.
    token
        Bearer token, where the server wants one.
    timeout_s
        For one request, s; the server gives up with the client.
    patience_s
        How long to ask again while the server answers that it is busy, s.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout_s: float = 60.0, patience_s: float = 0.0) -> None:
        headers = {"x-request-timeout-s": f"{timeout_s:g}"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        limits = httpx.Limits(keepalive_expiry=_KEEPALIVE_S)
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s, limits=limits)
        self._patience_s = patience_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def is_ready(self) -> bool:
        """Tell whether the server takes requests."""
        try:
            return self._http.get("/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def model(self) -> ModelDocument:
        """Return what the server knows of its model."""
        return _document(self._http.get("/v1/model"), ModelDocument)

    def nomogram(self) -> NomogramDocument:
        """Return the nomogram."""
        return _document(self._http.get("/v1/nomogram"), NomogramDocument)

    def predict(
        self,
        image: Path,
        roi: Path,
        *,
        clinical: Mapping[str, str | float] | None = None,
        roi_name: str | None = None,
        case_id: str | None = None,
        nomogram_required: bool = False,
        request_id: str | None = None,
    ) -> PredictionDocument:
        """Predict one case.

        Parameters
        ----------
        image
            Folder with one DICOM series, which is sent as a zip, or a file the server takes.
        roi
            Outline: RT structure set, DICOM segmentation, NIfTI or NRRD.
        clinical
            Findings by predictor name.
        roi_name
            Region where the outline holds several.
        case_id
            Given back with the answer.
        nomogram_required
            Refuse instead of answering without a probability if a finding is missing.
        request_id
            To find the request in the server's log.

        Raises
        ------
        RefusedError
            With the reason.
        httpx.TransportError
            If the server cannot be reached.
        """
        fields: dict[str, Any] = {"clinical": json.dumps(dict(clinical or {}))}
        optional = {"roi_name": roi_name, "case_id": case_id, "nomogram_required": "true" if nomogram_required else None}
        fields.update({name: value for name, value in optional.items() if value is not None})
        headers = {} if request_id is None else {"x-request-id": request_id}
        give_up_s = time.monotonic() + self._patience_s
        while True:
            with ExitStack() as stack:
                name, stream = stack.enter_context(opened(image))
                files = {"image": (name, stream), "roi": (roi.name, stack.enter_context(roi.open("rb")))}
                response = self._http.post("/v1/predict", data=fields, files=files, headers=headers)
            try:
                return _document(response, PredictionDocument)
            except RefusedError as error:
                if error.retry_after_s is None or time.monotonic() + error.retry_after_s > give_up_s:
                    raise
                time.sleep(error.retry_after_s)


@contextmanager
def opened(image: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Open an image to be sent, a folder as a zip; give its name and its bytes."""
    if not image.is_dir():
        with image.open("rb") as stream:
            yield image.name, stream
        return
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as archive:
        # Stored, not deflated: the network is rarely slower than the compression.
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
            for path in sorted(p for p in image.rglob("*") if p.is_file()):
                target.write(path, path.relative_to(image).as_posix())
        archive.seek(0)
        yield "image.zip", archive


def _document(response: httpx.Response, kind: type[_Answer]) -> _Answer:
    if response.status_code == httpx.codes.OK:
        # A newer server may say more.
        return kind.model_validate(response.json(), extra="ignore")
    problem: dict[str, Any] = {}
    if response.headers.get("content-type", "").startswith("application/problem+json"):
        problem = response.json()
    wait = response.headers.get("retry-after", "")
    raise RefusedError(
        status=response.status_code,
        reason=problem.get("reason", "UNKNOWN"),
        detail=problem.get("detail", response.reason_phrase),
        request_id=response.headers.get("x-request-id"),
        retry_after_s=float(wait) if wait.isdigit() else None,
    )
