"""Refusals of an API server, in its own words."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An answer that is a ``v1`` Status document."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    def body(self) -> dict[str, Any]:
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }


def no_such_resource() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def not_found(full_name: str, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{full_name} "{name}" not found', {"name": name, "kind": full_name.split(".")[0]})


def already_exists(full_name: str, name: str) -> ApiError:
    return ApiError(
        409, "AlreadyExists", f'{full_name} "{name}" already exists', {"name": name, "kind": full_name.split(".")[0]}
    )


def conflict(full_name: str, name: str) -> ApiError:
    words = "the object has been modified; please apply your changes to the latest version and try again"
    return ApiError(
        409, "Conflict", f'Operation cannot be fulfilled on {full_name} "{name}": {words}', {"name": name, "kind": full_name}
    )


def expired(version: int, oldest: int) -> ApiError:
    return ApiError(410, "Expired", f"too old resource version: {version} ({oldest})")


def invalid(kind: str, name: str, causes: list[tuple[str, str]]) -> ApiError:
    found = ", ".join(f"{path}: {message}" for path, message in causes)
    details = {
        "name": name,
        "kind": kind,
        "causes": [{"reason": "FieldValueInvalid", "message": message, "field": path} for path, message in causes],
    }
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {found}', details)
