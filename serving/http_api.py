"""HTTP: the routes, RFC 9457 problems, and what a connection needs beyond them. It decides nothing; the front door does."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nodogram import __version__
from nodogram.errors import NodogramError, Reason, ServiceError
from nodogram.present import prediction_document
from serving.admission import QueueFullError
from serving.documents import (
    Document,
    ModelDocument,
    NomogramDocument,
    PredictionDocument,
    ProblemDocument,
    model_document,
    nomogram_document,
)
from serving.front_door import FrontDoor, Ticket, accepted_request_id
from serving.openapi import PROBLEM_MEDIA_TYPE, REQUEST_ID, TIMEOUT, describe, operation, responses
from serving.status import status_of
from serving.uploads import receive_case

_Answer = TypeVar("_Answer")

OPENAPI = "/v1/openapi.json"
# How long a refused body is read and thrown away before its connection is closed, s: closed at once, the connection would be
# reset under a client that still sends, which would then never see why it was refused.
_DRAIN_S = 5.0
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_INDEX = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>nodogram</title>
<style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem}}</style>
<h1>nodogram</h1>
<p>From neck CT and tumor outline to the probability of lymph-node metastasis: a deep-learning radiomics nomogram.</p>
<ul><li><code>POST /v1/predict</code>: <a href="v1/openapi.json">OpenAPI description</a>
<li><a href="v1/model">the model</a><li><a href="v1/nomogram">its nomogram</a><li><a href="metrics">metrics</a></ul>
<p>Version {__version__}</p></html>
"""


def build_app(door: FrontDoor) -> FastAPI:
    """Build the HTTP interface.

    Parameters
    ----------
    door
        What every request but those for the description and the front page goes through.
    """
    app = FastAPI(
        title="nodogram",
        version=__version__,
        summary="Deep-learning radiomics nomogram: from neck CT and tumor outline to the probability of lymph-node metastasis.",
        description="Whatever is refused is answered with a problem (RFC 9457) whose `reason` is stable. For addresses that do "
        "not exist it is ENDPOINT_UNKNOWN with status 404, for methods that do not exist METHOD_NOT_ALLOWED with status 405.",
        openapi_url=OPENAPI,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={NodogramError: _refuse, HTTPException: _refuse_route, Exception: _fail},
    )
    api = _Api(door)
    is_anonymous = door.settings.token_file is None

    def route(path: str, method: str, name: str, endpoint: Any, document: type[Document], description: str) -> None:
        has_body = method == "POST"
        app.add_api_route(
            path,
            endpoint,
            methods=[method],
            operation_id=name,
            name=name,
            summary=description,
            response_model=None,
            responses=responses(document, description, has_body=has_body),
            openapi_extra=operation(is_anonymous=is_anonymous, has_body=has_body),
        )

    route("/v1/predict", "POST", "predict", api.predict, PredictionDocument, "Prediction for one case")
    route("/v1/model", "GET", "getModel", api.model, ModelDocument, "The model that answers")
    route("/v1/nomogram", "GET", "getNomogram", api.nomogram, NomogramDocument, "The nomogram of the model")
    app.add_api_route("/", _index, methods=["GET"], include_in_schema=False)
    describe(app)
    app.add_middleware(_Connection)
    return app


class _Api:
    """The routes."""

    def __init__(self, door: FrontDoor) -> None:
        self._door = door

    async def predict(self, request: Request) -> Response:
        door = self._door
        async with self._open(request, "predict") as ticket:
            door.admission.check()
            with door.spool() as folder:
                case = await receive_case(
                    request.headers,
                    _body(request),
                    folder,
                    maximum_bytes=door.settings.maximum_upload_bytes,
                    case_id=ticket.request_id,
                )
                prediction = await _while_connected(request, door.predict(ticket, case))
            return _Json(prediction_document(prediction))

    async def model(self, request: Request) -> Response:
        async with self._open(request, "model"):
            return _Json(model_document(self._door.predictor.bundle, self._door.settings.provider).model_dump(mode="json"))

    async def nomogram(self, request: Request) -> Response:
        async with self._open(request, "nomogram"):
            return _Json(nomogram_document(self._door.predictor.bundle).model_dump(mode="json"))

    @asynccontextmanager
    async def _open(self, request: Request, method: str) -> AsyncIterator[Ticket]:
        given = request.headers.get(TIMEOUT)
        timeout_s = None if given is None else _seconds(given)
        async with self._door.open(
            "http",
            method,
            request_id=request.state.request_id,
            authorization=request.headers.get("authorization"),
            timeout_s=timeout_s,
        ) as ticket:
            if given is not None and timeout_s is None:
                raise ServiceError(Reason.REQUEST_INVALID, f"header {TIMEOUT}: a number of seconds above 0 is required")
            yield ticket


