"""What a run can say about performance, comparisons, subgroups and testing."""

from __future__ import annotations

from collections.abc import Mapping

from training.model_names import SAMPLES, TEST, sample_label
from training.report import formatting
from training.report.pack import methods_statistics
from training.report.pack.answers_study import METHODS, center_names
from training.report.pack.checklist import Answer, AnswerFunction
from training.report.pack.facts import PackFacts
from training.report.pack.wording import counted, estimate, listed, percent, sentence

PERFORMANCE_TABLES = ("table4_models", "table5_nomogram", "discrimination_nomogram", "calibration_nomogram")
COMPARISON_TABLES = ("comparisons_auc", "comparisons_decisions", "incremental_value", "incremental_net_benefit")
CURVES = ("roc_models", "precision_recall", "calibration", "decision_curve")
CLINICAL = "Clinical findings"


def performance_measures(facts: PackFacts) -> Answer:
    """Name the measures, plots and comparisons, with their reason."""
    return Answer(
        "answered",
        "Discrimination: AUC, area under the precision-recall curve (the outcome may be rare), partial AUC at high "
        "sensitivity. Decisions at the frozen threshold: sensitivity, specificity, predictive values, likelihood ratios, "
        "accuracy beside the no-information rate, F1, Matthews correlation. Calibration: slope, intercepts, observed over "
        "expected, smooth curve with ICI, E50 and E90, Brier score. Utility: net benefit and interventions avoided over "
        f"{_threshold_range(facts)}. Models are compared by paired DeLong tests with Holm's correction.",
        facts.where(tables=PERFORMANCE_TABLES, figures=CURVES, files=(METHODS,)),
    )


def _threshold_range(facts: PackFacts) -> str:
    measured = facts.measured("nomogram", facts.final_sample)
    if measured is None:
        return "the threshold probabilities of the decision curve"
    low, high = measured.settings.threshold_low, measured.settings.threshold_high
    return f"threshold probabilities from {percent(low)} to {percent(high)}"


def performance(facts: PackFacts) -> Answer:
    """Give the nomogram's performance on each sample, honest samples first."""
    parts = []
    for sample in (*SAMPLES[1:], SAMPLES[0]):
        row = facts.chosen("nomogram", sample)
        if row is None:
            continue
        rates = "; ".join(
            estimate(name, value)
            for name, value in (("AUC", row.auc), ("sensitivity", row.sensitivity), ("specificity", row.specificity))
        )
        parts.append(f"{sample_label(sample)} ({row.patient_count:,} patients, {row.event_count:,} events): {rates}")
    return Answer(
        "answered",
        f"{'. '.join(parts)}. Subgroups, confusion matrices and no-information rates are tabulated.",
        facts.where(tables=(*PERFORMANCE_TABLES, "subgroups"), figures=(*CURVES, "subgroups")),
    )


def uncertainty(facts: PackFacts) -> Answer:
    """Tell how every interval was computed, and what the refits say."""
    checks = facts.evidence.honesty
    corrected = next(
        (
            f" Optimism-corrected AUC of the nomogram {formatting.number(found.corrected)}"
            f" (apparent {formatting.number(found.apparent)}, {checks.optimism.count.fitted} bootstrap resamples of the whole "
            "chain)."
            for model in checks.optimism.models
            if model.model == "nomogram"
            for found in model.corrected
            if found.measure == "auc" and found.corrected is not None
        ),
        "",
    )
    null = checks.permutation.pooled
    shuffled = (
        ""
        if null is None
        else f" With permuted outcomes: one-sided p {_p(null.p)} from {checks.permutation.count.fitted} permutations."
    )
    measured = facts.measured("nomogram", facts.final_sample)
    methods = "" if measured is None else f" {'; '.join(f'{m.measure}: {m.text}' for m in measured.methods)}."
    return Answer(
        "answered",
        f"95% intervals throughout.{methods}{corrected}{shuffled}",
        facts.where(
            tables=("discrimination_nomogram", "honesty", "optimism"),
            figures=("optimism", "permutation_null"),
            files=(METHODS,),
        ),
    )


