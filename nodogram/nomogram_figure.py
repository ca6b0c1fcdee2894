"""The nomogram as a drawing: one ruler per predictor, a total, a probability, and the patient's marks on them.

Horizontal positions are shares of the Points ruler (0 to 1); rows are counted from the bottom.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath
from matplotlib.ticker import MaxNLocator
from scipy.optimize import isotonic_regression

from nodogram.nomogram import Nomogram, NomogramReading, NomogramTerm

INK = "#1a1a1a"
FAINT = "#b8bec5"
# Okabe-Ito blue and vermilion: distinguishable with every common color vision.
MARK = "#0072B2"
RESULT = "#D55E00"
FONT = "DejaVu Sans"
PROBABILITIES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
# With fewer of these on the ruler, it is divided by round numbers of its own range.
FEWEST_PROBABILITIES = 4
ROUND_STEPS = (1, 2, 2.5, 5, 10)

WIDTH_INCH = 9.0
ROW_INCH = 0.72
# Left end of the area with rulers and its width, as shares of the figure.
LEFT, WIDTH = 0.20, 0.78
X_LIMITS = (-0.02, 1.12)
INCH_PER_UNIT = WIDTH_INCH * WIDTH / (X_LIMITS[1] - X_LIMITS[0])
# Labels may not reach beyond these: the names stand left of the rulers, the patient's figures right of them.
LABEL_LIMITS = (-0.022, 1.025)
TICK = 0.10
LABEL_DISTANCE = 0.15
LABEL_SIZE, NAME_SIZE = 9.0, 11.0
LABEL_SPACE = 0.012
NAME_WIDTH_INCH = 1.62
POINTS_INCH = 72.0
# Rulers shorter than this are a point.
SHORTEST = 1e-9


@dataclass(frozen=True)
class _Ruler:
    """One line of the drawing; without ``positions`` just the ``remark``."""

    name: str
    ends: tuple[float, float] = (0.0, 0.0)
    positions: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    remark: str = ""


def draw_nomogram(nomogram: Nomogram, reading: NomogramReading | None, svg: Path | None, png: Path | None) -> None:
    """Draw the nomogram, with the patient's points if a reading is given.

    Parameters
    ----------
    svg, png
        Where to write; ``None`` skips the format. The SVG is the same, byte for byte, for the same input.
    """
    figure = nomogram_figure(nomogram, reading)
    with _style():
        if svg is not None:
            figure.savefig(svg, format="svg", metadata={"Date": None})
        if png is not None:
            figure.savefig(png, format="png", dpi=200)


def nomogram_figure(nomogram: Nomogram, reading: NomogramReading | None = None) -> Figure:
    """Return the drawing as a matplotlib figure."""
    total_end, total = _total_ruler(nomogram)
    rulers = [
        _Ruler("Points", (0.0, 1.0), tuple(i / 10 for i in range(11)), tuple(str(10 * i) for i in range(11))),
        *(_term_ruler(nomogram, term) for term in nomogram.terms),
        total,
        _probability_ruler(nomogram, total_end),
    ]
    with _style():
        figure = Figure(figsize=(WIDTH_INCH, ROW_INCH * len(rulers) + 0.5), facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.add_axes((LEFT, 0.03, WIDTH, 0.95))
        axes.set_xlim(*X_LIMITS)
        axes.set_ylim(-0.6, len(rulers) - 0.4)
        axes.axis("off")
        for row, ruler in enumerate(reversed(rulers)):
            _draw(axes, ruler, row)
        if reading is not None:
            _mark(axes, nomogram, reading, total_end)
    return figure


def _style() -> AbstractContextManager[None]:
    """Draw the same whatever the user's matplotlib settings are."""
    return mpl.rc_context(
        {"font.family": FONT, "svg.hashsalt": "nodogram", "svg.fonttype": "none", "path.simplify": False, "text.usetex": False}
    )


def _total_ruler(nomogram: Nomogram) -> tuple[float, _Ruler]:
    """Return the points at the end of the total ruler, and the ruler."""
    ticks = [t for t in MaxNLocator(8, steps=ROUND_STEPS).tick_values(0.0, max(nomogram.largest_total_points, 100.0)) if t >= 0]
    end = float(ticks[-1])
    return end, _Ruler("Total points", (0.0, 1.0), tuple(float(t) / end for t in ticks), tuple(f"{t:g}" for t in ticks))


