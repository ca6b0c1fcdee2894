"""The emulator as a whole: server, controllers and kubelet, started and stopped together."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.deploy.emulator.containers import answers
from tests.deploy.emulator.controllers import Controllers
from tests.deploy.emulator.faults import Fault, Faults
from tests.deploy.emulator.kubelet import Kubelet, Probe
from tests.deploy.emulator.logs import Logs
from tests.deploy.emulator.resources import BY_KIND, resource
from tests.deploy.emulator.runners import Runner
from tests.deploy.emulator.server import Server
from tests.deploy.emulator.store import Document, Store
from tests.deploy.emulator.volumes import claim_folder


class Emulator:
    """One API server with its controllers and one node.

    Parameters
    ----------
    root
        Folder of volumes and the kubeconfig.
    runner
        What runs containers; ``None`` leaves pods pending for ever, for tests that write their status themselves.
    capacity
        Extended resources of the node.
    probe
        Asks readiness probes; processes that stand in for servers may answer in another way than over the network.
    """

    def __init__(
        self,
        root: Path,
        runner: Runner | None = None,
        capacity: Mapping[str, int] | None = None,
        probe: Probe = answers,
    ) -> None:
        self.root = root
        self.store = Store()
        self.logs = Logs()
        self.faults = Faults()
        self.quota: str | None = None
        self._server = Server(self.store, self.logs, self.faults)
        self._controllers = Controllers(self.store, lambda _: self.quota)
        self.kubelet = None if runner is None else Kubelet(self.store, self.logs, runner, root, capacity or {}, probe)

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def requests(self) -> list[tuple[str, str]]:
        """Method and path of every request so far."""
        return self._server.requests

    def kubeconfig(self, namespace: str = "default") -> Path:
        """Write a kubeconfig file."""
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "emulator",
            "clusters": [{"name": "emulator", "cluster": {"server": self.url}}],
            "users": [{"name": "tester", "user": {"token": "any"}}],
            "contexts": [{"name": "emulator", "context": {"cluster": "emulator", "user": "tester", "namespace": namespace}}],
        }
        path = self.root / "kubeconfig"
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    def create(self, document: Document, namespace: str = "") -> Document:
        """Create an object directly, without validation."""
        kind = BY_KIND[document["apiVersion"], document["kind"]]
        return self.store.create(kind, namespace if kind.namespaced else "", document)

    def create_namespace(self, name: str) -> None:
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "status": {"phase": "Active"}})

    def create_claim(self, namespace: str, name: str) -> Path:
        """Create a persistent volume claim and return the folder that stands for it."""
        spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}
        self.create({**claim, "status": {"phase": "Bound"}}, namespace)
        folder = claim_folder(self.root, namespace, name)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def set_status(self, kind: str, namespace: str, name: str, **status: Any) -> None:
        """Change parts of the status of an object."""
        with self.store.changed:
            found = self.store.get(resource(kind), namespace, name)
            self.store.set_status(kind, namespace, name, {**(found.get("status") or {}), **status})

    def start(self) -> None:
        self._server_thread = _serve(self._server)
        self._controllers.start()
        if self.kubelet is not None:
            self.kubelet.start()

    def stop(self) -> None:
        self._controllers.stop()
        if self.kubelet is not None:
            self.kubelet.stop()
        self.store.close()
        self._server.is_closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._server_thread.join(5)


def _serve(server: Server) -> threading.Thread:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="api", daemon=True)
    thread.start()
    return thread


@contextmanager
def running(
    root: Path, runner: Runner | None = None, capacity: Mapping[str, int] | None = None, probe: Probe = answers
) -> Iterator[Emulator]:
    """Run an emulator."""
    emulator = Emulator(root, runner, capacity, probe)
    emulator.start()
    try:
        yield emulator
    finally:
        emulator.stop()


__all__ = ["Emulator", "Fault", "running"]
