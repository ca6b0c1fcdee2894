"""PromQL, as far as the charts use it: which metrics a query names, with which labels."""

from __future__ import annotations

import re
from dataclasses import dataclass

# https://prometheus.io/docs/prometheus/latest/querying/
FUNCTIONS = {"absent", "sum", "max", "min", "count", "rate", "increase", "histogram_quantile", "scalar", "vector"}
KEYWORDS = {"by", "on", "and", "unless", "or"}
_TOKEN = re.compile(
    r"""
    (?P<text>"[^"]*")
  | (?P<range>\[[^\]]*\])
  | (?P<grouping>(?:by|on)\s*\([^)]*\))
  | (?P<matcher>[a-z_]+\s*(?:=~|!~|!=|=)(?!=))
  | (?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)
  | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
  | (?P<bracket>[(){}])
  | (?P<operator>==|[-+*/><,])
  | (?P<space>\s+)
  | (?P<rest>.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Query:
    """What a query asks of.

    Attributes
    ----------
    metrics
        Names of series.
    labels
        Labels that are selected by or grouped by.
    values
        Label values that are compared with, alternatives of expressions apart.
    """

    metrics: frozenset[str]
    labels: frozenset[str]
    values: frozenset[tuple[str, str]]


def parse(query: str) -> Query:
    """Take a query apart.

    Raises
    ------
    ValueError
        For brackets that do not close, or signs that are not PromQL.
    """
    metrics: set[str] = set()
    labels: set[str] = set()
    values: set[tuple[str, str]] = set()
    open_brackets, label = [], ""
    for match in _TOKEN.finditer(query):
        if match["rest"]:
            raise ValueError(f"{match['rest']!r} in {query}")
        if match["bracket"] and match["bracket"] in "({":
            open_brackets.append({"(": ")", "{": "}"}[match["bracket"]])
        elif match["bracket"] and (not open_brackets or open_brackets.pop() != match["bracket"]):
            raise ValueError(f"{match['bracket']!r} closes nothing in {query}")
        if match["matcher"]:
            label = re.split(r"\s*[=!]", match["matcher"])[0]
            labels.add(label)
        if match["text"]:
            values |= {(label, value) for value in match["text"].strip('"').split("|")}
        if match["grouping"]:
            labels |= set(re.findall(r"\w+", match["grouping"].partition("(")[2]))
        if match["name"] and match["name"] not in FUNCTIONS | KEYWORDS:
            metrics.add(match["name"])
    if open_brackets:
        raise ValueError(f"{open_brackets[-1]!r} is missing in {query}")
    return Query(frozenset(metrics), frozenset(labels), frozenset(values))
