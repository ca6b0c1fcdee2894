"""What the OpenAPI description of the HTTP interface says beyond what the types of the answers say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from nodogram.errors import Reason
from serving.documents import Document, ProblemDocument
from serving.status import status_of
from serving.uploads import MAXIMUM_NAME_LENGTH, MAXIMUM_TEXT_BYTES

PROBLEM_MEDIA_TYPE = "application/problem+json"
REQUEST_ID = "x-request-id"
TIMEOUT = "x-request-timeout-s"

# What every request can be refused with, and what nobody is ever answered: who went away reads nothing.
_ALWAYS = (
    Reason.REQUEST_INVALID,
    Reason.UNAUTHENTICATED,
    Reason.NOT_READY,
    Reason.DEADLINE_EXCEEDED,
    Reason.INTERNAL,
)
_ELSEWHERE = (Reason.ENDPOINT_UNKNOWN, Reason.METHOD_NOT_ALLOWED, Reason.CANCELLED)
_LABEL = {"type": "string", "maxLength": MAXIMUM_NAME_LENGTH, "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"}
_FILE = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
_ID_HEADER = {
    "description": "The caller's request id, or a new one: the name of this request in the server's log.",
    "required": True,
    "schema": {"type": "string"},
}
_PARAMETERS = [
    {
        "name": REQUEST_ID,
        "in": "header",
        "required": False,
        "description": "Name of the request: 1 to 128 letters, digits, '.', '_', ':' and '-'. Anything else is replaced.",
        "schema": {"type": "string"},
    },
    {
        "name": TIMEOUT,
        "in": "header",
        "required": False,
        "description": "Time the caller gives, s, upload included. The server's own limit holds as well.",
        "schema": {"type": "number", "exclusiveMinimum": 0},
    },
]
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["image", "roi"],
                "additionalProperties": False,
                "properties": {
                    "image": {
                        **_FILE,
                        "description": "CT: a zip file of one DICOM series, one enhanced CT file (.dcm), or NIfTI (.nii, "
                        ".nii.gz) or NRRD (.nrrd) in HU. The kind is told by the file name, else by the first bytes.",
                    },
                    "roi": {
                        **_FILE,
                        "description": "Tumor outline: RT structure set or segmentation (.dcm), or a label image (.nii, "
                        ".nii.gz, .nrrd).",
                    },
                    "roi_name": {**_LABEL, "description": "Region where the outline holds several."},
                    "case_id": {**_LABEL, "description": "The caller's own label, given back and never logged."},
                    "clinical": {
                        "type": "object",
                        "additionalProperties": {"type": ["string", "number"]},
                        "description": f"Findings by predictor name, as JSON of at most {MAXIMUM_TEXT_BYTES} bytes; the names "
                        "are those of `GET /v1/model`. Without every one of them the answer is the score alone.",
                        "examples": [{"ct_reported_lnm": "yes", "tumour_site": "glottic"}],
                    },
                    "nomogram_required": {
                        "type": "boolean",
                        "default": False,
                        "description": "Refuse with CLINICAL_PREDICTOR_MISSING instead of answering with the score alone.",
                    },
                },
            },
            "encoding": {
                "image": {"contentType": "application/octet-stream"},
                "roi": {"contentType": "application/octet-stream"},
                "clinical": {"contentType": "application/json"},
            },
        }
    },
}


def operation(*, is_anonymous: bool, has_body: bool) -> dict[str, Any]:
    """Return what an operation says of its request: headers, token, body."""
    described: dict[str, Any] = {
        "parameters": _PARAMETERS,
        "security": [{}, {"bearer": []}] if is_anonymous else [{"bearer": []}],
    }
    return {**described, "requestBody": _BODY} if has_body else described


def responses(document: type[Document], description: str, *, has_body: bool) -> dict[int | str, dict[str, Any]]:
    """Return what an operation answers with: a document, and a problem for every status it can be refused with."""
    answers: dict[int | str, dict[str, Any]] = {
        200: {"model": document, "description": description, "headers": {REQUEST_ID: _ID_HEADER}}
    }
    reasons = [r for r in Reason if r not in _ELSEWHERE] if has_body else _ALWAYS
    for status, those in sorted(_by_status(reasons).items()):
        answers[status] = _problem_response(status, those)
    return answers


def describe(app: FastAPI) -> None:
    """Complete the description FastAPI makes of the routes."""

    def description() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, summary=app.summary, description=app.description, routes=app.routes
            )
            components = document.setdefault("components", {})
            components.setdefault("schemas", {})["ProblemDocument"] = ProblemDocument.model_json_schema()
            components["securitySchemes"] = {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A token of this server's token file (RFC 6750)."}
            }
            app.openapi_schema = document
        return app.openapi_schema

    # FastAPI's own way to change the description: https://fastapi.tiangolo.com/how-to/extending-openapi/
    app.openapi = description  # type: ignore[method-assign]


def _by_status(reasons: Iterable[Reason]) -> Mapping[int, list[Reason]]:
    found: dict[int, list[Reason]] = {}
    for reason in reasons:
        found.setdefault(status_of(reason).http, []).append(reason)
    return found


def _problem_response(status: int, reasons: list[Reason]) -> dict[str, Any]:
    # Most reasons of the core can only be seen in training: nobody is served by a list of them.
    named = [Reason.INTERNAL] if status == 500 else reasons
    titles = ". ".join(dict.fromkeys(status_of(reason).title for reason in named))
    headers: dict[str, Any] = {REQUEST_ID: _ID_HEADER}
    if status == 401:
        headers["WWW-Authenticate"] = {"description": "RFC 6750.", "required": True, "schema": {"type": "string"}}
    if Reason.QUEUE_FULL in reasons:
        headers["Retry-After"] = {
            "description": "With QUEUE_FULL: when a place is likely to be free, s.",
            "schema": {"type": "integer", "minimum": 1},
        }
    return {
        "description": f"{titles}. Reasons: {', '.join(named)}.",
        "headers": headers,
        "content": {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
    }
