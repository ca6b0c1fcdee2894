"""Images per second of the backbone: bare loop, through the batcher, over gRPC."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nodogram.deep.embed import INPUT_NAME, OUTPUT_NAMES
from serving.batcher import Batcher

CALLERS = 64


def bare_loop(path: Path, provider: str, px: int, batch: int, seconds: float, threads: int | None) -> float:
    """Call ONNX Runtime and nothing else; images per second."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, sess_options=options, providers=[provider])
    pixels = crops(batch, px)

    def call() -> int:
        session.run(list(OUTPUT_NAMES), {INPUT_NAME: pixels})
        return batch

    return _rate(call, seconds)


def through_batcher(
    embed: Callable[[NDArray[np.float32]], object], px: int, batch: int, calls: int, seconds: float
) -> tuple[float, float]:
    """Let 64 callers ask one by one; images per second and mean batch size."""

    async def run() -> tuple[float, float]:
        sizes: list[int] = []
        batcher = Batcher(
            embed,
            maximum_size=batch,
            maximum_wait_s=0.002,
            calls=calls,
            observe=lambda size, _: sizes.append(size),  # type: ignore[arg-type]
        )
        pixels = crops(CALLERS, px)[:, 0]
        await asyncio.gather(*(batcher.embed(one) for one in pixels))
        sizes.clear()
        start = time.perf_counter()

        async def caller(one: NDArray[np.float32]) -> None:
            while time.perf_counter() - start < seconds:
                await batcher.embed(one)

        await asyncio.gather(*(caller(one) for one in pixels))
        # Until the last answer: a window that cuts batches of 32 in two counts one too many or too few.
        elapsed = time.perf_counter() - start
        await batcher.close()
        return sum(sizes) / elapsed, float(np.mean(sizes))

    return asyncio.run(run())


def crops(count: int, px: int) -> NDArray[np.float32]:
    """Return noise of the form of crops."""
    return np.random.default_rng(0).random((count, 3, px, px), dtype=np.float32)


def _rate(call: Callable[[], int], seconds: float) -> float:
    call()
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        done += call()
    return done / (time.perf_counter() - start)
