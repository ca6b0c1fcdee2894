"""Write the value table of each chart's README and its ``values.schema.json`` from the comments of its ``values.yaml``.

``python -m charts.generate`` writes, ``python -m charts.generate --check`` compares and changes nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from charts.kubernetes_definitions import closure
from charts.value_comments import Value, read_values

HERE = Path(__file__).parent
CHARTS = ("nodogram-serving", "nodogram-training")
BEGIN, END = "<!-- values: written by python -m charts.generate -->", "<!-- end of values -->"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_STRING_MAP = {"type": "object", "additionalProperties": {"type": "string"}}
_TYPES: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
_LONGEST_DEFAULT = 60


def schema_text(chart: Path) -> str:
    """Return ``values.schema.json`` of a chart: every key of its values, and nothing else at any level."""
    root = _closed_object(read_values(chart / "values.yaml"))
    shorts = set(_short_references(root))
    document = {"$schema": _DIALECT, "title": f"Values of {chart.name}", **_resolved(root), "$defs": closure(shorts)}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def schema_of(value: Value) -> dict[str, Any]:
    """Return what a value may be: what its rule says, else the type of its default.

    A rule is a JSON schema, ``map`` for names with texts, a type of the Kubernetes API such as ``core.v1.Affinity``, or
    ``[]`` and such a type for a list.

    Raises
    ------
    ValueError
        If neither rule nor default says enough.
    """
    described = {"description": value.description} if value.description else {}
    if value.rule is None:
        if isinstance(value.default, dict) and value.default:
            return described | _closed_object(value.children)
        if type(value.default) not in _TYPES:
            raise ValueError(f"{'.'.join(value.path)}: the default {value.default!r} does not say what is allowed; add a rule")
        return described | {"type": _TYPES[type(value.default)]}
    if value.rule == "map":
        return described | _STRING_MAP
    if value.rule.startswith("{"):
        rule: dict[str, Any] = json.loads(value.rule)
        inferred = {} if {"type", "enum", "anyOf", "$ref"} & rule.keys() else {"type": _TYPES[type(value.default)]}
        return described | inferred | rule
    reference = {"$ref": value.rule.removeprefix("[]")}
    return described | ({"type": "array", "items": reference} if value.rule.startswith("[]") else reference)


def readme_text(chart: Path) -> str:
    """Return the README of a chart with a fresh table of values.

    Raises
    ------
    ValueError
        If the README has no place for the table.
    """
    text = (chart / "README.md").read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{chart.name}/README.md: the lines {BEGIN!r} and {END!r} are required")
    return f"{before}{BEGIN}\n{_table(read_values(chart / 'values.yaml'))}\n{END}{after}"


def generated(chart: Path) -> dict[Path, str]:
    """Return the generated files of a chart with their texts."""
    return {chart / "values.schema.json": schema_text(chart), chart / "README.md": readme_text(chart)}


def find_stale() -> list[str]:
    """Return the names of files that are not what the values give."""
    texts = {path: text for name in CHARTS for path, text in generated(HERE / name).items()}
    return [
        str(path.relative_to(HERE))
        for path, text in texts.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


def _closed_object(values: tuple[Value, ...]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {value.name: schema_of(value) for value in values}}


def _short_references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for value in schema.values():
            yield from _short_references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _short_references(value)


def _resolved(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: f"#/$defs/{value}" if key == "$ref" and isinstance(value, str) else _resolved(value)
            for key, value in schema.items()
        }
    return [_resolved(value) for value in schema] if isinstance(schema, list) else schema


def _table(values: tuple[Value, ...]) -> str:
    lines = ["| value | default | |", "|---|---|---|"]
    lines += [f"| `{'.'.join(leaf.path)}` | {_default(leaf.default)} | {_cell(leaf.description)} |" for leaf in _leaves(values)]
    return "\n".join(lines)


def _leaves(values: tuple[Value, ...]) -> Iterator[Value]:
    for value in values:
        if value.children:
            yield from _leaves(value.children)
        else:
            yield value


def _default(default: Any) -> str:
    text = json.dumps(default, ensure_ascii=False)
    return f"`{_cell(text)}`" if len(text) <= _LONGEST_DEFAULT else "see `values.yaml`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    if "--check" not in sys.argv[1:]:
        for chart_name in CHARTS:
            for file, content in generated(HERE / chart_name).items():
                file.write_text(content, encoding="utf-8")
    elif stale := find_stale():
        sys.exit(f"{', '.join(stale)}: not what values.yaml gives; run 'python -m charts.generate'")
