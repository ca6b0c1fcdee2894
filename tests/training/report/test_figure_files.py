"""Files of a figure, and its form on the page: drawn where that is light, a picture where not."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from training.report import style
from training.report.figure_files import HEAVY_SVG, SHOWN_WIDTH_PX, DrawnFigure, show_figure


def line_figure(points: int = 50) -> Figure:
    with style.figure_style():
        figure = Figure((style.WIDTH_IN, 4.0), layout="constrained")
        axes = figure.subplots()
        axes.plot(np.random.default_rng(0).random(points), color=style.BLUE)
        axes.set_xlabel("a label")
    return figure


def drawn(figure: Figure, folder: Path) -> DrawnFigure:
    svg, png = style.save_figure(figure, folder / "figure")
    return DrawnFigure("models", "A title", "Words.", svg, png)


def test_a_png_has_600_dpi_at_the_width_of_two_columns(tmp_path: Path) -> None:
    with Image.open(drawn(line_figure(), tmp_path).png) as picture:
        assert picture.width / 600 * 25.4 == pytest.approx(180.0, abs=0.05)
        assert picture.info["dpi"] == pytest.approx((600, 600), abs=0.1)
        assert picture.mode == "P"


def test_few_colors_are_still_the_right_ones(tmp_path: Path) -> None:
    with Image.open(drawn(line_figure(), tmp_path).png) as picture:
        colors = {color for count, color in picture.convert("RGB").getcolors(1 << 20) or [] if count > 200}
    assert (255, 255, 255) in colors
    assert any(np.abs(np.array(color) - (0x00, 0x72, 0xB2)).max() <= 3 for color in colors)


def test_pictures_of_patients_keep_their_shades(tmp_path: Path) -> None:
    figure = Figure((4, 4))
    figure.subplots().imshow(np.random.default_rng(0).random((64, 64)), cmap="gray")
    with Image.open(drawn(figure, tmp_path).png) as picture:
        assert picture.mode == "RGB"


def test_both_files_have_the_layout_of_the_first(tmp_path: Path) -> None:
    figure = line_figure()
    drawn(figure, tmp_path)
    (axes,) = figure.axes
    place = axes.get_position().bounds
    drawn(figure, tmp_path)
    assert axes.get_position().bounds == place


def test_a_light_drawing_is_part_of_the_page_with_names_of_its_own(tmp_path: Path) -> None:
    shown = show_figure(drawn(line_figure(), tmp_path), "f7")
    assert shown.picture == ""
    assert shown.svg.startswith("<svg")
    assert 'id="f7-' in shown.svg
    assert "a label" in shown.svg


def test_a_heavy_drawing_becomes_a_lighter_picture(tmp_path: Path) -> None:
    figure = line_figure(20_000)
    with style.figure_style():
        figure.axes[0].scatter(np.arange(4000.0), np.random.default_rng(1).random(4000), s=4)
    heavy = drawn(figure, tmp_path)
    assert heavy.svg.stat().st_size > HEAVY_SVG
    shown = show_figure(heavy, "f0")
    assert shown.svg == ""
    assert len(shown.picture) < heavy.svg.stat().st_size
    prefix = "data:image/webp;base64,"
    assert shown.picture.startswith(prefix)
    with Image.open(io.BytesIO(base64.b64decode(shown.picture.removeprefix(prefix)))) as picture:
        assert picture.size == (shown.width, shown.height)
        assert picture.width == SHOWN_WIDTH_PX
