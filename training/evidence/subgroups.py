"""The nomogram in kinds of patients: by finding, center, scanner and size, and where the neck looks free on CT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nodogram.stats.calibration import calibration_line, observed_to_expected
from nodogram.stats.classification import Confusion, confusion
from nodogram.stats.discrimination import AucEstimate, auc_interval
from nodogram.stats.heterogeneity import cochran_q
from nodogram.stats.hypothesis_tests import holm
from nodogram.stats.proportion_difference import independent_difference
from training.evidence.characteristics import Characteristic, characteristics, level_masks, node_negative_patients
from training.evidence.measured import NO_INTERVAL, measured, measured_share
from training.evidence.sample import NO_EVENT, NO_NON_EVENT, NOTHING_EXPECTED, ONE_OUTCOME, sample_evidence
from training.evidence.sample_result import Measure, Method, SampleSettings
from training.evidence.subgroup_result import (
    Gap,
    HeterogeneityEvidence,
    SubgroupCharacteristic,
    SubgroupRow,
    SubgroupTable,
)
from training.results import Sample

__all__ = [
    "Characteristic",
    "SubgroupTable",
    "characteristics",
    "node_negative_patients",
    "subgroup_table",
]

ALL_PATIENTS = "All patients"
# An AUC of fewer patients of either class is decided by one or two of them.
SMALLEST_CLASS = 5
TOO_FEW = f"fewer than {SMALLEST_CLASS} patients with or without the outcome"
TOO_FEW_LEVELS = "fewer than two levels have an AUC with a variance"
NOT_RECORDED = "the cohort does not record what the CT report said of the neck"
NO_SUCH_PATIENT = "no patient of this sample has a CT report without metastasis"

METHODS = (
    Method(measure="AUC", text=f"DeLong on the logit scale; not given for {TOO_FEW}"),
    Method(measure="sensitivity, specificity", text="at the frozen threshold; Wilson"),
    Method(measure="O:E, calibration in the large", text="Wilson interval over the mean prediction; Wald"),
    Method(measure="gaps in sensitivity and specificity", text="Newcombe's interval for independent shares (1998, method 10)"),
    Method(
        measure="heterogeneity of AUC",
        text="Cochran's Q of the logit AUCs, p adjusted by Holm over the characteristics of the sample",
    ),
)


def subgroup_table(
    sample: Sample,
    outcome: Mapping[str, int],
    probability: Mapping[str, float],
    threshold: float,
    characteristics: Sequence[Characteristic],
    *,
    node_negative: frozenset[str] | None,
    settings: SampleSettings | None = None,
) -> SubgroupTable:
    """Measure the nomogram in every level of every characteristic.

    Parameters
    ----------
    sample
        Not the apparent one.
    outcome, probability
        By patient.
    threshold
        Probability at and above which a patient is called positive, fixed before this sample was looked at.
    node_negative
        Patients whose CT report says no metastasis, of any sample; ``None`` where it is not recorded.
    settings
        How the node-negative patients are looked at.

    Raises
    ------
    ValueError
        If the sample is the apparent one or empty.
    """
    if sample == "development_apparent" or not probability:
        raise ValueError("subgroups are looked at out of fold or on test patients, and some are required")
    ids = tuple(probability)
    labels = np.array([outcome[c] for c in ids], dtype=np.int64)
    values = np.array([probability[c] for c in ids], dtype=np.float64)
    found = [_characteristic(c, ids, labels, values, threshold) for c in characteristics]
    negative = [c in node_negative for c in ids] if node_negative is not None else []
    return SubgroupTable(
        sample=sample,
        threshold=threshold,
        overall=_row(ALL_PATIENTS, labels, values, threshold),
        characteristics=_adjusted(found),
        node_negative=sample_evidence(labels[negative], values[negative], threshold, settings=settings)
        if any(negative)
        else None,
        node_negative_reason=None if any(negative) else NOT_RECORDED if node_negative is None else NO_SUCH_PATIENT,
        methods=METHODS,
    )


def _row(level: str, outcome: NDArray[np.int64], probability: NDArray[np.float64], threshold: float) -> SubgroupRow:
    table = confusion(outcome, probability, threshold)
    ratio = observed_to_expected(outcome, probability)
    both = 0 < outcome.sum() < outcome.size
    line = calibration_line(outcome, probability) if both else None
    return SubgroupRow(
        level=level,
        patient_count=int(outcome.size),
        event_count=int(outcome.sum()),
        auc=_auc_measure(_auc(outcome, probability)),
        sensitivity=measured_share(table.sensitivity, NO_EVENT),
        specificity=measured_share(table.specificity, NO_NON_EVENT),
        observed_to_expected=measured(ratio.ratio, ratio.low, ratio.high, NOTHING_EXPECTED),
        in_the_large=Measure(value=None, reason=ONE_OUTCOME)
        if line is None
        else measured(line.intercept, line.intercept_low, line.intercept_high, NO_INTERVAL),
    )


def _auc(outcome: NDArray[np.int64], probability: NDArray[np.float64]) -> AucEstimate | None:
    events = int(outcome.sum())
    return auc_interval(outcome, probability) if min(events, outcome.size - events) >= SMALLEST_CLASS else None


def _auc_measure(found: AucEstimate | None) -> Measure:
    if found is None:
        return Measure(value=None, reason=TOO_FEW)
    return measured(found.auc, found.low, found.high, NO_INTERVAL)


def _characteristic(
    characteristic: Characteristic,
    ids: Sequence[str],
    outcome: NDArray[np.int64],
    probability: NDArray[np.float64],
    threshold: float,
) -> SubgroupCharacteristic:
    rows, tables, areas = [], {}, {}
    for level, mask in level_masks(characteristic, ids):
        labels, values = outcome[mask], probability[mask]
        rows.append(_row(level, labels, values, threshold))
        tables[level] = confusion(labels, values, threshold)
        areas[level] = _auc(labels, values)
    heterogeneity = _heterogeneity(areas)
    return SubgroupCharacteristic(
        name=characteristic.name,
        label=characteristic.label,
        rule=characteristic.rule,
        rows=tuple(rows),
        missing_count=sum(c not in characteristic.level_of for c in ids),
        gaps=tuple(
            _gap(level, table, characteristic.reference, tables[characteristic.reference])
            for level, table in tables.items()
            if level != characteristic.reference
        ),
        heterogeneity=heterogeneity,
        heterogeneity_reason=TOO_FEW_LEVELS if heterogeneity is None else None,
    )


def _gap(level: str, table: Confusion, reference: str, other: Confusion) -> Gap:
    sensitivity, specificity = (
        independent_difference(own, theirs)
        for own, theirs in ((table.sensitivity, other.sensitivity), (table.specificity, other.specificity))
    )
    return Gap(
        level=level,
        reference=reference,
        sensitivity=measured(sensitivity.value, sensitivity.low, sensitivity.high, f"in one of the levels, {NO_EVENT}"),
        specificity=measured(specificity.value, specificity.low, specificity.high, f"in one of the levels, {NO_NON_EVENT}"),
    )


def _heterogeneity(areas: Mapping[str, AucEstimate | None]) -> HeterogeneityEvidence | None:
    """Test the levels; the p is adjusted once all characteristics are known."""
    # An AUC of 0 or 1 has neither a logit nor a variance.
    usable = {level: a for level, a in areas.items() if a is not None and 0 < a.auc < 1 and a.standard_error > 0}
    if len(usable) < 2:
        return None
    area = np.array([a.auc for a in usable.values()])
    error = np.array([a.standard_error for a in usable.values()]) / (area * (1 - area))
    found = cochran_q(np.log(area / (1 - area)), error)
    return HeterogeneityEvidence(
        levels=tuple(usable),
        statistic=found.statistic,
        degrees_of_freedom=found.degrees_of_freedom,
        p=found.p,
        adjusted_p=found.p,
        i_squared=found.i_squared,
    )


def _adjusted(rows: Sequence[SubgroupCharacteristic]) -> tuple[SubgroupCharacteristic, ...]:
    tested = [row.heterogeneity.p for row in rows if row.heterogeneity is not None]
    adjusted = iter(holm(np.array(tested, dtype=np.float64)).tolist())
    return tuple(
        row
        if row.heterogeneity is None
        else row.model_copy(update={"heterogeneity": row.heterogeneity.model_copy(update={"adjusted_p": next(adjusted)})})
        for row in rows
    )
