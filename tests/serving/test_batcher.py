"""Batches grow with the load, nobody waits for nothing, and everyone gets his own answer."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from nodogram.deep.embed import Embedding
from serving.batcher import Batcher, Embedded


class Network:
    """Answers with the mean of each crop; a call takes as long as it is told, or waits to be let go."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, pixels: NDArray[np.float32]) -> Embedding:
        self.go.wait(5)
        self.sizes.append(len(pixels))
        if pixels.min() < 0:
            raise RuntimeError("the runtime failed")
        means = pixels.mean((1, 2, 3)).astype(np.float64)
        return Embedding(np.repeat(means[:, None], 2048, 1), means)


def crop(value: float) -> NDArray[np.float32]:
    return np.full((4, 4), value, np.float32)


def batcher_of(network: Network, size: int = 8, wait_s: float = 0.0, calls: int = 1) -> Batcher:
    return Batcher(network, maximum_size=size, maximum_wait_s=wait_s, calls=calls, observe=lambda *_: None)


def test_what_comes_during_a_call_shares_the_next() -> None:
    network = Network()

    async def run() -> list[Embedded]:
        batcher = batcher_of(network)
        network.go.clear()
        first = asyncio.ensure_future(batcher.embed(crop(0)))
        await asyncio.sleep(0.05)
        rest = [asyncio.ensure_future(batcher.embed(crop(value))) for value in range(1, 20)]
        await asyncio.sleep(0.05)
        assert batcher.waiting == 19
        assert batcher.oldest_s > 0.04
        network.go.set()
        answers = await asyncio.gather(first, *rest)
        assert batcher.waiting == 0
        await batcher.close()
        return list(answers)

    answers = asyncio.run(run())
    assert [answer.features[0] for answer in answers] == list(range(20))
    assert network.sizes == [1, 8, 8, 3]
    assert answers[0].backbone_s >= 0.09
    assert answers[1].queue_s >= 0.04


def test_an_idle_network_waits_a_moment_for_company_and_no_longer() -> None:
    network = Network()

    async def run() -> float:
        batcher = batcher_of(network, size=4, wait_s=0.2)
        pair = [asyncio.ensure_future(batcher.embed(crop(0)))]
        await asyncio.sleep(0.05)
        pair.append(asyncio.ensure_future(batcher.embed(crop(1))))
        await asyncio.gather(*pair)
        start = time.monotonic()
        await asyncio.gather(*(batcher.embed(crop(value)) for value in range(4)))
        full_s = time.monotonic() - start
        await batcher.close()
        return full_s

    full_s = asyncio.run(run())
    assert network.sizes == [2, 4]
    assert full_s < 0.2  # a full batch does not wait


def test_who_is_gone_takes_no_place() -> None:
    network = Network()

    async def run() -> None:
        batcher = batcher_of(network)
        network.go.clear()
        first = asyncio.ensure_future(batcher.embed(crop(0)))
        await asyncio.sleep(0.02)
        gone, stays = (asyncio.ensure_future(batcher.embed(crop(value))) for value in (1, 2))
        await asyncio.sleep(0.02)
        gone.cancel()
        network.go.set()
        assert (await first).features[0] == 0
        assert (await stays).features[0] == 2
        await batcher.close()

    asyncio.run(run())
    assert network.sizes == [1, 1]


def test_a_failed_call_fails_its_callers_only() -> None:
    network = Network()

    async def run() -> None:
        batcher = batcher_of(network)
        with pytest.raises(RuntimeError, match="the runtime failed"):
            await batcher.embed(crop(-1))
        assert (await batcher.embed(crop(3))).features[0] == 3
        await batcher.close()

    asyncio.run(run())


def test_calls_side_by_side_share_those_who_wait() -> None:
    network = Network()

    async def run() -> list[Embedded]:
        batcher = batcher_of(network, calls=2)
        network.go.clear()
        running = []
        for value in range(2):
            running.append(asyncio.ensure_future(batcher.embed(crop(value))))
            await asyncio.sleep(0.02)
        assert batcher.waiting == 0  # both are in calls of their own
        rest = [asyncio.ensure_future(batcher.embed(crop(value))) for value in range(2, 13)]
        await asyncio.sleep(0.02)
        assert batcher.waiting == 11  # and there is no third
        network.go.set()
        answers = await asyncio.gather(*running, *rest)
        await batcher.close()
        return list(answers)

    answers = asyncio.run(run())
    assert [answer.features[0] for answer in answers] == list(range(13))
    assert network.sizes.count(1) >= 2
    assert sum(network.sizes) == 13
    assert max(network.sizes) <= 8


def test_who_comes_together_is_divided_among_idle_calls() -> None:
    network = Network()

    async def run() -> None:
        batcher = batcher_of(network, calls=3)
        await asyncio.gather(*(batcher.embed(crop(value)) for value in range(9)))
        await batcher.close()

    asyncio.run(run())
    assert network.sizes == [3, 3, 3]
