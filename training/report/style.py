"""One look for every figure, and figures saved so that the same run gives the same bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import cKDTree

from training.report.light_svg import lighten

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

# Figures are drawn as wide as a page of the report. A journal prints the widest of them across both columns, and wants that
# many dots there.
WIDTH_IN = 10.0
PRINT_WIDTH_MM = 180.0
PIXELS_PER_INCH = 600
PIXELS_PER_DRAWN_INCH = PIXELS_PER_INCH * PRINT_WIDTH_MM / 25.4 / WIDTH_IN
# Flat colors with their blends need no more; pictures of patients do.
PALETTE_COLORS = 256
# Pictures inside an SVG, dots per inch as drawn: those of the page and no finer.
SVG_PICTURE_DPI = 200
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
    # Text stays text: it can be read out, searched, corrected by the journal, and costs few bytes.
    "svg.fonttype": "none",
    # Steps smaller than this, in points, are not seen on a curve of a thousand patients.
    "path.simplify_threshold": 0.2,
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
        The two files; the PNG has 600 dpi at the size it is printed at.
    """
    svg, png = stem.with_name(f"{stem.name}.svg"), stem.with_name(f"{stem.name}.png")
    drawing = io.StringIO()
    with figure_style(), matplotlib.rc_context({"svg.hashsalt": stem.name}):
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(drawing, format="svg", metadata=metadata, dpi=SVG_PICTURE_DPI)
        # Found once, the places are the same in both files.
        figure.set_layout_engine("none")
        picture = _pixels(figure)
    svg.write_text(lighten(drawing.getvalue()), encoding="utf-8")
    picture.save(png, dpi=(PIXELS_PER_INCH, PIXELS_PER_INCH), optimize=False, compress_level=6)
    return svg, png


def _pixels(figure: Figure) -> Image.Image:
    figure.set_dpi(PIXELS_PER_DRAWN_INCH)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = canvas.buffer_rgba()  # type: ignore[no-untyped-call]
    picture = Image.frombuffer("RGBA", canvas.get_width_height(), pixels)
    return picture.convert("RGB") if figure.findobj(AxesImage) else _with_palette(picture)


def _with_palette(picture: Image.Image) -> Image.Image:
    """Return an opaque picture with its most frequent colors, exactly, and the others, which are blends, as the nearest."""
    counted = picture.getcolors(picture.width * picture.height) or []
    colors = np.array([color for _, color in sorted(counted, key=lambda c: (-c[0], c[1]))], dtype=np.uint8)
    palette = colors[:PALETTE_COLORS, :3]
    _, nearest = cKDTree(palette.astype(np.float64)).query(colors[:, :3].astype(np.float64))
    # The four bytes of a color as one number; the fourth, opacity, is the same everywhere.
    table = np.zeros(1 << 24, dtype=np.uint8)
    table[_as_number(colors)] = nearest
    result = Image.fromarray(table[_as_number(np.asarray(picture))])
    result.putpalette(palette.tobytes())
    return result


def _as_number(colors: NDArray[np.uint8]) -> NDArray[np.uint32]:
    return np.ascontiguousarray(colors).view("<u4")[..., 0] & np.uint32(0xFFFFFF)


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
