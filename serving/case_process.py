"""One worker process and the handle on it: a pipe of its own, so that its death is seen at once and harms no other.

Pools that share a queue or a lock between their processes do not survive the death of one that is just sending a result.
"""

from __future__ import annotations

import copy
import faulthandler
import multiprocessing
import os
import signal
import threading
import time
import traceback
from contextlib import suppress
from multiprocessing import connection
from pathlib import Path

from nodogram.errors import NodogramError
from nodogram.predict import MeasuredCase, Measurement
from serving.case_worker import CaseLimits, measure_request, warm_up
from serving.logs import configure_logging
from serving.requests import CaseRequest

# Forked from one process that has everything imported and runs nothing: a replacement takes milliseconds, not seconds, and
# inherits neither sockets nor threads of the server.
_CONTEXT = multiprocessing.get_context("forkserver")
_PRELOADED = ("serving.single_thread", "serving.case_worker", "serving.logs")
_START_S = 60.0
# After this much longer than its case may take, a process whose server is gone or cannot kill it ends itself, s.
_OVERTIME_S = 10.0
_STANDARD_ERROR = 2
# Who is to die first where memory runs out: a case can be repeated, the server cannot (Linux, proc(5)).
_OOM_SCORE = "500"


class ProcessDiedError(Exception):
    """The process ended without an answer."""


class CaseProcess:
    """A process that measures one case after the other. Only :meth:`kill` may be called from another thread.

    Parameters
    ----------
    wanted
        Of the model.
    limits
        Of a case.

    Raises
    ------
    OSError, EOFError
        If no process can be started.
    """

    def __init__(self, wanted: Measurement, limits: CaseLimits) -> None:
        _CONTEXT.set_forkserver_preload(list(_PRELOADED))
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=run, args=(theirs, wanted, limits), name="nodogram-case", daemon=True)
        try:
            self._process.start()
        finally:
            # Only the process itself may hold its end: the pipe then closes with it.
            theirs.close()
        self._is_lost = False

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid or 0

    def wait_ready(self) -> None:
        """Wait until it has warmed up.

        Raises
        ------
        ProcessDiedError
            If it ends before, or takes a minute.
        """
        if not self._pipe.poll(_START_S):
            raise ProcessDiedError
        self._receive()

    @property
    def is_lost(self) -> bool:
        """Whether an idle process is gone or was killed."""
        # It never speaks unasked: what can be read now is the end of the pipe.
        return self._is_lost or self._pipe.poll(0)

    def ask(self, request: CaseRequest, deadline_s: float) -> MeasuredCase:
        """Have one case measured; returns as soon as the process has answered or ended.

        Raises
        ------
        ProcessDiedError
            If it ended without an answer.
        Exception
            Whatever was raised there, with its traceback there as a note.
        """
        try:
            self._pipe.send((request, deadline_s))
        except OSError as error:
            self._is_lost = True
            raise ProcessDiedError from error
        answer = self._receive()
        if isinstance(answer, MeasuredCase):
            return answer
        raise answer

    def kill(self) -> None:
        """End the process wherever it is."""
        if not self._is_lost:
            self._is_lost = True
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def discard(self) -> None:
        """Kill the process and let go of what belongs to it."""
        self.kill()
        self._process.join(1.0)
        self._pipe.close()

    def _receive(self) -> MeasuredCase | Exception:
        try:
            answer: MeasuredCase | Exception = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._is_lost = True
            raise ProcessDiedError from error
        return answer


def run(pipe: connection.Connection, wanted: Measurement, limits: CaseLimits) -> None:
    """Answer requests until the pipe is closed: the life of a worker process."""
    # The server alone decides when its cases end; signals to the whole group or to all children are meant for it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Libraries complain of a file by quoting it, by default on standard error and in clear.
    configure_logging("auto")
    threading.Thread(target=_end_with_server, daemon=True).start()
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")
    # Whether a ball of noise has features under these settings is no question of the process.
    with suppress(NodogramError):
        warm_up(wanted)
    pipe.send(None)
    while True:
        try:
            request, deadline_s = pipe.recv()
        except (EOFError, OSError):
            return
        # Its clock needs no interpreter lock, which the case may hold for good.
        faulthandler.dump_traceback_later(
            max(deadline_s - time.monotonic(), 0.0) + _OVERTIME_S, exit=True, file=_STANDARD_ERROR
        )
        answer = _answer(request, wanted, limits, deadline_s)
        faulthandler.cancel_dump_traceback_later()
        try:
            pipe.send(answer)
        except OSError:
            return


def _answer(request: CaseRequest, wanted: Measurement, limits: CaseLimits, deadline_s: float) -> MeasuredCase | Exception:
    try:
        return measure_request(request, wanted, limits, deadline_s)
    except NodogramError as error:
        return error
    except Exception as error:  # noqa: BLE001 - raised again in the server
        error.add_note(traceback.format_exc())
        return _portable(error)


def _portable(error: Exception) -> Exception:
    """Return the error if it can be made again from its parts, as it must be on the other side, or a description."""
    try:
        copy.deepcopy(error)
    except Exception:  # noqa: BLE001 - foreign constructors may raise anything
        described = RuntimeError(f"{type(error).__name__} in a process for cases")
        described.add_note(traceback.format_exc())
        return described
    return error


def _end_with_server() -> None:
    server = multiprocessing.parent_process()
    if server is not None:
        connection.wait([server.sentinel])
        os._exit(1)
