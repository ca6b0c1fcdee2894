"""The files a followed Job leaves on this machine: its log and its outcome."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import TracebackType
from typing import TextIO

from deploy.errors import JobError, Reason
from deploy.jobs import Listener, Snapshot
from deploy.outcome import JobOutcome

LOG = "job.log"
OUTCOME = "outcome.json"


class RunFiles:
    """Writes what passes to a folder and tells it to another listener.

    Parameters
    ----------
    folder
        ``None`` writes nothing.

    Raises
    ------
    JobError
        ``OUTPUT_NOT_WRITABLE``, before anything is submitted.
    """

    def __init__(self, folder: Path | None, listener: Listener) -> None:
        self._folder = folder
        self._listener = listener
        self._lock = threading.Lock()
        self._stream: TextIO | None = None

    def __enter__(self) -> RunFiles:
        if self._folder is not None:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._stream = (self._folder / LOG).open("w", encoding="utf-8")
            except OSError as error:
                raise JobError(Reason.OUTPUT_NOT_WRITABLE, f"{self._folder}: {error.strerror}") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            if self._stream is not None:
                self._stream.close()
                self._stream = None

    def looked(self, snapshot: Snapshot) -> None:
        """Pass on."""
        self._listener.looked(snapshot)

    def line(self, pod: str, text: str) -> None:
        """Write a line of a log and pass it on."""
        with self._lock:
            if self._stream is not None:
                self._stream.write(f"{pod} {text}\n")
                self._stream.flush()
        self._listener.line(pod, text)

    def write(self, outcome: JobOutcome) -> None:
        """Write the outcome."""
        if self._folder is not None:
            text = json.dumps(outcome.document(), indent=2, ensure_ascii=False)
            (self._folder / OUTCOME).write_text(text + "\n", encoding="utf-8")
