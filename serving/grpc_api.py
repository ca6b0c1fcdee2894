"""gRPC: the methods, errors after AIP-193, health and reflection. It decides nothing; the front door does."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Never, TypeVar, cast

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from nodogram_api.v1 import nomogram_pb2 as pb

from nodogram.errors import NodogramError, Reason, ServiceError, SettingsError
from serving import wire
from serving.admission import QueueFullError
from serving.chunks import MAXIMUM_REGION_BYTES, Receive, receive_case, store_region
from serving.config import ServerSettings
from serving.documents import model_document
from serving.front_door import FrontDoor, Ticket, accepted_request_id
from serving.status import status_of

SERVICE = str(pb.DESCRIPTOR.services_by_name["NomogramService"].full_name)
REQUEST_ID = "x-request-id"
STATUS_DETAILS = "grpc-status-details-bin"
"""Trailing metadata that holds a ``google.rpc.Status``."""
# Tells clients with a retry policy when to ask again, ms (gRPC proposal A6).
_RETRY_PUSHBACK = "grpc-retry-pushback-ms"
# So much more than is taken is received, so that we say why it is refused; beyond, gRPC does, without a reason.
_MESSAGE_SLACK_BYTES = 2**20
_SMALL_BYTES = 2**20
# The answer that the time is over must arrive before it is: share of the time given, and at most, s.
_ANSWER_SHARE, _ANSWER_S = 0.1, 0.05
# A call that was cancelled, or cut off by gRPC, first looks as if the caller had ended it; the truth follows in this time, s.
_TRUTH_S = 0.01
# For the last answers to leave the socket while nothing but watchers of the health is left, s.
_LAST_WORDS_S = 0.2
_MINUTE_MS = 60_000

_Context = grpc.aio.ServicerContext[bytes, Any]
_Answer = TypeVar("_Answer", bound=Message)
_Result = TypeVar("_Result")


class GrpcServer:
    """A started server.

    Parameters
    ----------
    server, nomogram, health_service
        What it runs, what it answers with, and what it says of itself.
    port
        TCP port it listens on.
    """

    def __init__(
        self, server: grpc.aio.Server, nomogram: _Nomogram, health_service: health.aio.HealthServicer, port: int
    ) -> None:
        self._server = server
        self._nomogram = nomogram
        self._health = health_service
        self.port = port

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, finish those in flight, and stop.

        Parameters
        ----------
        grace_s
            After this time what is left is cancelled, s.
        """
        await self._health.enter_graceful_shutdown()
        stopping = asyncio.ensure_future(self._server.stop(grace_s))
        # Who watches the health or keeps a reflection stream open would hold the server until the end of the grace.
        idle = asyncio.ensure_future(self._nomogram.wait_idle())
        await asyncio.wait((stopping, idle), return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        await self._server.stop(min(grace_s, _LAST_WORDS_S))
        await stopping


async def start_grpc(door: FrontDoor, settings: ServerSettings) -> GrpcServer:
    """Start the gRPC server in this event loop.

    Parameters
    ----------
    door
        What every call but those for health and reflection goes through.
    settings
        Address, limits and certificates.

    Raises
    ------
    SettingsError
        ``SETTINGS_INVALID`` if the address is taken or a certificate cannot be used.
    """
    nomogram = _Nomogram(door)
    health_service = health.aio.HealthServicer()
    server = grpc.aio.server(options=_options(settings))
    server.add_generic_rpc_handlers((nomogram.handlers(),))
    health_pb2_grpc.add_HealthServicer_to_server(health_service, server)
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    server.add_generic_rpc_handlers((_Unknown(),))
    port = _listen(server, settings)
    follower = _HealthFollower(health_service)
    door.lifecycle.on_change(follower.follow)
    await follower.settled()
    await server.start()
    return GrpcServer(server, nomogram, health_service, port)


class _Nomogram:
    """The methods of ``NomogramService``.

    All are served as streams of raw messages, which on the wire a unary call is as well: so nothing of a call is received
    before the front door has let it in, and bytes that are no message are the caller's error, not the server's.
    """

    def __init__(self, door: FrontDoor) -> None:
        self._door = door
        self._calls: set[asyncio.Task[Any]] = set()

    def handlers(self) -> grpc.GenericRpcHandler:
        methods = {"Predict": self.predict, "PredictRegion": self.predict_region, "GetModel": self.get_model}
        return grpc.method_handlers_generic_handler(SERVICE, {name: _handler(method) for name, method in methods.items()})

    async def predict(self, _: object, context: _Context) -> pb.PredictResponse:
        async def work(ticket: Ticket) -> pb.PredictResponse:
            self._door.admission.check()
            limit = self._door.settings.maximum_upload_bytes
            with self._door.spool() as folder:
                case = await receive_case(_receiver(context), folder, maximum_bytes=limit, case_id=ticket.request_id)
                prediction = await self._door.predict(ticket, case)
            return pb.PredictResponse(prediction=wire.prediction_message(prediction))

        return await self._serve(context, "predict", work)

    async def predict_region(self, _: object, context: _Context) -> pb.PredictResponse:
        async def work(ticket: Ticket) -> pb.PredictResponse:
            self._door.admission.check()
            limit = self._door.settings.maximum_upload_bytes
            with self._door.spool_file() as file:
                raw = await _only(context)
                store = functools.partial(store_region, raw, file, maximum_bytes=limit, case_id=ticket.request_id)
                # A small one is written faster than handed to a thread.
                case = store() if len(raw) <= _SMALL_BYTES else await _to_its_end(asyncio.to_thread(store))
                del raw, store
                prediction = await self._door.predict(ticket, case)
            return pb.PredictResponse(prediction=wire.prediction_message(prediction))

        return await self._serve(context, "predict_region", work)

    async def get_model(self, _: object, context: _Context) -> pb.Model:
        async def work(_: Ticket) -> pb.Model:
            wire.parse(await _only(context), pb.GetModelRequest)
            return wire.model_message(model_document(self._door.predictor.bundle, self._door.settings.provider))

        return await self._serve(context, "model", work)

    async def wait_idle(self) -> None:
        """Return when every call has been answered."""
        while self._calls:
            await asyncio.wait(self._calls)

    async def _serve(self, context: _Context, method: str, work: Callable[[Ticket], Awaitable[_Answer]]) -> _Answer:
        self._remember_call()
        request_id = accepted_request_id(_metadata(context, REQUEST_ID))
        try:
            async with self._door.open(
                "grpc",
                method,
                request_id=request_id,
                authorization=_metadata(context, "authorization"),
                timeout_s=_time_given_s(context),
            ) as ticket:
                try:
                    answer = await work(ticket)
                except ServiceError as error:
                    if error.reason is Reason.REQUEST_INVALID:
                        await asyncio.sleep(_TRUTH_S)
                    raise
        except NodogramError as error:
            await _refuse(context, error, request_id)
        # Trailing, as with errors: with initial metadata sent, a client's retry policy would take the call as begun.
        context.set_trailing_metadata(((REQUEST_ID, request_id),))
        return answer

    def _remember_call(self) -> None:
        # The task ends when the answer has been sent.
        task = asyncio.current_task()
        if task is not None:
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)


