"""Fresh processes with one thread each, and what they cost."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

_Result = TypeVar("_Result")

ROOT = Path(__file__).parents[2]
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
ONE_THREAD: Mapping[str, str] = dict.fromkeys(_THREADS, "1")
MIB = 1 << 20


class FreshProcessError(RuntimeError):
    """A process that was to be measured failed."""


@dataclass(frozen=True)
class Cost:
    """What a call took: seconds of CPU, user and system together, and of the clock."""

    cpu_s: float
    wall_s: float


def run_fresh(command: str, task: Mapping[str, Any], python: str = sys.executable) -> Any:
    """Run a module, or a file, in a fresh interpreter with one thread; it reads its task and prints its result as JSON.

    Raises
    ------
    FreshProcessError
        With the end of what the process wrote to stderr.
    """
    what = [command] if command.endswith(".py") else ["-m", command]
    done = subprocess.run(
        [python, "-W", "ignore", *what],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **ONE_THREAD},
        check=False,
    )
    if done.returncode != 0:
        raise FreshProcessError(f"{command} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def cpu_s() -> float:
    """Return CPU seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident_bytes() -> int:
    """Return the memory this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak_bytes() -> int:
    """Return the most memory this process has held since its start or the last :func:`forget_peak`.

    Not ``ru_maxrss``, which a process inherits from the one that started it.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def forget_peak() -> None:
    """Start the peak anew (Linux, ``proc_pid_clear_refs(5)``), so that loading does not hide what comes after it."""
    Path("/proc/self/clear_refs").write_text("5")


def timed(call: Callable[[], _Result]) -> tuple[_Result, float]:
    """Return a call's result and its CPU seconds."""
    start = cpu_s()
    result = call()
    return result, cpu_s() - start
