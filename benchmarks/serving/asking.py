"""Callers: closed loops that ask as soon as they are answered, and an open loop that asks at a given rate."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
from google.rpc import error_details_pb2, status_pb2
from nodogram_api.v1 import nomogram_pb2 as pb
from nodogram_api.v1.nomogram_pb2_grpc import NomogramServiceStub

from benchmarks.serving.cases import Files

OK = "OK"
_MAXIMUM_MESSAGE_BYTES = 65 << 20


@dataclass
class Answers:
    """What callers were told.

    Attributes
    ----------
    reasons
        Answers by reason.
    seconds
        Time of each good answer, s.
    stages
        Seconds by stage of each good answer.
    counted, elapsed_s
        Good answers of the time looked at, and that time, s.
    """

    reasons: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)
    counted: int = 0
    elapsed_s: float = 0.0

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return self.counted / self.elapsed_s

    def percentile(self, percent: float) -> float:
        """Return a percentile of the time of good answers, s."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(percent / 100 * len(ordered)))] if ordered else float("nan")


Ask = Callable[[], Awaitable[tuple[str, dict[str, float]]]]


async def closed_loop(ask: Ask, callers: int, seconds: float, warm_up_s: float = 0.0) -> Answers:
    """Let callers ask one question after the other; counted is what is answered after the warm-up while all still ask."""
    answers = Answers(elapsed_s=seconds)
    start = time.perf_counter() + warm_up_s

    async def caller() -> None:
        while time.perf_counter() - start < seconds:
            is_good = await _once(ask, answers)
            answers.counted += is_good and 0 <= time.perf_counter() - start < seconds

    await asyncio.gather(*(caller() for _ in range(callers)))
    return answers


async def open_loop(ask: Ask, rate: float, seconds: float, seed: int = 0) -> Answers:
    """Ask at random moments, whether or not earlier questions are answered (a Poisson process)."""
    answers, draw = Answers(), random.Random(seed)  # noqa: S311 - arrivals, not secrets
    start, due, asked = time.perf_counter(), 0.0, []
    while due < seconds:
        due += draw.expovariate(rate)
        await asyncio.sleep(max(0.0, start + due - time.perf_counter()))
        asked.append(asyncio.ensure_future(_once(ask, answers)))
    await asyncio.gather(*asked)
    answers.counted, answers.elapsed_s = answers.reasons[OK], time.perf_counter() - start
    return answers


@contextlib.asynccontextmanager
async def by_region(target: str, message: pb.PredictRegionRequest) -> AsyncIterator[Ask]:
    """Ask for a region over gRPC."""
    options = [("grpc.max_send_message_length", _MAXIMUM_MESSAGE_BYTES)]
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        stub: Any = NomogramServiceStub(channel)

        async def ask() -> tuple[str, dict[str, float]]:
            try:
                answer = await stub.PredictRegion(message, timeout=120)
            except grpc.aio.AioRpcError as error:
                return _reason(error), {}
            return OK, dict(answer.prediction.stage_s)

        yield ask


@contextlib.asynccontextmanager
async def by_http(url: str, files: Files, image: bytes, name: str) -> AsyncIterator[Ask]:
    """Ask for files over HTTP."""
    import json

    roi = files.roi.read_bytes()
    limits = httpx.Limits(max_connections=None, keepalive_expiry=2.0)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:

        async def ask() -> tuple[str, dict[str, float]]:
            response = await client.post(
                "/v1/predict",
                files={"image": (name, image), "roi": (files.roi.name, roi)},
                data={"clinical": json.dumps(files.clinical)},
            )
            body = response.json()
            return (OK, body["stage_s"]) if response.status_code == httpx.codes.OK else (body["reason"], {})

        yield ask


async def _once(ask: Ask, answers: Answers) -> bool:
    start = time.perf_counter()
    reason, stages = await ask()
    answers.reasons[reason] += 1
    if reason == OK:
        answers.seconds.append(time.perf_counter() - start)
        answers.stages.append(stages)
    else:
        # A refused caller of a closed loop would otherwise do nothing but ask.
        await asyncio.sleep(0.05)
    return reason == OK


def _reason(error: grpc.aio.AioRpcError) -> str:
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    for detail in status_pb2.Status.FromString(details).details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return error.code().name