class _Unknown(grpc.GenericRpcHandler):
    """Answers for every method that does not exist; asked last."""

    def service(self, _: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        return _handler(self._refuse)

    async def _refuse(self, _: object, context: _Context) -> Message:
        error = ServiceError(Reason.ENDPOINT_UNKNOWN, f"the methods of {SERVICE} are described by reflection")
        await _refuse(context, error, accepted_request_id(_metadata(context, REQUEST_ID)))


class _HealthFollower:
    """Says of the whole server and of its service whether new calls should be sent here."""

    def __init__(self, service: health.aio.HealthServicer) -> None:
        self._service = service
        self._last: asyncio.Task[None] | None = None

    def follow(self, is_ready: bool) -> None:
        """Be told of a change; in the event loop."""
        self._last = asyncio.get_running_loop().create_task(self._set(is_ready, self._last))

    async def settled(self) -> None:
        """Return when all that was told has been said."""
        if self._last is not None:
            await self._last

    async def _set(self, is_ready: bool, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        kinds = health_pb2.HealthCheckResponse
        for name in ("", SERVICE):
            await self._service.set(name, kinds.SERVING if is_ready else kinds.NOT_SERVING)


def _handler(method: Callable[[object, _Context], Awaitable[Message]]) -> grpc.RpcMethodHandler[Any, Any]:
    # Whatever is to be sent is a message; requests stay the bytes they are.
    return grpc.stream_unary_rpc_method_handler(method, response_serializer=lambda message: message.SerializeToString())


async def _refuse(context: _Context, error: NodogramError, request_id: str) -> Never:
    status = wire.error_status(error, request_id)
    trailing: list[tuple[str, str | bytes]] = [(REQUEST_ID, request_id), (STATUS_DETAILS, status.SerializeToString())]
    if isinstance(error, QueueFullError):
        trailing.append((_RETRY_PUSHBACK, str(error.retry_after_s * 1000)))
    await context.abort(status_of(error.reason).grpc, status.message, tuple(trailing))


def _metadata(context: _Context, key: str) -> str | None:
    value = dict(context.invocation_metadata() or ()).get(key)
    return value if isinstance(value, str) else None


def _time_given_s(context: _Context) -> float | None:
    left_s = cast("float | None", context.time_remaining())
    return None if left_s is None else left_s - min(_ANSWER_SHARE * left_s, _ANSWER_S)


def _receiver(context: _Context) -> Receive:
    async def receive() -> bytes | None:
        raw: object = await context.read()
        return raw if isinstance(raw, bytes) else None

    return receive


async def _only(context: _Context) -> bytes:
    raw = await _receiver(context)()
    if raw is None:
        raise wire.invalid("the call has no message; one is required")
    return raw


async def _to_its_end(work: Awaitable[_Result]) -> _Result:
    """Wait for what a thread does even if cancelled: its files must not go before it has."""
    future = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(future)
    finally:
        await asyncio.wait((future,))


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    return [
        # Each worker process listens on the same port.
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", MAXIMUM_REGION_BYTES + _MESSAGE_SLACK_BYTES),
        # One client may fill the queue and be told so; more would only wait unseen.
        ("grpc.max_concurrent_streams", 2 * settings.maximum_cases + 16),
        # Clients come back now and then, so that balancers that look at connections only can spread them anew.
        ("grpc.max_connection_age_ms", 10 * _MINUTE_MS),
        ("grpc.max_connection_age_grace_ms", int(1000 * settings.request_timeout_s)),
        ("grpc.max_connection_idle_ms", 5 * _MINUTE_MS),
        # Peers that are gone without a word are found out; those that ping more often than this are sent away.
        ("grpc.keepalive_time_ms", _MINUTE_MS),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 3),
        ("grpc.server_handshake_timeout_ms", 10_000),
    ]


def _listen(server: grpc.aio.Server, settings: ServerSettings) -> int:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{settings.grpc_port}"
    credentials = _credentials(settings)
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise SettingsError(
            Reason.SETTINGS_INVALID, f"gRPC cannot listen on {address}: is it in use, or a certificate or key no PEM?"
        ) from error


def _credentials(settings: ServerSettings) -> grpc.ServerCredentials | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    authority = None if settings.tls_client_ca is None else _read(settings.tls_client_ca)
    pair = _read(settings.tls_key), _read(settings.tls_certificate)
    return grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(Reason.SETTINGS_INVALID, f"{path}: {error.strerror}") from error
