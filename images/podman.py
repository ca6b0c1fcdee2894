"""podman with a store and a configuration of its own, made of what this machine permits."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Kept between builds, since layers are; outside /tmp, which may be in memory.
STORE = Path("/var/tmp/nodogram-images")  # noqa: S108 - root's alone where root builds, and podman locks what is its own
# Enough for the server's sockets and the training's processes; never more than this machine lets anyone have.
_OPEN_FILES = 8192
_PROCESSES = 8192
_LAST_LINES = 30


class PodmanError(RuntimeError):
    """A podman command failed; the message ends with what it said."""


@dataclass(frozen=True)
class Podman:
    """Runs podman against one folder.

    Attributes
    ----------
    environment
        Where podman finds its configuration.
    """

    environment: Mapping[str, str]

    def __call__(self, *arguments: str, check: bool = True, timeout_s: float = 1800) -> subprocess.CompletedProcess[str]:
        """Run a command to its end.

        Raises
        ------
        PodmanError
            If it fails and ``check`` is true.
        """
        done = subprocess.run(self.command(*arguments), **self._how(), timeout=timeout_s, check=False)
        if check and done.returncode:
            raise PodmanError(f"podman {' '.join(arguments[:2])} exited {done.returncode}: {done.stderr.strip()[-2000:]}")
        return done

    def watch(self, *arguments: str, said: Callable[[str], None]) -> None:
        """Run a command to its end and hand on every line it says.

        Raises
        ------
        PodmanError
            If it fails.
        """
        last: deque[str] = deque(maxlen=_LAST_LINES)
        with subprocess.Popen(self.command(*arguments), **{**self._how(), "stderr": subprocess.STDOUT}) as process:
            for line in process.stdout or ():
                said(line.rstrip())
                last.append(line)
        if process.returncode:
            raise PodmanError(f"podman {arguments[0]} exited {process.returncode}: {''.join(last).strip()}")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Run a command in the background."""
        return subprocess.Popen(self.command(*arguments), **self._how())

    def command(self, *arguments: str) -> list[str]:
        """Return the command line."""
        return ["podman", *arguments]

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        """Return what podman knows of an image or container."""
        found: list[dict[str, Any]] = json.loads(self(kind, "inspect", name).stdout)
        return found[0]

    def _how(self) -> dict[str, Any]:
        environment = {**os.environ, **self.environment}
        return {"env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


def prepare_podman(folder: Path) -> Podman:
    """Write the configuration for a store in a folder.

    Containers share the network of the host or have none, since bridges need rights that builds seldom have; limits are
    those of this process, which podman's own may exceed; nothing is ever pulled without being asked for.

    Raises
    ------
    PodmanError
        If podman is not installed.
    """
    if shutil.which("podman") is None:
        raise PodmanError("podman is not installed: apt-get install podman runc catatonit (Debian)")
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "CONTAINERS_CONF": _containers_conf(),
        "CONTAINERS_STORAGE_CONF": _storage_conf(folder),
        "CONTAINERS_REGISTRIES_CONF": "unqualified-search-registries = []\n",
    }
    environment = {}
    for variable, text in files.items():
        path = folder / f"{variable.lower()}.toml"
        path.write_text(text, encoding="utf-8")
        environment[variable] = str(path)
    return Podman(environment)


def _containers_conf() -> str:
    limits = [
        f"nofile={_limit(resource.RLIMIT_NOFILE, _OPEN_FILES)}",
        f"nproc={_limit(resource.RLIMIT_NPROC, _PROCESSES)}",
    ]
    # crun refuses control groups of both versions side by side; runc takes them.
    runtime = [f"runtime = {_quoted('runc')}"] if shutil.which("runc") else []
    return "\n".join(
        [
            "[containers]",
            'netns = "host"',
            'cgroupns = "host"',
            f"default_ulimits = [{', '.join(map(_quoted, limits))}]",
            "[engine]",
            'cgroup_manager = "cgroupfs"',
            'events_logger = "file"',
            *runtime,
            "",
        ]
    )


def _storage_conf(folder: Path) -> str:
    paths: Sequence[tuple[str, Path]] = (("graphroot", folder / "store"), ("runroot", folder / "state"))
    return "\n".join(["[storage]", 'driver = "overlay"', *(f"{key} = {_quoted(str(path))}" for key, path in paths), ""])


def _limit(kind: int, wanted: int) -> str:
    hard = resource.getrlimit(kind)[1]
    value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    return f"{value}:{value}"


def _quoted(text: str) -> str:
    return json.dumps(text)
