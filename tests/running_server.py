"""A real server: the command a user types, on free ports."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

READY_S = 60.0
END_S = 60.0


@dataclass(frozen=True)
class Served:
    """A running server."""

    process: subprocess.Popen[bytes]
    url: str
    grpc_target: str
    log: Path

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def wait_for(self, text: str, seconds: float = READY_S) -> None:
        """Wait until the log says something."""
        give_up = time.monotonic() + seconds
        while text not in self.log.read_text():
            assert time.monotonic() < give_up, self.log.read_text()
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)

    def wait_ready(self) -> None:
        self.wait_for('"event": "ready"')
        assert self.is_ready()

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(END_S)


@contextmanager
def running(bundle: Path, folder: Path, *options: str, ready: bool = True, **environment: str) -> Iterator[Served]:
    """Run ``nodogram serve`` on free ports, with settings as environment variables."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    http_port, grpc_port = free_port(), free_port()
    command = [sys.executable, "-m", "nodogram", "serve", "--bundle", str(bundle)]
    command += ["--http-port", str(http_port), "--grpc-port", str(grpc_port), *options]
    settings = {**os.environ, "NODOGRAM_LOG_FORMAT": "json", **environment}
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env=settings)
    served = Served(process, f"http://127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}", log)
    try:
        if ready:
            served.wait_ready()
        yield served
    finally:
        if process.poll() is None:
            served.end()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
