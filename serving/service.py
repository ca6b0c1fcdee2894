"""The BentoML service: one class that gives :class:`serving.server.Server` a process, a loop and the sockets of HTTP.

BentoML runs the worker, answers ``/livez`` and ``/readyz`` and mounts our own HTTP interface beside them. Its
own batching between services is not used: it passes arrays as JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bentoml
from bentoml._internal.server.http import traffic

from nodogram.errors import Reason, ServiceError
from serving.config import read_settings
from serving.logs import configure_logging

if TYPE_CHECKING:
    from serving.server import Server


class _Late:
    """The application of a server that is made when the process starts to serve, not when the module is imported."""

    def __init__(self) -> None:
        self.server: Server | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.server is None:
            raise ServiceError(Reason.NOT_READY, "the server has not been started")
        await self.server.app(scope, receive, send)


class _Untimed:
    """Stands for BentoML's timeout, which cannot be switched off: deadlines are ours, with a reason in the answer.

    The original (1.4.39) never stops its timer, which holds the whole request until it expires: tens of MiB a minute.
    """

    def __init__(self, app: Any, timeout: float) -> None:
        del timeout
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


traffic.TimeoutMiddleware = _Untimed  # type: ignore[assignment, misc]
_application = _Late()


# BentoML's metrics have the path of every request as a label, identifiers and nonsense included: /metrics is ours.
@bentoml.service(
    name="nodogram",
    workers=1,
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
)
@bentoml.asgi_app(_application, path="/")
class NodogramService:
    """HTTP by BentoML, gRPC beside it, one predictor behind both."""

    @bentoml.on_startup  # type: ignore[untyped-decorator, unused-ignore]
    async def start(self) -> None:
        """Start in the worker's event loop."""
        # Not above: BentoML's supervisor imports this module too, waits until it has, and needs none of these.
        from serving.server import Server
        from serving.telemetry import Telemetry

        settings = read_settings()
        configure_logging(settings.log_format)
        _application.server = Server(settings, Telemetry(drift_window=settings.drift_window))
        await _application.server.start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator, unused-ignore]
    async def stop(self) -> None:
        """Stop after HTTP has drained."""
        if _application.server is not None:
            await _application.server.stop()

    async def __is_ready__(self) -> bool:
        """Answer ``/readyz``."""
        return _application.server is not None and _application.server.lifecycle.is_ready