def _term_ruler(nomogram: Nomogram, term: NomogramTerm) -> _Ruler:
    name = f"{term.label} ({term.unit})" if term.unit else term.label
    scale = nomogram.points_per_log_odds / 100.0
    length = term.span * scale
    if length < SHORTEST:
        return _Ruler(name, remark="no effect in this model: 0 points")

    def position(value: float | str) -> float:
        return (term.linear_predictor(value) - term.smallest) * scale

    if term.kind == "categorical":
        return _Ruler(name, (0.0, length), tuple(position(level) for level in term.levels), term.levels)
    ticks: list[float] = []
    # The finest division whose labels stand clear of each other; the two ends if none does.
    for bins in (10, 8, 6, 5, 4, 3, 2):
        ticks = _round_numbers(term.low, term.high, bins)
        if len(ticks) > 1 and _stand_clear([position(t) for t in ticks], [_number(t) for t in ticks]):
            break
    else:
        ticks = [term.low, term.high]
    return _Ruler(name, (0.0, length), tuple(position(t) for t in ticks), tuple(_number(t) for t in ticks))


def _probability_ruler(nomogram: Nomogram, total_end: float) -> _Ruler:
    first, last = nomogram.probability_at(0.0), nomogram.probability_at(total_end)
    if nomogram.points_per_log_odds == 0:
        return _Ruler("Probability", remark=f"{first:.3g} for every patient")

    def place(candidates: Sequence[float]) -> list[tuple[float, float]]:
        places = [(nomogram.points_at(p) / total_end, p) for p in candidates if 0 < p < 1]
        return [(x, p) for x, p in places if -SHORTEST <= x <= 1 + SHORTEST]

    places = place(PROBABILITIES)
    if len(places) < FEWEST_PROBABILITIES:
        places = place(_round_numbers(first, last, 5))
    if not places:
        return _Ruler("Probability", remark=f"{first:.3g} to {last:.3g} over the whole range")
    return _Ruler("Probability", (places[0][0], places[-1][0]), tuple(x for x, _ in places), tuple(f"{p:g}" for _, p in places))


def _round_numbers(low: float, high: float, bins: int) -> list[float]:
    slack = 1e-9 * (high - low)
    return [float(t) for t in MaxNLocator(bins, steps=ROUND_STEPS).tick_values(low, high) if low - slack <= t <= high + slack]


def _number(value: float) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


@lru_cache(maxsize=1024)
def _width(text: str, size: float) -> float:
    """Return the width of a text in shares of the Points ruler."""
    points, _, _ = TextToPath().get_text_width_height_descent(text, FontProperties(family=FONT, size=size), ismath=False)
    return float(points) / POINTS_INCH / INCH_PER_UNIT


def _stand_clear(positions: Sequence[float], labels: Sequence[str]) -> bool:
    order = np.argsort(positions)
    centers = np.array(positions)[order]
    widths = np.array([_width(labels[i], LABEL_SIZE) for i in order])
    return bool((np.diff(centers) >= (widths[1:] + widths[:-1]) / 2 + LABEL_SPACE).all())


def _spread(positions: Sequence[float], labels: Sequence[str]) -> list[float]:
    """Return label centers nearest to ascending positions at which labels neither touch nor leave their limits."""
    widths = np.array([_width(label, LABEL_SIZE) for label in labels])
    # Distance each label must keep from the first; what is left to choose is then merely not to decrease.
    needed = np.r_[0.0, np.cumsum((widths[1:] + widths[:-1]) / 2 + LABEL_SPACE)]
    low, high = LABEL_LIMITS[0] + widths[0] / 2, LABEL_LIMITS[1] - widths[-1] / 2 - needed[-1]
    slack = isotonic_regression(np.asarray(positions) - needed).x
    return [float(x) for x in np.clip(slack, low, max(low, high)) + needed]


