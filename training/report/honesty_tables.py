"""Tables that set the apparent figures of a run beside what refits of the whole procedure say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from training.evidence.honesty_result import (
    CorrectedMeasure,
    Distribution,
    HonestyEvidence,
    MeasureName,
    ModelName,
    ModelOptimism,
    NullTest,
    PlusEstimate,
    RefitCount,
)
from training.model_names import feature_set_label
from training.report import formatting
from training.report.tables import ReportTable, RowKind, TableRow

MEASURES: dict[MeasureName, str] = {
    "auc": "AUC",
    "brier": "Brier score (0 is perfect)",
    "slope": "Calibration slope (1 is ideal; corrected: shrinkage factor)",
}
COLUMNS = ("Check", "Model", "AUC (95% CI)", "2.5th to 97.5th percentile of refits", "Refits", "Remark")


@dataclass(frozen=True)
class _Spread:
    """What is printed in place of an interval: percentiles over refits."""

    value: float | None
    low: float | None
    high: float | None


def honesty_tables(evidence: HonestyEvidence) -> tuple[ReportTable, ...]:
    """Lay out every table there is something to print in."""
    tables = (
        honesty_table(evidence),
        optimism_table(evidence),
        selection_table(evidence),
        classifier_table(evidence),
        centre_table(evidence),
    )
    return tuple(table for table in tables if table.rows)


def honesty_table(evidence: HonestyEvidence) -> ReportTable:
    """Lay out the AUC of each model by every way of asking for it, apparent first."""
    rows = (
        *_reference_rows(evidence),
        *_optimism_rows(evidence),
        *_repeated_rows(evidence),
        *_null_rows(evidence),
        *_noise_rows(evidence),
        *_frozen_rows(evidence),
        *_centre_rows(evidence),
    )
    return ReportTable(
        "honesty",
        f"The same AUC asked for in several ways. {evidence.network_note}",
        COLUMNS,
        rows,
        group_columns=1,
        text_columns=("Check", "Model", "Remark"),
    )


def optimism_table(evidence: HonestyEvidence) -> ReportTable:
    """Lay out optimism and .632+ estimate of every model and measure."""
    rows = tuple(
        TableRow(
            (
                feature_set_label(model.model),
                MEASURES[found.measure],
                formatting.number(found.apparent),
                _percentiles(found.optimism),
                formatting.number(found.standard_error),
                formatting.number(found.corrected),
                *_plus_cells(model, found.measure),
                found.reason or "",
            )
        )
        for model in evidence.optimism.models
        for found in model.corrected
    )
    return ReportTable(
        "optimism",
        f"Optimism over {evidence.optimism.count.fitted} bootstrap resamples. {evidence.network_note}",
        (
            "Model",
            "Measure",
            "Apparent",
            "Mean optimism (2.5th to 97.5th percentile)",
            "Monte Carlo standard error",
            "Corrected",
            "Patients not drawn",
            "No information",
            "Overfitting rate",
            ".632+",
            "Remark",
        ),
        rows,
        group_columns=1,
        text_columns=("Model", "Measure", "Remark"),
    )


def selection_table(evidence: HonestyEvidence) -> ReportTable:
    """Lay out how often each radiomic feature was selected."""
    found = evidence.selection
    rows = tuple(
        TableRow(
            (
                feature.name,
                _share(feature.resamples, found.resamples),
                _share(feature.folds, found.folds),
                "yes" if feature.in_final else "no",
            ),
            _chosen(feature.in_final),
        )
        for feature in found.features
    )
    return ReportTable(
        "selection_frequency",
        f"How often each radiomic feature was selected ({len(found.features)} of {found.candidate_count} at least once). "
        f"{evidence.network_note}",
        ("Feature", "Resamples", "Folds", "In the final model"),
        rows,
        text_columns=("Feature",),
    )


def classifier_table(evidence: HonestyEvidence) -> ReportTable:
    """Lay out how often each algorithm was chosen."""
    found = evidence.selection
    rows = tuple(
        TableRow(
            (
                row.branch,
                row.classifier,
                _share(row.resamples, found.resamples),
                _share(row.folds, found.folds),
                "yes" if row.in_final else "no",
            ),
            _chosen(row.in_final),
        )
        for row in found.classifiers
    )
    return ReportTable(
        "classifier_frequency",
        f"How often each algorithm was chosen. {evidence.network_note}",
        ("Branch", "Algorithm", "Resamples", "Folds", "In the final model"),
        rows,
        group_columns=1,
        text_columns=("Branch", "Algorithm"),
    )


def centre_table(evidence: HonestyEvidence) -> ReportTable:
    """Lay out the AUC of the nomogram in each center it was fitted without."""
    rows = [
        TableRow((row.centre, str(row.patient_count), str(row.event_count), formatting.interval(row.auc)))
        for row in evidence.centres.rows
    ]
    summary = evidence.centres.summary
    if summary is not None:
        rows.append(TableRow(("Mean (random effects)", "", "", formatting.interval(summary.auc)), "chosen"))
        if summary.prediction.low is not None:
            rows.append(TableRow(("A new center (95% prediction interval)", "", "", formatting.interval(summary.prediction))))
    heterogeneity = "" if summary is None else f" I² {100 * summary.i_squared:.0f}%."
    return ReportTable(
        "leave_one_center_out",
        f"Nomogram fitted without each center and measured there.{heterogeneity} {evidence.network_note}",
        ("Center", "Patients", "Events", "AUC (95% CI)"),
        tuple(rows),
        text_columns=("Center",),
    )


def _reference_rows(evidence: HonestyEvidence) -> Iterator[TableRow]:
    for found in evidence.reference:
        yield _row("Apparent (optimistic)", found.model, formatting.interval(found.apparent_auc), kind="apparent")
    for found in evidence.reference:
        within = f"within folds {formatting.number(found.within_fold_auc)}"
        yield _row("Out of fold", found.model, formatting.interval(found.out_of_fold_auc), remark=within)


def _optimism_rows(evidence: HonestyEvidence) -> Iterator[TableRow]:
    found, check = evidence.optimism, "Corrected for optimism (bootstrap)"
    if found.reason is not None:
        yield _absent(check, found.reason, found.count)
        return
    for model in found.models:
        auc = next(c for c in model.corrected if c.measure == "auc")
        yield _row(check, model.model, formatting.number(auc.corrected), _shifted(auc), found.count)
    for model in found.models:
        plus = next(p for p in model.plus if p.measure == "auc")
        rate = f"overfitting rate {formatting.number(plus.overfitting_rate, 2)}"
        yield _row(".632+ estimate", model.model, formatting.number(plus.value), "", found.count, plus.reason or rate)


def _repeated_rows(evidence: HonestyEvidence) -> Iterator[TableRow]:
    found, check = evidence.repeated, f"Repeated {evidence.repeated.fold_count}-fold cross-validation"
    if found.reason is not None:
        yield _absent(check, found.reason, found.count)
    for model in found.models:
        yield _row(check, model.model, *_mean_and_spread(model.distribution), found.count)


def _null_rows(evidence: HonestyEvidence) -> Iterator[TableRow]:
    found, check = evidence.permutation, "Permuted outcomes (nothing to find)"
    if found.reason is not None:
        yield _absent(check, found.reason, found.count)
    for label, test in (("out of fold", found.pooled), ("within folds", found.within_folds)):
        if test is not None:
            yield _row(check, "nomogram", *_mean_and_spread(test.distribution), found.count, f"{label}: {_p(test)}")


def _noise_rows(evidence: HonestyEvidence) -> Iterator[TableRow]:
    found, check = evidence.noise, "Noise instead of features"
    if found.reason is not None:
        yield _absent(check, found.reason, found.count)
        return
    for model in found.models:
        yield _row(check, model.model, *_mean_and_spread(model.apparent_distribution), found.count, "apparent", "apparent")
        yield _row(check, model.model, *_mean_and_spread(model.out_of_fold_distribution), found.count, "out of fold")
    if found.clinical_out_of_fold is not None:
        yield _row(check, "clinical", formatting.number(found.clinical_out_of_fold), remark="out of fold, without features")


def _frozen_rows(evidence: HonestyEvidence) -> Iterator[TableRow]:
    found, check = evidence.frozen, "Untuned network, out of fold"
    if found.reason is not None:
        yield _absent(check, found.reason, found.count)
    for model in found.models:
        gain = f"fine-tuned {formatting.interval(model.tuned)}; difference {formatting.interval(model.difference)}"
        yield _row(check, model.model, formatting.interval(model.frozen), remark=gain)


def _centre_rows(evidence: HonestyEvidence) -> Iterator[TableRow]:
    found, check = evidence.centres, "Leave-one-center-out, random-effects mean"
    if found.summary is None:
        yield _absent(check, found.reason or found.summary_reason or "", found.count)
        return
    remark = f"{found.summary.centre_count} centers, I² {100 * found.summary.i_squared:.0f}%"
    yield _row(check, "nomogram", formatting.interval(found.summary.auc), "", found.count, remark)


def _row(
    check: str,
    model: ModelName,
    value: str,
    spread: str = "",
    count: RefitCount | None = None,
    remark: str = "",
    kind: RowKind = "plain",
) -> TableRow:
    return TableRow((check, feature_set_label(model), value, spread, _count(count), remark), kind)


def _absent(check: str, reason: str, count: RefitCount) -> TableRow:
    return TableRow((check, "", formatting.UNDEFINED, "", _count(count), reason))


def _count(count: RefitCount | None) -> str:
    """Print how many refits there are and, where some could not be fitted, of how many and why."""
    if count is None:
        return ""
    if not count.failures:
        return str(count.requested)
    why = "; ".join(f"{number} ×: {message}" for message, number in count.failures)
    return f"{count.fitted} of {count.requested} ({why})"


def _mean_and_spread(found: Distribution) -> tuple[str, str]:
    return f"{formatting.number(found.mean)} (mean)", _range(found.low, found.high)


def _shifted(found: CorrectedMeasure) -> str:
    """Print the apparent value less the percentiles of the optimism."""
    optimism = found.optimism
    if found.apparent is None or optimism.low is None or optimism.high is None:
        return ""
    return _range(found.apparent - optimism.high, found.apparent - optimism.low)


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None else f"{formatting.number(low)} to {formatting.number(high)}"


def _percentiles(found: Distribution) -> str:
    return formatting.interval(_Spread(found.mean, found.low, found.high))


def _plus_cells(model: ModelOptimism, measure: MeasureName) -> tuple[str, str, str, str]:
    if measure == "slope":
        return formatting.number(model.out_of_bag_slope), "", "", ""
    plus: PlusEstimate = next(p for p in model.plus if p.measure == measure)
    return (
        formatting.number(plus.out_of_bag),
        formatting.number(plus.no_information),
        formatting.number(plus.overfitting_rate, 2),
        formatting.number(plus.value),
    )


def _p(test: NullTest) -> str:
    p = formatting.p_value(test.p)
    return f"observed {formatting.number(test.observed)}, p {p if p[0] in '<>' else f'= {p}'}"


def _share(count: int, total: int) -> str:
    return f"{count} of {total} ({100 * count / total:.0f}%)" if total else formatting.UNDEFINED


def _chosen(in_final: bool) -> RowKind:
    return "chosen" if in_final else "plain"
