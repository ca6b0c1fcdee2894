"""A real front door and predictor over the small model, behind a real socket; cases are measured in a thread, not a pool."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from small_model import small_bundle

from nodogram.geometry import Geometry
from nodogram.imaging.volume_file import write_mask_file, write_volume_file
from nodogram.predict import MeasuredCase, Measurement
from nodogram.volume import Mask, Volume
from serving.admission import Admission
from serving.archive import ArchiveLimits
from serving.case_pool import CasePool
from serving.case_worker import CaseLimits, measure_request
from serving.config import ServerSettings
from serving.front_door import FrontDoor
from serving.lifecycle import Lifecycle
from serving.predictor import Predictor
from serving.requests import CaseRequest
from serving.telemetry import Telemetry
from serving.tokens import Tokens

CLINICAL = '{"tumour_site": "glottic", "age_years": 60}'
Hook = Callable[[CaseRequest], Awaitable[None]]


@dataclass
class ThreadPool:
    """In place of the pool of processes: the same measurement in a thread, after whatever ``before`` does or raises."""

    wanted: Measurement
    limits: CaseLimits
    before: Hook | None = None
    seen: list[CaseRequest] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)

    async def measure(self, request: CaseRequest, *, deadline_s: float) -> MeasuredCase:
        self.seen.append(request)
        try:
            if self.before is not None:
                await self.before(request)
            return await asyncio.to_thread(measure_request, request, self.wanted, self.limits, deadline_s)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@dataclass
class SmallDoor:
    """The door and what tests look at behind it."""

    door: FrontDoor
    pool: ThreadPool
    registry: CollectorRegistry

    def count(self, method: str, reason: str) -> float:
        labels = {"protocol": "http", "method": method, "reason": reason}
        return self.registry.get_sample_value("nodogram_requests_total", labels) or 0.0

    def wait_for_count(self, method: str, reason: str, seconds: float = 5.0) -> None:
        end = time.monotonic() + seconds
        while not self.count(method, reason):
            assert time.monotonic() < end, f"no {method} ended with {reason}"
            time.sleep(0.01)


def small_door(spool: Path, **settings: Any) -> SmallDoor:
    chosen = ServerSettings(bundle=Path(), spool=spool, **settings)
    registry = CollectorRegistry()
    bundle = small_bundle()
    archive = ArchiveLimits(chosen.maximum_archive_bytes, chosen.maximum_archive_files)
    pool = ThreadPool(Measurement.of(bundle), CaseLimits(archive, chosen.maximum_voxels))
    lifecycle = Lifecycle()
    lifecycle.ready()
    tokens = None if chosen.token_file is None else Tokens(chosen.token_file)
    predictor = Predictor(bundle, cast(CasePool, pool), None)
    door = FrontDoor(chosen, lifecycle, tokens, Admission(chosen.maximum_cases, 1), predictor, Telemetry(registry))
    return SmallDoor(door, pool, registry)


@contextmanager
def serve(app: FastAPI) -> Iterator[str]:
    """Serve an application on a free port and give its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        end = time.monotonic() + 10
        while not server.started:
            assert time.monotonic() < end, "the server did not start"
            time.sleep(0.005)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive()


def write_case(folder: Path) -> tuple[Path, Path]:
    """Write a ball in noise as image.nii.gz and roi.nii.gz."""
    shape = (24, 40, 40)
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    ball = (z - 12) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 < 36
    hu = np.random.default_rng(0).normal(40, 20, shape).round().astype(np.float32) + 30 * ball
    geometry = Geometry(shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    image, roi = folder / "image.nii.gz", folder / "roi.nii.gz"
    write_volume_file(image, Volume(hu.astype(np.float32), geometry))
    write_mask_file(roi, Mask(ball, geometry))
    return image, roi
