"""The Markdown of the report and the progress shown meanwhile."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def heading(title: str) -> None:
    print(f"\n## {title}\n", flush=True)


def say(*sentences: str) -> None:
    """Print one paragraph."""
    print(" ".join(sentences) + "\n", flush=True)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table, all columns but the first aligned right."""
    print("| " + " | ".join(header) + " |")
    print("|" + "|".join("---" if column == 0 else "--:" for column in range(len(header))) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def against_goal(reached: float, goal: float | None, least: bool = True) -> str:
    """Return what was reached with what was asked for, which is a minimum unless ``least`` is false."""
    figure = f"{reached:.2f}" if reached < 10 else f"{reached:.0f}"
    if goal is None:
        return figure
    met = reached >= goal if least else reached <= goal
    return f"{figure} ({'≥' if least else '≤'} {goal:g}{'' if met else ', **missed**'})"


def seconds(value: float) -> str:
    """Return seconds to a precision that suits their size."""
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def processor() -> str:
    """Return processor and cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()}-core {names[0] if names else platform.machine()}"


def load() -> str:
    """Return how many processes wanted the processor in the last minute, in words."""
    return f"load average {os.getloadavg()[0]:.1f}"


def progress() -> Progress:
    """Return a progress display on stderr."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
