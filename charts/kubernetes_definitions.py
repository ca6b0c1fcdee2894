"""Schemas of the Kubernetes API for the parts of values that are passed on unchanged, such as tolerations or volumes.

They are those of the package kubernetes-validate (Apache-2.0, generated from the OpenAPI description of Kubernetes), without
descriptions and closed: a misspelt field of a volume is refused by Helm, not by the cluster.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

# Newest version the charts support; a field it has and an older one lacks is left to the cluster.
VERSION = "1.37"
_REFERENCE = "$ref"


def definition_name(short: str) -> str:
    """Return the full name of ``core.v1.Toleration``.

    Raises
    ------
    KeyError
        If the API has no such type.
    """
    full = [name for name in _definitions() if name.endswith(f".{short}")]
    if len(full) != 1:
        raise KeyError(f"Kubernetes {VERSION} has {len(full)} types {short}; one is required")
    return full[0]


def closure(shorts: set[str]) -> dict[str, Any]:
    """Return these types and all they refer to, under short names, closed."""
    found: dict[str, Any] = {}
    open_names = {definition_name(short) for short in shorts}
    while open_names:
        name = open_names.pop()
        definition = _closed(_definitions()[name])
        found[short_name(name)] = definition
        open_names |= {other for other in _referred(_definitions()[name]) if short_name(other) not in found}
    return dict(sorted(found.items()))


def short_name(full: str) -> str:
    """Return the last three parts of a name: group, version, type."""
    return ".".join(full.split(".")[-3:])


@cache
def _definitions() -> dict[str, Any]:
    folder = resources.files("kubernetes_validate").joinpath(f"kubernetes-json-schema/v{VERSION}.0-local/_definitions.json")
    document = json.loads(folder.read_text(encoding="utf-8"))
    definitions: dict[str, Any] = document.get("$defs") or document["definitions"]
    return definitions


def _referred(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get(_REFERENCE), str):
            yield schema[_REFERENCE].rpartition("/")[2]
        for value in schema.values():
            yield from _referred(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _referred(value)


def _closed(schema: Any, *, names: bool = False) -> Any:
    """Drop what only people or servers read, shorten references, and allow nothing that is not named.

    ``names`` says that the keys are names of fields, one of which may well be called ``description``.
    """
    if isinstance(schema, list):
        return [_closed(value) for value in schema]
    if not isinstance(schema, dict):
        return schema
    if names:
        return {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get(_REFERENCE), str):
        return {_REFERENCE: f"#/$defs/{short_name(schema[_REFERENCE].rpartition('/')[2])}"}
    kept = {
        key: _closed(value, names=key == "properties")
        for key, value in schema.items()
        if key not in {"description", "default", "$schema"} and not key.startswith("x-kubernetes")
    }
    if "properties" in kept:
        kept["additionalProperties"] = False
    return kept
