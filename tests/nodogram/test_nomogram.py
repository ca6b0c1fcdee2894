from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nodogram.errors import CohortError, Reason
from nodogram.nomogram import SCORE, Nomogram, NomogramTerm
from nodogram.nomogram_figure import draw_nomogram

coefficients = st.floats(-5, 5).filter(lambda c: abs(c) > 1e-3)


def make(intercept: float, score: float, site: float, age: float) -> Nomogram:
    return Nomogram(
        intercept=intercept,
        terms=(
            NomogramTerm(predictor=SCORE, label="DLR score", kind="continuous", coefficient=score, low=-3, high=3),
            NomogramTerm(
                predictor="site",
                label="Site",
                kind="categorical",
                levels=("glottic", "supra", "sub"),
                level_coefficients=(0, site, -site / 2),
            ),
            NomogramTerm(predictor="age", label="Age", unit="years", kind="continuous", coefficient=age / 40, low=30, high=90),
        ),
    )


@given(
    intercept=st.floats(-4, 4), score=coefficients, site=coefficients, age=coefficients,
    value=st.floats(-5, 5), level=st.sampled_from(["glottic", "supra", "sub"]), years=st.floats(18, 110),
)  # fmt: skip
def test_points_and_formula_agree(
    intercept: float, score: float, site: float, age: float, value: float, level: str, years: float
) -> None:
    nomogram = make(intercept, score, site, age)
    reading = nomogram.read({SCORE: value, "site": level, "age": years})
    effect = {"glottic": 0.0, "supra": site, "sub": -site / 2}[level]
    linear = intercept + score * value + effect + age / 40 * years
    assert reading.linear_predictor == pytest.approx(linear, abs=1e-9)
    assert reading.probability == pytest.approx(1 / (1 + math.exp(-linear)), abs=1e-9)
    assert nomogram.probability_at(reading.total_points) == pytest.approx(reading.probability, abs=1e-9)
    assert reading.total_points == pytest.approx(sum(c.points for c in reading.contributions), abs=1e-9)


@given(intercept=st.floats(-4, 4), score=coefficients, site=coefficients, age=coefficients)
def test_table_spans_zero_to_one_hundred(intercept: float, score: float, site: float, age: float) -> None:
    nomogram = make(intercept, score, site, age)
    points = [entry.points for entry in nomogram.points_table()]
    assert min(points) == pytest.approx(0.0, abs=1e-9)
    assert max(points) == pytest.approx(100.0)
    for entry in nomogram.points_table():
        others = {SCORE: 0.0, "site": "glottic", "age": 60.0}
        reading = nomogram.read({**others, entry.predictor: entry.value})
        found = next(c.points for c in reading.contributions if c.predictor == entry.predictor)
        assert found == pytest.approx(entry.points, abs=1e-9)
    for p in (0.1, 0.5, 0.9):
        assert nomogram.probability_at(nomogram.points_at(p)) == pytest.approx(p, abs=1e-9)


def test_out_of_range_is_legal_and_said() -> None:
    reading = make(0.0, 1.0, 0.5, 0.1).read({SCORE: 4.0, "site": "glottic", "age": 60.0})
    assert [c.out_of_range for c in reading.contributions] == [True, False, False]
    assert reading.contributions[0].points > 100


def test_missing_and_impossible_values_are_refused() -> None:
    nomogram = make(0.0, 1.0, 0.5, 0.1)
    with pytest.raises(CohortError, match="site, age") as missing:
        nomogram.read({SCORE: 0.0})
    assert missing.value.reason is Reason.CLINICAL_PREDICTOR_MISSING
    with pytest.raises(CohortError, match="glottic, supra, sub") as wrong:
        nomogram.read({SCORE: 0.0, "site": "tongue", "age": 60.0})
    assert wrong.value.reason is Reason.CLINICAL_VALUE_INVALID


def test_document_round_trip_is_closed_to_unknown_keys() -> None:
    nomogram = make(0.1, 1.0, 0.5, 0.1)
    assert Nomogram.model_validate_json(nomogram.model_dump_json()) == nomogram
    with pytest.raises(ValidationError, match="color"):
        Nomogram.model_validate({**nomogram.model_dump(), "color": "red"})


def test_without_any_effect_there_are_no_points() -> None:
    term = NomogramTerm(predictor=SCORE, label="DLR score", kind="continuous", coefficient=0.0, low=-1, high=1)
    nomogram = Nomogram(intercept=-0.4, terms=(term,))
    reading = nomogram.read({SCORE: 0.3})
    assert reading.total_points == 0.0
    assert reading.probability == pytest.approx(1 / (1 + math.exp(0.4)))


@pytest.mark.parametrize("effect", [1.0, 0.0])
def test_drawing_is_deterministic_and_survives_odd_labels(tmp_path: Path, effect: float) -> None:
    term = NomogramTerm(
        predictor=SCORE,
        label="A $very$ long label that needs a second line",
        kind="continuous",
        coefficient=effect,
        low=-1,
        high=1,
    )
    nomogram = Nomogram(intercept=-0.4, terms=(term,))
    for name in ("a", "b"):
        draw_nomogram(nomogram, nomogram.read({SCORE: 0.3}), tmp_path / f"{name}.svg", tmp_path / f"{name}.png")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    text = (tmp_path / "a.svg").read_text()
    assert "Total points" in text
    assert "$very$" in text
