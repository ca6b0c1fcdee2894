"""Leave-one-center-out: the nomogram fitted without a center and measured there, and a summary over centers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import expit, logit

from nodogram.stats.discrimination import AucEstimate, auc_interval
from training.evidence.honesty_result import CentreEvidence, CentreRow, CentreSummary
from training.evidence.honesty_sections import auc_measure, of_kind, refit_count
from training.evidence.honesty_text import SWITCHED_OFF, none_fitted
from training.evidence.random_effects import random_effects
from training.evidence.refit_material import RefitMaterial, RefitResult
from training.evidence.refits import RefitTask
from training.evidence.sample_result import Measure

FEWEST_CENTRES = 2
TOO_FEW = f"fewer than {FEWEST_CENTRES} centers with patients of both outcomes among the development patients"
NO_VARIANCE = (
    "fewer than two centers have an AUC with a variance to weigh it by, that is one other than 0 and 1 and from several "
    "patients of each outcome"
)
TWO_CENTRES = "two centers do not tell what a third would be like"
Centres = Mapping[str, str | None]


def centre_tasks(material: RefitMaterial, centres: Centres) -> list[RefitTask]:
    """Return one refit per center with both outcomes, or none where there is one such center or the recipe says no.

    Patients of an unknown center take no part in these refits: they may come from the center that is left out.
    """
    if not material.recipe.honesty.leave_one_centre_out:
        return []
    names = measurable_centres(material, centres)
    if len(names) < FEWEST_CENTRES:
        return []
    left_out = [frozenset(c for c in material.case_ids if centres.get(c) in (name, None)) for name in names]
    return [RefitTask("centre", index, patients) for index, patients in enumerate(left_out)]


def measurable_centres(material: RefitMaterial, centres: Centres) -> tuple[str, ...]:
    """Return the centers that have development patients of both outcomes, in alphabetical order."""
    outcomes: dict[str, set[int]] = {}
    for patient in material.case_ids:
        name = centres.get(patient)
        if name is not None:
            outcomes.setdefault(name, set()).add(material.data.outcome[patient])
    return tuple(sorted(name for name, found in outcomes.items() if len(found) > 1))


def centre_evidence(results: tuple[RefitResult, ...], material: RefitMaterial, centres: Centres) -> CentreEvidence:
    """Measure each center's nomogram on the center it has not seen, and summarize."""
    refits = of_kind(results, "centre")
    count = refit_count(refits)
    if not material.recipe.honesty.leave_one_centre_out:
        return CentreEvidence(count=count, reason=SWITCHED_OFF.format("leave_one_centre_out", "false"))
    if not refits:
        return CentreEvidence(count=count, reason=TOO_FEW)
    if not count.fitted:
        return CentreEvidence(count=count, reason=none_fitted(count.requested))
    names = measurable_centres(material, centres)
    rows, areas = [], []
    for refit in refits:
        if refit.fitted is not None:
            inside = np.array([centres.get(c) == names[refit.index] for c in material.case_ids])
            outcome, probability = material.outcome[inside], np.array(refit.fitted.nomogram)[inside]
            areas.append(auc_interval(outcome, probability))
            rows.append(
                CentreRow(
                    centre=names[refit.index],
                    patient_count=int(outcome.size),
                    event_count=int(outcome.sum()),
                    auc=auc_measure(outcome, probability, "delong_logit"),
                )
            )
    summary = summarize(areas)
    return CentreEvidence(
        count=count, reason=None, rows=tuple(rows), summary=summary, summary_reason=None if summary else NO_VARIANCE
    )


def summarize(areas: Sequence[AucEstimate]) -> CentreSummary | None:
    """Return the random-effects summary of AUCs on the logit scale, or ``None`` with fewer than two that have a variance."""
    usable = [a for a in areas if 0 < a.auc < 1 and a.standard_error > 0]
    if len(usable) < FEWEST_CENTRES:
        return None
    area = np.array([a.auc for a in usable])
    error = np.array([a.standard_error for a in usable]) / (area * (1 - area))
    found = random_effects(logit(area), error**2)
    mean, low, high = (float(expit(v)) for v in (found.mean, found.low, found.high))
    ahead = [None if v is None else float(expit(v)) for v in (found.prediction_low, found.prediction_high)]
    return CentreSummary(
        centre_count=len(usable),
        auc=Measure(value=mean, low=low, high=high),
        prediction=Measure(value=mean, low=ahead[0], high=ahead[1], reason=TWO_CENTRES if ahead[0] is None else None),
        i_squared=found.i_squared,
        tau_squared=found.tau_squared,
    )
