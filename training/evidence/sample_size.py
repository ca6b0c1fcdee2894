"""How many patients the model needs, beside how many there are: decided before training, printed in the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nodogram.settings import Settings
from nodogram.stats.sample_size import (
    DevelopmentSize,
    affordable_parameters,
    cox_snell_from_auc,
    development_size,
    expected_shrinkage,
    validation_size,
)


class CohortCounts(Settings):
    """What a cohort has; the test patients are not learned from."""

    development_patients: int
    development_events: int
    test_patients: int
    test_events: int


class DevelopmentNeed(Settings):
    """What a regression on this many candidate parameters needs, by Riley's criteria.

    Attributes
    ----------
    candidates
        Parameters that could be estimated: one a continuous predictor, levels less one a categorical one.
    shrinkage_patients, optimism_patients, risk_patients
        Criteria 1 to 3; ``patients`` is the largest of them.
    events
        Patients with the outcome among ``patients``.
    events_per_candidate
        At that size.
    """

    candidates: int
    shrinkage_patients: int
    optimism_patients: int
    risk_patients: int
    patients: int
    events: int
    events_per_candidate: float


class AtHand(Settings):
    """The cohort against what is needed.

    Attributes
    ----------
    events_per_candidate
        Of the development patients.
    missing_patients
        Development patients short of what is needed; 0 if enough.
    shrinkage
        Factor by which effects fitted on the development patients would have to be shrunk; 1 is no overfitting.
    affordable_candidates
        Candidate parameters that the development patients allow by criteria 1 and 2.
    """

    counts: CohortCounts
    events_per_candidate: float
    missing_patients: int
    shrinkage: float
    affordable_candidates: int


class FeatureBranch(Settings):
    """Image features offered to selection before the score exists.

    Attributes
    ----------
    patients
        Needed if each of them were a candidate parameter of one regression (criteria 1 and 2).
    events_per_candidate
        Of the development patients; ``None`` without a cohort.
    """

    name: str
    candidates: int
    patients: int
    events_per_candidate: float | None


class ValidationNeed(Settings):
    """Patients for 95 % intervals no wider than these when the finished model is validated elsewhere."""

    ratio_width: float
    slope_width: float
    auc_width: float
    ratio_patients: int
    slope_patients: int
    auc_patients: int
    patients: int
    events: int


class SampleSizePlan(Settings):
    """Needed and available patients.

    Attributes
    ----------
    auc
        AUC that was anticipated; ``None`` if R² was given instead.
    cox_snell, nagelkerke
        R² that follows from it, or that was given.
    shrinkage, optimism, margin
        What criteria 1 to 3 ask for.
    nomogram
        Clinical candidates and the image score together.
    validation
        ``None`` without an AUC.
    statements
        What follows, in plain words.
    """

    prevalence: float
    auc: float | None
    cox_snell: float
    nagelkerke: float
    shrinkage: float
    optimism: float
    margin: float
    nomogram: DevelopmentNeed
    at_hand: AtHand | None
    branches: tuple[FeatureBranch, ...]
    validation: ValidationNeed | None
    statements: tuple[str, ...]


def plan_sample_size(
    *,
    prevalence: float,
    candidates: int,
    auc: float | None = None,
    cox_snell: float | None = None,
    branches: Mapping[str, int] | None = None,
    cohort: CohortCounts | None = None,
) -> SampleSizePlan:
    """Compare what a nomogram needs with what is there.

    Parameters
    ----------
    prevalence
        Share with the outcome, 0 to 1, exclusive.
    candidates
        Candidate parameters of the nomogram, the image score included.
    auc, cox_snell
        What can be expected on new patients: exactly one of the two.
    branches
        Number of image features by kind, such as ``{"radiomic": 1316, "deep": 2048}``.
    cohort
        What there is, if anything yet.

    Raises
    ------
    ValueError
        If a number is out of its range, or not exactly one of ``auc`` and ``cox_snell`` is given.

    References
    ----------
    See :mod:`nodogram.stats.sample_size`.
    """
    if auc is not None and cox_snell is None:
        expected = cox_snell_from_auc(auc, prevalence)
    elif cox_snell is not None and auc is None:
        expected = cox_snell
    else:
        raise ValueError("the performance to expect is required once: an AUC, or a Cox-Snell R²")
    size = development_size(parameters=candidates, prevalence=prevalence, cox_snell=expected)
    at_hand = None if cohort is None else _at_hand(size, cohort)
    offered = tuple(_branch(name, count, size, cohort) for name, count in (branches or {}).items() if count)
    validation = None if auc is None else _validation(prevalence, auc)
    return SampleSizePlan(
        prevalence=prevalence,
        auc=auc,
        cox_snell=size.cox_snell,
        nagelkerke=size.nagelkerke,
        shrinkage=size.shrinkage,
        optimism=size.optimism,
        margin=size.margin,
        nomogram=_need(size),
        at_hand=at_hand,
        branches=offered,
        validation=validation,
        statements=tuple(_statements(size, at_hand, offered, validation)),
    )


def _need(size: DevelopmentSize) -> DevelopmentNeed:
    return DevelopmentNeed(
        candidates=size.parameters,
        shrinkage_patients=size.shrinkage_patients,
        optimism_patients=size.optimism_patients,
        risk_patients=size.risk_patients,
        patients=size.patients,
        events=size.events,
        events_per_candidate=size.events_per_parameter,
    )


def _at_hand(size: DevelopmentSize, cohort: CohortCounts) -> AtHand:
    patients = cohort.development_patients
    return AtHand(
        counts=cohort,
        events_per_candidate=cohort.development_events / size.parameters,
        missing_patients=max(0, size.patients - patients),
        shrinkage=expected_shrinkage(patients=patients, parameters=size.parameters, cox_snell=size.cox_snell),
        affordable_candidates=affordable_parameters(patients=patients, prevalence=size.prevalence, cox_snell=size.cox_snell),
    )


def _branch(name: str, count: int, size: DevelopmentSize, cohort: CohortCounts | None) -> FeatureBranch:
    alone = development_size(parameters=count, prevalence=size.prevalence, cox_snell=size.cox_snell)
    return FeatureBranch(
        name=name,
        candidates=count,
        patients=max(alone.shrinkage_patients, alone.optimism_patients),
        events_per_candidate=None if cohort is None else cohort.development_events / count,
    )


def _validation(prevalence: float, auc: float) -> ValidationNeed:
    size = validation_size(prevalence=prevalence, auc=auc)
    return ValidationNeed(
        ratio_width=size.ratio_width,
        slope_width=size.slope_width,
        auc_width=size.auc_width,
        ratio_patients=size.ratio_patients,
        slope_patients=size.slope_patients,
        auc_patients=size.auc_patients,
        patients=size.patients,
        events=size.events,
    )


def _statements(
    size: DevelopmentSize, at_hand: AtHand | None, branches: tuple[FeatureBranch, ...], validation: ValidationNeed | None
) -> Iterator[str]:
    criteria = {
        "overfitting of the predictor effects": size.shrinkage_patients,
        "optimism in R²": size.optimism_patients,
        "precision of the overall risk": size.risk_patients,
    }
    hardest = max(criteria, key=lambda name: criteria[name])
    yield (
        f"A nomogram with {_counted(size.parameters, 'candidate parameter')} needs {_counted(size.patients, 'patient')} to be "
        f"developed, {size.events:,} of them with the outcome; what asks for most is {hardest}."
    )
    if at_hand is not None:
        yield from _about_cohort(size, at_hand)
    for branch in branches:
        yield from _about_branch(branch)
    if branches:
        yield (
            "In the count above the image score is one parameter. That holds only for a score that is learned without the "
            "patients it is then fitted on (out of fold). What selection among so many features costs has to be measured: "
            "bootstrap optimism of the whole chain, permuted outcomes, selection frequency, patients from elsewhere."
        )
    if validation is not None:
        yield (
            f"To validate it on new patients: {validation.auc_patients:,} for an AUC interval {validation.auc_width:g} wide, "
            f"{validation.ratio_patients:,} for observed/expected and {validation.slope_patients:,} for a calibration slope "
            f"to {validation.slope_width:g}."
        )


def _about_cohort(size: DevelopmentSize, at_hand: AtHand) -> Iterator[str]:
    counts = at_hand.counts
    have = f"{_counted(counts.development_patients, 'patient')} to learn from, {counts.development_events:,} with the outcome"
    if at_hand.missing_patients == 0:
        yield f"The cohort has {have}: enough by all three criteria."
    else:
        yield f"The cohort has {have}: {at_hand.missing_patients:,} patients too few."
    allowed = at_hand.affordable_candidates
    yield (
        f"Effects fitted to them must be expected to need shrinking by {1 - at_hand.shrinkage:.0%} "
        f"({1 - size.shrinkage:.0%} is accepted); criteria 1 and 2 allow {_counted(allowed, 'candidate parameter')}."
    )


def _about_branch(branch: FeatureBranch) -> Iterator[str]:
    rate = "" if branch.events_per_candidate is None else f", {_rate(branch.events_per_candidate)} events for each"
    yield (
        f"{branch.candidates:,} {branch.name} features are offered to selection{rate}. A regression on all of them would need "
        f"{branch.patients:,} patients: what they seem to show is to be believed only after the checks below."
    )


def _rate(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
