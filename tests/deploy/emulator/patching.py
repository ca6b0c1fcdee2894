"""Merge patches, strategic merge patches, and server-side apply without the ownership of fields."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from tests.deploy.emulator.schema import definitions


def merge(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def strategic_merge(target: Any, patch: Any, schema: Mapping[str, Any]) -> Any:
    """Apply a strategic merge patch: lists are merged by the keys that the schema names."""
    schema = _resolved(schema)
    if isinstance(patch, Mapping):
        if patch.get("$patch") == "replace":
            return {k: v for k, v in patch.items() if k != "$patch"}
        result = dict(target) if isinstance(target, Mapping) else {}
        for key, value in patch.items():
            if key.startswith("$"):
                continue
            if value is None:
                result.pop(key, None)
            else:
                result[key] = strategic_merge(result.get(key), value, _inner(schema, key))
        return result
    if isinstance(patch, list):
        return _merge_list(target or [], patch, schema)
    return patch


def _merge_list(target: Sequence[Any], patch: Sequence[Any], schema: Mapping[str, Any]) -> list[Any]:
    key = merge_key(schema)
    if key is None:
        return copy.deepcopy(list(patch))
    result = [copy.deepcopy(item) for item in target]
    for item in patch:
        index = next((i for i, found in enumerate(result) if found.get(key) == item.get(key)), None)
        if item.get("$patch") == "delete":
            if index is not None:
                result.pop(index)
        elif index is None:
            result.append(copy.deepcopy(item))
        else:
            result[index] = strategic_merge(result[index], item, schema.get("items") or {})
    return result


def apply(target: Any, wanted: Any, applied: Any, schema: Mapping[str, Any]) -> Any:
    """Merge a wanted configuration, and remove what the same manager applied before and does not want any more."""
    return strategic_merge(_without(copy.deepcopy(target), wanted, applied, schema), wanted, schema)


def _without(target: Any, wanted: Any, applied: Any, schema: Mapping[str, Any]) -> Any:
    schema = _resolved(schema)
    if isinstance(target, dict) and isinstance(applied, Mapping):
        for key, value in applied.items():
            if key not in target:
                continue
            if not isinstance(wanted, Mapping) or key not in wanted:
                if key not in ("metadata", "status"):
                    del target[key]
            else:
                target[key] = _without(target[key], wanted[key], value, _inner(schema, key))
    elif isinstance(target, list) and isinstance(applied, list) and (key := merge_key(schema)) is not None:
        wanted_by_key = {item.get(key): item for item in wanted or []}
        applied_by_key = {item.get(key): item for item in applied}
        kept = [item for item in target if item.get(key) not in applied_by_key or item.get(key) in wanted_by_key]
        return [
            _without(i, wanted_by_key.get(i.get(key), i), applied_by_key.get(i.get(key)), schema.get("items") or {})
            for i in kept
        ]
    return target


def merge_key(schema: Mapping[str, Any]) -> str | None:
    """Return the field by which items of a list are told apart, or ``None`` if the list is replaced as a whole."""
    if "merge" not in schema.get("x-kubernetes-patch-strategy", ""):
        return None
    key: str | None = schema.get("x-kubernetes-patch-merge-key")
    return key


def _inner(schema: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = (schema.get("properties") or {}).get(key) or schema.get("additionalProperties") or {}
    return found if isinstance(found, Mapping) else {}


def _resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        # What stands beside a reference says how the list is merged.
        schema = {**definitions()[schema["$ref"].rsplit("/", 1)[-1]], **{k: v for k, v in schema.items() if k != "$ref"}}
    return schema
