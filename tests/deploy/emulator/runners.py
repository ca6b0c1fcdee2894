"""How the kubelet runs a container: as a process of this machine, or with podman."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Sink = Callable[[str], None]
PROGRAM = "nodogram"
TERMINATION_LOG = "/dev/termination-log"


@dataclass(frozen=True)
class Mount:
    """A folder or file of this machine, as a container sees it."""

    source: Path
    path: str
    read_only: bool = False


@dataclass(frozen=True)
class ContainerSpec:
    """What a kubelet asks of its runtime.

    Attributes
    ----------
    identity
        Unique among all containers.
    command
        Replaces the image's entry point; ``None`` keeps it.
    termination_log
        File of this machine that the container may write its last words to.
    """

    identity: str
    image: str
    command: tuple[str, ...] | None
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    mounts: tuple[Mount, ...]
    termination_log: Path
    user: int | None = None
    read_only_root: bool = False
    dropped_capabilities: tuple[str, ...] = ()
    memory: str | None = None


class Running(Protocol):
    """A container that was started."""

    def wait(self) -> int:
        """Wait for its end and return its exit code."""

    def stop(self, grace_s: float) -> None:
        """End it: SIGTERM, and SIGKILL after the grace period."""


class Runner(Protocol):
    """A container runtime."""

    def check(self, spec: ContainerSpec) -> None:
        """Raise ``ImageMissingError`` if there is no such image."""

    def start(self, spec: ContainerSpec, sink: Sink) -> Running:
        """Start a container; every line it writes is given to ``sink``."""


class ImageMissingError(Exception):
    """The runtime has no such image and pulls none."""


class _Process:
    """A process whose output is read line by line."""

    def __init__(self, command: list[str], sink: Sink, environment: Mapping[str, str], folder: Path | None = None) -> None:
        self._sink = sink
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=dict(environment),
            cwd=folder,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def wait(self) -> int:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._sink(line.rstrip("\n"))
        code = self._process.wait()
        return 128 - code if code < 0 else code

    def stop(self, grace_s: float) -> None:
        if grace_s <= 0:
            self._signal(signal.SIGKILL)
            return
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                return


class ProcessRunner:
    """Runs an image's stand-in as a process. There is no isolation: mount paths in arguments and variables are translated.

    Parameters
    ----------
    entry_points
        Command of this machine for each image: in place of its entry point and of ``nodogram``.
    environment
        Of every process, beside its own. ``TERMINATION_LOG`` is added: outside containers there is no /dev/termination-log.
    """

    def __init__(self, entry_points: Mapping[str, tuple[str, ...]], environment: Mapping[str, str] | None = None) -> None:
        self._entry_points = entry_points
        self._environment = dict(os.environ) if environment is None else dict(environment)

    def check(self, spec: ContainerSpec) -> None:
        if spec.image not in self._entry_points:
            raise ImageMissingError(spec.image)

    def start(self, spec: ContainerSpec, sink: Sink) -> Running:
        here = {mount.path: str(mount.source) for mount in spec.mounts}
        # The stand-in is of this machine, and may lie where a container has a mount.
        program, given = self._entry_points[spec.image], spec.arguments
        if spec.command is not None:
            kept = spec.command[0] == PROGRAM
            program, given = program if kept else (), (*spec.command[kept:], *spec.arguments)
        command = [*program, *(translated(part, here) for part in given)]
        variables = {name: translated(value, here) for name, value in spec.environment.items()}
        environment = {**self._environment, **variables, "TERMINATION_LOG": str(spec.termination_log)}
        return _Process(command, sink, environment)


def translated(text: str, paths: Mapping[str, str]) -> str:
    """Return a text in which paths inside a container are those of this machine."""
    for path, source in sorted(paths.items(), key=lambda item: -len(item[0])):
        if text == path or text.startswith(f"{path}/"):
            return source + text[len(path) :]
        if found := re.fullmatch(rf"(file://|--[a-z-]+=)({re.escape(path)})(/.*)?", text):
            return f"{found[1]}{source}{found[3] or ''}"
    return text


class PodmanRunner:
    """Runs images with podman, never pulling, on the network of this machine.

    Parameters
    ----------
    images
        Local names of images, where they differ from those in manifests.
    environment
        Of podman itself, such as ``CONTAINERS_STORAGE_CONF``.
    """

    def __init__(self, images: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None) -> None:
        self._images = images or {}
        self._environment = {**os.environ, **(environment or {})}

    def check(self, spec: ContainerSpec) -> None:
        image = self._images.get(spec.image, spec.image)
        if subprocess.run(["podman", "image", "exists", image], env=self._environment, check=False).returncode != 0:
            raise ImageMissingError(image)

    def start(self, spec: ContainerSpec, sink: Sink) -> Running:
        image = self._images.get(spec.image, spec.image)
        spec.termination_log.chmod(0o666)
        return _PodmanContainer(podman_command(spec, image), sink, self._environment, spec.identity)


class _PodmanContainer(_Process):
    def __init__(self, command: list[str], sink: Sink, environment: Mapping[str, str], name: str) -> None:
        super().__init__(command, sink, environment)
        self._name = name
        self._podman_environment = dict(environment)

    def wait(self) -> int:
        code = super().wait()
        self._podman("rm", "--force", "--time", "0", self._name)
        return code

    def stop(self, grace_s: float) -> None:
        self._podman("stop", "--time", str(max(0, round(grace_s))), self._name)

    def _podman(self, *arguments: str) -> None:
        subprocess.run(["podman", *arguments], env=self._podman_environment, capture_output=True, check=False)


def podman_command(spec: ContainerSpec, image: str) -> list[str]:
    """Return the command that runs a container and gives its output and exit code."""
    options = ["--name", spec.identity, "--pull=never", "--network", "host", "--security-opt", "no-new-privileges"]
    if spec.user is not None:
        options += ["--user", f"{spec.user}:{spec.user}"]
    if spec.read_only_root:
        # Only what is mounted may be written, as under Kubernetes; podman would add a /tmp, a /run and more.
        options += ["--read-only", "--read-only-tmpfs=false"]
    if spec.memory is not None:
        options += ["--memory", spec.memory]
    for capability in spec.dropped_capabilities:
        options += ["--cap-drop", capability]
    for name, value in spec.environment.items():
        options += ["--env", f"{name}={value}"]
    mounts = (*spec.mounts, Mount(spec.termination_log, TERMINATION_LOG))
    for mount in mounts:
        options += ["--volume", f"{mount.source}:{mount.path}{':ro' if mount.read_only else ''}"]
    arguments = list(spec.arguments)
    if spec.command is not None:
        options += ["--entrypoint", spec.command[0]]
        arguments = [*spec.command[1:], *arguments]
    return ["podman", "run", *options, image, *arguments]
