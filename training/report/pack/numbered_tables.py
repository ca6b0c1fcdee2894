"""Tables 1 to 5 and the supplementary ones, numbered and with their footnotes, in one Word document."""

from __future__ import annotations

from dataclasses import dataclass

from docx.document import Document as DocumentObject

from training.evidence.document import RunEvidence
from training.report.pack.docx_document import SMALL_PT, add_heading, add_text, new_document, new_page, set_page
from training.report.pack.docx_tables import add_report_table, layout_of
from training.report.pack.footnotes import footnotes
from training.report.page_tables import evidence_tables
from training.report.tables import ReportTable, make_tables
from training.results import RunResults


@dataclass(frozen=True)
class NumberedTable:
    """A table as a journal prints it: ``Table 1`` or ``Table S1``, title, body, footnotes."""

    number: str
    table: ReportTable
    footnotes: tuple[str, ...]


def numbered_tables(results: RunResults, evidence: RunEvidence) -> tuple[NumberedTable, ...]:
    """Return the tables of the manuscript and then those of its supplement; one without rows is left out."""
    tables = make_tables(results)
    main = (
        tables.baseline_by_split,
        tables.baseline_by_outcome,
        tables.odds_ratios,
        tables.algorithms,
        tables.final_models,
    )
    evidence_found = tuple(placed.table for placed in evidence_tables(results, evidence))
    others = (*(table for table in tables.all if table not in main), *evidence_found)
    # A table of the manuscript keeps its number where another has no rows.
    numbered = [(f"Table {i}", table) for i, table in enumerate(main, start=1) if table.rows]
    numbered += [(f"Table S{i}", table) for i, table in enumerate((t for t in others if t.rows), start=1)]
    return tuple(NumberedTable(number, table, footnotes(table, results, evidence)) for number, table in numbered)


def tables_document(results: RunResults, numbered: tuple[NumberedTable, ...]) -> DocumentObject:
    """Return a document with one table a page, lying where it is wide."""
    document = new_document(f"Tables: {results.cohort_title}", results.created)
    for position, item in enumerate(numbered):
        orientation = layout_of(item.table).orientation
        if position == 0:
            set_page(document.sections[0], orientation)
        else:
            new_page(document, orientation)
        add_heading(document, f"{item.number}. {item.table.title}", 2)
        add_report_table(document, item.table)
        for line in item.footnotes:
            add_text(document, line, size=SMALL_PT, space_after=0)
    return document
