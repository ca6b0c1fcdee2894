from __future__ import annotations

import asyncio
import subprocess
import sys
import warnings
from typing import Any


def _middleware_that_times_requests() -> Any:
    """Return what BentoML puts around our service to time requests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # BentoML's own, as it is imported
        from _bentoml_impl.server.app import ServiceAppFactory
        from bentoml._internal.server.base_app import BaseAppFactory

        from serving.service import NodogramService

        NodogramService.inject_config()
        factory: Any = ServiceAppFactory(NodogramService)  # type: ignore[arg-type]
    timed = BaseAppFactory.middlewares.fget(factory)  # type: ignore[attr-defined]
    assert timed, "BentoML no longer times requests: serving.service need not replace its middleware"
    return timed[0]


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _timers_left(middleware: Any, requests: int) -> int:
    """Return how many timers of the loop outlive requests that were answered at once."""
    loop: Any = asyncio.get_running_loop()
    before = len(loop._scheduled)
    app = middleware.cls(_answer, **middleware.kwargs)

    async def nothing(*_: object) -> None:
        return None

    for _ in range(requests):
        await app({"type": "http", "path": "/v1/model"}, nothing, nothing)
    return len(loop._scheduled) - before


def test_no_timer_of_bentoml_outlives_a_request() -> None:
    # Each would hold its request, upload included, until it expires.
    assert asyncio.run(_timers_left(_middleware_that_times_requests(), 20)) == 0


def test_the_supervisor_waits_for_nothing_it_does_not_need() -> None:
    """BentoML imports the service twice, one after the other: in the process that supervises and in the one that serves."""
    program = "import sys, serving.service; sys.exit(str({'onnxruntime', 'SimpleITK', 'scipy', 'grpc'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert found.stderr.strip() == "set()"
