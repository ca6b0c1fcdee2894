"""Whether this server may be sent requests: starting, ready, draining, stopped or failed."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum, unique

from nodogram.errors import NodogramError, Reason, ServiceError


@unique
class Phase(StrEnum):
    """Where a server is between start and end."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


class Lifecycle:
    """The phase of a server, and who wants to know of it.

    Serving goes on while draining: balancers need a moment to see that it is no longer ready.
    """

    def __init__(self) -> None:
        self._phase = Phase.STARTING
        self._failure: NodogramError | None = None
        self._listeners: list[Callable[[bool], None]] = []

    @property
    def phase(self) -> Phase:
        """Where the server is."""
        return self._phase

    @property
    def is_ready(self) -> bool:
        """Whether new requests should be sent here."""
        return self._phase is Phase.READY

    @property
    def failure(self) -> NodogramError | None:
        """Why the start failed, if it did."""
        return self._failure

    def on_change(self, listener: Callable[[bool], None]) -> None:
        """Call ``listener`` with the readiness, now and whenever it changes."""
        self._listeners.append(listener)
        listener(self.is_ready)

    def ready(self) -> None:
        """Say that the self-test passed; a server already draining stays so."""
        if self._phase is Phase.STARTING:
            self._enter(Phase.READY)

    def drain(self) -> None:
        """Say that the end is near."""
        if self._phase is not Phase.FAILED:
            self._enter(Phase.DRAINING)

    def fail(self, error: NodogramError) -> None:
        """Say that the server cannot serve; it stays up to be asked why."""
        self._failure = error
        self._enter(Phase.FAILED)

    def check(self) -> None:
        """Refuse a request that cannot be served.

        Raises
        ------
        ServiceError
            ``NOT_READY``.
        """
        if self._phase not in (Phase.READY, Phase.DRAINING):
            why = f"the self-test failed with {self._failure.reason}" if self._failure else "the self-test has not ended"
            raise ServiceError(Reason.NOT_READY, f"{why}; ask again later")

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        for listener in self._listeners:
            listener(self.is_ready)
