"""A real gRPC server over the small front door, in an event loop of its own, and what clients send it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
import numpy as np
from google.rpc import error_details_pb2, status_pb2
from nodogram_api.v1 import nomogram_pb2 as pb
from nodogram_api.v1.nomogram_pb2_grpc import NomogramServiceStub
from small_server import SmallDoor

from nodogram.case import Case
from serving import wire
from serving.grpc_api import STATUS_DETAILS, GrpcServer, start_grpc

CLINICAL: dict[str, str | float] = {"tumour_site": "glottic", "age_years": 60.0}
_Result = TypeVar("_Result")


@dataclass
class Running:
    """A server, the loop it runs in, and a client of it."""

    server: GrpcServer
    loop: asyncio.AbstractEventLoop
    channel: Any

    @property
    def stub(self) -> Any:
        return NomogramServiceStub(self.channel)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def run(self, work: Coroutine[Any, Any, _Result], timeout_s: float = 20) -> _Result:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout_s)


@contextmanager
def serve_grpc(small: SmallDoor) -> Iterator[Running]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start_grpc(small.door, small.door.settings), loop).result(10)
    channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
    running = Running(server, loop, channel)
    try:
        yield running
    finally:
        channel.close()
        running.run(server.stop(1.0))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        assert not thread.is_alive()
        loop.close()


@dataclass(frozen=True)
class Refusal:
    """What a client learns of a refused call."""

    code: grpc.StatusCode
    reason: str
    domain: str
    request_id: str
    message: str
    retry_after_s: int | None
    trailing: dict[str, str | bytes]

    @classmethod
    def of(cls, error: Any) -> Refusal:
        trailing = dict(error.trailing_metadata())
        status = status_pb2.Status.FromString(trailing[STATUS_DETAILS])
        code = error.code()
        assert status.code == code.value[0]
        assert status.message == error.details()
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        assert status.details[0].Unpack(info)
        has_retry = len(status.details) > 1 and status.details[1].Unpack(retry)
        assert info.metadata["request_id"] == trailing["x-request-id"]
        return cls(
            code=code,
            reason=info.reason,
            domain=info.domain,
            request_id=info.metadata["request_id"],
            message=status.message,
            retry_after_s=retry.retry_delay.ToSeconds() if has_retry else None,
            trailing=trailing,
        )


def header(**changes: Any) -> pb.PredictRequest:
    fields: dict[str, Any] = {
        "case_id": "a case",
        "clinical": wire.clinical_message(CLINICAL),
        "image_format": pb.IMAGE_FORMAT_NIFTI_GZIP,
        "roi_format": pb.ROI_FORMAT_NIFTI_GZIP,
        **changes,
    }
    return pb.PredictRequest(header=pb.PredictHeader(**fields))


def stream(image: bytes, roi: bytes, *, chunk: int = 2**18, **changes: Any) -> Iterator[pb.PredictRequest]:
    """Yield a case as a client sends it."""
    yield header(**changes)
    for start in range(0, len(image), chunk):
        yield pb.PredictRequest(image_chunk=image[start : start + chunk])
    for start in range(0, len(roi), chunk):
        yield pb.PredictRequest(roi_chunk=roi[start : start + chunk])


def read_files(files: tuple[Path, Path]) -> tuple[bytes, bytes]:
    return files[0].read_bytes(), files[1].read_bytes()


def region(case: Case, **changes: Any) -> pb.PredictRegionRequest:
    """Return a whole case as a region of itself."""
    fields: dict[str, Any] = {
        "case_id": case.case_id,
        "clinical": wire.clinical_message(CLINICAL),
        "geometry": wire.geometry_message(case.volume.geometry),
        "hu": case.volume.array.astype("<i2").tobytes(),
        "mask": case.mask.array.astype(np.uint8).tobytes(),
        **changes,
    }
    return pb.PredictRegionRequest(**fields)
