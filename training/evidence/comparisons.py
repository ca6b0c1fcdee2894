"""The nomogram against every other model on the same patients, with p-values adjusted for the number of comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from nodogram.settings import Settings
from nodogram.stats.discrimination import auc, compare_aucs_paired
from nodogram.stats.hypothesis_tests import holm
from nodogram.stats.proportion_difference import PairedDecisions
from training.evidence.measured import measured
from training.evidence.sample import NO_EVENT, NO_NON_EVENT, ONE_OUTCOME, SINGLE_PATIENT
from training.evidence.sample_result import Measure, Method
from training.report import formatting
from training.results import Sample

Compared = Literal["AUC", "sensitivity", "specificity"]
Probability = Annotated[float, Field(ge=0, le=1)]

NO_OTHER_MODEL = "there is no other model to compare with"
NO_VARIANCE = "the difference has no variance in these patients, so that no test exists"
ALPHA = 0.05

METHODS = (
    Method(measure="difference in AUC", text="paired DeLong test with its interval (DeLong, DeLong, Clarke-Pearson 1988)"),
    Method(
        measure="difference in sensitivity, in specificity",
        text="at the frozen threshold of each model: exact McNemar test among patients with, and among those without, the "
        "outcome; Newcombe's interval for paired shares (1998, method 10)",
    ),
    Method(
        measure="multiplicity",
        text="p-values adjusted by Holm within a sample and a measure (all other models against the nomogram); intervals are "
        "not adjusted",
    ),
)


@dataclass(frozen=True, eq=False)
class Contender:
    """A model on one sample.

    Attributes
    ----------
    name, label
        For programs, and for readers.
    probability
        By patient.
    threshold
        Probability at and above which a patient is called positive, fixed before this sample was looked at.
    """

    name: str
    label: str
    probability: Mapping[str, float]
    threshold: float


class AdjustedComparison(Settings):
    """Two models on the same patients: difference with its interval, and what the adjusted p allows to be said.

    Attributes
    ----------
    first, second
        Labels of the models.
    difference
        First minus second.
    p, adjusted_p
        Two-sided; raw, and by Holm among ``family_size`` comparisons. ``None`` where no test exists, with ``reason``.
    """

    measure: Compared
    first: str
    second: str
    first_value: float | None
    second_value: float | None
    difference: Measure
    test: str
    p: Probability | None
    adjusted_p: Probability | None
    family_size: Annotated[int, Field(ge=0)]
    alpha: Annotated[float, Field(gt=0, lt=1)] = ALPHA
    reason: str | None = None

    @model_validator(mode="after")
    def _adjusted(self) -> AdjustedComparison:
        if (self.p is None) != (self.adjusted_p is None) or (self.p is None) == (self.reason is None):
            raise ValueError("a comparison holds both its p-values, or a reason why there are none")
        if self.p is not None and self.adjusted_p is not None and (self.adjusted_p < self.p or self.family_size < 1):
            raise ValueError(
                f"the adjusted p {self.adjusted_p} of {self.family_size} comparisons is below the raw one {self.p}"
            )
        return self

    @property
    def verdict(self) -> str:
        """Return what may be said of the difference; the only place of this software that can print the word."""
        if self.adjusted_p is None:
            return f"not tested, because {self.reason}"
        correction = "after Holm's correction for"
        counted = f"{self.family_size} comparison{'s' * (self.family_size > 1)}"
        if self.adjusted_p < self.alpha:
            return f"significant at the {100 * self.alpha:g} % level {correction} {counted}"
        return f"not shown to differ {correction} {counted}"

    @property
    def sentence(self) -> str:
        """Return the comparison in words."""
        values = " vs ".join(formatting.number(value) for value in (self.first_value, self.second_value))
        text = f"{self.first} vs {self.second}: {self.measure} {values}"
        if self.difference.value is not None:
            text += f", difference {formatting.interval(self.difference)}"
        if self.adjusted_p is not None:
            p = formatting.p_value(self.adjusted_p)
            text += f", adjusted p {p if p[0] in '<>' else f'= {p}'}"
        return f"{text}: {self.verdict}."


class ComparisonFamily(Settings):
    """All comparisons of the nomogram on one sample; each measure is a family of its own for Holm.

    Attributes
    ----------
    model
        Label of the model that is compared.
    reason
        Why there is nothing to compare, if so.
    """

    sample: Sample
    patient_count: int
    event_count: int
    model: str
    auc: tuple[AdjustedComparison, ...]
    sensitivity: tuple[AdjustedComparison, ...]
    specificity: tuple[AdjustedComparison, ...]
    reason: str | None
    methods: tuple[Method, ...] = METHODS

    @property
    def all(self) -> tuple[AdjustedComparison, ...]:
        """Every comparison, AUC first."""
        return (*self.auc, *self.sensitivity, *self.specificity)


@dataclass(frozen=True)
class _Raw:
    """A comparison before it is known how many there are; without a p it has a reason."""

    second: str
    first_value: float | None
    second_value: float | None
    difference: Measure
    p: float | None
    reason: str | None


def compare_models(
    sample: Sample,
    outcome: Mapping[str, int],
    model: Contender,
    others: Sequence[Contender],
    *,
    alpha: float = ALPHA,
) -> ComparisonFamily:
    """Compare a model with others on the same patients.

    Parameters
    ----------
    sample
        Not the apparent one: a resubstituted score is above others for having memorized more.
    outcome
        0 or 1 by patient; other patients than those of the models may be in it.
    others
        Each with a probability for every patient of ``model``.
    alpha
        Chance of any false finding within a family that is accepted.

    Raises
    ------
    ValueError
        If the sample is the apparent one, or a model lacks patients of the other.
    """
    if sample == "development_apparent":
        raise ValueError("models are compared out of fold or on test patients, never on those they were fitted on")
    ids = tuple(model.probability)
    foreign = [other.name for other in others if set(other.probability) != set(ids)]
    if foreign or not ids:
        raise ValueError(f"paired comparisons need the same patients: {', '.join(foreign) or model.name} has others, or none")
    labels = np.array([outcome[c] for c in ids], dtype=np.int64)
    own = _values(model, ids)
    families: dict[Compared, list[_Raw]] = {"AUC": [], "sensitivity": [], "specificity": []}
    for other in others:
        theirs = _values(other, ids)
        families["AUC"].append(_by_auc(other.label, labels, own, theirs))
        right, wrong = own >= model.threshold, theirs >= other.threshold
        families["sensitivity"].append(_by_share(other.label, right[labels == 1], wrong[labels == 1], NO_EVENT))
        families["specificity"].append(_by_share(other.label, ~right[labels == 0], ~wrong[labels == 0], NO_NON_EVENT))
    return ComparisonFamily(
        sample=sample,
        patient_count=len(ids),
        event_count=int(labels.sum()),
        model=model.label,
        auc=_adjust("AUC", "paired DeLong", model.label, families["AUC"], alpha),
        sensitivity=_adjust("sensitivity", "exact McNemar", model.label, families["sensitivity"], alpha),
        specificity=_adjust("specificity", "exact McNemar", model.label, families["specificity"], alpha),
        reason=None if others else NO_OTHER_MODEL,
    )


def _values(contender: Contender, ids: tuple[str, ...]) -> NDArray[np.float64]:
    return np.array([contender.probability[c] for c in ids], dtype=np.float64)


def _by_auc(label: str, outcome: NDArray[np.int64], own: NDArray[np.float64], theirs: NDArray[np.float64]) -> _Raw:
    events = int(outcome.sum())
    if not 0 < events < outcome.size:
        return _Raw(label, None, None, Measure(value=None, reason=ONE_OUTCOME), None, ONE_OUTCOME)
    areas = auc(outcome, own), auc(outcome, theirs)
    if min(events, outcome.size - events) == 1:
        return _Raw(label, *areas, Measure(value=areas[0] - areas[1], reason=SINGLE_PATIENT), None, SINGLE_PATIENT)
    found = compare_aucs_paired(outcome, own, theirs)
    difference = measured(found.difference, found.low, found.high, NO_VARIANCE)
    # An infinite z is a difference without variance: of a perfect score and a constant one, say, however few patients.
    testable = np.isfinite(found.z)
    return _Raw(label, *areas, difference, found.p if testable else None, None if testable else NO_VARIANCE)


def _by_share(label: str, own: NDArray[np.bool_], theirs: NDArray[np.bool_], none: str) -> _Raw:
    """Compare the shares of right decisions, one entry a patient."""
    if own.size == 0:
        return _Raw(label, None, None, Measure(value=None, reason=none), None, none)
    table = PairedDecisions(
        both=int((own & theirs).sum()),
        first_only=int((own & ~theirs).sum()),
        second_only=int((~own & theirs).sum()),
        neither=int((~own & ~theirs).sum()),
    )
    found = table.difference()
    difference = measured(found.value, found.low, found.high, NO_VARIANCE)
    return _Raw(label, float(own.mean()), float(theirs.mean()), difference, table.p, None)


def _adjust(measure: Compared, test: str, first: str, rows: Sequence[_Raw], alpha: float) -> tuple[AdjustedComparison, ...]:
    tested = [i for i, row in enumerate(rows) if row.p is not None]
    adjusted = dict(zip(tested, holm(np.array([rows[i].p for i in tested], dtype=np.float64)), strict=True))
    return tuple(
        AdjustedComparison(
            measure=measure,
            first=first,
            second=row.second,
            first_value=row.first_value,
            second_value=row.second_value,
            difference=row.difference,
            test=test,
            p=row.p,
            adjusted_p=float(adjusted[i]) if i in adjusted else None,
            family_size=len(tested),
            alpha=alpha,
            reason=row.reason,
        )
        for i, row in enumerate(rows)
    )
