"""Whether the score follows tumor size or the scanner: a score that is nothing but volume needs no network."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from nodogram.case import Acquisition
from nodogram.settings import Settings
from nodogram.stats.rank_correlation import spearman_interval
from training.evidence.measured import measured
from training.evidence.sample_result import Measure, Method

SAME_FOR_ALL = "it is the same for all patients, or there are fewer than four"
SCORE_CONSTANT = "the score is the same for all patients"
RANKS_AGREE = "the ranks agree entirely, which leaves no variance"

METHODS = (
    Method(
        measure="correlation of the score with volume and acquisition",
        text="Spearman's ρ, interval of Bonett and Wright (2000) on Fisher's z scale; development patients, out-of-fold score",
    ),
)


class ConfounderCorrelation(Settings):
    """Spearman's correlation of the score with one quantity."""

    name: str
    label: str
    rho: Measure


class ConfounderReport(Settings):
    """The score against what it should not be a mere image of."""

    patient_count: int
    rows: tuple[ConfounderCorrelation, ...]
    methods: tuple[Method, ...] = METHODS


_QUANTITIES: tuple[tuple[str, str, Callable[[Acquisition], float]], ...] = (
    ("volume", "Tumor volume", lambda a: a.region_volume_cm3),
    ("slice_spacing", "Slice spacing", lambda a: a.slice_spacing_mm),
    ("pixel_spacing", "Pixel spacing", lambda a: a.pixel_spacing_mm),
)


def confounder_report(score: Mapping[str, float], acquisition: Mapping[str, Acquisition]) -> ConfounderReport:
    """Correlate the score with tumor volume and image geometry.

    Parameters
    ----------
    score
        Out-of-fold DLR score by patient.
    acquisition
        By patient; patients without a score are left out.
    """
    ids = [c for c in score if c in acquisition]
    values = np.array([score[c] for c in ids], dtype=np.float64)
    rows = []
    for name, label, pick in _QUANTITIES:
        found = spearman_interval(values, np.array([pick(acquisition[c]) for c in ids], dtype=np.float64))
        missing = SCORE_CONSTANT if values.size and np.ptp(values) == 0 else SAME_FOR_ALL
        reason = missing if found.rho is None else RANKS_AGREE
        rows.append(ConfounderCorrelation(name=name, label=label, rho=measured(found.rho, found.low, found.high, reason)))
    return ConfounderReport(patient_count=len(ids), rows=tuple(rows))
