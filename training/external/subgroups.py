"""The nomogram in kinds of patients, with every kind that is too small withheld."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nodogram.case import Acquisition
from training.cohort import CohortDefinition
from training.evidence.characteristics import AS_RECORDED, Characteristic, characteristics, node_negative_patients
from training.evidence.sample_result import SampleEvidence
from training.evidence.subgroup_result import SubgroupCharacteristic, SubgroupRow
from training.evidence.subgroups import subgroup_table
from training.external.disclosure import SMALLEST_CELL, coarse_settings, coarsened
from training.external.prediction import Predicted
from training.external.subgroup_result import ExternalSubgroups

SPLIT_HERE = "split at the median of these patients"
TOO_FEW = f"they, or the other patients, are fewer than {SMALLEST_CELL} with or fewer than {SMALLEST_CELL} without the outcome"


def external_subgroups(
    predicted: Sequence[Predicted], definition: CohortDefinition, threshold: float, replicates: int
) -> ExternalSubgroups | None:
    """Measure the nomogram in kinds of patients; ``None`` where there is none that could be told of.

    Parameters
    ----------
    predicted
        Patients with a nomogram probability are looked at.
    threshold
        Decision threshold frozen in the bundle.
    replicates
        Bootstrap resamples.
    """
    known = {p.patient.patient_id: p for p in predicted if p.prediction.probability is not None}
    probability = {c: p.prediction.probability for c, p in known.items() if p.prediction.probability is not None}
    outcome = {c: p.patient.outcome for c, p in known.items()}
    events = sum(outcome.values())
    if min(events, len(known) - events) < 2 * SMALLEST_CELL:
        return None  # two levels of so few would hold a small one
    records = {c: p.patient.clinical for c, p in known.items()}
    divided = characteristics(
        definition.predictors,
        records,
        {c: p.patient.centre for c, p in known.items()},
        {c: Acquisition(**p.prediction.acquisition.model_dump()) for c, p in known.items()},
        tuple(known),
    )
    negative = node_negative_patients(definition.predictors, records)
    # What this table calls its sample goes no further: to the bundle these are patients it has not seen.
    table = subgroup_table(
        "test",
        outcome,
        probability,
        threshold,
        [_split_here(c) for c in divided],
        node_negative=negative,
        settings=coarse_settings(len(negative or ()), replicates),
    )
    shown = [_told(found) for found in table.characteristics]
    node_negative = table.node_negative
    small = node_negative is not None and not _parts_are_large(node_negative, table.overall)
    return ExternalSubgroups(
        overall=table.overall,
        characteristics=tuple(c for c, _ in shown if c.rows),
        withheld=tuple(f"{c.label}: {', '.join(levels)}" for c, levels in shown if levels),
        node_negative=None if node_negative is None or small else coarsened(node_negative),
        node_negative_reason=TOO_FEW if small else table.node_negative_reason,
        warning=table.warning,
        methods=table.methods,
    )


def _split_here(characteristic: Characteristic) -> Characteristic:
    return characteristic if characteristic.rule == AS_RECORDED else replace(characteristic, rule=SPLIT_HERE)


def _told(found: SubgroupCharacteristic) -> tuple[SubgroupCharacteristic, tuple[str, ...]]:
    """Return a characteristic without the levels that are too small, and their names.

    Where one level alone is too small, the next smallest goes with it: all patients less the others would give it away.
    """
    hidden = {row.level for row in found.rows if not _is_large(row)}
    left = [row for row in found.rows if row.level not in hidden]
    if len(hidden) == 1 and left and found.missing_count < SMALLEST_CELL:
        hidden.add(min(left, key=lambda row: min(row.event_count, row.patient_count - row.event_count)).level)
    if not hidden:
        return found, ()
    update = {
        "rows": tuple(row for row in found.rows if row.level not in hidden),
        "gaps": tuple(gap for gap in found.gaps if not {gap.level, gap.reference} & hidden),
        "heterogeneity": None,
        "heterogeneity_reason": "levels are withheld",
    }
    return found.model_copy(update=update), tuple(row.level for row in found.rows if row.level in hidden)


def _is_large(row: SubgroupRow) -> bool:
    return min(row.event_count, row.patient_count - row.event_count) >= SMALLEST_CELL


def _parts_are_large(part: SampleEvidence, whole: SubgroupRow) -> bool:
    """Tell whether a part and what is left of the whole both hold enough patients of either outcome."""
    events, others = part.event_count, part.patient_count - part.event_count
    rest = (whole.event_count - events, whole.patient_count - whole.event_count - others)
    # Nobody left is no secret.
    return min(events, others) >= SMALLEST_CELL and (rest == (0, 0) or min(rest) >= SMALLEST_CELL)
