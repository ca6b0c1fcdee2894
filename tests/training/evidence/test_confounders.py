"""The score against volume and geometry."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from nodogram.case import Acquisition
from training.evidence.confounders import RANKS_AGREE, SAME_FOR_ALL, SCORE_CONSTANT, ConfounderReport, confounder_report


def test_correlations_are_spearmans_and_geometry_that_never_varies_has_none() -> None:
    rng = np.random.default_rng(0)
    volume, spacing = rng.lognormal(size=40), rng.choice([1.0, 3.0], 40)
    score = np.log(volume) + rng.normal(size=40)
    ids = [f"p{i}" for i in range(40)]
    acquisition = {
        c: Acquisition(float(s), 0.5, float(v), None, None, None) for c, s, v in zip(ids, spacing, volume, strict=True)
    }
    found = confounder_report(dict(zip(ids[:30], score.tolist(), strict=False)), acquisition)
    rows = {row.name: row.rho for row in found.rows}
    assert found.patient_count == 30
    assert rows["volume"].value == pytest.approx(spearmanr(score[:30], volume[:30]).statistic)
    assert rows["volume"].low is not None
    assert rows["slice_spacing"].value == pytest.approx(spearmanr(score[:30], spacing[:30]).statistic)
    assert (rows["pixel_spacing"].value, rows["pixel_spacing"].reason) == (None, SAME_FOR_ALL)
    assert ConfounderReport.model_validate_json(found.model_dump_json()) == found


def test_a_score_that_is_volume_and_one_that_is_nothing() -> None:
    acquisition = {f"p{i}": Acquisition(1.0, 0.5, 1.0 + i, None, None, None) for i in range(8)}
    whole = confounder_report({c: a.region_volume_cm3**2 for c, a in acquisition.items()}, acquisition).rows[0].rho
    assert whole.value == pytest.approx(1.0)
    assert (whole.low, whole.reason) == (None, RANKS_AGREE)
    assert confounder_report(dict.fromkeys(acquisition, 0.4), acquisition).rows[0].rho.reason == SCORE_CONSTANT