def _p(value: float) -> str:
    text = formatting.p_value(value)
    return text if text[0] in "<>" else f"= {text}"


def calibration(facts: PackFacts) -> Answer:
    """Give slope and intercept on the most honest sample."""
    measured = facts.measured("nomogram", facts.final_sample)
    if measured is None:
        return Answer("answered", "Calibration could not be measured.", met=False)
    found = measured.calibration
    return Answer(
        "answered",
        f"{sample_label(facts.final_sample)}: {estimate('slope', found.slope, 2)}; "
        f"{estimate('calibration in the large', found.in_the_large, 2)}; "
        f"{estimate('observed/expected', found.observed_to_expected, 2)}; {estimate('Brier score', found.brier)}; ICI "
        f"{formatting.number(found.ici)}.",
        facts.where(tables=("calibration_nomogram",), figures=("calibration",)),
    )


def comparison_methods(facts: PackFacts) -> Answer:
    """Tell the tests, their correction and the thresholds."""
    methods = " ".join(methods_statistics.comparisons(facts))
    return Answer(
        "answered",
        f"{methods} Decisions are compared at each model's frozen threshold ({facts.results.threshold_rule}).",
        facts.where(tables=COMPARISON_TABLES, files=("report/pack/session.docx",)),
    )


def non_radiomic_comparison(facts: PackFacts) -> Answer:
    """Say whether the nomogram was compared with clinical findings alone."""
    rows = [row for family in facts.evidence.comparisons for row in family.auc if row.second == CLINICAL]
    if not rows:
        return Answer("authors", "The cohort has no clinical candidates; the nomogram was compared with tumor volume alone.")
    return Answer(
        "answered",
        "Nomogram against clinical findings alone, and against tumor volume, by paired tests with Holm's correction; "
        "incremental value by likelihood ratio, AUC and net benefit; decision curves.",
        facts.where(tables=COMPARISON_TABLES, figures=("decision_curve",)),
    )


def comparison_results(facts: PackFacts) -> Answer:
    """Give the comparisons with clinical findings in words."""
    found = [
        f"{sample_label(family.sample)}: {row.sentence}"
        for family in facts.evidence.comparisons
        for row in family.auc
        if row.second == CLINICAL
    ]
    if not found:
        return Answer("authors", "There is no clinical model to compare with.")
    return Answer("answered", " ".join(found), facts.where(tables=COMPARISON_TABLES, figures=("decision_curve",)))


def simple_comparison(facts: PackFacts) -> Answer:
    """Compare with always naming the larger class."""
    measured = facts.measured("nomogram", facts.final_sample)
    if measured is None:
        return Answer("answered", "No comparison could be made.", met=False)
    found = measured.decisions
    return Answer(
        "answered",
        f"{sample_label(facts.final_sample)}: {estimate('accuracy', found.accuracy)} against a no-information rate of "
        f"{formatting.number(found.no_information_rate)} (one-sided exact p {_p(found.no_information_p)}, not adjusted); AUC "
        "against a model of tumor volume alone by a paired test.",
        facts.where(tables=("discrimination_nomogram", "comparisons_auc")),
    )


def single_image_set(_facts: PackFacts) -> Answer:
    """Say that one CT series was used."""
    return Answer("answered", "A single CT series a patient was used.", "bundle/bundle.json, settings")


def testing(facts: PackFacts) -> Answer:
    """Say how the model was tested."""
    internal = (
        f"Internally, on {counted(facts.test_count, 'patient')} set aside from the same cohort and scored once, by the "
        "finished bundle."
        if facts.test_count
        else "Internally, out of fold only; no patients were set aside."
    )
    if facts.external is None:
        return Answer("partly", f"{internal} Not tested externally.", facts.where(tables=("table5_nomogram",)))
    return Answer("answered", f"{internal} {_external_text(facts)}", facts.where(tables=("table5_nomogram",)))


