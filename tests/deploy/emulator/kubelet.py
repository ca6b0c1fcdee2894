"""The kubelet and the scheduler of one node: pods become containers, containers become status."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.deploy.emulator import volumes
from tests.deploy.emulator.containers import answers, container_spec, container_status, last_message
from tests.deploy.emulator.logs import Logs
from tests.deploy.emulator.refusal import ApiError
from tests.deploy.emulator.resources import resource
from tests.deploy.emulator.runners import ContainerSpec, ImageMissingError, Runner, Running
from tests.deploy.emulator.store import Document, Store, now

Probe = Callable[[Document, Document], bool]
NODE = "node-1"
FIRST_BACKOFF_S = 0.2
LONGEST_BACKOFF_S = 5.0


class Kubelet:
    """Runs every pod that fits the node.

    Parameters
    ----------
    root
        Folder of volumes.
    capacity
        Amounts of extended resources, such as ``{"nvidia.com/gpu": 1}``; others are unlimited.
    probe
        Asks the readiness probe of a container.
    """

    def __init__(
        self, store: Store, logs: Logs, runner: Runner, root: Path, capacity: Mapping[str, int], probe: Probe = answers
    ) -> None:
        self.store = store
        self.logs = logs
        self.runner = runner
        self.root = root
        self.probe = probe
        self._capacity = dict(capacity)
        self._workers: dict[str, PodWorker] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubelet", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)
        for worker in self._workers.values():
            worker.stop()
        for worker in self._workers.values():
            worker.join(60)

    def worker(self, namespace: str, pod: str) -> PodWorker:
        """Return who runs a pod; for tests that kill containers."""
        return next(w for w in self._workers.values() if (w.namespace, w.name) == (namespace, pod))

    def _run(self) -> None:
        while not self._stop.is_set():
            with self.store.changed:
                version = self.store.version
                pods = list(self.store.objects("Pod"))
            for pod in pods:
                if pod["metadata"]["uid"] not in self._workers and pod["status"].get("phase", "Pending") == "Pending":
                    self._schedule(pod)
            present = {pod["metadata"]["uid"] for pod in pods}
            for uid, worker in self._workers.items():
                if uid not in present:
                    worker.stop()
            with self.store.changed:
                if self.store.version == version:
                    self.store.wait(0.2)

    def _schedule(self, pod: Document) -> None:
        refused = self._does_not_fit(pod)
        if refused is not None:
            condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": refused}
            if pod["status"].get("conditions") != [condition]:
                with contextlib.suppress(ApiError):
                    status = {"phase": "Pending", "conditions": [condition]}
                    self.store.set_status("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"], status)
            return
        worker = PodWorker(self, pod)
        self._workers[pod["metadata"]["uid"]] = worker
        worker.start()

    def _does_not_fit(self, pod: Document) -> str | None:
        namespace = pod["metadata"]["namespace"]
        for volume in pod["spec"].get("volumes") or []:
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            if claim is not None and self.store.find("PersistentVolumeClaim", namespace, claim) is None:
                return (
                    f'0/1 nodes are available: persistentvolumeclaim "{claim}" not found. preemption: 0/1 nodes are available.'
                )
        for name, asked in _extended(pod).items():
            if asked > self._capacity.get(name, 0):
                return f"0/1 nodes are available: 1 Insufficient {name}. preemption: 0/1 nodes are available."
        return None


def _extended(pod: Document) -> dict[str, int]:
    totals: dict[str, int] = {}
    for container in pod["spec"]["containers"]:
        for name, amount in ((container.get("resources") or {}).get("limits") or {}).items():
            if "/" in name:
                totals[name] = totals.get(name, 0) + int(amount)
    return totals


class PodWorker(threading.Thread):
    """Runs one pod: init containers one after the other, then the containers side by side."""

    def __init__(self, kubelet: Kubelet, pod: Document) -> None:
        super().__init__(name=f"pod {pod['metadata']['name']}", daemon=True)
        self.namespace = pod["metadata"]["namespace"]
        self.name: str = pod["metadata"]["name"]
        self._kubelet = kubelet
        self._pod = pod
        self._stopping = threading.Event()
        self._restart = pod["spec"].get("restartPolicy", "Always")
        self._running: dict[str, Running] = {}
        self._status: Document = {
            "phase": "Pending",
            "startTime": now(),
            "conditions": [{"type": "PodScheduled", "status": "True"}],
            "podIP": "127.0.0.1",
        }
        for key, containers in (("initContainerStatuses", "initContainers"), ("containerStatuses", "containers")):
            if pod["spec"].get(containers):
                waiting = {"waiting": {"reason": "PodInitializing"}}
                self._status[key] = [container_status(c, waiting) for c in pod["spec"][containers]]

    def run(self) -> None:
        try:
            self._assign()
            if all(self._run_init(container) for container in self._pod["spec"].get("initContainers") or []):
                self._run_containers()
        except ApiError:
            self.stop()  # the pod is gone
        finally:
            volumes.remove_pod_folder(self._kubelet.root, self._pod)

    def stop(self) -> None:
        """End the pod's containers."""
        if not self._stopping.is_set():
            self._stopping.set()
            grace_s = float(self._pod["spec"].get("terminationGracePeriodSeconds", 30))
            for container in list(self._running.values()):
                threading.Thread(target=container.stop, args=(grace_s,), daemon=True).start()

    def evict(self, message: str) -> None:
        """Take the pod off its node, as a drain or node pressure does."""
        self._status.update(phase="Failed", reason="Evicted", message=message)
        self._set_condition("DisruptionTarget", "True", "EvictionByEvictionAPI", message)
        self._kubelet.store.set_status("Pod", self.namespace, self.name, self._status)
        self.stop()

    def kill(self, container: str) -> None:
        """Kill a container, as the kernel does."""
        self._running[container].stop(0.0)

    def _assign(self) -> None:
        with self._kubelet.store.changed:
            pod = self._kubelet.store.get(resource("Pod"), self.namespace, self.name)
            pod["spec"]["nodeName"] = NODE
            self._pod = self._kubelet.store.replace(
                resource("Pod"), self.namespace, {**pod, "status": self._status}, if_version=None
            )

    def _run_init(self, container: Document) -> bool:
        backoff_s = FIRST_BACKOFF_S
        while not self._stopping.is_set():
            code = self._run_one("initContainerStatuses", container)
            if code == 0 or self._stopping.is_set():
                return code == 0
            if self._restart == "Never":
                self._write(phase="Failed")
                return False
            self._crash_loop("initContainerStatuses", container)
            self._stopping.wait(backoff_s)
            backoff_s = min(2 * backoff_s, LONGEST_BACKOFF_S)
        return False

    def _run_containers(self) -> None:
        self._set_condition("Initialized", "True", "", "")
        containers = self._pod["spec"]["containers"]
        codes: dict[str, int] = {}

        def serve(container: Document) -> None:
            with contextlib.suppress(ApiError):
                codes[container["name"]] = self._serve(container)

        threads = [threading.Thread(target=serve, args=(c,), daemon=True) for c in containers]
        for thread in threads:
            thread.start()
        probe = threading.Thread(target=self._probe, daemon=True)
        probe.start()
        for thread in threads:
            thread.join()
        if not self._stopping.is_set():
            self._stopping.set()
            self._write(phase="Succeeded" if all(code == 0 for code in codes.values()) else "Failed")

    def _serve(self, container: Document) -> int:
        backoff_s = FIRST_BACKOFF_S
        while True:
            code = self._run_one("containerStatuses", container)
            again = self._restart == "Always" or (self._restart == "OnFailure" and code != 0)
            if not again or self._stopping.is_set():
                return code
            self._crash_loop("containerStatuses", container)
            self._stopping.wait(backoff_s)
            backoff_s = min(2 * backoff_s, LONGEST_BACKOFF_S)

    def _run_one(self, part: str, container: Document) -> int:
        name = container["name"]
        spec = self._prepared(part, container)
        if spec is None:
            return 1  # stopped while it could not be made
        log = self._kubelet.logs.begin(self.namespace, self.name, name)
        running = self._kubelet.runner.start(spec, log.write)
        self._running[name] = running
        if self._stopping.is_set():
            running.stop(0.0)
        try:
            self._set_state(
                part, name, {"running": {"startedAt": now()}}, phase="Running" if part == "containerStatuses" else None
            )
        except ApiError:
            running.stop(0.0)  # the pod is gone
        code = running.wait()
        self._running.pop(name, None)
        log.complete()
        reason = "Completed" if code == 0 else "Error"
        message = last_message(spec.termination_log, log, container, code)
        ended = {"exitCode": code, "reason": reason, "finishedAt": now(), "startedAt": now()}
        if not self._stopping.is_set():
            self._set_state(part, name, {"terminated": {**ended, "message": message} if message else ended})
        return code

    def _prepared(self, part: str, container: Document) -> ContainerSpec | None:
        """Make what a container needs; wait while that is not there."""
        while not self._stopping.is_set():
            try:
                spec = container_spec(self._kubelet.store, self._kubelet.root, self._pod, container)
                self._kubelet.runner.check(spec)
            except ImageMissingError as error:
                waiting = {"reason": "ErrImageNeverPull", "message": f'Container image "{error}" is not present'}
            except volumes.ConfigurationMissingError as error:
                waiting = {"reason": "CreateContainerConfigError", "message": str(error)}
            else:
                return spec
            self._set_state(part, container["name"], {"waiting": waiting})
            self._stopping.wait(0.2)
        return None

    def _crash_loop(self, part: str, container: Document) -> None:
        status = self._status_of(part, container["name"])
        status["lastState"] = status["state"]
        status["restartCount"] += 1
        waiting = {"reason": "CrashLoopBackOff", "message": f"back-off restarting failed container {container['name']}"}
        self._set_state(part, container["name"], {"waiting": waiting})

    def _probe(self) -> None:
        """Ask readiness probes; the pod is ready while all of them answer."""
        probes = [(c, c["readinessProbe"]) for c in self._pod["spec"]["containers"] if "readinessProbe" in c]
        while not self._stopping.is_set():
            started = all("running" in s["state"] for s in self._status["containerStatuses"])
            ready = started and all(self._kubelet.probe(container, probe) for container, probe in probes)
            with contextlib.suppress(ApiError):
                for status in self._status["containerStatuses"]:
                    status["ready"] = ready
                self._set_condition("Ready", "True" if ready else "False", "", "")
            self._stopping.wait(0.05 if not ready else 0.3)

    def _status_of(self, part: str, name: str) -> Document:
        found: Document = next(s for s in self._status[part] if s["name"] == name)
        return found

    def _set_state(self, part: str, name: str, state: Document, phase: str | None = None) -> None:
        self._status_of(part, name)["state"] = state
        self._write(**({} if phase is None else {"phase": phase}))

    def _set_condition(self, kind: str, status: str, reason: str, message: str) -> None:
        found = {
            "type": kind,
            "status": status,
            **({"reason": reason} if reason else {}),
            **({"message": message} if message else {}),
        }
        self._status["conditions"] = [*(c for c in self._status["conditions"] if c["type"] != kind), found]
        self._write()

    def _write(self, **changes: Any) -> None:
        self._status.update(changes)
        if self._status.get("reason") != "Evicted":
            self._kubelet.store.set_status("Pod", self.namespace, self.name, self._status)
