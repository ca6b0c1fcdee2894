"""Everything a journal or a reviewer asks for besides the manuscript, in one folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from nodogram.bundle import read_manifest
from nodogram.nomogram import Nomogram
from training.atomic_file import write_atomically
from training.evidence.document import RunEvidence
from training.report.pack.answers import ANSWERS
from training.report.pack.checklist import (
    CHECKLISTS,
    FilledItem,
    checklist_csv,
    checklist_document,
    fill,
    load_checklist,
    summary,
)
from training.report.pack.docx_document import add_heading, new_document, save_document
from training.report.pack.docx_tables import add_report_table
from training.report.pack.external import ExternalValidation
from training.report.pack.facts import PackFacts
from training.report.pack.methods_text import methods_document, methods_markdown
from training.report.pack.metrics_score import metrics_score, score_lines
from training.report.pack.numbered_tables import NumberedTable, numbered_tables, tables_document
from training.report.pack.predictions import dictionary_table
from training.report.pack.session import load_session, session_table
from training.report.pack.specification import specification_document
from training.results import RunResults

PACK = Path("report") / "pack"
PACK_FILES = (
    ("README.md", "Index of the pack"),
    ("tables.docx", "Tables 1 to 5 and the supplementary tables, in journal layout"),
    ("checklist_tripod_ai.docx", "TRIPOD+AI, filled from the run"),
    ("checklist_clear.docx", "CLEAR, filled from the run"),
    ("checklist_metrics.docx", "METRICS, filled from the run, with the score and its arithmetic"),
    ("methods.docx", "Methods section, generated from what was done"),
    ("model_specification.docx", "The model in full: formula, coefficients, points"),
    ("session.docx", "Machine, software, seeds, digests"),
    ("predictions_dictionary.csv", "What the columns of predictions.csv mean"),
)
"""Files of the pack that a reader opens, with what they hold, for links on the page."""


def write_pack(
    results: RunResults,
    evidence: RunEvidence,
    nomogram: Nomogram,
    run: Path,
    *,
    out: Path | None = None,
    external: ExternalValidation | None = None,
) -> Path:
    """Write ``report/pack`` and return its index.

    Figures are named in the forms if they are there, so they are to be drawn first.

    Parameters
    ----------
    run
        Folder of the run, with its bundle and, if it was recorded, its session.
    out
        Where to write; ``None`` for the folder of the run.
    external
        A validation on patients from elsewhere, if there was one.

    Raises
    ------
    SurroundingsError
        ``OUTPUT_NOT_WRITABLE``.
    BundleError
        If the manifest of the bundle cannot be read.
    """
    base = run if out is None else out
    folder = base / PACK
    tables = numbered_tables(results, evidence)
    facts = PackFacts(
        results=results,
        evidence=evidence,
        nomogram=nomogram,
        manifest=read_manifest(run / "bundle"),
        session=load_session(run),
        external=external,
        table_numbers={item.table.stem: item.number for item in tables},
        figures=tuple(sorted(path.stem for path in (base / "figures").glob("*.svg"))),
    )
    forms = list(_write_checklists(facts, folder))
    save_document(tables_document(results, tables), folder / "tables.docx")
    save_document(methods_document(facts), folder / "methods.docx")
    write_atomically(folder / "methods.md", methods_markdown(facts))
    save_document(specification_document(facts), folder / "model_specification.docx")
    _write_session(facts, folder)
    write_atomically(folder / "predictions_dictionary.csv", dictionary_table(facts).to_csv())
    index = folder / "README.md"
    write_atomically(index, index_text(facts, tables, forms))
    return index


def _write_checklists(facts: PackFacts, folder: Path) -> Iterator[tuple[str, str]]:
    """Write every form and yield its file with what it says."""
    for name in CHECKLISTS:
        checklist = load_checklist(name)
        filled = fill(checklist, facts, ANSWERS)
        notes = _notes(name, filled, facts)
        stem = f"checklist_{name}"
        save_document(checklist_document(checklist, filled, facts, notes), folder / f"{stem}.docx")
        write_atomically(folder / f"{stem}.csv", checklist_csv(filled))
        yield f"{stem}.docx, .csv", f"{checklist.name} ({summary(filled).rstrip('.')}){_score(notes)}"


def _notes(name: str, filled: Sequence[FilledItem], facts: PackFacts) -> list[str]:
    if name != "metrics":
        return []
    return [line.replace("**", "") for line in score_lines(metrics_score(filled), hand_crafted=facts.recipe.radiomics.enabled)]


def _score(notes: Sequence[str]) -> str:
    return f". {notes[-1]}" if notes else ""


def _write_session(facts: PackFacts, folder: Path) -> None:
    table = session_table(facts.results, facts.session)
    document = new_document(f"{table.title}: {facts.results.cohort_title}", facts.results.created)
    add_heading(document, table.title, 0)
    add_report_table(document, table)
    save_document(document, folder / "session.docx")
    write_atomically(folder / "session.csv", table.to_csv())


def index_text(facts: PackFacts, tables: Sequence[NumberedTable], forms: Sequence[tuple[str, str]]) -> str:
    """Return the index of the pack, Markdown."""
    main = [item for item in tables if not item.number.startswith("Table S")]
    files = (
        ("tables.docx", f"Tables 1 to 5 ({len(main)} of them with rows) and {len(tables) - len(main)} supplementary ones"),
        *forms,
        ("methods.docx, methods.md", "methods section, generated from what was done"),
        ("model_specification.docx", "the model in full: formula, coefficients, points, standardization"),
        ("session.docx, .csv", "machine, software, seeds, digests, run time"),
        ("predictions_dictionary.csv", "what the columns of predictions.csv mean"),
    )
    numbers = [f"- {item.number}: {item.table.title} (tables/{item.table.stem}.csv)" for item in tables]
    return "\n".join(
        [
            f"# Reviewer pack: {facts.results.cohort_title}",
            "",
            f"Outcome: {facts.results.outcome_name}. Recipe: {facts.recipe.name}. Bundle: {facts.results.bundle_digest}.",
            "Everything here is written from the documents of the run (`nodogram report`); nothing in it was fitted anew. "
            "Answers in the forms are drafts: the authors check them and supply what only they know.",
            "",
            "| file | holds |",
            "|---|---|",
            *(f"| {name} | {text} |" for name, text in files),
            "| ../index.html | the report |",
            "| ../../predictions.csv, ../../features.parquet | predictions and radiomic features, by patient |",
            "| ../../figures/ | every figure |",
            "",
            "## Tables",
            "",
            *numbers,
            "",
        ]
    )
