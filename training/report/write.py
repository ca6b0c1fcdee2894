"""Everything a run leaves for readers: tables, figures, page."""

from __future__ import annotations

from pathlib import Path

from nodogram.errors import Reason, SurroundingsError
from nodogram.nomogram import Nomogram
from training.report.page import write_report
from training.report.tables import write_tables
from training.results import RunResults


def write_all(results: RunResults, nomogram: Nomogram, run: Path) -> Path:
    """Write ``RUN/tables/*.csv``, ``RUN/figures/*.{svg,png}`` and ``RUN/report/index.html``; return the page.

    Raises
    ------
    SurroundingsError
        ``OUTPUT_NOT_WRITABLE``.
    """
    try:
        write_tables(results, run / "tables")
        return write_report(results, nomogram, run)
    except OSError as error:
        raise SurroundingsError(Reason.OUTPUT_NOT_WRITABLE, f"{error.filename or run}: {error.strerror}") from error
