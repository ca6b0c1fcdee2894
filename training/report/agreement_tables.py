"""Tables of how well repeated readings agree: features by kind, the selected ones, the score, the outlines."""

from __future__ import annotations

from collections.abc import Collection

from training.evidence.agreement import AgreementCount, AgreementReport, MeasuredAgreement, Spread
from training.report import formatting
from training.report.tables import ReportTable, TableRow
from training.results import Estimate

KIND_GROUPS = ("By feature class", "By image type")


def agreement_counts_table(report: AgreementReport) -> ReportTable:
    """Lay out how many features of each kind agree well enough."""
    total = AgreementCount(kind="all features", count=report.feature_count, reached=report.reached_count)
    parts = ((KIND_GROUPS[0], (*report.by_class, total)), (KIND_GROUPS[1], report.by_image))
    rows = tuple(
        TableRow(
            (group, count.kind, str(count.count), str(count.reached), f"{100 * count.reached / count.count:.0f}%"),
            "chosen" if count is total else "plain",
        )
        for group, counts in parts
        for count in counts
        if count.count
    )
    what = "lower end of the 95% interval" if report.bound == "lower_95" else "estimate"
    return ReportTable(
        "agreement_features_by_kind",
        f"Features with {report.form} of at least {report.threshold:g} ({what})",
        ("Group", "Kind", "Features", "Agreeing", "Share"),
        rows,
        group_columns=1,
        text_columns=("Group", "Kind"),
    )


def selected_agreement_table(report: AgreementReport, selected: Collection[str]) -> ReportTable:
    """Lay out the ICC of the features the final model uses."""
    rows = tuple(
        TableRow(
            (
                feature.name,
                formatting.interval(Estimate(value=feature.icc, low=feature.low, high=feature.high)),
                formatting.yes_no(_reached(report, feature.icc, feature.low)),
            )
        )
        for feature in report.features
        if feature.name in selected
    )
    return ReportTable(
        "agreement_selected_features",
        "Agreement of the features of the final model",
        ("Feature", f"{report.form} (95% CI)", f"At least {report.threshold:g}"),
        rows,
        text_columns=("Feature", f"At least {report.threshold:g}"),
    )


def _reached(report: AgreementReport, icc: float | None, low: float | None) -> bool:
    value = icc if report.bound == "point" else low
    return value is not None and value >= report.threshold


def outline_agreement_table(report: AgreementReport) -> ReportTable:
    """Lay out the agreement of the score and of the outlines it was computed from."""
    rows: list[TableRow] = []
    if report.score is not None:
        score = report.score
        icc = formatting.interval(Estimate(value=score.icc, low=score.low, high=score.high))
        rows.append(TableRow(("DLR score", f"{report.form} (95% CI)", icc)))
        rows.extend(_limits("DLR score", score.limits, 3))
    if report.outlines is not None:
        outlines = report.outlines
        rows.append(TableRow(("Outlines", "Dice, median (quartiles)", _spread(outlines.dice, 3))))
        rows.append(TableRow(("Outlines", "Hausdorff 95, mm, median (quartiles)", _spread(outlines.hausdorff_95_mm, 1))))
        rows.extend(_limits("Volume, cm³", outlines.volume, 2))
    return ReportTable(
        "agreement_score_and_outlines",
        f"Agreement of score and outlines of {report.patient_count} patients",
        ("Group", "Measure", "Value"),
        tuple(rows),
        group_columns=1,
        text_columns=("Group", "Measure"),
    )


def _limits(group: str, found: MeasuredAgreement | None, decimals: int) -> list[TableRow]:
    if found is None:
        return []
    bias = formatting.interval(Estimate(value=found.bias, low=found.bias_low, high=found.bias_high), decimals)
    limits = f"{formatting.number(found.lower, decimals)} to {formatting.number(found.upper, decimals)}"
    return [
        TableRow((group, "Mean difference, first minus second (95% CI)", bias)),
        TableRow((group, "95% limits of agreement", limits)),
    ]


def _spread(found: Spread, decimals: int) -> str:
    low, high = (formatting.number(value, decimals) for value in (found.lower_quartile, found.upper_quartile))
    return f"{formatting.number(found.median, decimals)} ({low}–{high})"
