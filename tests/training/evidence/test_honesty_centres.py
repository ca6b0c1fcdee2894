"""Random-effects summary against a published meta-analysis and statsmodels; which centers can be left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from example_finished_run import finished_run, small_recipe
from scipy.special import logit
from statsmodels.stats.meta_analysis import combine_effects

from nodogram.stats.discrimination import AucEstimate
from training.evidence.centres import centre_tasks, measurable_centres, summarize
from training.evidence.honesty import refit_materials
from training.evidence.random_effects import random_effects

# BCG vaccine against tuberculosis, 13 trials (Colditz et al. 1994): cases and others, vaccinated and control.
BCG = np.array(
    [
        (4, 119, 11, 128),
        (6, 300, 29, 274),
        (3, 228, 11, 209),
        (62, 13536, 248, 12619),
        (33, 5036, 47, 5761),
        (180, 1361, 372, 1079),
        (8, 2537, 10, 619),
        (505, 87886, 499, 87892),
        (29, 7470, 45, 7232),
        (17, 1699, 65, 1600),
        (186, 50448, 141, 27197),
        (5, 2493, 3, 2338),
        (27, 16886, 29, 17825),
    ],
    dtype=float,
)


def bcg() -> tuple[np.ndarray, np.ndarray]:
    cases, others, control_cases, control_others = BCG.T
    vaccinated, control = cases + others, control_cases + control_others
    effect = np.log(cases / vaccinated) - np.log(control_cases / control)
    return effect, 1 / cases - 1 / vaccinated + 1 / control_cases - 1 / control


def test_published_meta_analysis() -> None:
    """Printed by metafor 4 (Viechtbauer 2010, doi:10.18637/jss.v036.i03): rma(yi, vi, data=dat.bcg, method="DL")."""
    found = random_effects(*bcg())
    assert found.tau_squared == pytest.approx(0.3088, abs=5e-5)
    assert found.mean == pytest.approx(-0.7141, abs=5e-5)
    assert found.q == pytest.approx(152.2330, abs=5e-4)
    assert 100 * found.i_squared == pytest.approx(92.12, abs=5e-3)


def test_equals_statsmodels() -> None:
    effect, variance = bcg()
    found = random_effects(effect, variance)
    reference = combine_effects(effect, variance, method_re="chi2", use_t=True)
    assert found.mean == pytest.approx(reference.mean_effect_re)
    assert found.tau_squared == pytest.approx(reference.tau2)
    low, high = reference.conf_int(use_t=True)[3 if reference.var_hksj_re > reference.var_eff_w_re else 1]
    assert [found.low, found.high] == pytest.approx([low, high])


def test_centers_that_agree_by_chance_get_no_narrower_interval_than_sampling_allows() -> None:
    found = random_effects(np.array([1.0, 1.0]), np.array([0.04, 0.04]))
    assert found.tau_squared == found.i_squared == found.q == 0.0
    assert found.high - found.mean == pytest.approx(12.7062 * np.sqrt(0.02), rel=1e-4)
    assert found.prediction_low is None


def test_prediction_is_wider_than_the_interval_of_the_mean() -> None:
    found = random_effects(*bcg())
    assert found.prediction_low is not None
    assert found.prediction_low < found.low
    with pytest.raises(ValueError, match="at least two"):
        random_effects(np.array([1.0]), np.array([0.1]))


def estimate(area: float, error: float) -> AucEstimate:
    return AucEstimate(area, 0.0, 1.0, error, 20, 20, "delong_logit")


def test_summary_is_on_the_logit_scale_and_leaves_out_what_has_no_variance() -> None:
    areas = [estimate(0.7, 0.05), estimate(0.8, 0.04), estimate(0.9, 0.03)]
    found = summarize([*areas, estimate(1.0, 0.0), estimate(0.6, float("nan"))])
    assert found is not None
    assert found.centre_count == 3
    effect = np.array([logit(a.auc) for a in areas])
    variance = np.array([(a.standard_error / (a.auc * (1 - a.auc))) ** 2 for a in areas])
    assert logit(found.auc.value) == pytest.approx(random_effects(effect, variance).mean)
    assert found.auc.low is not None
    assert found.auc.value is not None
    assert found.auc.high is not None
    assert 0 < found.auc.low < found.auc.value < found.auc.high < 1
    assert summarize([estimate(1.0, 0.0), estimate(0.7, 0.05)]) is None


def test_patients_of_unknown_center_take_no_part(tmp_path: Path) -> None:
    run = finished_run(tmp_path, small_recipe({"leave_one_centre_out": True}), centre_count=2)
    material, _ = refit_materials(run)
    centres = {c: None if i < 4 else run.centres[c] for i, c in enumerate(material.case_ids)}
    tasks = centre_tasks(material, centres)
    assert [task.name for task in tasks] == ["centre-0001", "centre-0002"]
    for task in tasks:
        assert set(material.case_ids[:4]) < task.left_out
    one_outcome = {c: "a" if material.data.outcome[c] else "b" for c in material.case_ids}
    assert measurable_centres(material, one_outcome) == ()
    assert centre_tasks(material, one_outcome) == []
