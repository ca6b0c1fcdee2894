"""One look for every figure, and figures saved so that the same run gives the same bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

# Okabe and Ito, Color Universal Design (2008): eight colors told apart with any color vision.
BLACK = "#000000"
ORANGE = "#E69F00"
SKY_BLUE = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
# Apparent numbers and everything in the background.
GREY = "#8A9199"
PALE = "#F3F4F5"
INK = "#1F2933"

PIXELS_PER_INCH = 160
RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "grid.color": "#DDE1E5",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    # A feature or predictor may be called "a$b$c"; that is a name, not a formula.
    "text.parse_math": False,
    "svg.fonttype": "path",
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Apply the look while figures are made or saved, and restore what was set before."""
    with matplotlib.rc_context(RC):
        yield


def save_figure(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Save a figure as ``stem.svg`` and ``stem.png``, without dates or random identifiers in either.

    Parameters
    ----------
    stem
        Path without suffix; its folder must exist.

    Returns
    -------
    svg, png : pathlib.Path
        The two files.
    """
    svg, png = stem.with_name(f"{stem.name}.svg"), stem.with_name(f"{stem.name}.png")
    with figure_style(), matplotlib.rc_context({"svg.hashsalt": stem.name}):
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        figure.savefig(png, format="png", dpi=PIXELS_PER_INCH, metadata={"Software": None})
    return svg, png


def inline_svg(document: str, prefix: str) -> str:
    """Return an SVG document as an element to put into a page beside others.

    The prolog, which belongs to files, and the metadata are dropped, and every identifier gets the prefix: two figures
    of one page would otherwise share clip paths and glyphs, and hiding one would empty the other.
    """
    element = document[document.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r"<!--.*?-->", "", element, flags=re.DOTALL)
    element = re.sub(r'\bid="', f'id="{prefix}-', element)
    element = element.replace("url(#", f"url(#{prefix}-")
    return re.sub(r'\bhref="#', f'href="#{prefix}-', element).strip()
