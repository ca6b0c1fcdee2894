"""What every request of every protocol goes through: name, readiness, token, deadline, accounting.

Adapters translate; they decide nothing. Whatever happens inside :meth:`FrontDoor.open` leaves it as a
:class:`~nodogram.errors.NodogramError` with a reason, counted and logged once.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog

from nodogram.errors import NodogramError, Reason, ServiceError, SurroundingsError
from nodogram.predict import Prediction
from serving.admission import Admission
from serving.config import ServerSettings
from serving.lifecycle import Lifecycle
from serving.predictor import Predictor
from serving.requests import CaseRequest
from serving.status import OK
from serving.telemetry import Telemetry
from serving.tokens import Tokens

Protocol = Literal["http", "grpc"]
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_log = structlog.get_logger("nodogram.request")


@dataclass
class Ticket:
    """One request on its way.

    Attributes
    ----------
    request_id
        The caller's, if it is a plain name; else a new one.
    caller
        Name of the token; ``None`` without tokens.
    deadline_s
        Value of ``time.monotonic()`` at which the request is given up, s.
    prediction
        The answer, once there is one.
    """

    request_id: str
    caller: str | None
    deadline_s: float
    prediction: Prediction | None = None

    @property
    def left_s(self) -> float:
        """Time left, s; never negative."""
        return max(0.0, self.deadline_s - time.monotonic())


class FrontDoor:
    """The way in, shared by HTTP and gRPC.

    Parameters
    ----------
    settings
        Timeouts and the folder for uploads.
    lifecycle, tokens, admission, predictor, telemetry
        The parts of one server; ``tokens`` is ``None`` where everyone may ask, ``predictor`` until the bundle is loaded.
    """

    def __init__(
        self,
        settings: ServerSettings,
        lifecycle: Lifecycle,
        tokens: Tokens | None,
        admission: Admission,
        predictor: Predictor | None,
        telemetry: Telemetry,
    ) -> None:
        self.settings = settings
        self.lifecycle = lifecycle
        self.telemetry = telemetry
        self.admission = admission
        self._predictor = predictor
        self._tokens = tokens
        # As many again may be on their way in, so that a place that gets free is taken at once; more would only fill the disk.
        self._uploads = Admission(2 * settings.maximum_cases, settings.case_workers)

    @property
    def predictor(self) -> Predictor:
        """What predicts.

        Raises
        ------
        ServiceError
            ``NOT_READY`` as long as there is none.
        """
        if self._predictor is None:
            raise ServiceError(Reason.NOT_READY, "the bundle is being loaded; ask again later")
        return self._predictor

    def employ(self, predictor: Predictor) -> None:
        """Give the work to a predictor."""
        self._predictor = predictor

    @asynccontextmanager
    async def open(
        self,
        protocol: Protocol,
        method: str,
        *,
        request_id: str | None = None,
        authorization: str | None = None,
        timeout_s: float | None = None,
    ) -> AsyncIterator[Ticket]:
        """Let one request in.

        Parameters
        ----------
        protocol, method
            For metrics and log, such as ``http`` and ``predict``.
        request_id
            As the caller sent it.
        authorization
            Value of the header or metadata entry of this name.
        timeout_s
            Time the caller gives, s; the server's own limit holds as well.

        Raises
        ------
        NodogramError
            Whatever was raised inside, an unexpected exception as ``INTERNAL``, the end of the deadline as
            ``DEADLINE_EXCEEDED``; ``UNAUTHENTICATED`` or ``NOT_READY`` before that. A cancelled task stays cancelled.
        """
        started = time.monotonic()
        limit_s = self.settings.request_timeout_s if timeout_s is None else min(timeout_s, self.settings.request_timeout_s)
        ticket = Ticket(accepted_request_id(request_id), None, started + limit_s)
        reason: str = OK
        try:
            if self._tokens is not None:
                ticket.caller = self._tokens.caller(authorization)
            self.lifecycle.check()
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + limit_s):
                yield ticket
        except TimeoutError as error:
            reason = Reason.DEADLINE_EXCEEDED
            raise SurroundingsError(Reason.DEADLINE_EXCEEDED, f"the request took longer than {limit_s:g} s") from error
        except NodogramError as error:
            reason = error.reason
            raise
        except asyncio.CancelledError:
            reason = Reason.CANCELLED
            raise
        except Exception as error:
            # The one place where an unexpected error may end: the caller gets a code, the log the traceback.
            reason = Reason.INTERNAL
            _log.exception("request failed unexpectedly", request_id=ticket.request_id, protocol=protocol, method=method)
            raise ServiceError(
                Reason.INTERNAL, f"an unexpected error was logged under request id {ticket.request_id}"
            ) from error
        finally:
            self._account(protocol, method, reason, time.monotonic() - started, ticket)

    async def predict(self, ticket: Ticket, request: CaseRequest) -> Prediction:
        """Predict one case within the ticket's deadline.

        Raises
        ------
        NodogramError
            ``QUEUE_FULL``, or why the case cannot be predicted.
        """
        with self.admission.place():
            prediction = await self.predictor.predict(request, deadline_s=ticket.deadline_s)
        self.admission.took(sum(prediction.stage_s.get(stage, 0.0) for stage in ("decode", "prepare", "radiomics")))
        ticket.prediction = prediction
        return prediction

    @contextmanager
    def spool(self) -> Iterator[Path]:
        """Give a folder for the files of one request, readable for this user alone; it is gone afterwards.

        Raises
        ------
        QueueFullError
            ``QUEUE_FULL`` if too many requests have one.
        """
        with (
            self._uploads.place(),
            tempfile.TemporaryDirectory(prefix="nodogram-", dir=self.settings.spool, ignore_cleanup_errors=True) as folder,
        ):
            yield Path(folder)

    @contextmanager
    def spool_file(self) -> Iterator[Path]:
        """Give one empty file in the same way: to make and remove a folder takes as long as to prepare a small case.

        Raises
        ------
        QueueFullError
            ``QUEUE_FULL`` if too many requests have one.
        """
        with self._uploads.place():
            descriptor, name = tempfile.mkstemp(prefix="nodogram-", dir=self.settings.spool)
            os.close(descriptor)
            try:
                yield Path(name)
            finally:
                Path(name).unlink(missing_ok=True)

    def _account(self, protocol: Protocol, method: str, reason: str, seconds: float, ticket: Ticket) -> None:
        self.telemetry.request(protocol, method, reason, seconds)
        prediction = ticket.prediction
        if prediction is None:
            if reason != OK:
                _log.warning(
                    "refused", request_id=ticket.request_id, protocol=protocol, method=method, reason=reason,
                    caller=ticket.caller, seconds=round(seconds, 4),
                )  # fmt: skip
            return
        self.telemetry.prediction(prediction)
        _log.info(
            "predicted",
            request_id=ticket.request_id,
            protocol=protocol,
            method=method,
            reason=reason,
            caller=ticket.caller,
            bundle=prediction.bundle_digest[:12],
            seconds=round(seconds, 4),
            stage_s={stage: round(value, 4) for stage, value in prediction.stage_s.items()},
            notes=sorted({note.code.value for note in prediction.notes}),
        )


def accepted_request_id(given: str | None) -> str:
    """Return the caller's request id if it is one plain word of at most 128 characters, else a new one."""
    return given if given is not None and _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
