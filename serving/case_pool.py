"""Cases measured by as many processes as there are cores; one that hangs or dies costs its own case only."""

from __future__ import annotations

import asyncio
import atexit
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from nodogram.errors import Reason, ServiceError, SurroundingsError
from nodogram.predict import MeasuredCase, Measurement
from serving.archive import ArchiveLimits
from serving.case_process import CaseProcess, ProcessDiedError
from serving.case_worker import CaseLimits
from serving.config import ServerSettings
from serving.requests import CaseRequest

# A case whose process died gets a second one: memory may have been short because of others.
_ATTEMPTS = 2
_START_ATTEMPTS = 3
_START_PAUSE_S = 0.2
# A killed process ends at once, unless it hangs in the kernel, on a network file system for one, s.
_DEATH_S = 5.0
_log = structlog.get_logger("nodogram.cases")


@dataclass(eq=False)
class _Seat:
    """A place for one process, which is there or on its way."""

    process: asyncio.Task[CaseProcess]

    @property
    def is_lost(self) -> bool:
        """Whether another process is needed."""
        if not self.process.done():
            return False
        return self.process.cancelled() or self.process.exception() is not None or self.process.result().is_lost


class CasePool:
    """Measures cases in processes of their own, first come, first served.

    Parameters
    ----------
    wanted
        What the model wants to know.
    settings
        Number of processes and limits of a case.
    """

    def __init__(self, wanted: Measurement, settings: ServerSettings) -> None:
        self._wanted = wanted
        self._count = settings.case_workers
        self._limits = CaseLimits(
            ArchiveLimits(settings.maximum_archive_bytes, settings.maximum_archive_files), settings.maximum_voxels
        )
        self._idle: asyncio.Queue[_Seat] = asyncio.Queue()
        self._processes: set[CaseProcess] = set()
        self._starts: set[asyncio.Task[CaseProcess]] = set()
        self._waiting: dict[object, float] = {}
        # One thread per process waits for its answer; one more, so that a start never waits for an end.
        self._threads = ThreadPoolExecutor(self._count + 1, thread_name_prefix="nodogram-case")
        self._closed = False

    @property
    def waiting(self) -> int:
        """Cases no process has begun."""
        return len(self._waiting)

    @property
    def oldest_s(self) -> float:
        """How long the first of them has waited, s; 0 if there is none."""
        return time.monotonic() - next(iter(self._waiting.values())) if self._waiting else 0.0

    async def start(self) -> None:
        """Start every process and wait until all have measured something.

        Raises
        ------
        ServiceError
            ``CASE_WORKER_KILLED`` if one cannot be started.
        """
        # Before multiprocessing's own, which would wait for children that ignore its SIGTERM.
        atexit.register(self._kill)
        seats = [_Seat(self._start_process()) for _ in range(self._count)]
        await asyncio.gather(*(seat.process for seat in seats))
        for seat in seats:
            self._idle.put_nowait(seat)

    async def measure(self, request: CaseRequest, *, deadline_s: float) -> MeasuredCase:
        """Measure one case; a cancelled or late one leaves no process working on it.

        Parameters
        ----------
        request
            Its files exist until this returns, also by an error.
        deadline_s
            Value of ``time.monotonic()`` at which the work is given up, waiting included, s.

        Returns
        -------
        MeasuredCase
            With the stages ``queue``, until the process that answered began, and those of
            :func:`serving.case_worker.measure_request`.

        Raises
        ------
        NodogramError
            Why it cannot be measured; ``DEADLINE_EXCEEDED``; ``CASE_WORKER_KILLED`` if its process died twice;
            ``NOT_READY`` if the pool is closed.
        """
        submitted_s = time.monotonic()
        limit = asyncio.timeout(deadline_s - submitted_s)
        try:
            async with limit:
                seat = await self._next_seat(submitted_s)
                try:
                    return await self._measure_at(seat, request, submitted_s, deadline_s)
                finally:
                    self._give_back(seat)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise SurroundingsError(
                Reason.DEADLINE_EXCEEDED, f"the time allowed ended after {time.monotonic() - submitted_s:.3g} s with the case"
            ) from error

    async def close(self) -> None:
        """End every process; cases still in work fail with ``NOT_READY``."""
        self._closed = True
        await asyncio.gather(*self._starts, return_exceptions=True)
        self._kill()
        await asyncio.to_thread(self._threads.shutdown)
        for process in tuple(self._processes):
            await asyncio.to_thread(self._discard, process)
        atexit.unregister(self._kill)

    async def _next_seat(self, submitted_s: float) -> _Seat:
        turn = object()
        self._waiting[turn] = submitted_s
        try:
            self._check_open()
            return await self._idle.get()
        finally:
            del self._waiting[turn]

    async def _measure_at(self, seat: _Seat, request: CaseRequest, submitted_s: float, deadline_s: float) -> MeasuredCase:
        for _ in range(_ATTEMPTS):
            self._check_open()
            if seat.is_lost:
                seat.process = self._start_process(instead_of=seat.process)
            # What has been begun for this seat goes on for the next case if this one is given up.
            process = await asyncio.shield(seat.process)
            started_s = time.monotonic()
            try:
                measured = await self._ask(process, request, deadline_s)
            except ProcessDiedError:
                self._check_open()
                _log.warning("the process of a case died", pid=process.pid)
                continue
            measured.stage_s["queue"] = started_s - submitted_s
            return measured
        raise ServiceError(
            Reason.CASE_WORKER_KILLED, f"{_ATTEMPTS} processes died with this case, most often for want of memory"
        )

    async def _ask(self, process: CaseProcess, request: CaseRequest, deadline_s: float) -> MeasuredCase:
        answer = asyncio.get_running_loop().run_in_executor(self._threads, process.ask, request, deadline_s)
        # Of an answer nobody waits for any more the error is looked at here, lest it be reported as overlooked.
        answer.add_done_callback(lambda late: late.cancelled() or late.exception())
        try:
            return await asyncio.shield(answer)
        finally:
            if not answer.done():
                # Its files may be removed as soon as this returns, so it must be gone and not only going.
                process.kill()
                await asyncio.wait({answer}, timeout=_DEATH_S)

    def _give_back(self, seat: _Seat) -> None:
        if seat.is_lost and not self._closed:
            seat.process = self._start_process(instead_of=seat.process)
        # Seats with a process come before those that wait for one.
        if seat.process.done():
            self._idle.put_nowait(seat)
        else:
            seat.process.add_done_callback(lambda _: self._idle.put_nowait(seat))

    def _start_process(self, instead_of: asyncio.Task[CaseProcess] | None = None) -> asyncio.Task[CaseProcess]:
        task = asyncio.get_running_loop().create_task(self._launch(instead_of))
        self._starts.add(task)
        task.add_done_callback(self._started)
        return task

    def _started(self, task: asyncio.Task[CaseProcess]) -> None:
        self._starts.discard(task)
        # Whoever needs the process gets the error; if nobody does, the log has it.
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._closed:
            _log.error("no process for cases could be started", error=repr(error))

    async def _launch(self, instead_of: asyncio.Task[CaseProcess] | None) -> CaseProcess:
        loop = asyncio.get_running_loop()
        if instead_of is not None and not instead_of.cancelled() and instead_of.exception() is None:
            await loop.run_in_executor(self._threads, self._discard, instead_of.result())
        for attempt in range(_START_ATTEMPTS):
            # The process they are forked from may be just ending, by a signal to all children: the next try makes a new one.
            await asyncio.sleep(attempt * _START_PAUSE_S)
            self._check_open()
            try:
                return await loop.run_in_executor(self._threads, self._new_process)
            except (OSError, EOFError, ProcessDiedError) as error:
                cause = error
        raise ServiceError(Reason.CASE_WORKER_KILLED, f"no process for cases can be started: {cause!r}")

    def _new_process(self) -> CaseProcess:
        process = CaseProcess(self._wanted, self._limits)
        self._processes.add(process)
        try:
            process.wait_ready()
        except ProcessDiedError:
            self._discard(process)
            raise
        return process

    def _discard(self, process: CaseProcess) -> None:
        self._processes.discard(process)
        process.discard()

    def _kill(self) -> None:
        for process in tuple(self._processes):
            process.kill()

    def _check_open(self) -> None:
        if self._closed:
            raise ServiceError(Reason.NOT_READY, "the server is stopping")
