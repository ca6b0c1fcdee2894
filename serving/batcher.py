"""Crops of concurrent requests in one call of the backbone.

While calls run the next batch gathers, so batches grow with the load by themselves; only an idle backbone waits a moment for
company. A GPU takes one call at a time. A CPU is used best by as many calls as it has cores, of one thread each: the threads of
one call wait for each other at every layer, and for as long as other work keeps one of them from its core.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodogram.deep.embed import Embedding, in_channels


@dataclass(frozen=True, eq=False)
class Embedded:
    """What the backbone makes of one crop.

    Attributes
    ----------
    features
        float64 (2048,).
    queue_s, backbone_s
        Time before and in the call it was part of, s.
    """

    features: NDArray[np.float64]
    queue_s: float
    backbone_s: float


@dataclass(frozen=True, eq=False)
class _Waiting:
    pixels: NDArray[np.float32]
    answer: asyncio.Future[Embedded]
    since_s: float


class Batcher:
    """A queue in front of one backbone; made and used in one event loop.

    Parameters
    ----------
    embed
        Takes float32 (n, 3, px, px); called in threads of its own.
    maximum_size
        Crops in one call.
    calls
        Calls at the same time.
    maximum_wait_s
        How long the first crop waits for others if the backbone is idle, s.
    observe
        Told size and duration, s, of every call.
    """

    def __init__(
        self,
        embed: Callable[[NDArray[np.float32]], Embedding],
        *,
        maximum_size: int,
        maximum_wait_s: float,
        calls: int = 1,
        observe: Callable[[int, float], None],
    ) -> None:
        self._embed = embed
        self._maximum_size = maximum_size
        self._calls = calls
        self._maximum_wait_s = maximum_wait_s
        self._observe = observe
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._threads = ThreadPoolExecutor(calls, thread_name_prefix="backbone")
        self._free = asyncio.Semaphore(calls)
        self._running: set[asyncio.Task[None]] = set()
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def waiting(self) -> int:
        """Crops not yet in a call."""
        return len(self._waiting)

    @property
    def oldest_s(self) -> float:
        """How long the first of them has waited, s."""
        return time.monotonic() - self._waiting[0].since_s if self._waiting else 0.0

    async def embed(self, pixels: NDArray[np.float32]) -> Embedded:
        """Embed one crop; a caller that is cancelled leaves the queue.

        Parameters
        ----------
        pixels
            float32 (px, px), the gray picture.
        """
        answer: asyncio.Future[Embedded] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(pixels, answer, time.monotonic()))
        self._arrived.set()
        return await answer

    async def close(self) -> None:
        """Stop; nobody may be waiting any more."""
        self._task.cancel()
        await asyncio.gather(self._task, *self._running, return_exceptions=True)
        self._threads.shutdown()

    async def _run(self) -> None:
        while True:
            await self._free.acquire()
            await self._company()
            call = asyncio.get_running_loop().create_task(self._call(self._take()))
            self._running.add(call)
            call.add_done_callback(self._end)

    def _end(self, call: asyncio.Task[None]) -> None:
        self._running.discard(call)
        self._free.release()

    async def _company(self) -> None:
        """Wait for a first crop and, if it has only just come, a little for more."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        if self._running:
            return
        patience_s = self._waiting[0].since_s + self._maximum_wait_s - time.monotonic()
        while 0 < len(self._waiting) < self._maximum_size and patience_s > 0:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), patience_s)
            except TimeoutError:
                return
            patience_s = self._waiting[0].since_s + self._maximum_wait_s - time.monotonic()

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        # Those who wait are shared by the calls that can begin now.
        size = min(self._maximum_size, math.ceil(len(self._waiting) / (self._calls - len(self._running))))
        while self._waiting and len(batch) < size:
            first = self._waiting.popleft()
            if not first.answer.done():
                batch.append(first)
        return batch

    async def _call(self, batch: Sequence[_Waiting]) -> None:
        if not batch:
            return
        start_s = time.monotonic()
        loop = asyncio.get_running_loop()
        try:
            embedding = await loop.run_in_executor(self._threads, self._embed_all, [item.pixels for item in batch])
        except Exception as error:  # noqa: BLE001 - whatever the runtime raises belongs to those who wait for it
            for item in batch:
                if not item.answer.done():
                    item.answer.set_exception(error)
            return
        seconds = time.monotonic() - start_s
        self._observe(len(batch), seconds)
        for item, features in zip(batch, embedding.features, strict=True):
            if not item.answer.done():
                item.answer.set_result(Embedded(features, start_s - item.since_s, seconds))

    def _embed_all(self, pixels: Sequence[NDArray[np.float32]]) -> Embedding:
        # In the thread, so that the loop is not held up by copying.
        return self._embed(in_channels(np.stack(pixels)))
