"""The tables of an external validation, made once and used twice: as CSV files and on the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from training.evidence.sample_result import Measure, SampleEvidence
from training.external.case_mix import CaseMix, PredictorMix, Quantiles
from training.external.disclosure import SMALLEST_CELL
from training.external.document import ExternalEvaluation
from training.external.recalibration import RecalibrationEvidence, UpdateForm
from training.external.statements import OWN_HEADINGS, own_rows
from training.external.subgroup_result import ExternalSubgroups
from training.report import formatting
from training.report.evidence_tables import Columns, measures_table, per_hundred_table, prevalence_table
from training.report.subgroup_tables import named
from training.report.tables import ReportTable, RowKind, TableRow
from training.results import ModelPerformance

HEADINGS = {"nomogram": "Nomogram", "dlr": "DLR score alone"}
FORMS: dict[UpdateForm, str] = {
    "none": "as it is",
    "intercept": "new intercept",
    "logistic": "new intercept and slope",
}
NOTES = {
    "OUT_OF_RANGE": "a value beyond the range of development",
    "OUTSIDE_ACQUISITION_ENVELOPE": "image or region unlike those of development",
    "CLINICAL_PREDICTOR_MISSING": "a clinical finding is missing",
}
WITHHELD = f"1 to {SMALLEST_CELL - 1}"


def make_external_tables(document: ExternalEvaluation) -> tuple[ReportTable, ...]:
    """Lay out every table that has a row."""
    columns: Columns = tuple((HEADINGS[found.score], found.evidence) for found in document.scores)
    tables = [
        performance_table(document),
        measures_table(columns, "measures", "Every measure, on the patients here"),
        recalibration_table(document.recalibration),
        case_mix_table(document.case_mix),
        acquisition_table(document.case_mix),
        notes_table(document.case_mix),
        per_hundred_table(columns[:1], "per_100_patients"),
        prevalence_table(columns[:1], "predictive_values_by_prevalence"),
        subgroup_table(document.subgroups),
        methods_table(columns[0][1]),
    ]
    return tuple(table for table in tables if table.rows)


def write_external_tables(document: ExternalEvaluation, folder: Path) -> None:
    """Write every table as CSV (UTF-8); the folder is made if absent."""
    folder.mkdir(parents=True, exist_ok=True)
    for table in make_external_tables(document):
        (folder / f"{table.stem}.csv").write_text(table.to_csv(), encoding="utf-8")


def performance_table(document: ExternalEvaluation) -> ReportTable:
    """Lay out the patients here beside the bundle's own, at the same threshold where it is the same."""
    rows = []
    for found in document.scores:
        rows.append(TableRow((HEADINGS[found.score], "Here", *_here(found.evidence)), "chosen"))
        own = own_rows(document.bundle.own, found.score)
        rows += [TableRow((HEADINGS[found.score], OWN_HEADINGS[row.sample], *_own(row))) for row in own]
    return ReportTable(
        "performance",
        "Here and at home",
        (
            "Score",
            "Patients",
            "Number",
            "Events",
            "AUC (95% CI)",
            "Sensitivity (95% CI)",
            "Specificity (95% CI)",
            "PPV (95% CI)",
            "NPV (95% CI)",
            "Brier score",
            "Calibration slope (95% CI)",
            "Calibration intercept (95% CI)",
            "Threshold",
        ),
        tuple(rows),
        group_columns=1,
        text_columns=("Score", "Patients"),
    )


def _here(found: SampleEvidence) -> tuple[str, ...]:
    decisions, calibration = found.decisions, found.calibration
    rates = (decisions.sensitivity, decisions.specificity, decisions.ppv, decisions.npv)
    return (
        str(found.patient_count),
        str(found.event_count),
        formatting.interval(None if found.discrimination is None else found.discrimination.auc_logit),
        *(formatting.interval(rate) for rate in rates),
        formatting.number(calibration.brier.value),
        formatting.interval(calibration.slope, 2),
        formatting.interval(calibration.in_the_large, 2),
        formatting.number(decisions.threshold),
    )


def _own(row: ModelPerformance) -> tuple[str, ...]:
    return (
        str(row.patient_count),
        str(row.event_count),
        *(formatting.interval(rate) for rate in (row.auc, row.sensitivity, row.specificity, row.ppv, row.npv)),
        formatting.number(row.brier),
        formatting.interval(row.calibration_slope, 2),
        formatting.interval(row.calibration_intercept, 2),
        formatting.number(row.threshold),
    )


