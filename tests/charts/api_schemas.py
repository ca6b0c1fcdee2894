"""What the API servers would say of an object: published schemas, made to refuse fields they do not name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Annotated, Any, Literal

import cloudcoil.models.cert_manager.v1 as cert_manager
import cloudcoil.models.keda.v1alpha1 as keda
import cloudcoil.models.prometheus_operator.v1 as prometheus_operator
import kubernetes_validate
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from referencing import Registry, Resource

CUSTOM = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): prometheus_operator.ServiceMonitor,
    ("monitoring.coreos.com/v1", "PrometheusRule"): prometheus_operator.PrometheusRule,
    ("keda.sh/v1alpha1", "ScaledObject"): keda.ScaledObject,
    ("cert-manager.io/v1", "Certificate"): cert_manager.Certificate,
}
_Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
_Host = Annotated[
    str, Field(pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", max_length=253)
]
_Port = Annotated[int, Field(ge=1, le=65535)]


def faults(document: Mapping[str, Any], version: str) -> list[str]:
    """Return what is wrong with an object, each with its path."""
    kind = (document["apiVersion"], document["kind"])
    if kind in ROUTES:
        return _route_faults(ROUTES[kind], document)
    if kind in CUSTOM:
        # Of alternatives such as "a list of rules or null" the one that fits best is what was meant.
        error = best_match(_custom(kind).iter_errors(document))
        return [] if error is None else [f"{_path(error.absolute_path)}: {error.message[:200]}"]
    return [f"{_path(error.absolute_path)}: {error.message[:200]}" for error in _core(*kind, version).iter_errors(document)]


@cache
def _core(api_version: str, kind: str, version: str) -> Draft202012Validator:
    """Return what ``kubernetes_validate.validate(..., strict=True)`` makes anew for every object."""
    group, _, of_group = api_version.rpartition("/")
    name = f"{kind.lower()}-{group.partition('.')[0]}-{of_group}.json" if group else f"{kind.lower()}-{of_group}.json"
    schema = json.loads((_schemas(version) / name).read_text(encoding="utf-8"))
    return Draft202012Validator(schema, registry=Resource.from_contents(schema) @ _definitions(version))


@cache
def _definitions(version: str) -> Registry[Any]:
    document = json.loads((_schemas(version) / "_definitions.json").read_text(encoding="utf-8"))
    return Resource.from_contents(document) @ Registry()


def _schemas(version: str) -> Traversable:
    return resources.files(kubernetes_validate).joinpath(f"kubernetes-json-schema/v{version}.0-local-strict")


@cache
def _custom(kind: tuple[str, str]) -> Draft202012Validator:
    schema = json.loads(json.dumps(CUSTOM[kind].model_json_schema(by_alias=True)))
    _close(schema)
    return Draft202012Validator(schema)


def _close(schema: Any) -> None:
    if isinstance(schema, dict):
        if schema.get("type") == "object" and "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for value in schema.values():
            _close(value)
    elif isinstance(schema, list):
        for value in schema:
            _close(value)


def _path(parts: Any) -> str:
    return ".".join(map(str, parts)) or "."


class _Part(BaseModel):
    """A part of a route, after the reference of the Gateway API v1 (https://gateway-api.sigs.k8s.io/reference/spec/)."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, strict=True)


class _ParentReference(_Part):
    name: _Name
    group: str = "gateway.networking.k8s.io"
    kind: str = "Gateway"
    namespace: _Name | None = None
    section_name: str | None = None
    port: _Port | None = None


class _BackendReference(_Part):
    name: _Name
    port: _Port


class _PathMatch(_Part):
    type: Literal["Exact", "PathPrefix", "RegularExpression"]
    value: Annotated[str, Field(pattern="^/")]


class _HttpMatch(_Part):
    path: _PathMatch


class _Timeouts(_Part):
    request: Annotated[str, Field(pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}$")]


class _Mirror(_Part):
    backend_ref: _BackendReference


class _MirrorFilter(_Part):
    type: Literal["RequestMirror"]
    request_mirror: _Mirror


class _HttpRule(_Part):
    matches: Annotated[list[_HttpMatch], Field(max_length=64)]
    backend_refs: Annotated[list[_BackendReference], Field(max_length=16)]
    filters: Annotated[list[_MirrorFilter], Field(max_length=16)] = []
    timeouts: _Timeouts | None = None


class _GrpcRule(_Part):
    backend_refs: Annotated[list[_BackendReference], Field(max_length=16)]
    filters: Annotated[list[_MirrorFilter], Field(max_length=16)] = []


class _HttpRouteSpec(_Part):
    parent_refs: Annotated[list[_ParentReference], Field(max_length=32)]
    hostnames: Annotated[list[_Host], Field(max_length=16)] = []
    rules: Annotated[list[_HttpRule], Field(min_length=1, max_length=16)]


class _GrpcRouteSpec(_Part):
    parent_refs: Annotated[list[_ParentReference], Field(max_length=32)]
    hostnames: Annotated[list[_Host], Field(max_length=16)] = []
    rules: Annotated[list[_GrpcRule], Field(min_length=1, max_length=16)]


ROUTES: dict[tuple[str, str], type[_Part]] = {
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): _HttpRouteSpec,
    ("gateway.networking.k8s.io/v1", "GRPCRoute"): _GrpcRouteSpec,
}


def _route_faults(model: type[_Part], document: Mapping[str, Any]) -> list[str]:
    unknown = set(document) - {"apiVersion", "kind", "metadata", "spec"}
    try:
        model.model_validate(document["spec"])
    except ValidationError as error:
        return [f"spec.{_path(e['loc'])}: {e['msg']}" for e in error.errors()]
    return [f"{name} is no field" for name in sorted(unknown)]
