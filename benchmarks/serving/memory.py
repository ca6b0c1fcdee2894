"""Memory of a server and all its processes while it works."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import psutil

MIB = 1 << 20


class MemoryWatch:
    """Samples of resident memory, MiB, every few seconds."""

    def __init__(self, pid: int, interval_s: float = 5.0) -> None:
        self._process = psutil.Process(pid)
        self._interval_s = interval_s
        self.samples: list[tuple[float, float]] = []

    async def run(self) -> None:
        """Sample until cancelled."""
        start = time.monotonic()
        while True:
            self.samples.append((time.monotonic() - start, self.resident_mib()))
            await asyncio.sleep(self._interval_s)

    def resident_mib(self) -> float:
        """Return the memory of the process and its children now; pages shared between them count in each."""
        family = [self._process, *self._process.children(recursive=True)]
        total = 0
        for process in family:
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total / MIB

    def slope_mib_per_minute(self, after_s: float) -> float:
        """Return the slope of a straight line through the samples after a time of settling."""
        settled = [(t / 60, mib) for t, mib in self.samples if t >= after_s]
        times, sizes = np.array(settled).T
        return float(np.polyfit(times, sizes, 1)[0])
