"""The values every chart is tested with: one file below ``ci/`` each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from helm import Manifest, render

CHARTS = Path(__file__).parents[2] / "charts"
SERVING = CHARTS / "nodogram-serving"
TRAINING = CHARTS / "nodogram-training"
# Oldest and newest supported version of Kubernetes.
VERSIONS = ("1.30", "1.37")
DIGEST = "0123456789abcdef" * 4


def read_yaml(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    return values


@dataclass(frozen=True)
class Scenario:
    """A chart and a file of values."""

    chart: Path
    file: Path

    def __str__(self) -> str:
        return f"{self.chart.name}-{self.file.name.removesuffix('-values.yaml')}"

    @property
    def versions(self) -> tuple[str, ...]:
        """Versions of Kubernetes it is for: claims of devices came with 1.34."""
        return VERSIONS[1:] if "claims" in self.file.name else VERSIONS

    def values(self) -> dict[str, Any]:
        return read_yaml(self.file)


SCENARIOS = tuple(
    Scenario(chart, file) for chart in (SERVING, TRAINING) for file in sorted((chart / "ci").glob("*-values.yaml"))
)


def scenario(chart: Path, name: str) -> Scenario:
    return next(s for s in SCENARIOS if s.chart == chart and s.file.name == f"{name}-values.yaml")


@cache
def manifests(of: Scenario) -> tuple[Manifest, ...]:
    """Return the objects of a scenario; they are shared, so nobody may change them."""
    return render(of.chart, of.values())


def pick(found: tuple[Manifest, ...], kind: str, where: Callable[[Manifest], bool] = lambda _: True) -> dict[str, Any]:
    """Return the one object of a kind."""
    (only,) = (m.object for m in found if m.kind == kind and where(m))
    return only


def merged(values: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Return values with more values over them, as Helm puts them together."""
    both = dict(values)
    for key, value in more.items():
        below = both.get(key)
        both[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return both
