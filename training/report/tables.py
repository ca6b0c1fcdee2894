"""The tables of a run, made once and used twice: as CSV files in journal layout and on the page."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.model_names import APPARENT, feature_set_label, sample_label
from training.report import formatting
from training.report.model_rows import algorithm_rows, compared_feature_sets, final_rows
from training.results import BaselineTable, ModelPerformance, RunResults

RowKind = Literal["plain", "heading", "level", "apparent", "chosen"]
SAMPLE_COLUMNS = ("Sample", "Patients", "Events")
PERFORMANCE_COLUMNS = (
    "AUC (95% CI)",
    "Accuracy (95% CI)",
    "Sensitivity (95% CI)",
    "Specificity (95% CI)",
    "PPV (95% CI)",
    "NPV (95% CI)",
    "Brier score",
    "Calibration slope (95% CI)",
    "Calibration intercept (95% CI)",
    "Threshold",
)


@dataclass(frozen=True)
class TableRow:
    """Cells of one line and what the line is, for its look on the page."""

    cells: tuple[str, ...]
    kind: RowKind = "plain"


@dataclass(frozen=True)
class ReportTable:
    """One table.

    Attributes
    ----------
    stem
        File name without suffix.
    group_columns
        Number of leading columns the page prints as a spanning line instead of repeating them.
    group_format
        How their cells are joined there.
    text_columns
        Names of columns to align left; all others hold numbers.
    """

    stem: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    group_columns: int = 0
    group_format: str = "{}"
    text_columns: tuple[str, ...] = ()

    def to_csv(self) -> str:
        """Return the table as CSV (RFC 4180 quoting, line feeds)."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(row.cells for row in self.rows)
        return stream.getvalue()


@dataclass(frozen=True)
class ReportTables:
    """All tables of a run."""

    baseline_by_split: ReportTable
    baseline_by_outcome: ReportTable
    odds_ratios: ReportTable
    algorithms: ReportTable
    final_models: ReportTable
    selection_counts: ReportTable
    selected_features: ReportTable
    nomogram_points: ReportTable

    @property
    def all(self) -> tuple[ReportTable, ...]:
        """Every table in printing order."""
        return (
            self.baseline_by_split,
            self.baseline_by_outcome,
            self.odds_ratios,
            self.algorithms,
            self.final_models,
            self.selection_counts,
            self.selected_features,
            self.nomogram_points,
        )


def make_tables(results: RunResults) -> ReportTables:
    """Lay out every table of a run."""
    return ReportTables(
        baseline_by_split=_baseline(results.baseline_by_split, "table1_baseline_by_split"),
        baseline_by_outcome=_baseline(results.baseline_by_outcome, "table2_baseline_by_outcome"),
        odds_ratios=_odds_ratios(results),
        algorithms=_algorithms(results),
        final_models=_final_models(results),
        selection_counts=_selection_counts(results),
        selected_features=_selected_features(results),
        nomogram_points=_nomogram_points(results),
    )


