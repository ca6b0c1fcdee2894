"""Agreement of repeated readings: features, final score and outlines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nodogram.features import FeatureTable
from nodogram.settings import Settings
from nodogram.stats.agreement import (
    IccEstimates,
    dice,
    hausdorff_95,
    icc_absolute_agreement,
    icc_consistency,
    icc_one_way,
    limits_of_agreement,
)
from nodogram.volume import Mask

IccForm = Literal["ICC(1,1)", "ICC(2,1)", "ICC(3,1)"]
"""Interchangeable repeats; readers, absolute agreement; readers, consistency: single measurements each."""

_FORMS: Mapping[IccForm, Callable[[NDArray[np.float64]], IccEstimates]] = {
    "ICC(1,1)": icc_one_way,
    "ICC(2,1)": icc_absolute_agreement,
    "ICC(3,1)": icc_consistency,
}


class FeatureAgreement(Settings):
    """ICC of one feature with its 95 % interval; ``None`` with fewer than two patients, 0 if the feature never varies."""

    name: str
    feature_class: str
    image_type: str
    icc: float | None
    low: float | None
    high: float | None


class AgreementCount(Settings):
    """Features of one kind, and how many of them agree well enough."""

    kind: str
    count: int
    reached: int


class MeasuredAgreement(Settings):
    """Limits of agreement, in the unit of the measurement; see :class:`nodogram.stats.agreement.LimitsOfAgreement`."""

    count: int
    bias: float
    bias_low: float
    bias_high: float
    sd: float
    lower: float
    upper: float
    error: float


class ScoreAgreement(Settings):
    """The final score read twice; ``None`` with fewer than two patients.

    Attributes
    ----------
    limits
        First reading minus second, in the unit of the score.
    """

    icc: float | None
    low: float | None
    high: float | None
    limits: MeasuredAgreement | None


class OutlineAgreement(Settings):
    """Two outlines of one tumor.

    Attributes
    ----------
    dice
        0 to 1.
    hausdorff_95_mm
        Larger of the two directed 95th percentiles of surface distances, mm.
    first_cm3, second_cm3
        Volumes by voxel counting.
    """

    case_id: str
    dice: float
    hausdorff_95_mm: float
    first_cm3: float
    second_cm3: float


class Spread(Settings):
    """Median and quartiles over patients."""

    median: float
    lower_quartile: float
    upper_quartile: float


class OutlineSummary(Settings):
    """Outlines of all patients.

    Attributes
    ----------
    volume
        Limits of agreement of the volume, cm³, first minus second; ``None`` with a single patient.
    """

    cases: tuple[OutlineAgreement, ...]
    dice: Spread
    hausdorff_95_mm: Spread
    volume: MeasuredAgreement | None


class AgreementReport(Settings):
    """How well repeated readings of the same patients agree.

    Attributes
    ----------
    source
        What was repeated, such as ``two readers`` or ``perturbed outlines``.
    form
        Which ICC.
    threshold, bound
        A feature agrees well enough if its ICC (``point``) or the lower end of its interval (``lower_95``) is at least this.
    by_class, by_image
        Counts by feature class and by image type, in the order of the table.
    """

    source: str
    form: IccForm
    threshold: float
    bound: Literal["point", "lower_95"]
    patient_count: int
    reading_count: int
    feature_count: int
    reached_count: int
    by_class: tuple[AgreementCount, ...]
    by_image: tuple[AgreementCount, ...]
    features: tuple[FeatureAgreement, ...]
    score: ScoreAgreement | None
    outlines: OutlineSummary | None


def agreement_report(
    readings: Sequence[FeatureTable],
    *,
    source: str,
    form: IccForm = "ICC(2,1)",
    threshold: float = 0.75,
    bound: Literal["point", "lower_95"] = "lower_95",
    scores: NDArray[np.float64] | None = None,
    outlines: Sequence[OutlineAgreement] = (),
) -> AgreementReport:
    """Compare readings of the same patients.

    Parameters
    ----------
    readings
        At least two tables of the same patients and features in the same order.
    source
        What was repeated.
    form
        ``ICC(2,1)`` for readers; ``ICC(1,1)`` for outlines perturbed at random, which are interchangeable.
    threshold, bound
        See :class:`AgreementReport`.
    scores
        (n_patients, n_readings) of the final score, if there is one.
    outlines
        From :func:`compare_outlines`, if the masks are at hand.

    Raises
    ------
    ValueError
        If there are fewer than two readings, or they do not match.

    References
    ----------
    Koo, Li 2016, doi:10.1016/j.jcm.2016.02.012.
    """
    if len(readings) < 2:
        raise ValueError(f"{len(readings)} readings; at least 2 are required")
    first = readings[0]
    if any((table.case_ids, table.names) != (first.case_ids, first.names) for table in readings):
        raise ValueError("all readings must have the same patients and features in the same order")
    if scores is not None and scores.shape != (len(first.case_ids), len(readings)):
        raise ValueError(f"scores of shape {scores.shape}; ({len(first.case_ids)}, {len(readings)}) is required")
    features = _features(first.names, np.stack([table.values for table in readings], axis=1), form)
    agreeing = [_reaches(feature, threshold, bound) for feature in features]
    return AgreementReport(
        source=source,
        form=form,
        threshold=threshold,
        bound=bound,
        patient_count=len(first.case_ids),
        reading_count=len(readings),
        feature_count=len(features),
        reached_count=sum(agreeing),
        by_class=_counts([feature.feature_class for feature in features], agreeing),
        by_image=_counts([feature.image_type for feature in features], agreeing),
        features=features,
        score=None if scores is None else _score(scores, form),
        outlines=summarize_outlines(outlines) if outlines else None,
    )


def compare_outlines(case_id: str, first: Mask, second: Mask) -> OutlineAgreement:
    """Compare two outlines of one tumor on one grid.

    Raises
    ------
    ValueError
        If the grids differ.
    """
    if not first.geometry.is_same_grid(second.geometry):
        raise ValueError(f"{case_id}: the outlines are on different grids")
    distance = hausdorff_95(first.array, second.array, first.geometry.spacing_mm)
    return OutlineAgreement(
        case_id=case_id,
        dice=dice(first.array, second.array),
        hausdorff_95_mm=0.0 if distance is None else distance,  # a Mask is never empty
        first_cm3=first.volume_cm3,
        second_cm3=second.volume_cm3,
    )


def summarize_outlines(cases: Sequence[OutlineAgreement]) -> OutlineSummary:
    """Return medians, quartiles and the agreement of volumes of at least one patient."""
    volumes = np.array([(case.first_cm3, case.second_cm3) for case in cases])
    return OutlineSummary(
        cases=tuple(cases),
        dice=_spread([case.dice for case in cases]),
        hausdorff_95_mm=_spread([case.hausdorff_95_mm for case in cases]),
        volume=_limits(volumes[:, 0], volumes[:, 1]),
    )


def feature_kind(name: str) -> tuple[str, str]:
    """Return feature class and image type of a feature name; both are ``deep`` or ``clinical`` for what has neither.

    Parameters
    ----------
    name
        Such as ``radiomics.wavelet-LLH_glcm_Contrast``.
    """
    source, _, rest = name.partition(".")
    parts = rest.rsplit("_", 2)
    return (parts[1], parts[0]) if source == "radiomics" and len(parts) == 3 else (source, source)


def _features(names: tuple[str, ...], ratings: NDArray[np.float64], form: IccForm) -> tuple[FeatureAgreement, ...]:
    kinds = [feature_kind(name) for name in names]
    if len(ratings) < 2:
        return tuple(
            FeatureAgreement(name=name, feature_class=kind[0], image_type=kind[1], icc=None, low=None, high=None)
            for name, kind in zip(names, kinds, strict=True)
        )
    found = _FORMS[form](ratings)
    rows = zip(names, kinds, found.icc.tolist(), found.low.tolist(), found.high.tolist(), strict=True)
    return tuple(
        FeatureAgreement(name=name, feature_class=kind[0], image_type=kind[1], icc=icc, low=low, high=high)
        for name, kind, icc, low, high in rows
    )


def _reaches(feature: FeatureAgreement, threshold: float, bound: Literal["point", "lower_95"]) -> bool:
    value = feature.icc if bound == "point" else feature.low
    return value is not None and value >= threshold


def _counts(kinds: Sequence[str], agreeing: Sequence[bool]) -> tuple[AgreementCount, ...]:
    reached = Counter(kind for kind, agrees in zip(kinds, agreeing, strict=True) if agrees)
    return tuple(AgreementCount(kind=k, count=count, reached=reached[k]) for k, count in Counter(kinds).items())


def _score(scores: NDArray[np.float64], form: IccForm) -> ScoreAgreement:
    limits = _limits(scores[:, 0], scores[:, 1])
    if len(scores) < 2:
        return ScoreAgreement(icc=None, low=None, high=None, limits=limits)
    found = _FORMS[form](scores[:, :, None])
    return ScoreAgreement(icc=float(found.icc[0]), low=float(found.low[0]), high=float(found.high[0]), limits=limits)


def _limits(first: NDArray[np.float64], second: NDArray[np.float64]) -> MeasuredAgreement | None:
    found = limits_of_agreement(first, second)
    return None if found is None else MeasuredAgreement(**asdict(found))


def _spread(values: Sequence[float]) -> Spread:
    lower, median, upper = np.percentile(values, [25, 50, 75]).tolist()
    return Spread(median=median, lower_quartile=lower, upper_quartile=upper)
