"""The figures of a run as files, and as the page shows them."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from nodogram.nomogram import Nomogram
from training.evidence.document import RunEvidence
from training.report import style
from training.report.evidence_plan import evidence_plans
from training.report.figure_plan import FigureSection, PlannedFigure, nomogram_plan, result_plans
from training.results import RunResults

# A drawing heavier than this, characters, is shown as a picture if that is lighter: pictures of patients, thousands of dots.
HEAVY_SVG = 90_000
SHOWN_WIDTH_PX = 2000
WEBP_QUALITY = 82


@dataclass(frozen=True)
class DrawnFigure:
    """A figure on disk.

    Attributes
    ----------
    section
        Part of the page it belongs to.
    """

    section: FigureSection
    title: str
    caption: str
    svg: Path
    png: Path

    @property
    def stem(self) -> str:
        """File name without suffix; also the end of the anchor on the page."""
        return self.svg.stem


@dataclass(frozen=True)
class ShownFigure:
    """A figure as part of a page: an SVG element with identifiers of its own, or the address of a picture it carries.

    Attributes
    ----------
    width, height
        Of the picture, pixels; 0 for a drawing.
    """

    drawn: DrawnFigure
    svg: str = ""
    picture: str = ""
    width: int = 0
    height: int = 0


def write_figures(results: RunResults, evidence: RunEvidence, nomogram: Nomogram, folder: Path) -> tuple[DrawnFigure, ...]:
    """Draw every figure of a run as SVG and PNG.

    Parameters
    ----------
    folder
        Made if absent.
    """
    return write_planned(run_plans(results, evidence, nomogram), folder)


def run_plans(results: RunResults, evidence: RunEvidence, nomogram: Nomogram) -> Iterator[PlannedFigure]:
    """Draw every figure of a run, one after the other."""
    yield nomogram_plan(results, nomogram)
    yield from result_plans(results)
    yield from evidence_plans(results, evidence)


def write_planned(plans: Iterable[PlannedFigure], folder: Path) -> tuple[DrawnFigure, ...]:
    """Write figures as SVG and PNG.

    Parameters
    ----------
    folder
        Made if absent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(
        DrawnFigure(plan.section, plan.title, plan.caption, *style.save_figure(plan.figure, folder / plan.stem))
        for plan in plans
    )


def show_figure(drawn: DrawnFigure, prefix: str) -> ShownFigure:
    """Return a figure for the page, as a drawing or, where that is lighter, as a picture.

    Parameters
    ----------
    prefix
        Of the identifiers inside the drawing; unlike that of any other figure of the page.
    """
    svg = style.inline_svg(drawn.svg.read_text(encoding="utf-8"), prefix)
    if len(svg) <= HEAVY_SVG:
        return ShownFigure(drawn, svg=svg)
    with Image.open(drawn.png) as picture:
        size = (SHOWN_WIDTH_PX, round(SHOWN_WIDTH_PX * picture.height / picture.width))
        small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    stream = io.BytesIO()
    small.save(stream, format="WEBP", quality=WEBP_QUALITY, method=6)
    address = f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
    if len(address) >= len(svg):
        return ShownFigure(drawn, svg=svg)
    return ShownFigure(drawn, picture=address, width=size[0], height=size[1])
