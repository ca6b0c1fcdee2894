"""What the columns of ``predictions.csv`` mean."""

from __future__ import annotations

from training.report.pack.facts import PackFacts
from training.report.tables import ReportTable, TableRow

PREDICTIONS = "predictions.csv"


def dictionary_table(facts: PackFacts) -> ReportTable:
    """Describe every column, in order."""
    outcome, positive = facts.results.outcome_name, facts.results.positive_label
    scored = "by a chain that had not seen the patient"
    rows = (
        ("patient_id", "label of the cohort table", "all", "Replace before sharing if it can be traced to a person."),
        ("split", "development or test", "all", f"SHA-256 of the split {facts.results.split_digest[:12]}."),
        ("outcome", "0 or 1", "all", f"1: {outcome}, {positive}."),
        ("dlr_score_oof", "probability", "development", f"Calibrated image score {scored}."),
        ("probability_apparent", "probability", "development", "Nomogram on the patients it was fitted on: optimistic."),
        (
            "probability_oof",
            "probability",
            "development",
            f"Nomogram; score {scored}, calibration and nomogram refitted without it.",
        ),
        ("probability", "probability", "test", "Nomogram, from the finished bundle and the patient's own files."),
    )
    columns = ("Column", "Value", "Patients", "Meaning")
    return ReportTable(
        "predictions_dictionary",
        f"Columns of {PREDICTIONS}",
        columns,
        tuple(TableRow(row) for row in rows),
        text_columns=columns,
    )
