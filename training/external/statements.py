"""What was found, in sentences: facts with their intervals, and no advice, because what to do is not for a program to say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from training.evidence.sample_result import Measure, SampleEvidence
from training.external.case_mix import CaseMix
from training.external.document import EvaluatedBundle, EvaluatedScore
from training.external.recalibration import RecalibrationEvidence
from training.report import formatting
from training.results import ModelPerformance

SCORE_NAMES: dict[EvaluatedScore, str] = {"nomogram": "nomogram", "dlr": "DLR score"}
OWN_HEADINGS = {"development_out_of_fold": "Its own, out of fold", "test": "Its own, test"}
OWN_SAMPLES = {"development_out_of_fold": "out of fold in its development", "test": "on its own test patients"}


def make_statements(
    score: EvaluatedScore,
    evidence: SampleEvidence,
    bundle: EvaluatedBundle,
    mix: CaseMix,
    recalibration: RecalibrationEvidence | None,
) -> tuple[str, ...]:
    """Return the findings about the nomogram, or about the score where there is no nomogram."""
    return (
        _discrimination(score, evidence, bundle),
        _observed(evidence),
        _slope(evidence.calibration.slope),
        _prevalence(mix),
        *_images(mix),
        *_update(recalibration),
    )


def _discrimination(score: EvaluatedScore, evidence: SampleEvidence, bundle: EvaluatedBundle) -> str:
    whom = f"{evidence.patient_count} patients, {evidence.event_count} with the outcome"
    if evidence.discrimination is None:
        return f"The AUC of the {SCORE_NAMES[score]} is not defined in these {whom}: {evidence.discrimination_reason}."
    own = "; ".join(f"{_of(row)} {OWN_SAMPLES[row.sample]}" for row in own_rows(bundle.own, score))
    beside = f". It was {own}" if own else ""
    return f"The AUC of the {SCORE_NAMES[score]} is {_printed(evidence.discrimination.auc_logit)} in these {whom}{beside}."


def own_rows(own: Sequence[ModelPerformance], score: EvaluatedScore) -> tuple[ModelPerformance, ...]:
    """Return how a score did with the patients of its own hospital, without the apparent figures."""
    return tuple(row for row in own if row.feature_set == score and row.sample in OWN_SAMPLES)


def _observed(evidence: SampleEvidence) -> str:
    found = evidence.calibration
    ratio = found.observed_to_expected
    reading = _reading(ratio, 1.0, "fewer than the model expects", "more than the model expects")
    return (
        f"{found.observed} patients have the outcome where {formatting.number(found.expected, 1)} are expected, "
        f"{_printed(ratio, 2)} times as many{reading}."
    )


def _slope(slope: Measure) -> str:
    if slope.value is None:
        return f"The calibration slope cannot be estimated: {slope.reason}."
    reading = _reading(slope, 1.0, "probabilities are too extreme here", "probabilities are not spread enough here")
    return f"The calibration slope is {_printed(slope, 2)}{reading}."


def _reading(measure: Measure, ideal: float, below: str, above: str) -> str:
    if measure.low is None or measure.high is None:
        return ""
    if measure.high < ideal:
        return f": {below}"
    return f": {above}" if measure.low > ideal else f"; the interval includes {ideal:g}, which is ideal"


def _prevalence(mix: CaseMix) -> str:
    return (
        f"The outcome is present in {100 * mix.prevalence:.1f}% of the patients here and was present in "
        f"{100 * mix.development_prevalence:.1f}% of those the model was developed on."
    )


def _images(mix: CaseMix) -> Iterator[str]:
    words = {
        "OUTSIDE_ACQUISITION_ENVELOPE": "with images unlike those of development (spacing, tube voltage, size of the region, "
        "manufacturer or kernel)",
        "OUT_OF_RANGE": "with a value beyond the range of development",
    }
    counts = {note.code: note.patient_count for note in mix.notes}
    for code, text in words.items():
        count = counts.get(code, 0)
        who = "No patient was" if count == 0 else "1 patient was" if count == 1 else f"{count} patients were"
        yield f"{who} predicted {text}."


def _update(found: RecalibrationEvidence | None) -> Iterator[str]:
    if found is None:
        return
    scores = {u.form: formatting.number(u.brier if u.brier_corrected is None else u.brier_corrected) for u in found.updates}
    if "intercept" in scores:
        forms = [f"{scores['intercept']} with a new intercept"]
        if "logistic" in scores:
            forms.append(f"{scores['logistic']} with a new intercept and slope")
        yield (
            f"The Brier score is {scores['none']} as the model is; to be expected after an update to this place: "
            f"{', '.join(forms)} (corrected for fitting and judging on the same patients)."
        )


def _of(row: ModelPerformance) -> str:
    return formatting.interval(row.auc).replace("(", "(95% CI ")


def _printed(measure: Measure, decimals: int = 3) -> str:
    return formatting.interval(measure, decimals).replace("(", "(95% CI ")
