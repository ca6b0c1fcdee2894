"""What a person sees while a Job is followed: what changed, the log as it is written, and how far the run is."""

from __future__ import annotations

import re
import threading
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from deploy.jobs import Snapshot
from deploy.kinds import Pod
from deploy.pending import explain_end

# ``nodogram train`` begins each phase with a line such as "[2/8] Radiomics and network crops of 60 patients".
_PHASE = re.compile(r"^\[(\d+)/(\d+)\] (.+)$")
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


class Narration:
    """Progress on stderr: a bar on a terminal, plain lines in a log.

    Parameters
    ----------
    console
        Of stderr.
    with_log
        Print the log of the pods as well.
    """

    def __init__(self, console: Console, *, with_log: bool = True) -> None:
        self._console = console
        self._with_log = with_log
        self._said: set[str] = set()
        self._lock = threading.Lock()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Narration:
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total}"),
                TimeElapsedColumn(),
            )
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """Print one line about the cluster."""
        with self._lock:
            self._console.print(f"[bold cyan]»[/] {escape(text)}", highlight=False, soft_wrap=True)

    def looked(self, snapshot: Snapshot) -> None:
        """Say what is new since the last look."""
        if snapshot.waits is not None:
            self._say_once(f"waiting: {snapshot.waits.reason} {snapshot.waits.message}")
        for pod in snapshot.pods:
            for text in _news(pod):
                self._say_once(text)

    def line(self, pod: str, text: str) -> None:
        """Pass on a line of a log, and move the bar where the line says how far the run is."""
        del pod  # one at a time
        plain = _ESCAPES.sub("", text)
        if self._with_log:
            with self._lock:
                self._console.print(escape(plain), highlight=False, soft_wrap=True)
        phase = _PHASE.match(plain)
        if phase is not None and self._bar is not None:
            number, total, title = int(phase[1]), int(phase[2]), phase[3]
            if self._task is None:
                self._task = self._bar.add_task(title, total=total)
            self._bar.update(self._task, completed=number - 1, total=total, description=escape(title))

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.say(text)


def _news(pod: Pod) -> tuple[str, ...]:
    name, texts = pod.metadata.name, []
    if pod.has_started:
        node = f" on {pod.spec.node_name}" if pod.spec.node_name else ""
        texts.append(f"pod {name} runs{node}")
    if pod.has_ended:
        texts.append(f"pod {name}: {explain_end(pod)}")
    return tuple(texts)
