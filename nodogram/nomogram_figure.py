"""The nomogram as a drawing: one ruler per predictor, a total, a probability, and the patient's marks on them."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nodogram.nomogram import Nomogram, NomogramReading, NomogramTerm

INK = "#1a1a1a"
FAINT = "#b8bec5"
# Okabe-Ito blue and vermilion: distinguishable with every common color vision.
MARK = "#0072B2"
RESULT = "#D55E00"
PROBABILITIES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
WIDTH_INCH = 9.0
ROW_INCH = 0.72
TICK = 0.10
# Labels closer than this share of the axis would touch.
LABEL_GAP = 0.042
# Right edge of the column with the patient's figures.
COLUMN = 1.12
# What fits left of the rulers; longer labels take a second line.
LABEL_CHARACTERS = 20


@dataclass(frozen=True)
class _Ruler:
    """One line of the drawing in its own coordinates 0 to 1."""

    label: str
    ends: tuple[float, float]
    positions: tuple[float, ...]
    texts: tuple[str, ...]


def draw_nomogram(nomogram: Nomogram, reading: NomogramReading | None, svg: Path | None, png: Path | None) -> None:
    """Draw the nomogram, with the patient's points if a reading is given.

    Parameters
    ----------
    svg, png
        Where to write; ``None`` skips the format. The SVG is the same, byte for byte, for the same input.
    """
    figure = nomogram_figure(nomogram, reading)
    with mpl.rc_context({"svg.hashsalt": "nodogram", "svg.fonttype": "none"}):
        if svg is not None:
            figure.savefig(svg, format="svg", metadata={"Date": None})
        if png is not None:
            figure.savefig(png, format="png", dpi=200)


def nomogram_figure(nomogram: Nomogram, reading: NomogramReading | None = None) -> Figure:
    """Return the drawing as a matplotlib figure."""
    terms = nomogram.terms
    count = len(terms) + 3
    figure = Figure(figsize=(WIDTH_INCH, ROW_INCH * count + 0.5), layout=None)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.20, 0.03, 0.78, 0.95))
    axes.set_xlim(-0.02, COLUMN)
    axes.set_ylim(-0.6, count - 0.4)
    axes.axis("off")
    points = _number_ruler("Points", 0.0, 100.0, 0.0, 100.0, 10)
    _draw(axes, points, count - 1)
    for row, term in enumerate(terms):
        _draw(axes, _term_ruler(nomogram, term), count - 2 - row)
    largest = _total_end(nomogram)
    _draw(axes, _number_ruler("Total points", 0.0, largest, 0.0, largest, 8), 1)
    _draw(axes, _probability_ruler(nomogram, largest), 0)
    if reading is not None:
        _mark(axes, reading, largest, count)
    return figure


def _total_end(nomogram: Nomogram) -> float:
    """Return a round end of the total axis."""
    return float(np.ceil(max(nomogram.largest_total_points, 100.0) / 20.0) * 20.0)


def _number_ruler(label: str, low: float, high: float, start: float, end: float, bins: int) -> _Ruler:
    """Return a ruler with round numbers from low to high, placed on the scale start to end."""
    ticks = [t for t in MaxNLocator(bins, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high) if low - 1e-9 <= t <= high + 1e-9]
    places = tuple((t - start) / (end - start) for t in ticks)
    return _Ruler(
        label, ((low - start) / (end - start), (high - start) / (end - start)), places, tuple(f"{t:g}" for t in ticks)
    )


def _term_ruler(nomogram: Nomogram, term: NomogramTerm) -> _Ruler:
    scale = nomogram.points_per_log_odds / 100.0

    def position(value: float | str) -> float:
        return (term.linear_predictor(value) - term.smallest) * scale

    label = f"{term.label} ({term.unit})" if term.unit else term.label
    if term.kind == "categorical":
        return _Ruler(label, (0.0, term.span * scale), tuple(position(level) for level in term.levels), term.levels)
    locator = MaxNLocator(8 if term.span * scale > 0.5 else 4, steps=[1, 2, 2.5, 5, 10])
    ticks = [float(t) for t in locator.tick_values(term.low, term.high) if term.low - 1e-9 <= t <= term.high + 1e-9]
    return _Ruler(label, (0.0, term.span * scale), tuple(position(t) for t in ticks), tuple(f"{t:g}" for t in ticks))


def _probability_ruler(nomogram: Nomogram, largest: float) -> _Ruler:
    places = [(nomogram.points_at(p) / largest, f"{p:g}") for p in PROBABILITIES]
    inside = [(x, text) for x, text in places if 0.0 <= x <= 1.0]
    positions = tuple(x for x, _ in inside)
    return _Ruler(
        "Probability", (min(positions, default=0.0), max(positions, default=0.0)), positions, tuple(t for _, t in inside)
    )


def _draw(axes: Axes, ruler: _Ruler, row: int) -> None:
    label = "\n".join(textwrap.wrap(ruler.label, LABEL_CHARACTERS, max_lines=2, placeholder="…"))
    axes.text(-0.035, row, label, ha="right", va="center", fontsize=11, color=INK, parse_math=False)
    if not ruler.positions:
        axes.text(0.0, row, "outside the range of this nomogram", fontsize=9, va="center", color=INK)
        return
    axes.plot(ruler.ends, [row, row], color=INK, lw=1.2, solid_capstyle="butt")
    order = np.argsort(ruler.positions, kind="stable")
    # Labels alternate below the line where they would touch on one side.
    free_until = {True: -1.0, False: -1.0}
    for i in order:
        x, text = ruler.positions[i], ruler.texts[i]
        width = max(LABEL_GAP, 0.0115 * len(text) + 0.008)
        above = x - width / 2 >= free_until[True]
        if not above and x - width / 2 < free_until[False]:
            axes.plot([x, x], [row, row + TICK / 2], color=INK, lw=0.8)
            continue
        free_until[above] = x + width / 2
        sign = 1 if above else -1
        axes.plot([x, x], [row, row + sign * TICK], color=INK, lw=1.0)
        axes.text(
            x,
            row + sign * (TICK + 0.05),
            text,
            ha="center",
            va="bottom" if above else "top",
            fontsize=9,
            color=INK,
            parse_math=False,
        )


def _mark(axes: Axes, reading: NomogramReading, largest: float, count: int) -> None:
    """Mark one patient; figures stand in a column of their own, where they touch no tick label."""
    for row, contribution in enumerate(reading.contributions):
        y = count - 2 - row
        x = float(np.clip(contribution.points / 100.0, 0.0, 1.0))
        axes.plot([x, x], [y, count - 1], color=FAINT, lw=0.9, zorder=0)
        _dot(axes, x, y, f"{contribution.points:.1f}")
    x = float(np.clip(reading.total_points / largest, 0.0, 1.0))
    axes.plot([x, x], [0, 1], color=FAINT, lw=0.9, zorder=0)
    _dot(axes, x, 1, f"{reading.total_points:.1f}")
    axes.plot([x], [0], "D", color=RESULT, ms=8, zorder=3)
    axes.text(COLUMN, 0, f"{reading.probability:.1%}", color=RESULT, fontsize=11, va="center", ha="right", fontweight="bold")


def _dot(axes: Axes, x: float, y: float, text: str) -> None:
    axes.plot([x], [y], "o", color=MARK, ms=7, zorder=3)
    axes.text(COLUMN, y, text, color=MARK, fontsize=10, va="center", ha="right", fontweight="bold")
