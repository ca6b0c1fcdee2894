"""Helm itself, through the one package that has it: nothing else in the tests knows which that is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import helm_python
import yaml
from helm_python import _native

RELEASE = "lnm"
NAMESPACE = "clinic"
_WARNING = 2


class RefusedError(Exception):
    """Helm refused the values, or a template did; the message is what a user reads."""


@dataclass(frozen=True)
class Manifest:
    """One object of a rendered chart."""

    template: str
    object: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.object["kind"])

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])


def findings(chart: Path, values: Mapping[str, Any], kube_version: str) -> list[str]:
    """Return what ``helm lint --strict`` complains of, warnings included."""
    report = helm_python.lint(str(chart), dict(values), strict=True, kube_version=f"v{kube_version}.0")
    return [f"{m['path']}: {m['error']}" for m in report["messages"] if m["severity"] >= _WARNING] + list(report["errors"])


def render_text(chart: Path, values: Mapping[str, Any], kube_version: str = "1.37", release: str = RELEASE) -> dict[str, str]:
    """Return the text of every template.

    Raises
    ------
    RefusedError
        With Helm's message.
    """
    options = {"name": release, "namespace": NAMESPACE, "kube_version": f"v{kube_version}.0"}
    try:
        with helm_python.Chart.load(str(chart)) as loaded:
            # The public method has no version of Kubernetes.
            text = _native.call_string("helm_render", loaded._raw(), json.dumps(values), json.dumps(options))
    except helm_python.HelmError as error:
        raise RefusedError(str(error)) from error
    return {name.partition("/")[2]: rendered for name, rendered in json.loads(text).items()}


def render(chart: Path, values: Mapping[str, Any], kube_version: str = "1.37", release: str = RELEASE) -> tuple[Manifest, ...]:
    """Return the objects of a rendered chart.

    Raises
    ------
    RefusedError
        With Helm's message.
    """
    return tuple(
        Manifest(template, document)
        for template, text in render_text(chart, values, kube_version, release).items()
        if template.endswith(".yaml")
        for document in yaml.load_all(text, Loader=yaml.CSafeLoader)
        if document
    )


class Installation:
    """A release on a cluster, whose history is kept in memory.

    Parameters
    ----------
    kubeconfig
        How to reach the cluster.
    """

    def __init__(self, kubeconfig: Path) -> None:
        self._config = helm_python.Config(kubeconfig_path=str(kubeconfig), namespace=NAMESPACE, storage_driver="memory")

    def __enter__(self) -> Installation:
        self._config.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._config.__exit__(*exception)

    def install(self, chart: Path, values: Mapping[str, Any]) -> None:
        self._config.install(str(chart), RELEASE, dict(values))

    def upgrade(self, chart: Path, values: Mapping[str, Any]) -> None:
        self._config.upgrade(str(chart), RELEASE, dict(values))

    def roll_back(self) -> None:
        """Go back to the revision before, as a new one."""
        self._config.rollback(RELEASE)

    def uninstall(self) -> None:
        self._config.uninstall(RELEASE)
