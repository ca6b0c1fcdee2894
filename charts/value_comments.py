"""A ``values.yaml`` with what its comments say of every key.

Above a key stands its description, after ``# --``,
and where the default does not say what is allowed, a rule, after ``# @schema``::

    # -- Pods while nothing scales them.
    # @schema {"minimum": 1}
    replicaCount: 2
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node

DESCRIPTION = "--"
RULE = "@schema"


@dataclass(frozen=True)
class Value:
    """One key of a values file.

    Attributes
    ----------
    path
        Names from the root.
    default
        As parsed.
    description
        Of one line; empty where there is none.
    rule
        What stands after ``@schema``; ``None`` where the default says enough.
    children
        Of a mapping without a rule; a mapping with a rule is one value.
    """

    path: tuple[str, ...]
    default: Any
    description: str
    rule: str | None
    children: tuple[Value, ...]

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path[-1]


def read_values(path: Path) -> tuple[Value, ...]:
    """Read the keys of a values file with their comments, in the order of the file.

    Raises
    ------
    ValueError
        If the file is no mapping.
    """
    text = path.read_text(encoding="utf-8")
    yaml = YAML(typ="safe", pure=True)
    root = yaml.compose(text)
    if not isinstance(root, MappingNode):
        raise ValueError(f"{path}: a mapping is required")
    return _values(root, yaml.load(text), (), text.splitlines())


def _values(node: MappingNode, parsed: dict[str, Any], path: tuple[str, ...], lines: list[str]) -> tuple[Value, ...]:
    return tuple(_value(key, value, parsed[key.value], (*path, key.value), lines) for key, value in node.value)


def _value(key: Node, node: Node, default: Any, path: tuple[str, ...], lines: list[str]) -> Value:
    description, rule = _comment(lines, key.start_mark.line)
    children = _values(node, default, path, lines) if isinstance(node, MappingNode) and rule is None else ()
    return Value(path, default, description, rule, children)


def _comment(lines: list[str], line: int) -> tuple[str, str | None]:
    """Return description and rule from the block of comments that ends above a line."""
    first = line
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    words: dict[str, list[str]] = {DESCRIPTION: [], RULE: []}
    part = ""
    for text in (lines[number].lstrip(" #").rstrip() for number in range(first, line)):
        for mark in words:
            if text.startswith(mark):
                part, text = mark, text.removeprefix(mark).strip()
                # What stands above a description belongs to the section, not to the key.
                words[mark].clear()
        if part:
            words[part].append(text)
    return " ".join(words[DESCRIPTION]), " ".join(words[RULE]) or None
