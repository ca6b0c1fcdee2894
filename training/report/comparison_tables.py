"""Tables of the nomogram beside other models: differences, what it adds, what it merely follows."""

from __future__ import annotations

from collections.abc import Sequence

from training.evidence.comparisons import AdjustedComparison, ComparisonFamily
from training.evidence.confounders import ConfounderReport
from training.evidence.incremental import IncrementalValue, LikelihoodEvidence
from training.evidence.sample_result import Measure
from training.model_names import sample_label
from training.report import formatting
from training.report.tables import ReportTable, TableRow

_COLUMNS = ("p", "Adjusted p", "Verdict")


def comparisons_table(families: Sequence[ComparisonFamily]) -> ReportTable:
    """Lay out the differences in AUC."""
    rows = tuple(
        TableRow((_sample(family), found.second, *_values(found), *_tested(found)))
        for family in families
        for found in family.auc
    )
    return ReportTable(
        "comparisons_auc",
        "The nomogram against other models on the same patients: AUC",
        ("Sample", "Other model", "AUC, nomogram", "AUC, other model", "Difference (95% CI)", *_COLUMNS),
        rows,
        group_columns=1,
        text_columns=("Other model", "Verdict"),
    )


def decisions_comparison_table(families: Sequence[ComparisonFamily]) -> ReportTable:
    """Lay out the differences in sensitivity and specificity at the frozen thresholds."""
    rows = tuple(
        TableRow((_sample(family), found.second, found.measure, *_values(found), *_tested(found)))
        for family in families
        for found in (*family.sensitivity, *family.specificity)
    )
    return ReportTable(
        "comparisons_decisions",
        "The nomogram against other models on the same patients: decisions at the frozen thresholds",
        ("Sample", "Other model", "Measure", "Nomogram", "Other model's", "Difference (95% CI)", *_COLUMNS),
        rows,
        group_columns=1,
        text_columns=("Other model", "Measure", "Verdict"),
    )


def comparison_sentences(families: Sequence[ComparisonFamily]) -> tuple[str, ...]:
    """Return the comparisons of AUC in words, with the sample they were made on."""
    return tuple(f"{sample_label(family.sample)}. {found.sentence}" for family in families for found in family.auc)


def _sample(family: ComparisonFamily) -> str:
    return f"{sample_label(family.sample)} · {family.patient_count} patients, {family.event_count} events"


def _values(found: AdjustedComparison) -> tuple[str, str, str]:
    return (
        formatting.number(found.first_value),
        formatting.number(found.second_value),
        formatting.interval(found.difference),
    )


def _tested(found: AdjustedComparison) -> tuple[str, str, str]:
    return formatting.p_value(found.p), formatting.p_value(found.adjusted_p), found.verdict


def incremental_table(values: Sequence[IncrementalValue]) -> ReportTable:
    """Lay out what the nomogram adds to each base model: a measure on each line."""
    rows = tuple(
        TableRow((f"{sample_label(found.sample)} · over: {found.base}", label, cell))
        for found in values
        for label, cell in _added(found)
    )
    return ReportTable(
        "incremental_value",
        "What the image score adds",
        ("Sample and base model", "Measure (95% CI)", "Value"),
        rows,
        group_columns=1,
        text_columns=("Measure (95% CI)",),
    )


def _added(found: IncrementalValue) -> list[tuple[str, str]]:
    if found.reason is not None:
        return [("Not measured", found.reason)]
    likelihood = (
        [("Likelihood ratio", f"{formatting.UNDEFINED} ({found.likelihood_reason})")]
        if found.likelihood is None
        else _likelihood(found.likelihood)
    )
    return [
        ("Patients, events", f"{found.patient_count}, {found.event_count}"),
        *likelihood,
        ("Difference in AUC", _explained(found.auc_difference)),
        ("Difference in scaled Brier score", _explained(found.scaled_brier_difference)),
    ]


def _likelihood(found: LikelihoodEvidence) -> list[tuple[str, str]]:
    p = formatting.p_value(found.p)
    added = ", ".join(name.removeprefix("clinical.") for name in found.added_columns)
    return [
        (
            f"Likelihood ratio χ² of what is added ({added}), {found.method}",
            f"{formatting.number(found.statistic, 2)}, df {found.degrees_of_freedom}, p {p if p[0] in '<>' else f'= {p}'}",
        ),
        (
            "χ² of the base model / of the full model",
            f"{formatting.number(found.base_statistic, 2)} / {formatting.number(found.full_statistic, 2)}",
        ),
        ("Adequacy index of the base model (1: the score adds nothing; no interval)", formatting.number(found.adequacy, 2)),
    ]


def net_benefit_difference_table(values: Sequence[IncrementalValue]) -> ReportTable:
    """Lay out the difference in net benefit at each threshold probability."""
    rows = tuple(
        TableRow(
            (
                f"{sample_label(found.sample)} · over: {found.base}",
                f"{100 * row.threshold:.0f}%",
                _explained(row.difference),
            )
        )
        for found in values
        for row in found.net_benefit
    )
    return ReportTable(
        "incremental_net_benefit",
        "Net benefit of the nomogram minus that of the base model, true positives per patient",
        ("Sample and base model", "Threshold probability", "Difference (95% CI)"),
        rows,
        group_columns=1,
    )


def confounder_table(report: ConfounderReport) -> ReportTable:
    """Lay out the correlations of the score with tumor size and image geometry."""
    return ReportTable(
        "confounders",
        f"The out-of-fold score against tumor size and acquisition, {report.patient_count} development patients",
        ("Quantity", "Spearman's ρ (95% CI)"),
        tuple(TableRow((row.label, _explained(row.rho, 2))) for row in report.rows),
        text_columns=("Quantity",),
    )


def _explained(measure: Measure, decimals: int = 3) -> str:
    """Print a measure; where nothing can be printed, why."""
    if measure.value is None and measure.reason is not None:
        return f"{formatting.UNDEFINED} ({measure.reason})"
    return formatting.interval(measure, decimals)
