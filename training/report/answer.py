"""What the first screen says: how well the nomogram does, and how far that can be believed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from training.evidence.comparisons import AdjustedComparison
from training.evidence.document import RunEvidence
from training.evidence.honesty_result import HonestyEvidence
from training.evidence.sample_size import SampleSizePlan
from training.model_names import APPARENT, OUT_OF_FOLD, TEST, feature_set_label, sample_label
from training.report import formatting
from training.report.model_rows import chosen_row
from training.results import ModelPerformance, RunResults


@dataclass(frozen=True)
class Answer:
    """The figures of the first screen.

    Attributes
    ----------
    out_of_fold, test, apparent
        The nomogram on each sample, ``None`` where there is none.
    clinical_out_of_fold, clinical_test, clinical_apparent
        The clinical findings alone: what the nomogram must beat.
    """

    out_of_fold: ModelPerformance | None
    test: ModelPerformance | None
    apparent: ModelPerformance | None
    clinical_out_of_fold: ModelPerformance | None
    clinical_test: ModelPerformance | None
    clinical_apparent: ModelPerformance | None

    @property
    def optimism(self) -> float | None:
        """Apparent minus out-of-fold AUC."""
        if self.apparent is None or self.out_of_fold is None:
            return None
        high, low = self.apparent.auc.value, self.out_of_fold.auc.value
        return None if high is None or low is None else high - low


@dataclass(frozen=True)
class HonestLine:
    """One question about the figures with its answer, sentence by sentence, and the section that tells more."""

    question: str
    answer: tuple[str, ...]
    anchor: str


def find_answer(models: Sequence[ModelPerformance]) -> Answer:
    """Pick the rows of the first screen."""
    return Answer(
        out_of_fold=chosen_row(models, "nomogram", OUT_OF_FOLD),
        test=chosen_row(models, "nomogram", TEST),
        apparent=chosen_row(models, "nomogram", APPARENT),
        clinical_out_of_fold=chosen_row(models, "clinical", OUT_OF_FOLD),
        clinical_test=chosen_row(models, "clinical", TEST),
        clinical_apparent=chosen_row(models, "clinical", APPARENT),
    )


def all_warnings(results: RunResults, evidence: RunEvidence) -> tuple[str, ...]:
    """Return every sentence a reader must see first, each once."""
    return tuple(dict.fromkeys((*results.warnings, *evidence.leakage.warnings)))


def honest_lines(evidence: RunEvidence) -> tuple[HonestLine, ...]:
    """Return what the evidence says about the figures of the first screen."""
    lines = (
        HonestLine("Is the apparent figure inflated?", (_optimism(evidence.honesty),), "honesty"),
        HonestLine("Could it be chance?", (_permutation(evidence.honesty),), "honesty"),
        HonestLine("Better than the clinical findings alone?", tuple(_against_clinical(evidence)), "models"),
        HonestLine("Can the probabilities be taken at their word?", tuple(_calibration(evidence)), "calibration"),
        HonestLine("Enough patients?", (_sample_size(evidence.sample_size),), "honesty"),
        HonestLine("Were held-out patients held out?", (_leakage(evidence),), "honesty"),
    )
    return tuple(line for line in lines if line.answer)


def _optimism(honesty: HonestyEvidence) -> str:
    found = honesty.optimism
    auc = next((c for m in found.models if m.model == "nomogram" for c in m.corrected if c.measure == "auc"), None)
    if auc is None or auc.corrected is None:
        return f"Not known: {(auc.reason if auc else None) or found.reason or 'the chain was not refitted on resamples'}."
    text = (
        f"The whole chain was refitted on {found.count.fitted} bootstrap resamples: less its optimism of "
        f"{_signed(auc.optimism.mean)}, the apparent AUC of {formatting.number(auc.apparent)} becomes "
        f"{formatting.number(auc.corrected)}"
    )
    plus = next((p for m in found.models if m.model == "nomogram" for p in m.plus if p.measure == "auc"), None)
    if plus is None or plus.value is None:
        return f"{text}."
    # A model that remembers its patients remembers those of a resample as well: the first correction is then too small.
    return f"{text}; judged by the patients not drawn (.632+) {formatting.number(plus.value)}."


def _permutation(honesty: HonestyEvidence) -> str:
    found = honesty.permutation
    test = found.pooled or found.within_folds
    if test is None:
        return f"Not known: {found.reason or 'the chain was not refitted with permuted outcomes'}."
    p = formatting.p_value(test.p)
    return (
        f"With the outcomes shuffled among the patients {found.count.fitted} times, the same chain reached an out-of-fold AUC "
        f"of {_signed(test.distribution.low)} to {_signed(test.distribution.high)}, against {formatting.number(test.observed)} "
        f"with the real ones (p {p if p[0] in '<>' else f'= {p}'}; with so few it cannot be below "
        f"{1 / (found.count.fitted + 1):.2g})."
    )


def _against_clinical(evidence: RunEvidence) -> Iterator[str]:
    clinical = feature_set_label("clinical")
    found: list[tuple[str, AdjustedComparison]] = [
        (sample_label(family.sample), comparison)
        for family in evidence.comparisons
        for comparison in family.auc
        if comparison.second == clinical
    ]
    for sample, comparison in found:
        yield (
            f"{sample}: AUC {formatting.number(comparison.first_value)} against "
            f"{formatting.number(comparison.second_value)}, difference {formatting.interval(comparison.difference)}, "
            f"{comparison.verdict}."
        )


def _calibration(evidence: RunEvidence) -> Iterator[str]:
    found = [(sample, evidence.of("nomogram", sample)) for sample in (OUT_OF_FOLD, TEST)]
    known = [(s, e.calibration) for s, e in found if e is not None and e.calibration.slope.value is not None]
    if not known:
        yield "Not known: no calibration slope can be estimated."
    for sample, measured in known:
        yield (
            f"{sample_label(sample)}: slope {formatting.interval(measured.slope, 2)}, observed : expected "
            f"{formatting.interval(measured.observed_to_expected, 2)}; 1 is ideal for both."
        )


def _sample_size(plan: SampleSizePlan) -> str:
    need = plan.nomogram
    candidates = f"{need.candidates} candidate parameter{'s' * (need.candidates != 1)}"
    text = f"{need.patients:,} patients ({need.events:,} events) are needed for {candidates}"
    if plan.at_hand is None:
        return f"{text}."
    counts = plan.at_hand.counts
    verdict = (
        "enough" if plan.at_hand.missing_patients == 0 else f"{plan.at_hand.missing_patients:,} too few; expect wide intervals"
    )
    return f"{text}; {counts.development_patients:,} ({counts.development_events:,}) were there to learn from: {verdict}."


def _leakage(evidence: RunEvidence) -> str:
    report = evidence.leakage
    if report.warnings:
        return f"{len(report.warnings)} doubt{'s' * (len(report.warnings) > 1)}: see the warnings above."
    return (
        "Yes: split by patient before anything was computed, every development patient held out exactly once, "
        "no patient on both sides, no duplicates found, no choice of the recipe that lets an outcome through."
    )


def _signed(value: float | None) -> str:
    return formatting.number(value).replace("-", "−")
