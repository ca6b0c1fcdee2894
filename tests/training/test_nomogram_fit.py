from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from nodogram.clinical import ClinicalPredictor
from nodogram.nomogram import SCORE
from training.clinical_fit import clinical_probability, clinical_tables
from training.nomogram_fit import fit_nomogram
from training.recipe import load_recipe

SITE = ClinicalPredictor(name="site", label="Site", type="categorical", levels=("glottic", "supraglottic"), reference="glottic")
AGE = ClinicalPredictor(name="age_years", label="Age", type="continuous", unit="years", range=(18, 110))
SETTINGS = load_recipe("sound").clinical


def simulate(n: int = 300) -> tuple[np.ndarray, list[dict[str, str | float]], np.ndarray]:
    rng = np.random.default_rng(0)
    score, site, age = rng.normal(size=n), rng.integers(0, 2, n), rng.uniform(40, 80, n).round()
    outcome = (rng.random(n) < expit(-0.5 + score + 1.2 * site)).astype(np.int64)
    records = [{"site": SITE.levels[s], "age_years": a} for s, a in zip(site, age, strict=True)]
    return score, records, outcome


def test_nomogram_reads_what_the_regression_says() -> None:
    score, records, outcome = simulate()
    result = fit_nomogram(score, (SITE, AGE), records, outcome, SETTINGS)
    coefficient = dict(zip(result.fit.names, result.fit.coefficient, strict=True))
    for s, record in list(zip(score, records, strict=True))[:20]:
        linear = (
            result.fit.intercept
            + coefficient[SCORE] * s
            + coefficient["clinical.site[supraglottic]"] * (record["site"] == "supraglottic")
            + coefficient["clinical.age_years"] * float(record["age_years"])
        )
        reading = result.nomogram.read({SCORE: float(s), **record})
        assert reading.linear_predictor == pytest.approx(linear, abs=1e-9)
        assert not any(c.out_of_range for c in reading.contributions)


def test_constant_score_and_no_clinical_predictor_are_legal() -> None:
    _, _, outcome = simulate()
    result = fit_nomogram(np.full(outcome.size, 0.2), (), [{}] * outcome.size, outcome, SETTINGS)
    assert result.nomogram.read({SCORE: 0.2}).probability == pytest.approx(outcome.mean(), abs=1e-6)


def test_screening_keeps_what_the_recipe_says() -> None:
    _, records, outcome = simulate()
    everything = clinical_tables((SITE, AGE), records, outcome, SETTINGS)
    assert everything.kept == ("site", "age_years")
    screened = clinical_tables((SITE, AGE), records, outcome, load_recipe("paper").clinical)
    assert screened.kept == ("site",)
    assert screened.univariable[0].interval == "wald"
    assert everything.multivariable is not None
    assert everything.multivariable.names == ("clinical.site[supraglottic]", "clinical.age_years")


def test_clinical_model_gives_the_shares_of_a_single_binary_predictor() -> None:
    _, records, outcome = simulate()
    probability = clinical_probability((SITE,), records, outcome, records, SETTINGS)
    for level in SITE.levels:
        chosen = np.array([r["site"] == level for r in records])
        assert probability[chosen] == pytest.approx(outcome[chosen].mean(), abs=1e-8)
