"""Tables of what was measured on samples: everything a reviewer asks for, beside its interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from training.evidence.sample_result import (
    CalibrationEvidence,
    DecisionEvidence,
    DiscriminationEvidence,
    Measure,
    SampleEvidence,
)
from training.evidence.sample_size import SampleSizePlan
from training.report import formatting
from training.report.tables import ReportTable, TableRow

Columns = Sequence[tuple[str, SampleEvidence]]
"""Name of a sample and what was measured on it."""


_DISCRIMINATION: tuple[tuple[str, Callable[[DiscriminationEvidence], Measure]], ...] = (
    ("AUC, DeLong on the logit scale", lambda d: d.auc_logit),
    ("AUC, DeLong", lambda d: d.auc_plain),
    ("AUC, stratified bootstrap", lambda d: d.auc_bootstrap),
    ("Average precision (AUPRC; the prevalence without information)", lambda d: d.auprc),
)
_DECISIONS: tuple[tuple[str, Callable[[DecisionEvidence], Measure]], ...] = (
    ("Sensitivity", lambda d: d.sensitivity),
    ("Specificity", lambda d: d.specificity),
    ("Positive predictive value", lambda d: d.ppv),
    ("Negative predictive value", lambda d: d.npv),
    ("Positive likelihood ratio", lambda d: d.positive_likelihood_ratio),
    ("Negative likelihood ratio", lambda d: d.negative_likelihood_ratio),
    ("Accuracy", lambda d: d.accuracy),
    ("Balanced accuracy", lambda d: d.balanced_accuracy),
    ("F1 score", lambda d: d.f1),
    ("Matthews correlation coefficient", lambda d: d.mcc),
)
_CALIBRATION: tuple[tuple[str, Callable[[CalibrationEvidence], Measure]], ...] = (
    ("Slope (1 is ideal)", lambda c: c.slope),
    ("Intercept with slope 1: calibration in the large (0 is ideal)", lambda c: c.in_the_large),
    ("Intercept beside the slope", lambda c: c.joint_intercept),
    ("Observed : expected (1 is ideal)", lambda c: c.observed_to_expected),
    ("Brier score (0 is perfect)", lambda c: c.brier),
    ("Scaled Brier score (0 without information, 1 perfect)", lambda c: c.scaled_brier),
)


def measures_table(columns: Columns, stem: str, title: str) -> ReportTable:
    """Lay out discrimination, decisions and calibration: a measure on each line, a sample in each column."""
    zone = columns[0][1].settings.sensitivity_zone
    partial = f"Partial AUC, sensitivity {zone[0]:g} to {zone[1]:g}, standardized (0.5 is chance)"
    lines: list[tuple[str, str, Callable[[SampleEvidence], str]]] = [
        ("Sample", "Patients", lambda e: str(e.patient_count)),
        ("Sample", "Patients with the outcome", lambda e: f"{e.event_count} ({100 * e.prevalence:.1f}%)"),
        *(("Discrimination", label, _discriminating(pick)) for label, pick in _DISCRIMINATION),
        ("Discrimination", partial, _discriminating(lambda d: d.partial_auc)),
        ("At the frozen threshold", "Threshold", lambda e: formatting.number(e.decisions.threshold)),
        ("At the frozen threshold", "True positives / false negatives", lambda e: _pair(e.decisions, positive=True)),
        ("At the frozen threshold", "True negatives / false positives", lambda e: _pair(e.decisions, positive=False)),
        *(("At the frozen threshold", label, _deciding(pick)) for label, pick in _DECISIONS),
        (
            "At the frozen threshold",
            "No-information rate; p of the accuracy against it",
            lambda e: _no_information(e.decisions),
        ),
        *(("Calibration", label, _calibrating(pick)) for label, pick in _CALIBRATION),
        ("Calibration", "Distance from the smooth curve: ICI / E50 / E90", lambda e: _errors(e.calibration)),
    ]
    return ReportTable(
        stem,
        title,
        ("Group", "Measure (95% CI)", *(name for name, _ in columns)),
        tuple(TableRow((group, label, *(cell(evidence) for _, evidence in columns))) for group, label, cell in lines),
        group_columns=1,
        text_columns=("Group", "Measure (95% CI)"),
    )


def _discriminating(pick: Callable[[DiscriminationEvidence], Measure]) -> Callable[[SampleEvidence], str]:
    return lambda e: formatting.interval(None if e.discrimination is None else pick(e.discrimination))


def _deciding(pick: Callable[[DecisionEvidence], Measure]) -> Callable[[SampleEvidence], str]:
    return lambda e: formatting.interval(pick(e.decisions))


def _calibrating(pick: Callable[[CalibrationEvidence], Measure]) -> Callable[[SampleEvidence], str]:
    return lambda e: formatting.interval(pick(e.calibration))


def prevalence_table(columns: Columns, stem: str) -> ReportTable:
    """Lay out predictive values where the outcome is as common as in other hospitals."""
    rows = tuple(
        TableRow((name, f"{100 * found.prevalence:.0f}%", formatting.interval(found.ppv), formatting.interval(found.npv)))
        for name, evidence in columns
        for found in evidence.decisions.other_prevalences
    )
    return ReportTable(
        stem,
        "Predictive values at other prevalences, by Bayes' theorem",
        ("Sample", "Prevalence", "PPV (95% CI)", "NPV (95% CI)"),
        rows,
        group_columns=1,
        text_columns=("Sample",),
    )


def per_hundred_table(columns: Columns, stem: str, *, node_negative: bool = False) -> ReportTable:
    """Lay out what acting on the prediction would do to 100 patients who would otherwise all be treated.

    Parameters
    ----------
    node_negative
        Whether the patients have a clinically negative neck, so that the treatment is the elective neck dissection.
    """
    rows = tuple(
        TableRow(
            (
                name,
                f"{100 * row.threshold:.0f}%",
                formatting.interval(row.avoided, 1),
                formatting.interval(row.avoided_rightly, 1),
                formatting.interval(row.missed, 1),
            )
        )
        for name, evidence in columns
        for row in evidence.utility.per_hundred
    )
    treatment, without, missed = (
        ("Neck dissections", "patients without metastasis", "Metastases missed")
        if node_negative
        else ("Treatments", "patients without the outcome", "Patients with the outcome missed")
    )
    return ReportTable(
        stem,
        f"Of 100 {'clinically node-negative (cN0)' if node_negative else 'such'} patients, treated only at or above a "
        "threshold probability instead of all",
        (
            "Sample",
            "Threshold probability",
            f"{treatment} avoided (95% CI)",
            f"of these, in {without} (95% CI)",
            f"{missed} (95% CI)",
        ),
        rows,
        group_columns=1,
        text_columns=("Sample",),
    )


def part_of(table: ReportTable, groups: Sequence[str], stem: str, title: str) -> ReportTable:
    """Return the lines of some groups as a table of its own."""
    rows = tuple(row for row in table.rows if row.cells[0] in groups)
    return replace(table, stem=stem, title=title, rows=rows)


def sample_size_table(plan: SampleSizePlan) -> ReportTable:
    """Lay out how many patients the nomogram needs, criterion by criterion, beside those there are."""
    need = plan.nomogram
    rows = [
        (f"1. Overfitting: effects shrunk by no more than {1 - plan.shrinkage:.0%}", f"{need.shrinkage_patients:,}"),
        (f"2. Optimism in R² of no more than {plan.optimism:g}", f"{need.optimism_patients:,}"),
        (f"3. Overall risk known to ± {plan.margin:g}", f"{need.risk_patients:,}"),
        ("Needed: the largest of them", f"{need.patients:,} ({need.events:,} events)"),
    ]
    if plan.at_hand is not None:
        counts = plan.at_hand.counts
        rows.append(("Here", f"{counts.development_patients:,} ({counts.development_events:,} events)"))
        per_candidate = formatting.number(plan.at_hand.events_per_candidate, 1)
        rows.append(("Events per candidate parameter, here", per_candidate))
    assumed = f"R² {plan.cox_snell:.3f}" if plan.auc is None else f"an AUC of {plan.auc:.2f}"
    return ReportTable(
        "sample_size",
        f"Patients needed to develop the nomogram: {need.candidates} candidate parameters, {100 * plan.prevalence:.0f}% with "
        f"the outcome, {assumed} expected",
        ("Criterion (Riley et al.)", "Patients"),
        tuple(TableRow(cells, "chosen" if cells[0].startswith("Needed") else "plain") for cells in rows),
        text_columns=("Criterion (Riley et al.)",),
    )


def _pair(found: DecisionEvidence, *, positive: bool) -> str:
    right, wrong = (found.true_positive, found.false_negative) if positive else (found.true_negative, found.false_positive)
    return f"{right} / {wrong}"


def _no_information(found: DecisionEvidence) -> str:
    p = formatting.p_value(found.no_information_p)
    return f"{formatting.number(found.no_information_rate)}; p {p if p[0] in '<>' else f'= {p}'}"


def _errors(found: CalibrationEvidence) -> str:
    return " / ".join(formatting.number(value) for value in (found.ici, found.e50, found.e90))
