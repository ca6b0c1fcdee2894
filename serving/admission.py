"""How many cases may be inside at once; the next is told at once when to come back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from nodogram.errors import Reason, ServiceError

# Weight of the newest case in the running mean of the time a case takes.
_NEWEST = 0.2
_MAXIMUM_WAIT_S = 60


class QueueFullError(ServiceError):
    """All places are taken.

    Parameters
    ----------
    limit
        Number of places.
    retry_after_s
        When one is likely to be free, whole s.
    """

    def __init__(self, limit: int, retry_after_s: int) -> None:
        super().__init__(Reason.QUEUE_FULL, f"{limit} cases are being worked on; ask again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class Admission:
    """A bounded number of places for cases.

    Parameters
    ----------
    limit
        Places.
    workers
        Cases worked on at the same time, for the estimate of the wait.
    """

    def __init__(self, limit: int, workers: int) -> None:
        self._limit = limit
        self._workers = workers
        self._inside = 0
        self._mean_s = 1.0

    @property
    def inside(self) -> int:
        """Cases accepted and not answered."""
        return self._inside

    def check(self) -> None:
        """Refuse at once what would find no place, before its image is read.

        Raises
        ------
        QueueFullError
            ``QUEUE_FULL``.
        """
        if self._inside >= self._limit:
            raise QueueFullError(self._limit, self._retry_after_s())

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one place.

        Raises
        ------
        QueueFullError
            ``QUEUE_FULL``.
        """
        self.check()
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    def took(self, seconds: float) -> None:
        """Learn how long one case occupied its worker, s."""
        self._mean_s += _NEWEST * (seconds - self._mean_s)

    def _retry_after_s(self) -> int:
        return max(1, min(_MAXIMUM_WAIT_S, math.ceil(self._mean_s * self._inside / (2 * self._workers))))
