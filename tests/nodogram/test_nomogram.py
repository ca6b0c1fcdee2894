from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nodogram.errors import CohortError, Reason
from nodogram.nomogram import SCORE, Nomogram, NomogramTerm

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


def test_score_alone_is_a_nomogram() -> None:
    term = NomogramTerm(predictor=SCORE, label="DLR score", kind="continuous", coefficient=2.0, low=-1, high=1)
    nomogram = Nomogram(intercept=0.5, terms=(term,))
    reading = nomogram.read({SCORE: 0.0})
    assert (reading.total_points, reading.linear_predictor) == (50.0, 0.5)
    assert nomogram.formula() == "logit(p) = 0.5 + 2 × dlr_score"
    assert [(e.value, e.points) for e in nomogram.points_table(2)] == [(-1.0, 0.0), (0.0, 50.0), (1.0, 100.0)]


def test_a_falling_effect_has_its_zero_at_the_high_end() -> None:
    term = NomogramTerm(predictor=SCORE, label="DLR score", kind="continuous", coefficient=-2.0, low=0, high=1)
    reading = Nomogram(intercept=0.0, terms=(term,)).read({SCORE: 1.5})
    assert (reading.total_points, reading.contributions[0].out_of_range) == (-50.0, True)
    assert reading.probability == pytest.approx(1 / (1 + math.exp(3.0)))


@given(intercept=st.floats(-4, 4), score=coefficients, site=coefficients, age=coefficients, value=st.floats(-3, 3))
def test_formula_as_text_computes_the_probability(
    intercept: float, score: float, site: float, age: float, value: float
) -> None:
    nomogram = make(intercept, score, site, age)
    reading = nomogram.read({SCORE: value, "site": "supra", "age": 60.0})
    text = nomogram.formula().removeprefix("logit(p) = ")
    for level in ("glottic", "supra", "sub"):
        text = text.replace(f'[site = "{level}"]', str(int(level == "supra")))
    text = text.replace("×", "*").replace(SCORE, f"({value!r})").replace("age", "60.0")
    # Six significant digits are printed, of terms up to 15 in size.
    assert eval(text, {"__builtins__": {}}) == pytest.approx(reading.linear_predictor, abs=1e-4)  # noqa: S307


@pytest.mark.parametrize("value", ["old", "nan", math.inf])
def test_what_is_no_number_is_refused(value: float | str) -> None:
    with pytest.raises(CohortError, match="a finite number is required") as wrong:
        make(0.0, 1.0, 0.5, 0.1).read({SCORE: 0.0, "site": "supra", "age": value})
    assert wrong.value.reason is Reason.CLINICAL_VALUE_INVALID


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"low": 1.0, "high": 1.0}, "axis from 1.0 to 1.0 is empty"),
        ({"levels": ("a", "b")}, "has no levels"),
        ({"kind": "categorical", "levels": ("a",), "level_coefficients": (0.0,)}, "at least two levels"),
        ({"kind": "categorical", "levels": ("a", "a"), "level_coefficients": (0.0, 1.0)}, "every level once"),
        ({"kind": "categorical", "levels": ("a", "b"), "level_coefficients": (0.5, 1.0)}, "must be the reference"),
    ],
)
def test_impossible_terms_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        NomogramTerm.model_validate({"predictor": "x", "label": "X", "kind": "continuous", "low": 0, "high": 1, **change})


def test_the_score_comes_first_and_every_predictor_once() -> None:
    terms = make(0.0, 1.0, 0.5, 0.1).terms
    with pytest.raises(ValidationError, match="first term is site"):
        Nomogram(intercept=0.0, terms=terms[1:])
    with pytest.raises(ValidationError, match="every predictor once"):
        Nomogram(intercept=0.0, terms=(*terms, terms[1]))
