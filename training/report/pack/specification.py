"""The model in full, so that anybody can compute a prediction (TRIPOD+AI item 22)."""

from __future__ import annotations

from collections.abc import Iterator

from docx.document import Document as DocumentObject

from training.report import formatting
from training.report.pack.docx_document import add_heading, add_list, add_text, new_document
from training.report.pack.docx_tables import add_report_table
from training.report.pack.facts import PackFacts
from training.report.tables import ReportTable, TableRow, make_tables

EXACT = "{:.10g}"


def specification_document(facts: PackFacts) -> DocumentObject:
    """Return the specification as a Word document."""
    document = new_document(f"Model specification: {facts.results.cohort_title}", facts.results.created)
    add_heading(document, "Model specification", 0)
    add_text(document, f"Bundle {facts.manifest.name}, SHA-256 {facts.results.bundle_digest}. {facts.manifest.intended_use}.")
    add_heading(document, "Steps")
    add_list(document, steps(facts))
    for table in specification_tables(facts):
        add_heading(document, table.title, 2)
        add_report_table(document, table)
    return document


def steps(facts: PackFacts) -> Iterator[str]:
    """Yield the computation from a patient to a probability."""
    results, recipe = facts.results, facts.recipe
    yield "Compute the image features of the CT and the outline, with the settings in bundle.json."
    yield "Standardize each selected feature: (value − mean) / standard deviation, with the numbers of the table below."
    yield (
        f"Put them into the classifiers of the bundle ({facts.manifest.training.classifier}): probabilities p. Take log odds, "
        "p being kept away from 0 and 1 as dlr.json says."
    )
    if len(results.score_weights) > 1:
        weights = " + ".join(f"{EXACT.format(weight)} × logit p({branch})" for branch, weight in results.score_weights)
        yield f"Fuse the sources: L = {weights}."
    else:
        yield "There is one source: L = logit p."
    slope, intercept = (EXACT.format(value) for value in results.score_calibration)
    yield f"Calibrate: S = {slope} × L + ({intercept})."
    if recipe.score.scale == "probability":
        yield "The score of the nomogram is the probability 1 / (1 + exp(−S))."
    else:
        yield "The score of the nomogram is S itself."
    yield f"Nomogram: {facts.nomogram.formula()}; p = 1 / (1 + exp(−logit(p)))."
    yield (
        f"Call the patient positive if p is at least {EXACT.format(results.threshold)}: {results.threshold_rule}; fixed "
        "before test patients were scored."
    )
    points = facts.nomogram.points_per_log_odds
    yield f"Points: {EXACT.format(points)} for each unit of log odds, counted from the lowest end of each axis."


def specification_tables(facts: PackFacts) -> tuple[ReportTable, ...]:
    """Return coefficients in full precision, points and selected features; tables without rows are left out."""
    tables = make_tables(facts.results)
    found = (coefficients_table(facts), tables.nomogram_points, features_table(facts))
    return tuple(table for table in found if table.rows)


def coefficients_table(facts: PackFacts) -> ReportTable:
    """Lay out the coefficients of the nomogram in full precision."""
    rows = tuple(TableRow((name, EXACT.format(value))) for name, value in facts.results.nomogram.coefficients)
    columns = ("Term", "Coefficient, log odds")
    return ReportTable("nomogram_coefficients", "Coefficients of the nomogram", columns, rows, text_columns=columns[:1])


def features_table(facts: PackFacts) -> ReportTable:
    """Lay out what standardizes the selected features, in full precision."""
    rows = tuple(
        TableRow(
            (f.branch, f.name, EXACT.format(f.mean), EXACT.format(f.standard_deviation), formatting.measured(f.coefficient))
        )
        for f in facts.results.selected_features
    )
    columns = ("Branch", "Feature", "Mean", "Standard deviation", "LASSO coefficient")
    return ReportTable(
        "specification_features",
        "Selected features and what standardizes them",
        columns,
        rows,
        group_columns=1,
        text_columns=columns[:2],
    )