def _draw(axes: Axes, ruler: _Ruler, row: int) -> None:
    axes.text(-0.035, row, _wrapped(ruler.name), ha="right", va="center", fontsize=NAME_SIZE, color=INK, parse_math=False)
    if not ruler.positions:
        axes.text(0.02, row, ruler.remark, fontsize=LABEL_SIZE, va="center", color=INK, parse_math=False)
        return
    axes.plot(ruler.ends, [row, row], color=INK, lw=1.2, solid_capstyle="projecting", zorder=2)
    order = sorted(range(len(ruler.positions)), key=lambda i: ruler.positions[i])
    above, below = order, []
    if not _stand_clear(ruler.positions, ruler.labels):
        above, below = order[::2], order[1::2]
    for side, members in ((1, above), (-1, below)):
        if not members:
            continue
        places = [ruler.positions[i] for i in members]
        labels = [ruler.labels[i] for i in members]
        for x, center, label in zip(places, _spread(places, labels), labels, strict=True):
            _tick(axes, x, center, label, row, side)


def _tick(axes: Axes, x: float, center: float, label: str, row: int, side: int) -> None:
    """Draw a tick up or down; where its label had to move aside, the tick leans towards it."""
    axes.plot([x, x], [row, row + side * TICK / 2], color=INK, lw=1.0, zorder=2)
    moved = min(abs(center - x), max(abs(center - x) - _width(label, LABEL_SIZE) / 2, 0.0))
    tip = x + float(np.copysign(moved, center - x))
    axes.plot([x, tip], [row + side * TICK / 2, row + side * TICK], color=INK, lw=1.0, zorder=2)
    axes.text(
        center,
        row + side * LABEL_DISTANCE,
        label,
        ha="center",
        va="bottom" if side > 0 else "top",
        fontsize=LABEL_SIZE,
        color=INK,
        parse_math=False,
        zorder=4,
        # Guide lines pass behind labels, not through them.
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
    )


def _wrapped(name: str) -> str:
    """Break a name into at most three lines that fit left of the rulers."""
    limit = NAME_WIDTH_INCH / INCH_PER_UNIT
    for characters in range(max(len(name), 1), 7, -1):
        text = textwrap.wrap(name, characters, max_lines=3, placeholder="…")
        if all(_width(line, NAME_SIZE) <= limit for line in text):
            return "\n".join(text)
    return name[:8]


def _mark(axes: Axes, nomogram: Nomogram, reading: NomogramReading, total_end: float) -> None:
    """Mark one patient; figures stand in a column of their own, where they touch no tick label."""
    top = len(nomogram.terms) + 2
    axes.text(X_LIMITS[1], top, "points", color=MARK, fontsize=LABEL_SIZE, va="center", ha="right")
    for i, contribution in enumerate(reading.contributions):
        _point(axes, contribution.points / 100.0, top - 1 - i, top, f"{contribution.points:.1f}")
    has_effect = nomogram.points_per_log_odds > 0
    _point(axes, reading.total_points / total_end, 1, 0 if has_effect else 1, f"{reading.total_points:.1f}")
    if has_effect:
        x = float(np.clip(reading.total_points / total_end, 0.0, 1.0))
        axes.plot([x], [0], "D", color=RESULT, ms=8, zorder=5)
    text = _percentage(reading.probability)
    axes.text(X_LIMITS[1], 0, text, color=RESULT, fontsize=NAME_SIZE, va="center", ha="right", fontweight="bold")


def _point(axes: Axes, share: float, row: int, target: int, text: str) -> None:
    """Mark a value on its ruler and lead to another row; an arrowhead at the end stands for a value beyond it."""
    x = float(np.clip(share, 0.0, 1.0))
    marker = "o" if -SHORTEST <= share <= 1 + SHORTEST else ">" if share > 1 else "<"
    axes.plot([x, x], [row, target], color=FAINT, lw=0.9, zorder=1)
    axes.plot([x], [row], marker, color=MARK, ms=7 if marker == "o" else 9, zorder=5)
    axes.text(
        X_LIMITS[1],
        row,
        text.replace("-", "\N{MINUS SIGN}"),
        color=MARK,
        fontsize=10,
        va="center",
        ha="right",
        fontweight="bold",
    )


def _percentage(probability: float) -> str:
    """Print a probability without claiming certainty."""
    if probability < 0.001:
        return "<0.1%"
    return ">99.9%" if probability > 0.999 else f"{probability:.1%}"
