"""One server: its parts, put together, started, proven and stopped."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import structlog
from fastapi import Request, Response

from nodogram.bundle import ModelBundle, load_bundle
from nodogram.errors import NodogramError, Reason, ServiceError
from nodogram.predict import Measurement
from nodogram.self_test import compare, known_files
from serving.admission import Admission
from serving.batcher import Batcher
from serving.case_pool import CasePool
from serving.config import Provider, ServerSettings
from serving.front_door import FrontDoor
from serving.grpc_api import GrpcServer, start_grpc
from serving.http_api import build_app
from serving.lifecycle import Lifecycle
from serving.predictor import Predictor
from serving.requests import CaseRequest, StoredFiles
from serving.telemetry import Telemetry, expose
from serving.tokens import Tokens

EXECUTION_PROVIDERS: dict[Provider, tuple[str, ...]] = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
}
# How often the queues are looked at for the gauges, s; well below any interval of scraping.
_GAUGE_INTERVAL_S = 1.0
_log = structlog.get_logger("nodogram.server")


class Server:
    """Everything one process serves with, apart from the sockets of HTTP.

    Parameters
    ----------
    settings
        How it runs.
    telemetry
        Where it counts.
    """

    def __init__(self, settings: ServerSettings, telemetry: Telemetry) -> None:
        self.settings = settings
        self.lifecycle = Lifecycle()
        self._telemetry = telemetry
        tokens = None if settings.token_file is None else Tokens(settings.token_file)
        admission = Admission(settings.maximum_cases, settings.case_workers)
        self.door = FrontDoor(settings, self.lifecycle, tokens, admission, None, telemetry)
        self.app = build_app(self.door)
        self.app.add_api_route("/metrics", _metrics, methods=["GET"], include_in_schema=False)
        self._grpc: GrpcServer | None = None
        self._pool: CasePool | None = None
        self._batcher: Batcher | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def grpc_port(self) -> int:
        """Port gRPC listens on, once started."""
        if self._grpc is None:
            raise ServiceError(Reason.NOT_READY, "gRPC has not been started")
        return self._grpc.port

    async def start(self) -> None:
        """Open gRPC, and get ready in the background: until then both protocols answer ``NOT_READY``."""
        self.lifecycle.on_change(self._telemetry.ready)
        self._grpc = await start_grpc(self.door, self.settings)
        self._drain_on_sigterm()
        self._background(self._get_ready())

    async def stop(self) -> None:
        """Finish the work in flight and stop."""
        self.lifecycle.drain()
        if self._grpc is not None:
            await self._grpc.stop(self.settings.shutdown_grace_s)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._batcher is not None:
            await self._batcher.close()
        if self._pool is not None:
            await self._pool.close()
        _log.info("stopped")

    async def _get_ready(self) -> None:
        try:
            predictor = await self._load()
            await self._prove(predictor)
        except NodogramError as error:
            self.lifecycle.fail(error)
            _log.error("not ready", reason=error.reason, message=error.message)
        except Exception as error:  # noqa: BLE001 - nobody awaits this task: without it the server would be starting for ever
            self.lifecycle.fail(ServiceError(Reason.INTERNAL, f"{type(error).__name__} during the start"))
            _log.exception("not ready", reason=Reason.INTERNAL)
        else:
            self.lifecycle.ready()
            _log.info("ready", http_port=self.settings.http_port, grpc_port=self.grpc_port)

    async def _load(self) -> Predictor:
        settings = self.settings
        wanted = EXECUTION_PROVIDERS[settings.provider]
        bundle = await asyncio.to_thread(
            load_bundle, settings.bundle, providers=wanted, threads=settings.backbone_threads, spinning=False
        )
        self._telemetry.bundle(bundle)
        if bundle.backbone is not None:
            check_provider(wanted[0], bundle.backbone.provider)
            self._telemetry.provider(wanted[0], bundle.backbone.provider)
            self._batcher = Batcher(
                bundle.backbone.embed,
                maximum_size=settings.batch_size,
                maximum_wait_s=settings.maximum_batch_wait_ms / 1000,
                calls=settings.backbone_calls,
                observe=self._telemetry.batch,
            )
        self._pool = CasePool(Measurement.of(bundle), settings)
        await self._pool.start()
        self._background(self._watch_queues())
        return Predictor(bundle, self._pool, self._batcher)

    async def _prove(self, predictor: Predictor) -> None:
        """Predict every known-answer case as any request would be, on the provider really in use."""
        bundle = predictor.bundle
        if not bundle.known_answers:
            raise ServiceError(
                Reason.BUNDLE_KNOWN_ANSWER_FAILED, "the bundle has no known-answer case; at least one is required"
            )
        for answer in bundle.known_answers:
            image, roi = known_files(bundle, answer)
            request = CaseRequest(answer.name, StoredFiles(image, roi), answer.clinical)
            deadline_s = time.monotonic() + self.settings.request_timeout_s
            result = compare(answer, await predictor.predict(request, deadline_s=deadline_s), bundle.manifest.tolerances)
            self._telemetry.known_answer(answer.name, result.probability_difference)
            _log.info(
                "known answer reproduced",
                case=answer.name,
                probability_difference=result.probability_difference,
                radiomics_difference=result.radiomics_difference,
                allowed=bundle.manifest.tolerances.probability,
                provider=_provider(bundle),
            )
        self.door.employ(predictor)

    async def _watch_queues(self) -> None:
        while True:
            if self._pool is not None:
                self._telemetry.queue("cases", self._pool.waiting, self._pool.oldest_s)
            if self._batcher is not None:
                self._telemetry.queue("backbone", self._batcher.waiting, self._batcher.oldest_s)
            await asyncio.sleep(_GAUGE_INTERVAL_S)

    def _background(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _drain_on_sigterm(self) -> None:
        """Be not ready at once on SIGTERM, and let the HTTP server begin its own shutdown a little later."""
        shut_down = signal.getsignal(signal.SIGTERM)
        if not callable(shut_down):
            return
        handler: Callable[[int, FrameType | None], Any] = shut_down
        loop = asyncio.get_running_loop()

        def begin() -> None:
            self.lifecycle.drain()
            _log.info("draining", drain_delay_s=self.settings.drain_delay_s)
            loop.call_later(self.settings.drain_delay_s, handler, signal.SIGTERM, None)

        loop.add_signal_handler(signal.SIGTERM, begin)


async def _metrics(request: Request) -> Response:
    found = await asyncio.to_thread(expose, request.headers.get("accept"))
    return Response(found.content, media_type=found.content_type)


def check_provider(wanted: str, active: str) -> None:
    """Refuse a backbone that runs elsewhere than it was told to; ONNX Runtime itself falls back without a word.

    Raises
    ------
    ServiceError
        ``PROVIDER_UNAVAILABLE``.
    """
    if active != wanted:
        raise ServiceError(
            Reason.PROVIDER_UNAVAILABLE,
            f"{wanted} was asked for and {active} is in use: are a GPU, onnxruntime-gpu and its CUDA libraries there?",
        )


def _provider(bundle: ModelBundle) -> str | None:
    return None if bundle.backbone is None else bundle.backbone.provider
