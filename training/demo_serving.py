"""The last step of the demonstration: the server a user would start, asked over both protocols, and stopped again."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nodogram.errors import Reason, SurroundingsError

# Parity of the protocols promised everywhere.
TOLERANCE = 1e-6
_READY_S = 60.0
_END_S = 30.0
_NODOGRAM = (sys.executable, "-m", "nodogram")


@dataclass(frozen=True)
class RunningServer:
    """A server that is ready.

    Attributes
    ----------
    url, grpc_target
        Where it listens.
    pid
        Of its first process.
    ready_s
        Time from the command to readiness, s.
    """

    url: str
    grpc_target: str
    pid: int
    ready_s: float


@dataclass(frozen=True)
class ServedAnswers:
    """Probabilities of one case by way of asking.

    Attributes
    ----------
    http, grpc
        Probability of the outcome.
    ready_s
        Time from the command to readiness, s.
    metrics
        File with what ``/metrics`` said afterwards.
    """

    http: float
    grpc: float
    ready_s: float
    metrics: Path


def ask_server(bundle: Path, image: Path, roi: Path, clinical: dict[str, str | float], folder: Path) -> ServedAnswers:
    """Serve a bundle, ask for one case over HTTP and gRPC, and leave nothing running.

    Parameters
    ----------
    folder
        Where log and metrics are left.

    Raises
    ------
    SurroundingsError
        ``DEPENDENCY_MISSING`` if the server's packages are not installed, ``NOT_READY`` if it does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    case = ["--image", str(image), "--roi", str(roi)]
    case += [part for name, value in clinical.items() for part in ("--set", f"{name}={value}")]
    with running_server(bundle, folder / "server.log") as server:
        http = _probability(["--url", server.url, *case])
        grpc = _probability(["--grpc", server.grpc_target, *case])
        metrics = folder / "metrics.txt"
        metrics.write_bytes(_get(f"{server.url}/metrics"))
    return ServedAnswers(http, grpc, server.ready_s, metrics)


@contextmanager
def running_server(bundle: Path, log: Path, environment: Mapping[str, str] | None = None) -> Iterator[RunningServer]:
    """Run ``nodogram serve`` on free ports until the block ends.

    Parameters
    ----------
    log
        File for what it says.
    environment
        Settings, ``NODOGRAM_*``.

    Raises
    ------
    SurroundingsError
        ``DEPENDENCY_MISSING`` or ``NOT_READY``.
    """
    http_port, grpc_port = _free_port(), _free_port()
    command = [*_NODOGRAM, "serve", "--bundle", str(bundle), "--http-port", str(http_port), "--grpc-port", str(grpc_port)]
    started = time.monotonic()
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env={**os.environ, **(environment or {})})
    try:
        _wait_ready(process, http_port, log)
        ready_s = time.monotonic() - started
        yield RunningServer(f"http://127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}", process.pid, ready_s)
    finally:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up = time.monotonic() + _READY_S
    while time.monotonic() < give_up and process.poll() is None:
        try:
            _get(f"http://127.0.0.1:{port}/readyz")
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    text = log.read_text(encoding="utf-8", errors="replace")
    reason = Reason.DEPENDENCY_MISSING if Reason.DEPENDENCY_MISSING in text else Reason.NOT_READY
    raise SurroundingsError(reason, f"the server did not get ready; its last words: {text.strip()[-500:]}")


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - our own server
        content: bytes = answer.read()
        return content


def _probability(arguments: Sequence[str]) -> float:
    done = subprocess.run([*_NODOGRAM, "request", *arguments, "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SurroundingsError(Reason.NOT_READY, f"the server was asked and answered: {done.stderr.strip()[-500:]}")
    probability: float = json.loads(done.stdout)["probability"]
    return probability


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
