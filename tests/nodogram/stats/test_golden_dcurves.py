"""Net benefit and net interventions avoided against R package dcurves, on the 750 patients of its data set ``df_binary``.

Patients: as shipped with the Python package dcurves (Apache-2.0; the R package is MIT), seven digits. Expected values: computed
by the R package and kept as references by the tests of the Python package (``r_bin_dca_result_1.csv``,
``r_case1_results.csv`` and ``dca_tutorial_interventions_vals.csv`` of MSKCC-Epi-Bio/dcurves). ``marker`` is turned into a
probability by logistic regression, as dcurves does (``as_probability``).
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm

from nodogram.stats.net_benefit import DecisionCurve, decision_bands, decision_curve

GOLDEN = Path(__file__).parents[2] / "golden"


def columns(file: str) -> dict[str, np.ndarray]:
    with (GOLDEN / file).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


@pytest.fixture(scope="module")
def patients() -> dict[str, np.ndarray]:
    found = {name: values.astype(np.float64) for name, values in columns("dcurves_binary.csv").items()}
    design = sm.add_constant(found["marker"])
    found["marker"] = sm.GLM(found["cancer"], design, family=sm.families.Binomial()).fit().fittedvalues
    return found


def curve(patients: dict[str, np.ndarray], model: str) -> tuple[DecisionCurve, dict[str, np.ndarray]]:
    table = columns("dcurves_net_benefit.csv")
    rows = {name: values[table["model"] == model] for name, values in table.items()}
    probability = np.ones(750) if model == "all" else patients[model]
    outcome = patients["cancer"].astype(np.int64)
    return decision_curve(outcome, probability, rows["threshold"].astype(np.float64)), rows


@pytest.mark.parametrize("model", ["cancerpredmarker", "famhistory", "marker", "all"])
def test_net_benefit(patients: dict[str, np.ndarray], model: str) -> None:
    found, expected = curve(patients, model)
    assert found.model == pytest.approx(expected["net_benefit"].astype(np.float64), abs=1e-12)


def test_net_interventions_avoided_per_hundred(patients: dict[str, np.ndarray]) -> None:
    found, expected = curve(patients, "marker")
    assert found.interventions_avoided == pytest.approx(expected["interventions_avoided"].astype(np.float64), abs=1e-10)


def test_bands_lie_about_the_published_curves(patients: dict[str, np.ndarray]) -> None:
    _, expected = curve(patients, "marker")
    found = decision_bands(
        patients["cancer"].astype(np.int64),
        patients["marker"],
        expected["threshold"].astype(np.float64),
        replicates=500,
        rng=np.random.default_rng(0),
        other=patients["cancerpredmarker"],
    )
    assert found.model.value == pytest.approx(expected["net_benefit"].astype(np.float64), abs=1e-12)
    assert found.interventions_avoided.value == pytest.approx(expected["interventions_avoided"].astype(np.float64), abs=1e-10)
    assert found.difference is not None
    published = columns("dcurves_net_benefit.csv")
    better = {t: float(v) for m, t, v, _ in zip(*published.values(), strict=True) if m == "cancerpredmarker"}
    difference = [float(v) - better[t] for t, v in zip(expected["threshold"], expected["net_benefit"], strict=True)]
    assert found.difference.value == pytest.approx(difference, abs=1e-12)
    for band in (found.model, found.treat_all, found.interventions_avoided, found.difference):
        assert ((band.low <= band.value) & (band.value <= band.high)).all()
