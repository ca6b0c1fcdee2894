"""What the API servers would say of an object: published schemas, made to refuse fields they do not name."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import cloudcoil.models.cert_manager.v1 as cert_manager
import cloudcoil.models.keda.v1alpha1 as keda
import cloudcoil.models.prometheus_operator.v1 as prometheus_operator
import kubernetes_validate
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry, Resource

CUSTOM = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): prometheus_operator.ServiceMonitor,
    ("monitoring.coreos.com/v1", "PrometheusRule"): prometheus_operator.PrometheusRule,
    ("keda.sh/v1alpha1", "ScaledObject"): keda.ScaledObject,
    ("cert-manager.io/v1", "Certificate"): cert_manager.Certificate,
}
# The release of the Gateway API in this package, 1.0.0, has the fields of GRPCRoute v1 still under v1alpha2.
ROUTES = {
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): "v1/HTTPRoute",
    ("gateway.networking.k8s.io/v1", "GRPCRoute"): "v1alpha2/GRPCRoute",
}
GATEWAY_API = Path(__file__).parents[2] / ".venv/share/kubernetes-models-gateway-api-0.5.1.tgz"
_SHA256 = "3650c87c49f95ccf5fee93f29a076ea4781e2a346fbe085a1143a4da9323d156"
_METADATA = "https://kubernetes.io/api/_definitions.json#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def faults(document: Mapping[str, Any], version: str) -> list[str]:
    """Return what is wrong with an object, each with its path."""
    kind = (document["apiVersion"], document["kind"])
    if kind in CUSTOM:
        # Of alternatives such as "a list of rules or null" the one that fits best is what was meant.
        error = best_match(_custom(kind).iter_errors(document))
        return [] if error is None else [f"{_path(error.absolute_path)}: {error.message[:200]}"]
    validator = _route(kind, version) if kind in ROUTES else _core(*kind, version)
    return [f"{_path(error.absolute_path)}: {error.message[:200]}" for error in validator.iter_errors(document)]


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


@cache
def _route(kind: tuple[str, str], version: str) -> Draft202012Validator:
    """Return the schema of a route's CRD, which the package keeps as JSON in a module."""
    assert GATEWAY_API.is_file(), f"{GATEWAY_API} is not there; make test fetches it"
    packed = GATEWAY_API.read_bytes()
    assert hashlib.sha256(packed).hexdigest() == _SHA256, f"{GATEWAY_API} is not what was released"
    with tarfile.open(fileobj=io.BytesIO(packed)) as files:
        module = files.extractfile(f"package/gateway.networking.k8s.io/{ROUTES[kind]}.mjs")
        assert module is not None
        found = re.search(r"^const schema = (\{.*?^\});", module.read().decode(), re.DOTALL | re.MULTILINE)
    assert found is not None
    schema = json.loads(found[1])
    _close(schema)
    schema["properties"] |= {"apiVersion": {"const": kind[0]}, "metadata": {"$ref": _METADATA}}
    return Draft202012Validator(schema, registry=_definitions(version))


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