def internal_testing(facts: PackFacts) -> Answer:
    """Say whether patients of the same source were set aside."""
    row = facts.chosen("nomogram", TEST)
    if row is None:
        return Answer("answered", "No patients were set aside; performance is out of fold.", met=False)
    return Answer(
        "answered",
        f"{counted(row.patient_count, 'test patient')}, {row.event_count:,} with the outcome: {estimate('AUC', row.auc)}.",
        facts.where(tables=("table5_nomogram",), figures=("roc_models",)),
    )


def external_testing(facts: PackFacts) -> Answer:
    """Report a validation elsewhere, only if its document was given."""
    if facts.external is None:
        return Answer("authors", "No external validation was given to this report.")
    return Answer(
        "answered",
        f"{_external_text(facts)} That these patients are of another institution is for the authors to vouch for.",
        "evaluation.json",
    )


def _external_text(facts: PackFacts) -> str:
    return " ".join(methods_statistics.external(facts))


def fairness(facts: PackFacts) -> Answer:
    """Say in which kinds of patients performance was looked at."""
    tables = [t for t in facts.evidence.subgroups if t.sample == facts.final_sample]
    labels = list(dict.fromkeys(c.label for t in tables for c in t.characteristics))
    if not labels:
        return Answer("authors", "The cohort has no characteristic by which groups could be formed.")
    return Answer(
        "partly",
        "Nothing was done to the model. Performance and gaps in sensitivity and specificity were looked at by "
        f"{listed(labels)}. {tables[0].warning}",
        facts.where(tables=("subgroups", "subgroup_gaps"), figures=("subgroups",)),
    )


def heterogeneity_methods(facts: PackFacts) -> Answer:
    """Tell how differences between centers were measured."""
    found = facts.evidence.honesty.centres
    if not found.rows:
        return Answer("partly", f"Not examined: {found.reason or found.summary_reason or 'the cohort names no centers'}.")
    return Answer(
        "answered",
        "Leave-one-center-out among development patients: the nomogram was fitted without each of "
        f"{counted(len(found.rows), 'center')} and measured there; AUCs were summarized by a random-effects model with "
        "Hartung-Knapp intervals.",
        facts.where(tables=("leave_one_center_out",), files=(METHODS,)),
    )


def heterogeneity_results(facts: PackFacts) -> Answer:
    """Give the AUC over centers."""
    found = facts.evidence.honesty.centres
    if not found.rows:
        reason = found.reason or "the cohort names no centers"
        return Answer("authors" if not center_names(facts) else "partly", f"Not examined: {reason}.")
    rows = "; ".join(f"{row.centre}: {estimate('AUC', row.auc)}" for row in found.rows)
    total = "" if found.summary is None else f" Over centers: {estimate('AUC', found.summary.auc)}."
    return Answer(
        "answered", f"{rows}.{total}", facts.where(tables=("leave_one_center_out",), figures=("leave_one_center_out",))
    )


def confounders(facts: PackFacts) -> Answer:
    """Give the correlation of the score with volume and image geometry."""
    report = facts.evidence.confounders
    found = "; ".join(f"{row.label}: {estimate('ρ', row.rho, 2)}" for row in report.rows)
    methods = " ".join(sentence(m.text) for m in report.methods)
    return Answer(
        "partly",
        f"The score against tumor volume and image geometry ({counted(report.patient_count, 'patient')}): {found}. {methods} "
        "Nothing was removed.",
        facts.where(tables=("confounders", "acquisition", "subgroups")),
    )


ANSWERS: Mapping[str, AnswerFunction] = {
    function.__name__: function
    for function in (
        performance_measures,
        performance,
        uncertainty,
        calibration,
        comparison_methods,
        non_radiomic_comparison,
        comparison_results,
        simple_comparison,
        single_image_set,
        testing,
        internal_testing,
        external_testing,
        fairness,
        heterogeneity_methods,
        heterogeneity_results,
        confounders,
    )
}