def recalibration_table(found: RecalibrationEvidence | None) -> ReportTable:
    """Lay out the model as it is and what both updates would make of it."""
    rows = tuple(
        TableRow(
            (
                FORMS[update.form],
                _coefficient(update.intercept),
                _coefficient(update.slope),
                formatting.interval(update.observed_to_expected, 2),
                formatting.number(update.brier),
                formatting.number(update.brier_corrected),
                formatting.number(update.scaled_brier),
                formatting.number(update.ici),
                formatting.interval(update.sensitivity),
                formatting.interval(update.specificity),
            ),
            "chosen" if found is not None and update.form == found.written != "none" else "plain",
        )
        for update in (() if found is None else found.updates)
    )
    return ReportTable(
        "recalibration",
        "What an update to this place would do",
        (
            "Model",
            "Intercept (95% CI)",
            "Slope (95% CI)",
            "Observed : expected (95% CI)",
            "Brier score",
            "Brier score (corrected)",
            "Scaled Brier score",
            "ICI",
            "Sensitivity (95% CI)",
            "Specificity (95% CI)",
        ),
        rows,
        text_columns=("Model",),
    )


def _coefficient(measure: Measure) -> str:
    return formatting.interval(measure, 2)


def case_mix_table(mix: CaseMix) -> ReportTable:
    """Lay out each predictor in development and here."""
    return ReportTable(
        "case_mix",
        "The patients here and those of development",
        (
            "Predictor",
            "Level",
            "Development",
            "Here",
            "Patients",
            "Beyond the axis",
            "Stability index",
            "Exceeded by chance once in 100",
        ),
        tuple(row for predictor in mix.predictors for row in _mix_rows(predictor)),
        text_columns=("Predictor", "Level"),
    )


def _mix_rows(found: PredictorMix) -> Iterator[TableRow]:
    index = (formatting.number(found.stability), formatting.number(found.stability_chance))
    kind: RowKind = "heading" if found.levels else "plain"
    unit = f", {found.unit}" if found.unit else ""
    what = "" if found.levels else "median (10th to 90th percentile)"
    development, here = ("", "") if found.levels else (_quantiles(found.development), _quantiles(found.here))
    beyond = "" if found.levels else _count(found.out_of_range_count)
    yield TableRow((f"{found.label}{unit}", what, development, here, str(found.count), beyond, *index), kind)
    for level in found.levels:
        share = WITHHELD if level.share is None else f"{100 * level.share:.1f}%"
        count = "" if level.count is None else str(level.count)
        cells = (found.label, level.level, f"{100 * level.development_share:.1f}%", share, count, "", "", "")
        yield TableRow(cells, "level")


def acquisition_table(mix: CaseMix) -> ReportTable:
    """Lay out images and regions: range in development, and here."""
    rows = tuple(
        TableRow(
            (
                f"{row.quantity}, {row.unit}",
                formatting.UNDEFINED
                if row.development_low is None or row.development_high is None
                else f"{row.development_low:.4g} to {row.development_high:.4g}",
                _quantiles(row.here),
                str(row.count),
            )
        )
        for row in mix.acquisition
    )
    columns = ("Property", "Development: range", "Here: median (10th to 90th percentile)", "Images that say")
    return ReportTable("acquisition", "Images and regions", columns, rows, text_columns=("Property",))


def notes_table(mix: CaseMix) -> ReportTable:
    """Lay out how many patients have a quality note of which kind."""
    rows = tuple(TableRow((note.code, NOTES.get(note.code, ""), str(note.patient_count))) for note in mix.notes)
    return ReportTable("notes", "Quality notes", ("Code", "Meaning", "Patients"), rows, text_columns=("Code", "Meaning"))


def subgroup_table(found: ExternalSubgroups | None) -> ReportTable:
    """Lay out every level that may be told, all patients first."""
    levels = [] if found is None else [("", found.overall), *((named(c), r) for c in found.characteristics for r in c.rows)]
    rows = tuple(
        TableRow(
            (
                characteristic,
                row.level,
                str(row.patient_count),
                str(row.event_count),
                *(formatting.interval(measure) for measure in (row.auc, row.sensitivity, row.specificity)),
                formatting.interval(row.observed_to_expected, 2),
                formatting.interval(row.in_the_large, 2),
            ),
            "plain" if characteristic else "chosen",
        )
        for characteristic, row in levels
    )
    return ReportTable(
        "subgroups",
        "The nomogram in subgroups (exploratory)",
        (
            "Characteristic",
            "Level",
            "Patients",
            "Events",
            "AUC (95% CI)",
            "Sensitivity (95% CI)",
            "Specificity (95% CI)",
            "Observed : expected (95% CI)",
            "Calibration in the large (95% CI)",
        ),
        rows,
        text_columns=("Characteristic", "Level"),
    )


def methods_table(evidence: SampleEvidence) -> ReportTable:
    """Lay out how each interval was computed."""
    rows = tuple(TableRow((method.measure, method.text)) for method in evidence.methods)
    return ReportTable("methods", "How it was computed", ("Measure", "Method"), rows, text_columns=("Measure", "Method"))


def _quantiles(found: Quantiles | None) -> str:
    if found is None:
        return "too few"
    return f"{formatting.measured(found.median)} ({formatting.measured(found.low)} to {formatting.measured(found.high)})"


def _count(count: int | None) -> str:
    return WITHHELD if count is None else str(count)
