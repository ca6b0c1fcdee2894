"""Logistic regression and nomogram against R: ``rms::lrm``, ``rms::nomogram``, ``rms::val.prob`` and ``glm``.

1. Ford, "Demo of a nomogram", University of Virginia Library StatLab 2022 (uvastatlab.github.io/statistical_notes): 1000
   simulated patients, the printed table of ``lrm``, the points read from the printed nomogram by hand, the printed prediction.
   ``nomogram_demo.csv`` are its data: its own R code (seed 17) run with R 4.2.2, six decimals. The page shows the nomogram as
   a figure; the points table is what rms 6.5-0 prints of the same object (``print(nom)``), as is ``val.prob`` of the
   probabilities the data were simulated with.
2. Low birth weight, 189 mothers (Hosmer, Lemeshow 1989; R package MASS): coefficients, standard errors and deviances as
   printed in Venables, Ripley 2002, Modern Applied Statistics with S, section 7.2; points table by rms 6.5-0.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from nodogram.nomogram import SCORE, Nomogram, NomogramTerm
from nodogram.stats.calibration import brier_score, calibration_line
from nodogram.stats.discrimination import auc
from training.logistic import LogisticFit, fit_logistic

GOLDEN = Path(__file__).parents[1] / "golden"


def columns(file: str) -> dict[str, np.ndarray]:
    with (GOLDEN / file).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def chi_square(found: LogisticFit, outcome: np.ndarray) -> float:
    share = outcome.mean()
    return 2 * (found.log_likelihood - outcome.size * (share * np.log(share) + (1 - share) * np.log(1 - share)))


def numbers(low: float, high: float, step: float) -> list[float]:
    return [float(x) for x in np.arange(low, high + step / 2, step)]


@pytest.fixture(scope="module")
def demo() -> dict[str, np.ndarray]:
    return columns("nomogram_demo.csv")


@pytest.fixture(scope="module")
def demo_outcome(demo: dict[str, np.ndarray]) -> np.ndarray:
    return demo["y"].astype(np.int64)


@pytest.fixture(scope="module")
def demo_fit(demo: dict[str, np.ndarray], demo_outcome: np.ndarray) -> LogisticFit:
    names = ("age", "sex=male", "cholesterol", "blood.pressure")
    design = np.column_stack(
        [
            demo["age"].astype(float),
            demo["sex"] == "male",
            demo["cholesterol"].astype(float),
            demo["blood_pressure"].astype(float),
        ]
    )
    return fit_logistic(design, names, demo_outcome, interval="wald", separation="stop")


@pytest.fixture(scope="module")
def demo_nomogram(demo_fit: LogisticFit) -> Nomogram:
    age, male, cholesterol, pressure = demo_fit.coefficient
    return Nomogram(
        intercept=demo_fit.intercept,
        terms=(
            NomogramTerm(predictor=SCORE, label="age", kind="continuous", coefficient=age, low=10, high=90),
            NomogramTerm(
                predictor="sex", label="sex", kind="categorical", levels=("female", "male"), level_coefficients=(0, male)
            ),
            NomogramTerm(
                predictor="cholesterol", label="cholesterol", kind="continuous", coefficient=cholesterol, low=120, high=280
            ),
            NomogramTerm(predictor="pressure", label="pressure", kind="continuous", coefficient=pressure, low=70, high=170),
        ),
    )


def test_lrm_table(demo_fit: LogisticFit, demo_outcome: np.ndarray) -> None:
    assert np.bincount(demo_outcome).tolist() == [517, 483]
    assert round(demo_fit.intercept, 4) == -0.0115
    printed = [
        (-0.0209, 0.0064, -3.28, 0.0010),
        (-0.1584, 0.1284, -1.23, 0.2174),
        (0.0080, 0.0026, 3.04, 0.0024),
        (-0.0045, 0.0043, -1.06, 0.2892),
    ]
    rows = zip(demo_fit.coefficient, demo_fit.standard_error, demo_fit.p_value, strict=True)
    assert [(round(b, 4), round(se, 4), round(b / se, 2), round(p, 4)) for b, se, p in rows] == printed


def test_lrm_indexes(
    demo: dict[str, np.ndarray], demo_fit: LogisticFit, demo_nomogram: Nomogram, demo_outcome: np.ndarray
) -> None:
    likelihood_ratio = chi_square(demo_fit, demo_outcome)
    assert round(likelihood_ratio, 2) == 23.09
    share = demo_outcome.mean()
    null = share * np.log(share) + (1 - share) * np.log(1 - share)
    assert round(-np.expm1(-likelihood_ratio / 1000) / -np.expm1(2 * null), 3) == 0.030
    patients = zip(demo["age"], demo["sex"], demo["cholesterol"], demo["blood_pressure"], strict=True)
    probability = np.array(
        [
            demo_nomogram.read({SCORE: float(a), "sex": str(s), "cholesterol": float(c), "pressure": float(b)}).probability
            for a, s, c, b in patients
        ]
    )
    area = auc(demo_outcome, probability)
    assert (f"{area:.3f}", f"{2 * area - 1:.3f}") == ("0.590", "0.179")
    assert f"{brier_score(demo_outcome, probability):.3f}" == "0.244"


def test_nomogram_points(demo_nomogram: Nomogram) -> None:
    assert demo_nomogram.points_per_log_odds == pytest.approx(59.73402, abs=5e-5)
    printed = {
        SCORE: (numbers(10, 90, 10), (100.0, 87.5, 75.0, 62.5, 50.0, 37.5, 25.0, 12.5, 0.0)),
        "sex": (["female", "male"], (9.4632, 0.0)),
        "cholesterol": (
            numbers(120, 280, 20),
            (0.0, 9.5874, 19.1749, 28.7623, 38.3498, 47.9372, 57.5247, 67.1121, 76.6995),
        ),
        "pressure": (
            numbers(70, 170, 10),
            (26.9738, 24.2764, 21.5790, 18.8816, 16.1843, 13.4869, 10.7895, 8.0921, 5.3948, 2.6974, 0.0),
        ),
    }
    base: dict[str, float | str] = {SCORE: 90.0, "sex": "male", "cholesterol": 120.0, "pressure": 170.0}
    for predictor, (values, points) in printed.items():
        found = [demo_nomogram.read({**base, predictor: value}).total_points for value in values]
        assert found == pytest.approx(points, abs=6e-5)


def test_nomogram_risk_axis(demo_nomogram: Nomogram) -> None:
    printed = {0.30: 60.3656, 0.40: 86.7581, 0.50: 110.9781, 0.60: 135.1982, 0.70: 161.5906}
    for risk, total in printed.items():
        assert demo_nomogram.points_at(risk) == pytest.approx(total, abs=6e-5)
        assert demo_nomogram.probability_at(total) == pytest.approx(risk, abs=1e-6)


def test_the_patient_of_the_page(demo_nomogram: Nomogram) -> None:
    reading = demo_nomogram.read({SCORE: 50.0, "sex": "female", "cholesterol": 140.0, "pressure": 170.0})
    by_hand = (50, 10, 10, 0)
    assert [c.points for c in reading.contributions] == pytest.approx(by_hand, abs=0.6)
    # Read by hand "a little less than 0.35", said to be about 0.33; Predict() of rms prints 0.3313907.
    assert f"{reading.probability:.7f}" == "0.3313907"


def test_val_prob_of_the_true_model(demo: dict[str, np.ndarray], demo_outcome: np.ndarray) -> None:
    linear = (
        0.01
        + 0.1 * (demo["sex"] == "male")
        - 0.02 * demo["age"].astype(float)
        + 0.01 * demo["cholesterol"].astype(float)
        - 0.01 * demo["blood_pressure"].astype(float)
    )
    probability = expit(linear)
    found = calibration_line(demo_outcome, probability)
    assert found.slope == pytest.approx(0.759093757, abs=1e-6)
    # val.prob prints 0.581038: rms ranks probabilities in narrow bins. wilcox.test of R has the exact ranks: 0.5810997513.
    assert f"{auc(demo_outcome, probability):.9f}" == "0.581099751"
    assert f"{brier_score(demo_outcome, probability):.6f}" == "0.245650"
    # glm(y ~ offset(L)) and glm(y ~ L) of R 4.2.2: estimates and standard errors.
    assert found.intercept == pytest.approx(0.0694857665, abs=1e-6)
    assert (found.intercept_high - found.intercept_low) / 2 == pytest.approx(1.959964 * 0.0642918954, abs=1e-6)
    assert found.slope_high is not None
    assert found.slope_high - 0.759093757 == pytest.approx(1.959964 * 0.1784578047, abs=1e-6)


@pytest.fixture(scope="module")
def birth_weight() -> tuple[LogisticFit, np.ndarray]:
    data = {name: values.astype(int) for name, values in columns("birthwt.csv").items()}
    design = {
        "age": data["age"],
        "lwt": data["lwt"],
        "black": data["race"] == 2,
        "other": data["race"] == 3,
        "smoke": data["smoke"],
        "ptd": data["ptl"] > 0,
        "ht": data["ht"],
        "ui": data["ui"],
        "ftv1": data["ftv"] == 1,
        "ftv2+": data["ftv"] >= 2,
    }
    table = np.column_stack([values.astype(float) for values in design.values()])
    return fit_logistic(table, tuple(design), data["low"], interval="wald", separation="stop"), data["low"]


def test_venables_and_ripley(birth_weight: tuple[LogisticFit, np.ndarray]) -> None:
    found, outcome = birth_weight
    printed = {
        "age": (-0.03723, 0.03870, -0.962),
        "lwt": (-0.01565, 0.00708, -2.211),
        "black": (1.19241, 0.53597, 2.225),
        "other": (0.74069, 0.46174, 1.604),
        "smoke": (0.75553, 0.42502, 1.778),
        "ptd": (1.34376, 0.48062, 2.796),
        "ht": (1.91317, 0.72074, 2.654),
        "ui": (0.68019, 0.46434, 1.465),
        "ftv1": (-0.43638, 0.47939, -0.910),
        "ftv2+": (0.17901, 0.45638, 0.392),
    }
    assert f"{found.intercept:.5f}" == "0.82302"
    for name, b, se in zip(found.names, found.coefficient, found.standard_error, strict=True):
        coefficient, error, z = printed[name]
        assert b == pytest.approx(coefficient, abs=6e-6)
        # glm stops before the last digit of the standard error is settled.
        assert se == pytest.approx(error, abs=5e-5)
        assert b / se == pytest.approx(z, abs=6e-4)
    assert f"{-2 * found.log_likelihood:.2f}" == "195.48"
    assert f"{chi_square(found, outcome) - 2 * found.log_likelihood:.2f}" == "234.67"
    assert f"{chi_square(found, outcome):.2f}" == "39.20"


def test_nomogram_of_a_model_with_many_levels(birth_weight: tuple[LogisticFit, np.ndarray]) -> None:
    found = birth_weight[0]
    b = dict(zip(found.names, found.coefficient, strict=True))

    def levels(name: str, **coefficients: float) -> NomogramTerm:
        return NomogramTerm(
            predictor=name,
            label=name,
            kind="categorical",
            levels=tuple(coefficients),
            level_coefficients=tuple(coefficients.values()),
        )

    nomogram = Nomogram(
        intercept=found.intercept,
        terms=(
            NomogramTerm(predictor=SCORE, label="age", kind="continuous", coefficient=b["age"], low=10, high=45),
            NomogramTerm(predictor="lwt", label="lwt", kind="continuous", coefficient=b["lwt"], low=80, high=260),
            levels("race", white=0.0, black=b["black"], other=b["other"]),
            *(levels(name, no=0.0, yes=b[name]) for name in ("smoke", "ptd", "ht", "ui")),
            levels("ftv", none=0.0, one=b["ftv1"], more=b["ftv2+"]),
        ),
    )
    assert nomogram.points_per_log_odds == pytest.approx(35.49193, abs=5e-5)
    points = {(entry.predictor, entry.value): entry.points for entry in nomogram.points_table(divisions=7)}
    printed = {
        (SCORE, 10.0): 46.253,
        (SCORE, 15.0): 39.646,
        (SCORE, 40.0): 6.608,
        ("lwt", 80.0): 100.0,
        ("lwt", 260.0): 0.0,
        ("race", "white"): 0.0,
        ("race", "black"): 42.321,
        ("race", "other"): 26.288,
        ("smoke", "yes"): 26.815,
        ("ptd", "yes"): 47.693,
        ("ht", "yes"): 67.902,
        ("ui", "yes"): 24.141,
        ("ftv", "none"): 15.488,
        ("ftv", "one"): 0.0,
        ("ftv", "more"): 21.841,
    }
    assert {key: points[key] for key in printed} == pytest.approx(printed, abs=6e-4)
    for risk, total in {0.1: 112.206, 0.5: 190.190, 0.9: 268.174}.items():
        assert nomogram.points_at(risk) == pytest.approx(total, abs=6e-4)
