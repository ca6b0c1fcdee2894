"""One container of a pod: what a runtime is asked for, its last words, and whether it is ready."""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.deploy.emulator import volumes
from tests.deploy.emulator.logs import ContainerLog
from tests.deploy.emulator.runners import ContainerSpec
from tests.deploy.emulator.store import Document, Store

LONGEST_MESSAGE = 4096
LOG_TAIL_LINES = 80
LOG_TAIL_BYTES = 2048


def container_status(container: Document, state: Document) -> Document:
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": state,
    }


def container_spec(store: Store, root: Path, pod: Document, container: Document) -> ContainerSpec:
    """Return what a runtime is asked for."""
    variables = volumes.environment(store, pod, container)
    security = {**(pod["spec"].get("securityContext") or {}), **(container.get("securityContext") or {})}
    command = container.get("command")
    return ContainerSpec(
        identity=f"{pod['metadata']['name'][:40]}-{container['name'][:16]}-{time.monotonic_ns() % 10**9}",
        image=container["image"],
        command=None if command is None else tuple(volumes.expanded(c, variables) for c in command),
        arguments=tuple(volumes.expanded(a, variables) for a in container.get("args") or []),
        environment=variables,
        mounts=volumes.mounts(store, root, pod, container, variables),
        termination_log=volumes.termination_log(root, pod, container["name"]),
        user=security.get("runAsUser"),
        read_only_root=bool(security.get("readOnlyRootFilesystem")),
        dropped_capabilities=tuple((security.get("capabilities") or {}).get("drop") or ()),
        memory=_memory(container),
    )


def _memory(container: Document) -> str | None:
    limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
    if limit is None:
        return None
    for suffix, unit in (("Ki", "k"), ("Mi", "m"), ("Gi", "g")):
        if str(limit).endswith(suffix):
            return str(limit).removesuffix(suffix) + unit
    return str(limit)


def last_message(path: Path, log: ContainerLog, container: Document, code: int) -> str:
    """Return the termination message: what the container wrote, or the end of its log where the policy says so."""
    written = path.read_text(encoding="utf-8", errors="replace")[-LONGEST_MESSAGE:] if path.is_file() else ""
    if written or code == 0 or container.get("terminationMessagePolicy") != "FallbackToLogsOnError":
        return written
    return log.tail(LOG_TAIL_LINES)[-LOG_TAIL_BYTES:]


def answers(container: Document, probe: Document) -> bool:
    """Ask a readiness probe. gRPC and TCP probes are answered by whoever accepts a connection."""
    timeout_s = float(probe.get("timeoutSeconds", 1))
    if http := probe.get("httpGet"):
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{_port(container, http['port'])}{http.get('path', '/')}", timeout=timeout_s
            ) as answer:
                return bool(200 <= answer.status < 400)
        except (urllib.error.URLError, OSError):
            return False
    for key in ("grpc", "tcpSocket"):
        if key in probe:
            try:
                socket.create_connection(("127.0.0.1", _port(container, probe[key]["port"])), timeout_s).close()
            except OSError:
                return False
    return True


def _port(container: Document, port: int | str) -> int:
    named = {p.get("name"): p["containerPort"] for p in container.get("ports") or []}
    return int(named.get(port, port))
