"""Logs of containers: lines with their times, followed while the container runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass
class ContainerLog:
    """What one container has written so far."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    is_complete: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)

    def write(self, text: str) -> None:
        with self.changed:
            self.lines.append((datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z"), text))
            self.changed.notify_all()

    def complete(self) -> None:
        with self.changed:
            self.is_complete = True
            self.changed.notify_all()

    def tail(self, count: int) -> str:
        with self.changed:
            return "\n".join(text for _, text in self.lines[-count:])

    def read(self, *, follow: bool, timestamps: bool, tail: int | None, giving_up: threading.Event) -> Iterator[str]:
        """Yield lines as they are served."""
        start = 0 if tail is None else max(0, len(self.lines) - tail)
        while True:
            with self.changed:
                ready, is_complete = self.lines[start:], self.is_complete
                if not ready and follow and not is_complete and not giving_up.is_set():
                    self.changed.wait(0.1)
                    continue
            for stamp, text in ready:
                yield f"{stamp} {text}\n" if timestamps else f"{text}\n"
            start += len(ready)
            if giving_up.is_set() or not follow or (is_complete and start == len(self.lines)):
                return


class Logs:
    """Logs by namespace, pod and container."""

    def __init__(self) -> None:
        self._logs: dict[tuple[str, str, str], ContainerLog] = {}
        self._lock = threading.Lock()

    def begin(self, namespace: str, pod: str, container: str) -> ContainerLog:
        with self._lock:
            log = self._logs[namespace, pod, container] = ContainerLog()
            return log

    def find(self, namespace: str, pod: str, container: str) -> ContainerLog | None:
        with self._lock:
            return self._logs.get((namespace, pod, container))
