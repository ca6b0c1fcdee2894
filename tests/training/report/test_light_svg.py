"""Lighter drawings: the same points within a hundredth of one, and nothing lost that is seen."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.figure import Figure
from svgpath_reader import absolute_points

from training.report.light_svg import SVG, compact_path, lighten
from training.report.style import figure_style


def drawing() -> str:
    rng = np.random.default_rng(0)
    with figure_style():
        figure = Figure((5, 3), layout="constrained")
        axes = figure.subplots()
        axes.plot(np.cumsum(rng.normal(size=200)), label='a < b & "c"')
        axes.fill_between(np.arange(200.0), -1.0, rng.random(200), alpha=0.25)
        axes.scatter(rng.random(30) * 200, rng.random(30), c=rng.random(30))
        axes.imshow(rng.random((4, 4)), extent=(0, 20, -5, 5))
        axes.set_ylabel("turned")
        axes.legend()
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("M 0 0 \nL 10.004 0 \nL 10.004 -5.5 \nz \n", "M0 0h10v-5.5z"),
        ("M 1.5 2 \nL 2.25 3.125 \nL 3 4.25 \n", "M1.5 2l.75 1.12 .75 1.13"),
        ("M 0 0 L 1 1 M 5 5 L 6 7", "M0 0l1 1M5 5l1 2"),
        ("M 0 3 C 0.8 3 1.6 2.7 2.1 2.1 z", "M0 3c.8 0 1.6-.3 2.1-.9z"),
        ("M 2 2 Q 4 2 4 0 L 4 0 L 4 0.001", "M2 2q2 0 2-2"),
        ("M 3 3 L 3 3", "M3 3h0"),
        ("", ""),
    ],
)
def test_paths(data: str, expected: str) -> None:
    assert compact_path(data) == expected


def test_no_error_adds_up_along_a_path() -> None:
    rng = np.random.default_rng(1)
    points = np.cumsum(rng.normal(size=(2000, 2)) * 0.037, axis=0) + 50
    data = "M " + " L ".join(f"{x:.6f} {y:.6f}" for x, y in points)
    found = absolute_points(compact_path(data))
    # Steps of no length are left out, so points are looked for by their neighbors.
    distance = np.abs(points[:, None] - found[None, :]).max(axis=2).min(axis=1)
    assert distance.max() <= 0.0051
    assert np.abs(found[-1] - points[-1]).max() <= 0.0051


def test_the_drawing_keeps_its_text_and_its_shapes_and_loses_most_bytes() -> None:
    before = drawing()
    after = lighten(before)
    assert len(after) < 0.5 * len(before)
    old, new = (ET.fromstring(text) for text in (before, after))  # noqa: S314 - written above
    for tag in ("path", "use", "image", "text", "clipPath"):
        assert len(new.findall(f".//{{{SVG}}}{tag}")) == len(old.findall(f".//{{{SVG}}}{tag}")), tag
    words = ["".join(e.itertext()) for e in new.findall(f".//{{{SVG}}}text")]
    assert 'a < b & "c"' in words
    assert "turned" in words
    assert old.get("viewBox") == new.get("viewBox")


def test_every_reference_leads_somewhere() -> None:
    after = lighten(drawing())
    identifiers = re.findall(r'\bid="([^"]+)"', after)
    referred = set(re.findall(r'(?:href="#|url\(#)([^")]+)', after))
    assert len(identifiers) == len(set(identifiers))
    assert referred == set(identifiers)


def test_the_style_sheet_that_would_reach_beyond_the_drawing_is_gone() -> None:
    after = lighten(drawing())
    assert "<style" not in after
    assert after.count("font-family") == 1
    assert 'style="font-family' in after[: after.index(">")]


def test_doing_it_twice_changes_nothing_that_is_seen() -> None:
    once = lighten(drawing())
    assert lighten(drawing()) == once
