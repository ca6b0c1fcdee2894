"""What a person sees while a run works: numbered phases, bars on a terminal, plain lines in a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

# A log that nobody watches gets a line for every tenth of the work.
LOG_SHARE = 10


class RunProgress:
    """Progress of one run on stderr.

    Parameters
    ----------
    phase_count
        Number of phases, for "[2/7]".
    """

    def __init__(self, phase_count: int, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._phase_count = phase_count
        self._phase = 0

    def phase(self, title: str) -> None:
        """Begin the next phase."""
        self._phase += 1
        self.console.print(f"[bold cyan]\\[{self._phase}/{self._phase_count}][/] [bold]{title}[/]", highlight=False)

    def say(self, text: str) -> None:
        """Print one line below the phase."""
        self.console.print(f"      {text}", highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print one line that must not be missed."""
        self.console.print(f"      [yellow]{text}[/]", highlight=False, soft_wrap=True)

    @contextmanager
    def steps(self, title: str, total: int) -> Iterator[Callable[[str], None]]:
        """Count ``total`` steps; the yielded function is called with a short text once a step is done."""
        if self.console.is_terminal:
            columns = (
                TextColumn("      {task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=self.console, transient=True) as bars:
                task = bars.add_task(title, total=total)
                yield lambda text: bars.update(task, advance=1, description=f"{title} {text}")
            return
        done = 0

        def advance(text: str) -> None:
            nonlocal done
            done += 1
            if done == total or done * LOG_SHARE // total != (done - 1) * LOG_SHARE // total:
                self.say(f"{title} {done}/{total} {text}")

        yield advance