def write_table_files(tables: Iterable[ReportTable], folder: Path) -> tuple[Path, ...]:
    """Write tables as CSV (UTF-8) and return the files.

    Parameters
    ----------
    folder
        Made if absent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for table in tables:
        path = folder / f"{table.stem}.csv"
        path.write_text(table.to_csv(), encoding="utf-8")
        written.append(path)
    return tuple(written)


def _baseline(table: BaselineTable, stem: str) -> ReportTable:
    width = len(table.group_names)
    rows = []
    with_levels = {row.characteristic for row in table.rows if row.level is not None}
    for row in table.rows:
        # A heading may come without group cells.
        groups = (*row.groups, *("" for _ in range(width)))[:width]
        has_test = row.level is None and (row.test is not None or row.p_value is not None)
        tested = (
            (row.test or "", formatting.number(row.statistic), formatting.p_value(row.p_value)) if has_test else ("", "", "")
        )
        difference = "" if row.standardized_mean_difference is None else formatting.number(row.standardized_mean_difference)
        kind: RowKind = "level" if row.level is not None else "heading" if row.characteristic in with_levels else "plain"
        rows.append(TableRow((row.characteristic, row.level or "", *groups, *tested, difference), kind))
    columns = ("Characteristic", "Level", *table.group_names, "Test", "Statistic", "p", "SMD")
    return ReportTable(stem, table.title, columns, tuple(rows), text_columns=("Characteristic", "Level", "Test"))


def _odds_ratios(results: RunResults) -> ReportTable:
    rows = tuple(
        TableRow(
            (
                row.predictor,
                row.comparison,
                formatting.interval(row.univariable),
                formatting.p_value(row.univariable_p),
                formatting.interval(row.multivariable),
                formatting.p_value(row.multivariable_p),
                row.method,
            )
        )
        for row in results.odds_ratios
    )
    columns = (
        "Predictor",
        "Comparison",
        "Univariable OR (95% CI)",
        "Univariable p",
        "Multivariable OR (95% CI)",
        "Multivariable p",
        "Method",
    )
    return ReportTable(
        "table3_odds_ratios",
        f"Association of clinical findings with {results.outcome_name}",
        columns,
        rows,
        text_columns=("Predictor", "Comparison", "Method"),
    )


def _algorithms(results: RunResults) -> ReportTable:
    rows = tuple(
        TableRow((feature_set_label(m.feature_set), *_sample(m), _model_name(m), *_performance(m)), _kind(m))
        for feature_set in compared_feature_sets(results.models)
        for m in algorithm_rows(results.models, feature_set)
    )
    return ReportTable(
        "table4_models",
        "Algorithms compared on each feature set",
        ("Features", *SAMPLE_COLUMNS, "Model", *PERFORMANCE_COLUMNS),
        rows,
        group_columns=4,
        group_format="{} · {} · {} patients, {} events",
        text_columns=("Model",),
    )


def _final_models(results: RunResults) -> ReportTable:
    rows = tuple(
        TableRow(
            (*_sample(m), feature_set_label(m.feature_set), *_performance(m)),
            "apparent" if m.sample == APPARENT else "chosen" if m.feature_set == "nomogram" else "plain",
        )
        for m in final_rows(results.models)
    )
    return ReportTable(
        "table5_nomogram",
        "The nomogram beside the models it must be compared with",
        (*SAMPLE_COLUMNS, "Model", *PERFORMANCE_COLUMNS),
        rows,
        group_columns=3,
        group_format="{} · {} patients, {} events",
        text_columns=("Model",),
    )


def _sample(model: ModelPerformance) -> tuple[str, str, str]:
    return sample_label(model.sample), str(model.patient_count), str(model.event_count)


def _model_name(model: ModelPerformance) -> str:
    return f"{model.classifier} (chosen)" if model.chosen else str(model.classifier)


def _kind(model: ModelPerformance) -> RowKind:
    if model.sample == APPARENT:
        return "apparent"
    return "chosen" if model.chosen else "plain"


def _performance(model: ModelPerformance) -> tuple[str, ...]:
    rates = (model.auc, model.accuracy, model.sensitivity, model.specificity, model.ppv, model.npv)
    return (
        *(formatting.interval(rate) for rate in rates),
        formatting.number(model.brier),
        formatting.interval(model.calibration_slope, 2),
        formatting.interval(model.calibration_intercept, 2),
        formatting.number(model.threshold),
    )


def _selection_counts(results: RunResults) -> ReportTable:
    rows = tuple(TableRow((row.branch, row.step, str(row.count_in), str(row.count_out))) for row in results.selection_counts)
    columns = ("Branch", "Step", "Features in", "Features out")
    title = "Features entering and leaving each step of the selection"
    return ReportTable("selection_counts", title, columns, rows, group_columns=1, text_columns=columns[:2])


def _selected_features(results: RunResults) -> ReportTable:
    rows = tuple(
        TableRow(
            (
                row.branch,
                row.name,
                formatting.measured(row.coefficient),
                formatting.measured(row.mean),
                formatting.measured(row.standard_deviation),
                # Not "4/5": a spreadsheet would make a date of it.
                f"{row.fold_count} of {row.folds}",
            )
        )
        for row in results.selected_features
    )
    columns = ("Branch", "Feature", "LASSO coefficient", "Mean", "Standard deviation", "Chosen in folds")
    title = "Features of the final model"
    return ReportTable("selected_features", title, columns, rows, group_columns=1, text_columns=columns[:2])


def _nomogram_points(results: RunResults) -> ReportTable:
    points = (TableRow((row.predictor, row.value, formatting.number(row.points, 1), "")) for row in results.nomogram.points)
    totals = (
        TableRow(("Total points", "", formatting.number(row.total_points, 1), formatting.number(row.probability)))
        for row in results.nomogram.probabilities
    )
    columns = ("Predictor", "Value", "Points", "Probability")
    title = "Points of each finding, and the probability of their total"
    return ReportTable("nomogram_points", title, columns, (*points, *totals), text_columns=columns[:2])
