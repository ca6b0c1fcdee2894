"""What paths of the API mean."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from tests.deploy.emulator import resources, schema
from tests.deploy.emulator.refusal import no_such_resource
from tests.deploy.emulator.resources import Resource
from tests.deploy.emulator.store import Document


@dataclass(frozen=True)
class Target:
    """Objects of a kind, one of them, or a part of it.

    Attributes
    ----------
    namespace
        Empty for all, and for kinds without.
    part
        Subresource, such as ``status``.
    """

    kind: Resource
    namespace: str
    name: str | None
    part: str | None


def parse_path(path: str) -> Target | None:
    """Return what a path of the API means, or ``None`` for other paths."""
    parts = [unquote(part) for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) > 2:
        version, rest = parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        version, rest = "/".join(parts[1:3]), parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    kind = resources.BY_PATH.get((version, rest[0]))
    if kind is None:
        raise no_such_resource()
    return Target(kind, namespace, rest[1] if len(rest) > 1 else None, rest[2] if len(rest) > 2 else None)


def discovery(path: str) -> Document | None:
    """Return the document that tells clients what there is, or ``None``."""
    minor = schema.VERSION.split(".")[1]
    parts = [part for part in path.split("/") if part]
    match parts:
        case ["version"]:
            return {"major": "1", "minor": minor, "gitVersion": f"v{schema.VERSION}.0", "platform": "linux/amd64"}
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        case ["apis"]:
            return resources.api_groups()
        case ["api", "v1"]:
            return resources.api_resources("v1")
        case ["apis", group] if any(gv.startswith(f"{group}/") for gv in resources.GROUP_VERSIONS):
            return resources.api_group(group)
        case ["apis", group, version] if f"{group}/{version}" in resources.GROUP_VERSIONS:
            return resources.api_resources(f"{group}/{version}")
        case ["openapi", "v3"]:
            return resources.openapi_index()
        case ["openapi", "v3", *root] if root:
            return resources.openapi_paths("/".join(root))
    return None
