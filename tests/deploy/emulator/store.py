"""Objects with resource versions, their history for watches, and the garbage collector."""

from __future__ import annotations

import copy
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.deploy.emulator import refusal
from tests.deploy.emulator.resources import Resource, resource

Document = dict[str, Any]
Key = tuple[Resource, str, str]


def now() -> str:
    """Return the time as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Event:
    """One change: ``ADDED``, ``MODIFIED`` or ``DELETED``."""

    version: int
    kind: str
    resource: Resource
    document: Document


class Store:
    """All objects of the emulator; every method may be called from any thread."""

    def __init__(self) -> None:
        self._objects: dict[Key, Document] = {}
        self._version = 1000
        self._history: list[Event] = []
        self._oldest = 0
        self.changed = threading.Condition(threading.RLock())
        self.is_open = True
        for name in ("default", "kube-system"):
            self.create(resource("Namespace"), "", _namespace(name))

    @property
    def version(self) -> int:
        return self._version

    def get(self, kind: Resource, namespace: str, name: str) -> Document:
        with self.changed:
            found = self._objects.get((kind, namespace, name))
            if found is None:
                raise refusal.not_found(kind.full_name, name)
            return copy.deepcopy(found)

    def find(self, kind: str, namespace: str, name: str) -> Document | None:
        with self.changed:
            return copy.deepcopy(self._objects.get((resource(kind), namespace, name)))

    def list(self, kind: Resource, namespace: str | None) -> tuple[list[Document], int]:
        """Return objects, of all namespaces for ``None``, and the version of the list."""
        with self.changed:
            found = [d for (r, ns, _), d in self._objects.items() if r == kind and namespace in (None, ns)]
            return copy.deepcopy(found), self._version

    def create(self, kind: Resource, namespace: str, document: Document) -> Document:
        with self.changed:
            name = document["metadata"]["name"]
            if (kind, namespace, name) in self._objects:
                raise refusal.already_exists(kind.full_name, name)
            if namespace and (resource("Namespace"), "", namespace) not in self._objects:
                raise refusal.not_found("namespaces", namespace)
            made = copy.deepcopy(document)
            made["metadata"].update(uid=str(uuid.uuid4()), creationTimestamp=now(), generation=1)
            if namespace:
                made["metadata"]["namespace"] = namespace
            return self._write("ADDED", kind, namespace, made)

    def replace(self, kind: Resource, namespace: str, document: Document, *, if_version: str | None) -> Document:
        """Write a new state of an object.

        Raises
        ------
        ApiError
            409 if the object is no longer at ``if_version``.
        """
        with self.changed:
            name = document["metadata"]["name"]
            old = self.get(kind, namespace, name)
            if if_version and if_version != old["metadata"]["resourceVersion"]:
                raise refusal.conflict(kind.full_name, name)
            new = copy.deepcopy(document)
            for key in ("uid", "creationTimestamp", "generation", "namespace", "resourceVersion"):
                if key in old["metadata"]:
                    new["metadata"][key] = old["metadata"][key]
            if new == old:
                return old
            if new.get("spec") != old.get("spec"):
                new["metadata"]["generation"] = old["metadata"]["generation"] + 1
            return self._write("MODIFIED", kind, namespace, new)

    def set_status(self, kind: str, namespace: str, name: str, status: Mapping[str, Any]) -> Document:
        """Replace the status of an object."""
        with self.changed:
            found = self.get(resource(kind), namespace, name)
            return self.replace(resource(kind), namespace, {**found, "status": dict(status)}, if_version=None)

    def delete(self, kind: Resource, namespace: str, name: str, uid: str | None = None) -> Document:
        """Delete an object and, at once, everything it owns."""
        with self.changed:
            found = self.get(kind, namespace, name)
            if uid is not None and uid != found["metadata"]["uid"]:
                raise refusal.conflict(kind.full_name, name)
            del self._objects[kind, namespace, name]
            self._version += 1
            found["metadata"]["resourceVersion"] = str(self._version)
            self._tell("DELETED", kind, found)
            self._collect(found["metadata"]["uid"])
            return found

    def compact(self) -> None:
        """Forget the history: watches from an earlier version are answered 410 from now on."""
        with self.changed:
            self._history.clear()
            self._oldest = self._version

    def events_since(self, version: int) -> tuple[Event, ...]:
        """Return what changed after a version.

        Raises
        ------
        ApiError
            410 if that is no longer known.
        """
        with self.changed:
            if version < self._oldest:
                raise refusal.expired(version, self._oldest)
            return tuple(event for event in self._history if event.version > version)

    def wait(self, seconds: float) -> None:
        """Wait for any change."""
        with self.changed:
            if self.is_open:
                self.changed.wait(seconds)

    def wait_until(self, predicate: Callable[[], bool], seconds: float = 120.0) -> None:
        """Wait until something holds, whether it shows in the store or elsewhere; for tests."""
        give_up = time.monotonic() + seconds
        while not predicate():
            assert time.monotonic() < give_up, "it did not come true in time"
            time.sleep(0.01)

    def objects(self, kind: str, namespace: str | None = None) -> Iterator[Document]:
        """Iterate over copies of all objects of a kind."""
        yield from self.list(resource(kind), namespace)[0]

    def close(self) -> None:
        """End every watch."""
        with self.changed:
            self.is_open = False
            self.changed.notify_all()

    def _collect(self, owner: str) -> None:
        for (kind, namespace, name), document in list(self._objects.items()):
            owners = document["metadata"].get("ownerReferences") or []
            if any(o.get("uid") == owner for o in owners) and (kind, namespace, name) in self._objects:
                self.delete(kind, namespace, name)

    def _write(self, event: str, kind: Resource, namespace: str, document: Document) -> Document:
        self._version += 1
        document["metadata"]["resourceVersion"] = str(self._version)
        self._objects[kind, namespace, document["metadata"]["name"]] = document
        self._tell(event, kind, document)
        return copy.deepcopy(document)

    def _tell(self, event: str, kind: Resource, document: Document) -> None:
        self._history.append(Event(self._version, event, kind, copy.deepcopy(document)))
        self.changed.notify_all()


def _namespace(name: str) -> Document:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "status": {"phase": "Active"}}
