"""The verbs of the API, without HTTP."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

from tests.deploy.emulator import schema
from tests.deploy.emulator.logs import Logs
from tests.deploy.emulator.patching import apply, merge, strategic_merge
from tests.deploy.emulator.paths import Target
from tests.deploy.emulator.refusal import ApiError
from tests.deploy.emulator.resources import Resource
from tests.deploy.emulator.selectors import matches_fields, matches_labels
from tests.deploy.emulator.store import Document, Store

Query = dict[str, str]


class Api:
    """Create, read, change and delete."""

    def __init__(self, store: Store, logs: Logs) -> None:
        self.store = store
        self.logs = logs
        self._applied: dict[tuple[Resource, str, str, str], Document] = {}

    def get(self, target: Target, query: Query) -> Document:
        if target.name is not None:
            return self.store.get(target.kind, target.namespace, target.name)
        found, version = self.store.list(target.kind, target.namespace or None)
        items = [d for d in found if selected(d, query)]
        metadata = {"resourceVersion": str(version)}
        return {
            "kind": f"{target.kind.kind}List",
            "apiVersion": target.kind.group_version,
            "metadata": metadata,
            "items": items,
        }

    def create(self, target: Target, document: Document, query: Query) -> Document:
        metadata = document.setdefault("metadata", {})
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
        for key in ("resourceVersion", "uid", "creationTimestamp"):
            metadata.pop(key, None)
        document.pop("status", None)
        self._check(target, document, None)
        if query.get("dryRun") == "All":
            return document
        return self.store.create(target.kind, target.namespace, document)

    def change(self, target: Target, query: Query, make: Callable[[Document], Document], *, if_version: str | None) -> Document:
        """Replace or patch an object; what a subresource may not change stays."""
        assert target.name is not None
        with self.store.changed:
            old = self.store.get(target.kind, target.namespace, target.name)
            new = _limited(target, old, make(json.loads(json.dumps(old))))
            self._check(target, new, old)
            if query.get("dryRun") == "All":
                return new
            return self.store.replace(target.kind, target.namespace, new, if_version=if_version)

    def patch(self, target: Target, document: Document, content_type: str, query: Query) -> Document:
        assert target.name is not None
        version = (document.get("metadata") or {}).get("resourceVersion")
        described = schema.definition_of(target.kind.group_version, target.kind.kind)
        if "apply-patch" in content_type:
            return self._apply(target, document, query, version)
        if "strategic" in content_type and described:
            return self.change(target, query, lambda old: strategic_merge(old, document, described), if_version=version)
        if "merge-patch" in content_type or "strategic" in content_type:
            return self.change(target, query, lambda old: merge(old, document), if_version=version)
        raise ApiError(415, "UnsupportedMediaType", f"patches of type {content_type} are unknown here")

    def delete(self, target: Target, document: Document | None, query: Query) -> Document:
        uid = ((document or {}).get("preconditions") or {}).get("uid")
        if target.name is None:
            for found in self.get(target, query)["items"]:
                self.store.delete(target.kind, found["metadata"].get("namespace", ""), found["metadata"]["name"])
            return {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        found = self.store.get(target.kind, target.namespace, target.name)
        if query.get("dryRun") != "All":
            self.store.delete(target.kind, target.namespace, target.name, uid)
        details = {"name": target.name, "kind": target.kind.plural, "uid": found["metadata"]["uid"]}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def _apply(self, target: Target, document: Document, query: Query, version: str | None) -> Document:
        assert target.name is not None
        key = (target.kind, target.namespace, target.name, query.get("fieldManager", ""))
        described = schema.definition_of(target.kind.group_version, target.kind.kind)
        before = self._applied.get(key, {})
        if self.store.find(target.kind.kind, target.namespace, target.name) is None:
            document.setdefault("metadata", {})["name"] = target.name
            result = self.create(target, json.loads(json.dumps(document)), query)
        else:
            result = self.change(target, query, lambda old: apply(old, document, before, described), if_version=version)
        if query.get("dryRun") != "All":
            self._applied[key] = document
        return result

    def _check(self, target: Target, document: Document, old: Document | None) -> None:
        kind, version = target.kind.kind, target.kind.group_version
        if (document.get("kind", kind), document.get("apiVersion", version)) != (kind, version):
            found = f"{document.get('apiVersion')}/{document.get('kind')}"
            raise ApiError(400, "BadRequest", f"the object provided is unrecognized: {found}, expected {version}/{kind}")
        document["kind"], document["apiVersion"] = kind, version
        schema.check(target.kind, document, old)


def selected(document: Document, query: Query) -> bool:
    """Return whether an object matches the selectors of a query."""
    labels = document["metadata"].get("labels") or {}
    return matches_labels(query.get("labelSelector", ""), labels) and matches_fields(query.get("fieldSelector", ""), document)


def _limited(target: Target, old: Document, new: Document) -> Document:
    if target.part == "status":
        return {**old, "status": new.get("status", {})}
    if target.part == "scale":
        return {**old, "spec": {**old["spec"], "replicas": new["spec"]["replicas"]}}
    new.pop("status", None)
    return {**new, "status": old["status"]} if "status" in old else new