class _Json(JSONResponse):
    """JSON that any text can be written as: messages may quote what stands in a DICOM file, however broken."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")


class _Connection:
    """Gives every answer its request id, and takes leave of clients whose body was not read to the end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = accepted_request_id(headers.get(REQUEST_ID))
        scope.setdefault("state", {})["request_id"] = request_id
        is_sending = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers

        async def listen() -> Message:
            nonlocal is_sending
            message = await receive()
            is_sending = is_sending and message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                answered[REQUEST_ID] = request_id
                if is_sending:
                    answered["connection"] = "close"
            elif is_sending and not message.get("more_body", False):
                await send({**message, "more_body": True})
                with suppress(TimeoutError):
                    async with asyncio.timeout(_DRAIN_S):
                        while is_sending:
                            await listen()
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        await self._app(scope, listen, answer)


async def _index(_: Request) -> Response:
    return HTMLResponse(_INDEX, headers={"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"})


async def _body(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect as error:
        raise _gone() from error


async def _while_connected(request: Request, work: Coroutine[Any, Any, _Answer]) -> _Answer:
    """Do the work unless the client goes away; then it is cancelled."""
    working = asyncio.ensure_future(work)
    listening = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait((working, listening), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise _gone()
        return working.result()
    finally:
        working.cancel()
        listening.cancel()
        await asyncio.gather(working, listening, return_exceptions=True)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _gone() -> ServiceError:
    return ServiceError(Reason.CANCELLED, "the client closed the connection before it was answered")


def _seconds(text: str) -> float | None:
    seconds = float(text) if _NUMBER.fullmatch(text.strip()) else 0.0
    return seconds if 0 < seconds < math.inf else None


async def _refuse(request: Request, error: Exception) -> Response:
    if not isinstance(error, NodogramError):
        return await _fail(request, error)
    headers = {}
    if isinstance(error, QueueFullError):
        headers["retry-after"] = str(error.retry_after_s)
    if error.reason is Reason.UNAUTHENTICATED:
        headers["www-authenticate"] = 'Bearer realm="nodogram"'
    return _problem(request, error, headers)


async def _refuse_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:
        found = ServiceError(Reason.ENDPOINT_UNKNOWN, f"{OPENAPI} describes what there is")
    elif status == 405:
        found = ServiceError(Reason.METHOD_NOT_ALLOWED, f"{request.method} is not; the header 'allow' says what is")
    elif status < 500:
        found = ServiceError(Reason.REQUEST_INVALID, f"the request was refused with status {status}")
    else:
        return await _fail(request, error)
    return _problem(request, found, dict(getattr(error, "headers", None) or {}))


async def _fail(request: Request, _: Exception) -> Response:
    # Outside the front door; Starlette raises it again for the log of the server.
    return _problem(request, ServiceError(Reason.INTERNAL, "an unexpected error was logged"), {})


def _problem(request: Request, error: NodogramError, headers: dict[str, str]) -> Response:
    status = status_of(error.reason)
    request_id = getattr(request.state, "request_id", None) or accepted_request_id(None)
    document = ProblemDocument(
        type=f"urn:nodogram:reason:{error.reason}",
        title=status.title,
        status=status.http,
        detail=error.message.encode("utf-8", "replace").decode("utf-8"),
        reason=error.reason,
        request_id=request_id,
    )
    return _Json(
        document.model_dump(mode="json"),
        status_code=status.http,
        headers={**headers, REQUEST_ID: request_id},
        media_type=PROBLEM_MEDIA_TYPE,
    )
