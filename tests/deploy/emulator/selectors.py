"""Label and field selectors, as in query strings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def matches_labels(selector: str, labels: Mapping[str, str]) -> bool:
    """Return whether labels match ``a=b,c!=d,e in (f,g),h,!i``."""
    return all(_requirement(part.strip(), labels) for part in re.split(r",(?![^(]*\))", selector) if part.strip())


def _requirement(text: str, labels: Mapping[str, str]) -> bool:
    if found := re.match(r"^(\S+)\s+(in|notin)\s+\((.*)\)$", text):
        values = {value.strip() for value in found[3].split(",")}
        return (labels.get(found[1]) in values) is (found[2] == "in")
    if "!=" in text:
        key, value = text.split("!=", 1)
        return labels.get(key.strip()) != value.strip()
    if "=" in text:
        key, value = re.split("==?", text, maxsplit=1)
        return labels.get(key.strip()) == value.strip()
    return text[1:] not in labels if text.startswith("!") else text in labels


def matches_fields(selector: str, document: Mapping[str, Any]) -> bool:
    """Return whether a document matches ``metadata.name=a,status.phase!=Running``."""
    for part in (p for p in selector.split(",") if p):
        negated = "!=" in part
        path, value = re.split("!=|==|=", part, maxsplit=1)
        found: Any = document
        for key in path.split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        if ((found or "") == value) is negated:
            return False
    return True
