"""Everything a run leaves for readers: tables, figures, page."""

from __future__ import annotations

from pathlib import Path

from nodogram.errors import Reason, SurroundingsError
from nodogram.nomogram import Nomogram
from training.evidence.document import RunEvidence
from training.report.pack.write_pack import write_pack
from training.report.page import write_report
from training.report.page_tables import write_tables
from training.results import RunResults


def write_all(results: RunResults, evidence: RunEvidence, nomogram: Nomogram, run: Path) -> Path:
    """Write tables, figures, reviewer pack and page of a run below its folder; return the page.

    Raises
    ------
    SurroundingsError
        ``OUTPUT_NOT_WRITABLE``.
    """
    try:
        write_tables(results, evidence, run / "tables")
        page = write_report(results, evidence, nomogram, run)
        # Checklists name only figures that are there.
        write_pack(results, evidence, nomogram, run)
        return page
    except OSError as error:
        raise SurroundingsError(Reason.OUTPUT_NOT_WRITABLE, f"{error.filename or run}: {error.strerror}") from error
