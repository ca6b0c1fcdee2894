"""Logs: everything this process says, ours and the libraries', as one line per event on standard error.

What may identify a patient or open a door never gets there: keys that carry it are dropped wherever they are nested, DICOM
UIDs and bearer tokens are masked in every text, and what other people's code quotes is masked because they quote what they
read. Tracebacks have no values of variables.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal

import structlog
from structlog.types import EventDict, ExcInfo, Processor, WrappedLogger

from nodogram.errors import NodogramError

LogFormat = Literal["auto", "json", "console"]

OUR_LOGGER = "nodogram"
# One line per request, with path and remote address: ours is the one of the front door, without either.
_ACCESS_LOGGERS = ("bentoml.access", "uvicorn.access")
# They complain of values by quoting them, patients' names among them; the last of every malformed body, which has its reason.
_QUOTING_LOGGERS = ("pydicom", "highdicom", "py.warnings", "python_multipart")

_DROPPED_KEYS = frozenset(
    {"caseid", "patientid", "patientname", "patientbirthdate", "accessionnumber", "authorization", "token", "tokens"}
)
# DICOM PS3.5 section 9: an instance has an organization's root and more; UUID-derived ones (PS3.5 B.2) begin with 2.25.
_UID = re.compile(r"(?<![\d.])(?:2\.25\.\d+|[0-2](?:\.\d+){4,})")
_BEARER = re.compile(r"\bbearer\s+\S+", re.IGNORECASE)
_QUOTED = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"")
_MASK = "…"


def configure_logging(log_format: LogFormat) -> None:
    """Send every log record of this process through one pipeline to standard error.

    Call it after whatever else configures logging, in every process: BentoML does so when its worker starts, before it
    imports the service.

    Parameters
    ----------
    log_format
        ``json`` for one JSON object a line, ``console`` for people, ``auto`` for ``console`` on a terminal only.
    """
    is_console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(_exception_text),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _mask_quoted],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                drop_identifiers,
                _console_renderer() if is_console else structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    _take_over(handler)


def drop_identifiers(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Return an event without keys that must never be logged, and with UIDs and bearer tokens masked in its texts."""
    return {key: _without_identifiers(value) for key, value in event.items() if not _is_dropped(key)}


def _take_over(handler: logging.Handler) -> None:
    """Make ``handler`` the only one, and undo what was configured or switched off before."""
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for logger in list(root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            logger.handlers.clear()
            logger.setLevel(logging.NOTSET)
            logger.propagate = True
            logger.disabled = False
    logging.getLogger(OUR_LOGGER).setLevel(logging.INFO)
    logging.captureWarnings(True)
    for name in _QUOTING_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in _ACCESS_LOGGERS:
        # Without any handler uvicorn does not even put its lines together.
        logging.getLogger(name).propagate = False
        logging.getLogger(name).disabled = True


def _console_renderer() -> Processor:
    # The plain formatter, as the traceback is text already; the default one prints the values of variables.
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)


def _is_dropped(key: object) -> bool:
    plain = re.sub(r"[^a-z0-9]", "", str(key).lower())
    return plain in _DROPPED_KEYS or plain.endswith(("uid", "uids"))


def _without_identifiers(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _without_identifiers(item) for key, item in value.items() if not _is_dropped(key)}
    if isinstance(value, list | tuple | set | frozenset):
        return [_without_identifiers(item) for item in value]
    return _BEARER.sub(f"Bearer {_MASK}", _UID.sub(_MASK, str(value)))


def _mask_quoted(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {**event, "event": _QUOTED.sub(_MASK, str(event["event"]))}


def _exception_text(exc_info: ExcInfo) -> str:
    """Return the chain of exceptions, the one raised last at the end, as Python prints it but for quoted values."""
    error: BaseException | None = exc_info[1]
    parts: list[str] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        parts.append(_one_exception(error, error.__traceback__))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\nwhich led to\n\n".join(reversed(parts)).rstrip("\n")


def _one_exception(error: BaseException, trace: TracebackType | None) -> str:
    # Our own messages are written never to name a patient; anyone else's may quote what was read.
    message = str(error) if isinstance(error, NodogramError) else _QUOTED.sub(_MASK, str(error))
    lines = ["Traceback (most recent call last):\n", *traceback.format_tb(trace)] if trace is not None else []
    notes = [_mask_message_lines(note) for note in getattr(error, "__notes__", ())]
    return "".join([*lines, f"{type(error).__qualname__}: {message}\n", *notes])


def _mask_message_lines(note: str) -> str:
    """Mask what is quoted in a note, which may be the traceback of another process: its frames are indented and stay."""
    lines = [line if line.startswith(" ") else _QUOTED.sub(_MASK, line) for line in note.splitlines()]
    return "".join(f"{line}\n" for line in lines)
