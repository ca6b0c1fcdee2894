"""The report of an external validation: one self-contained HTML file, made of the document and of nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nodogram.errors import Reason, SurroundingsError
from training.evidence.sample_result import Measure, SampleEvidence
from training.external.document import EvaluatedScore, ExternalEvaluation
from training.external.figures import external_figures
from training.external.statements import OWN_HEADINGS, own_rows
from training.external.tables import HEADINGS, make_external_tables, write_external_tables
from training.report import formatting, style
from training.report.markup import page_environment, page_script
from training.results import ModelPerformance

PAGE = "index.html"
SOURCES = {"pathology": "pathology", "clinical": "clinical findings"}


@dataclass(frozen=True)
class FileFigure:
    """A figure on disk with the words beneath it.

    Attributes
    ----------
    section
        Anchor of the part of the page it belongs to.
    """

    section: str
    stem: str
    title: str
    caption: str
    svg: Path


@dataclass(frozen=True)
class PageFigure:
    """A figure as an SVG element of the page; ``picture`` stays empty."""

    drawn: FileFigure
    svg: str
    picture: str = ""


@dataclass(frozen=True)
class GlanceRow:
    """One line of the first table: here, then the bundle's own."""

    label: str
    cells: tuple[str, ...]


def write_external_report(document: ExternalEvaluation, out: Path) -> Path:
    """Write ``OUT/tables/*.csv``, ``OUT/figures/*.{svg,png}`` and ``OUT/report/index.html``; return the page.

    Raises
    ------
    SurroundingsError
        ``OUTPUT_NOT_WRITABLE``.
    """
    page = out / "report" / PAGE
    try:
        write_external_tables(document, out / "tables")
        drawn = _write_figures(document, out / "figures")
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(render_external_page(document, drawn), encoding="utf-8")
    except OSError as error:
        raise SurroundingsError(Reason.OUTPUT_NOT_WRITABLE, f"{error.filename or out}: {error.strerror}") from error
    return page


def _write_figures(document: ExternalEvaluation, folder: Path) -> tuple[FileFigure, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for planned in external_figures(document):
        svg, _ = style.save_figure(planned.figure, folder / planned.stem)
        written.append(FileFigure(planned.section, planned.stem, planned.title, planned.caption, svg))
    return tuple(written)


def render_external_page(document: ExternalEvaluation, drawn: tuple[FileFigure, ...]) -> str:
    """Return the HTML of the report; its figures are read from their files."""
    environment = page_environment()
    script = page_script(environment)
    first = document.scores[0]
    own = own_rows(document.bundle.own, first.score)
    return environment.get_template("external.html.j2").render(
        document=document,
        script=script.source,
        script_digest=script.digest,
        heading=HEADINGS[first.score],
        first=first,
        auc=_auc(first.evidence),
        own=own,
        own_names=OWN_HEADINGS,
        sources=SOURCES,
        glance=tuple(glance_rows(document, first.score)),
        glance_columns=("Here", *(OWN_HEADINGS[row.sample] for row in own)),
        tables={table.stem: table for table in make_external_tables(document)},
        figures=[PageFigure(d, style.inline_svg(d.svg.read_text(encoding="utf-8"), d.stem)) for d in drawn],
    )


def glance_rows(document: ExternalEvaluation, score: EvaluatedScore) -> Iterator[GlanceRow]:
    """Return the lines of the first table: what was measured here, beside what was measured at home."""
    evidence = document.evidence_of(score)
    if evidence is None:
        return
    own = own_rows(document.bundle.own, score)
    decisions, calibration = evidence.decisions, evidence.calibration
    lines: tuple[tuple[str, Measure, str | None, int], ...] = (
        ("AUC (0.5 is a coin)", _auc(evidence), "auc", 3),
        ("Observed : expected (1 is ideal)", calibration.observed_to_expected, None, 2),
        ("Calibration slope (1 is ideal)", calibration.slope, "calibration_slope", 2),
        ("Calibration intercept (0 is ideal)", calibration.in_the_large, "calibration_intercept", 2),
        ("Sensitivity", decisions.sensitivity, "sensitivity", 3),
        ("Specificity", decisions.specificity, "specificity", 3),
        ("Positive predictive value", decisions.ppv, "ppv", 3),
        ("Negative predictive value", decisions.npv, "npv", 3),
    )
    for label, here, name, decimals in lines:
        cells = (formatting.UNDEFINED if name is None else formatting.interval(getattr(row, name), decimals) for row in own)
        yield GlanceRow(label, (formatting.interval(here, decimals), *cells))
    yield GlanceRow("Patients, with the outcome", (_size(evidence), *(_size(row) for row in own)))


def _auc(evidence: SampleEvidence) -> Measure:
    found = evidence.discrimination
    return Measure(value=None, reason=evidence.discrimination_reason) if found is None else found.auc_logit


def _size(found: SampleEvidence | ModelPerformance) -> str:
    return f"{found.patient_count}, {found.event_count}"
