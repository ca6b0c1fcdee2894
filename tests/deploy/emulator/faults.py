"""Things that go wrong between a client and an API server, on demand."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Literal

from tests.deploy.emulator.refusal import ApiError

Action = Literal["answer", "drop", "drop_after", "expire"]


@dataclass
class Fault:
    """What happens to the next requests that match.

    Attributes
    ----------
    method, path
        Of the request; the path is a regular expression searched in it.
    watch
        Only watches, or only requests that are none.
    count
        How often.
    action
        ``answer`` refuses without doing anything; ``drop`` closes the connection instead; ``drop_after`` does what was asked
        and closes the connection before the answer, or in a watch or log after a line; ``expire`` ends a watch with 410.
    """

    method: str = "GET"
    path: str = ""
    watch: bool | None = False
    count: int = 1
    action: Action = "answer"
    code: int = 500
    reason: str = "InternalError"
    message: str = "an error on the server has prevented the request from succeeding"

    def refusal(self) -> ApiError:
        return ApiError(self.code, self.reason, self.message)


@dataclass
class Faults:
    """The faults still to come, in order."""

    pending: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, *faults: Fault) -> None:
        with self._lock:
            self.pending.extend(faults)

    def take(self, method: str, path: str, *, watch: bool) -> Fault | None:
        """Return the first fault that matches a request, and count it down."""
        with self._lock:
            for fault in self.pending:
                if fault.method == method and re.search(fault.path, path) and fault.watch in (None, watch):
                    fault.count -= 1
                    if fault.count == 0:
                        self.pending.remove(fault)
                    return fault
        return None
