"""What an API server refuses as invalid: the published schemas, and rules that schemas cannot say."""

from __future__ import annotations

import functools
import importlib.resources
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing import Resource as Referred

from tests.deploy.emulator.refusal import invalid
from tests.deploy.emulator.resources import Resource

VERSION = "1.34"
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
_QUANTITY = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?\d+|n|u)?$")
# Names that may hold colons, as the roles of Kubernetes itself do.
_LOOSE_NAMES = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


@functools.cache
def definitions() -> dict[str, Any]:
    """Return the definitions of the schemas, with the merge keys of lists."""
    path = importlib.resources.files("kubernetes_validate") / f"kubernetes-json-schema/v{VERSION}.0-local/_definitions.json"
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["$defs"]
    return document


@functools.cache
def definition_of(group_version: str, kind: str) -> Mapping[str, Any]:
    """Return the schema of a kind, empty for custom resources."""
    for schema in definitions().values():
        for found in schema.get("x-kubernetes-group-version-kind") or []:
            if (f"{found['group']}/{found['version']}".lstrip("/"), found["kind"]) == (group_version, kind):
                result: Mapping[str, Any] = schema
                return result
    return {}


def check(resource: Resource, document: dict[str, Any], before: Mapping[str, Any] | None) -> None:
    """Refuse a document as a strict API server does.

    Raises
    ------
    ApiError
        422, naming every faulty field.
    """
    name = document.get("metadata", {}).get("name", "")
    causes = [*_name_faults(resource, name), *_schema_faults(resource, document), *_rule_faults(resource, document)]
    if before is not None:
        causes += _immutable_faults(resource, before, document)
    if causes:
        raise invalid(f"{resource.kind}.{resource.group}" if resource.group else resource.kind, name, causes)


def _name_faults(resource: Resource, name: str) -> Iterator[tuple[str, str]]:
    if resource.kind not in _LOOSE_NAMES and not _NAME.match(name):
        yield "metadata.name", f'Invalid value: "{name}": a lowercase RFC 1123 subdomain is required'


def _schema_faults(resource: Resource, document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    validator = _validator(resource.group_version, resource.kind)
    if validator is not None:
        yield from ((".".join(map(str, error.path)), error.message) for error in validator.iter_errors(document))


@functools.cache
def _validator(group_version: str, kind: str) -> Draft202012Validator | None:
    """Return what checks a kind strictly, or ``None`` for a custom resource."""
    group, _, version = group_version.rpartition("/")
    short = f"{group.split('.')[0]}-{version}" if group else version
    folder = importlib.resources.files("kubernetes_validate") / f"kubernetes-json-schema/v{VERSION}.0-local-strict"
    path = folder / f"{kind.lower()}-{short}.json"
    if not path.is_file():
        return None
    schema, shared = (json.loads(p.read_text(encoding="utf-8")) for p in (path, folder / "_definitions.json"))
    registry: Registry[Any] = Referred.from_contents(shared) @ (Referred.from_contents(schema) @ Registry())
    return Draft202012Validator(schema, registry=registry)


def _rule_faults(resource: Resource, document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    spec = document.get("spec") or {}
    template = (
        spec.get("template") or {}
        if resource.kind != "CronJob"
        else spec.get("jobTemplate", {}).get("spec", {}).get("template", {})
    )
    pod = spec if resource.kind == "Pod" else template.get("spec") or {}
    volumes = {volume["name"] for volume in pod.get("volumes") or []}
    for container in [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]:
        yield from _container_faults(container, volumes)
    if resource.kind in ("Job", "CronJob") and pod.get("restartPolicy") not in ("Never", "OnFailure"):
        yield "spec.template.spec.restartPolicy", 'Required value: valid values: "OnFailure", "Never"'
    if resource.kind == "Job" and spec.get("podFailurePolicy") and pod.get("restartPolicy") != "Never":
        yield "spec.template.spec.restartPolicy", "Invalid value: only Never is supported with podFailurePolicy"
    if resource.kind == "Deployment":
        labels = template.get("metadata", {}).get("labels") or {}
        wanted = spec.get("selector", {}).get("matchLabels") or {}
        if any(labels.get(key) != value for key, value in wanted.items()):
            yield "spec.template.metadata.labels", "`selector` does not match template `labels`"


def _container_faults(container: Mapping[str, Any], volumes: set[str]) -> Iterator[tuple[str, str]]:
    name = container.get("name", "")
    for mount in container.get("volumeMounts") or []:
        if mount["name"] not in volumes:
            yield f"spec.containers[{name}].volumeMounts", f'Not found: "{mount["name"]}"'
    resources = container.get("resources") or {}
    for part in ("limits", "requests"):
        for key, quantity in (resources.get(part) or {}).items():
            if not _QUANTITY.match(str(quantity)):
                yield f"spec.containers[{name}].resources.{part}[{key}]", f'Invalid value: "{quantity}": no quantity'
    for key, asked in (resources.get("requests") or {}).items():
        limit = (resources.get("limits") or {}).get(key)
        if "/" in key and str(limit) != str(asked):
            yield f"spec.containers[{name}].resources", f"Invalid value: limit and request of {key} must be equal"


def _immutable_faults(resource: Resource, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    fixed = {"Job": ("template", "selector", "completions", "completionMode"), "Deployment": ("selector",)}
    for key in fixed.get(resource.kind, ()):
        if (before.get("spec") or {}).get(key) != (after.get("spec") or {}).get(key):
            yield f"spec.{key}", "Invalid value: field is immutable"
