"""Logs of pods as they are written: every line once and in order, however often the connection drops."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Literal

from deploy.cluster import Cluster
from deploy.errors import ClusterError, Reason
from deploy.kinds import Pod

RECONNECT_PAUSE_S = 0.5
# For the last lines of pods that have ended.
DRAIN_S = 15.0

Reading = Literal["whole", "broken", "absent", "over"]


class LogPosition:
    """How far a log has been read, by the time of its lines; several lines may share a time."""

    def __init__(self) -> None:
        self._last = ("", "")
        self._taken = 0
        self._skip = 0

    def rewind(self) -> None:
        """Begin a connection that brings the log from its beginning."""
        self._skip = self._taken

    def take(self, stamped: str) -> str | None:
        """Return the text of a line, or ``None`` if an earlier connection has brought it already."""
        stamp, _, text = stamped.partition(" ")
        moment = _moment(stamp)
        if moment > self._last:
            self._last, self._taken, self._skip = moment, 1, 0
            return text
        if moment < self._last:
            return None
        if self._skip > 0:
            self._skip -= 1
            return None
        self._taken += 1
        return text


def _moment(stamp: str) -> tuple[str, str]:
    """Return what compares like the time does: some runtimes leave out zeros at the end of RFC 3339 fractions."""
    seconds, _, fraction = stamp.removesuffix("Z").partition(".")
    return seconds, fraction.ljust(9, "0")


class LogStreams:
    """One thread for the log of each pod that has started.

    Parameters
    ----------
    sink
        Is given pod name and line, from these threads.
    """

    def __init__(self, cluster: Cluster, sink: Callable[[str, str], None], pause_s: float = RECONNECT_PAUSE_S) -> None:
        self._cluster = cluster
        self._sink = sink
        self._pause_s = pause_s
        self._threads: dict[str, threading.Thread] = {}
        self._ended: set[str] = set()
        self._stop = threading.Event()

    def attach(self, pods: Iterable[Pod]) -> None:
        """Begin to read the logs of pods that have started; take note of those that have ended."""
        for pod in pods:
            uid = pod.metadata.uid
            if pod.has_ended:
                self._ended.add(uid)
            if pod.has_started and uid not in self._threads:
                thread = threading.Thread(target=self._read, args=(pod,), name=f"log {pod.metadata.name}", daemon=True)
                self._threads[uid] = thread
                thread.start()

    def close(self, timeout_s: float = DRAIN_S) -> None:
        """Wait until logs of pods that have ended are read to their end, then stop."""
        for uid, thread in self._threads.items():
            if uid in self._ended:
                thread.join(timeout_s)
        self._stop.set()

    def _read(self, pod: Pod) -> None:
        position, uid = LogPosition(), pod.metadata.uid
        while not self._stop.is_set():
            # Only a connection begun after the end of the pod, and ended by the server, has brought every line.
            is_last = uid in self._ended
            reading = self._read_once(pod, position)
            if is_last and reading == "absent":
                return
            if reading == "over" or (reading == "whole" and is_last):
                return
            self._stop.wait(self._pause_s)

    def _read_once(self, pod: Pod, position: LogPosition) -> Reading:
        name = pod.metadata.name
        position.rewind()
        try:
            for stamped in self._cluster.log_lines(name, pod.spec.containers[0].name):
                text = position.take(stamped)
                if self._stop.is_set():
                    return "over"
                if text is not None:
                    self._sink(name, text)
        except ClusterError as error:
            # A pod that is gone has no log any more, and rights do not come back in the middle of a run.
            if error.reason in (Reason.OBJECT_NOT_FOUND, Reason.FORBIDDEN, Reason.UNAUTHENTICATED):
                return "over"
            # A container that has not started, or never did, is asked for in vain.
            return "absent" if error.reason is Reason.OBJECT_INVALID else "broken"
        return "whole"
