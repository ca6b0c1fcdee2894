from __future__ import annotations

from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from nodogram.nomogram import SCORE, Nomogram, NomogramReading, NomogramTerm
from nodogram.nomogram_figure import draw_nomogram, nomogram_figure

STAGES = ("T1", "T2", "T3", "T4a", "T4b")
SITES = ("glottic", "supraglottic", "subglottic", "transglottic", "hypopharyngeal")


def score(coefficient: float = 1.1, low: float = -4.0, high: float = 4.0, label: str = "DLR score") -> NomogramTerm:
    return NomogramTerm(predictor=SCORE, label=label, kind="continuous", coefficient=coefficient, low=low, high=high)


def levels(name: str, of: tuple[str, ...], coefficients: tuple[float, ...]) -> NomogramTerm:
    return NomogramTerm(predictor=name, label=name, kind="categorical", levels=of, level_coefficients=(0.0, *coefficients))


def clinical() -> Nomogram:
    age = NomogramTerm(predictor="age", label="Age", unit="years", kind="continuous", coefficient=-0.013, low=30, high=90)
    terms = (
        score(),
        levels("CT-reported LNM", ("no", "yes"), (1.56,)),
        levels("site", SITES[:2], (2.38,)),
        age,
        levels("stage", STAGES, (0.1, 0.25, 0.9, 0.95)),
    )
    return Nomogram(intercept=-2.5, terms=terms)


PATIENT = {SCORE: 0.7, "CT-reported LNM": "yes", "site": "supraglottic", "age": 63.0, "stage": "T3"}


def boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    """Where each text really ends up, in pixels."""
    figure.canvas.draw()
    return [(text.get_text(), text.get_window_extent()) for text in figure.axes[0].texts]


def assert_readable(figure: Figure) -> None:
    found = boxes(figure)
    for (one, a), (other, b) in combinations(found, 2):
        overlap = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(overlap) <= 0.5, f"{one!r} and {other!r} overlap by {overlap} px"
    for text, box in found:
        assert box.x0 >= 3, f"{text!r} is cut off on the left"
        assert box.x1 <= figure.bbox.x1, f"{text!r} is cut off on the right"
        assert box.y0 >= 0
        assert box.y1 <= figure.bbox.y1


def texts(nomogram: Nomogram, reading: NomogramReading | None = None) -> list[str]:
    return [text for text, _ in boxes(nomogram_figure(nomogram, reading))]


def test_every_ruler_every_level_and_the_patient_are_labeled() -> None:
    nomogram = clinical()
    found = texts(nomogram, nomogram.read(PATIENT))
    assert {"Points", "DLR score", "CT-reported LNM", "Age (years)", "Total points", "Probability"} <= set(found)
    assert {"no", "yes", *SITES[:2], *STAGES} <= set(found)
    reading = nomogram.read(PATIENT)
    assert {f"{c.points:.1f}" for c in reading.contributions} <= set(found)
    assert f"{reading.total_points:.1f}" in found
    assert f"{reading.probability:.1%}" in found


def test_ticks_stand_where_the_nomogram_reads_them() -> None:
    nomogram = clinical()
    axes = nomogram_figure(nomogram).axes[0]
    label = next(t for t in axes.texts if t.get_text() == "yes")
    points = nomogram.read(PATIENT).contributions[1].points
    assert label.get_position()[0] == pytest.approx(points / 100)
    end = max(float(t.get_text()) for t in axes.texts if t.get_position()[1] == pytest.approx(1.15))
    half = next(t for t in axes.texts if t.get_text() == "0.5")
    assert half.get_position()[0] == pytest.approx(nomogram.points_at(0.5) / end)


@settings(max_examples=25, deadline=None)
@given(
    coefficients=st.lists(st.sampled_from([-2.0, -0.5, -0.01, 0.0, 0.01, 0.02, 0.3, 1.0, 3.0]), min_size=9, max_size=9),
    intercept=st.sampled_from([-8.0, -2.0, 0.0, 5.0]),
    value=st.floats(-9, 9),
    span=st.sampled_from([(-4.0, 4.0), (0.0, 1.0), (-0.013, 0.42), (1e4, 9.7e5)]),
)
def test_no_label_ever_touches_another(
    coefficients: list[float], intercept: float, value: float, span: tuple[float, float]
) -> None:
    nomogram = Nomogram(
        intercept=intercept,
        terms=(
            score(coefficients[0] / (span[1] - span[0]), *span, label="Deep-learning radiomics score of the primary tumor"),
            levels("site", SITES, tuple(coefficients[1:5])),
            levels("stage", STAGES, tuple(coefficients[5:])),
        ),
    )
    reading = nomogram.read({SCORE: value, "site": SITES[-1], "stage": "T3"})
    assert_readable(nomogram_figure(nomogram, reading))


def test_values_beyond_a_ruler_are_arrowheads_at_its_end() -> None:
    nomogram = Nomogram(intercept=-0.4, terms=(score(),))
    for value, marker in ((6.0, ">"), (-6.0, "<"), (0.0, "o")):
        lines = nomogram_figure(nomogram, nomogram.read({SCORE: value})).axes[0].lines
        found = {line.get_marker() for line in lines} - {"None", "", "D"}
        assert found == {marker}


def test_a_model_without_any_effect_is_drawn_and_says_so() -> None:
    nomogram = Nomogram(intercept=-0.4, terms=(score(0.0),))
    figure = nomogram_figure(nomogram, nomogram.read({SCORE: 0.3}))
    assert_readable(figure)
    found = [text for text, _ in boxes(figure)]
    assert "no effect in this model: 0 points" in found
    assert "0.401 for every patient" in found
    assert "40.1%" in found


def test_small_risks_get_a_probability_ruler_of_their_own() -> None:
    nomogram = Nomogram(intercept=-7.0, terms=(score(0.1),))
    assert {"0.0008", "0.001", "0.0012"} <= set(texts(nomogram))


@pytest.mark.parametrize(("intercept", "text"), [(-12.0, "<0.1%"), (12.0, ">99.9%")])
def test_certainty_is_never_printed(intercept: float, text: str) -> None:
    nomogram = Nomogram(intercept=intercept, terms=(score(0.1),))
    assert text in texts(nomogram, nomogram.read({SCORE: 0.0}))


def test_files_are_deterministic_whatever_the_settings_of_the_user(tmp_path: Path) -> None:
    nomogram = clinical()
    reading = nomogram.read(PATIENT)
    draw_nomogram(nomogram, reading, tmp_path / "a.svg", tmp_path / "a.png")
    with mpl.rc_context({"font.family": "monospace", "svg.fonttype": "path"}):
        draw_nomogram(nomogram, reading, tmp_path / "b.svg", tmp_path / "b.png")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "Total points" in text
    assert "<dc:date>" not in text
    with Image.open(tmp_path / "a.png") as image:
        assert image.width == 1800


def test_only_what_is_asked_for_is_written_and_labels_are_no_formulas(tmp_path: Path) -> None:
    nomogram = Nomogram(intercept=-0.4, terms=(score(label="A $very$ long label that needs more than one line"),))
    draw_nomogram(nomogram, None, tmp_path / "a.svg", None)
    assert [p.name for p in tmp_path.iterdir()] == ["a.svg"]
    assert "$very$" in (tmp_path / "a.svg").read_text(encoding="utf-8")
