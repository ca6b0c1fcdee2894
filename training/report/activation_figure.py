"""The sheet of activation maps: what the network saw, and where it found evidence for what it said."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from training.evidence.activation_maps import KINDS, ActivationCase, ActivationSheet, Kind, decode_picture
from training.report import style
from training.report.figures import WIDTH_IN

# Steps of the layer: more are not seen and only make files larger.
LEVELS = 128
# The dark end of the map could not be told from the picture beneath.
EVIDENCE_MAP: Colormap = ListedColormap(colormaps["plasma"](np.linspace(0.12, 1.0, LEVELS)))
STRONGEST_OVERLAY = 0.8
# One bright spot would leave all other maps dark.
BRIGHTEST_QUANTILE = 0.98
GAP = 0.06


def activation_figure(sheet: ActivationSheet, outcome_name: str) -> Figure:
    """Draw each case twice, plain and with its map, a row for each kind; all maps on one scale.

    Raises
    ------
    ValueError
        If the pictures were removed.
    """
    if any(case.picture is None for case in sheet.cases):
        raise ValueError("the pictures of this sheet were removed")
    columns = max([1, *(len(sheet.of(kind)) for kind in KINDS)])
    side = min(2.3, (WIDTH_IN - 0.5) / (2 * columns + GAP * (columns - 1)))
    norm = Normalize(0.0, _brightest(sheet.cases))
    with style.figure_style():
        layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.05, wspace=0.0, hspace=0.0)
        figure = Figure(figsize=(WIDTH_IN, 0.95 + (side + 0.33) * len(KINDS)), layout=layout)
        ratios = ([1.0, 1.0, GAP] * columns)[:-1]
        panels = figure.subplots(len(KINDS), len(ratios), squeeze=False, width_ratios=ratios)
        for axes in panels.flat:
            axes.set_axis_off()
        for line, kind, count in zip(panels, KINDS, sheet.counts, strict=True):
            for place, case in enumerate(sheet.of(kind)):
                _draw_case(line[3 * place], line[3 * place + 1], case, norm, outcome_name)
            if not sheet.of(kind):
                line[0].text(0.03, 0.5, "none", transform=line[0].transAxes, va="center", color=style.GREY)
            _name_row(line[0], kind, f"{count} of {sheet.patient_count}")
        bar = figure.colorbar(
            ScalarMappable(norm, EVIDENCE_MAP),
            ax=panels.ravel().tolist(),
            location="bottom",
            label="Evidence for what the network said: log odds if the whole picture were like this place",
            shrink=0.6,
            pad=0.015,
            aspect=50,
            extend="max",
        )
        bar.outline.set_visible(False)
    return figure


def sheet_caption(sheet: ActivationSheet, outcome_name: str) -> str:
    """Return the words beneath the sheet."""
    whose = {
        "test": f"{sheet.patient_count} test patients, whom the network had not seen",
        "external": f"{sheet.patient_count} patients of another cohort",
        "development, apparent": f"{sheet.patient_count} development patients, on whom the network was trained: optimistic",
    }[sheet.sample]
    return (
        f"The most certain calls of the network's own head, right and wrong, among {whose}. Its call is positive from "
        f"{sheet.threshold:.3f}, where it calls as many development patients positive as have {outcome_name}; the head is "
        "not calibrated and no part of the nomogram. Bright: evidence for what the network said, on one scale for all. "
        "A map shows, coarsely, where the last layer responded, and not why."
    )


def overlay(evidence: NDArray[np.float64], shape: tuple[int, int], norm: Normalize) -> NDArray[np.float64]:
    """Return a map as a layer over a picture, RGBA (rows, columns, 4) of the given shape.

    Opacity rises with the evidence up to half of the scale. The map (map rows, map columns) is interpolated linearly
    between the centers of the areas its values stand for.
    """
    centers = [(np.arange(n) + 0.5) * m / n - 0.5 for n, m in zip(shape, evidence.shape, strict=True)]
    grid = np.stack(np.meshgrid(*centers, indexing="ij"))
    strength = np.clip(np.asarray(norm(map_coordinates(evidence, grid, order=1, mode="nearest")), dtype=np.float64), 0.0, 1.0)
    strength = np.rint(strength * (LEVELS - 1)) / (LEVELS - 1)
    layer = np.array(EVIDENCE_MAP(strength), dtype=np.float64)
    layer[..., 3] = STRONGEST_OVERLAY * np.minimum(2.0 * strength, 1.0)
    return layer


def _brightest(cases: Sequence[ActivationCase]) -> float:
    """Return the evidence drawn brightest; any positive number where there is none at all."""
    values = np.concatenate([np.zeros(1), *(case.grad_cam.ravel() for case in cases)])
    positive = values[values > 0]
    return float(np.quantile(positive, BRIGHTEST_QUANTILE)) if positive.size else 1.0


def _draw_case(plain: Axes, mapped: Axes, case: ActivationCase, norm: Normalize, outcome_name: str) -> None:
    gray = decode_picture(case.picture or "")
    for axes in (plain, mapped):
        axes.imshow(gray, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    mapped.imshow(overlay(case.grad_cam, (gray.shape[0], gray.shape[1]), norm), interpolation="nearest")
    said = f"network {case.probability:.3f}"
    if case.nomogram_probability is not None:
        said += f", nomogram {case.nomogram_probability:.2f}"
    truth = f"{'with' if case.outcome else 'without'} {outcome_name}"
    # Long names of outcomes get a smaller print, as the title may not run into the next case.
    size = 8.5 if len(said) + len(truth) < 66 else 8.5 * 66 / (len(said) + len(truth))
    plain.set_title(f"{said}; {truth}", fontsize=size, fontweight="normal")


def _name_row(axes: Axes, kind: Kind, count: str) -> None:
    axes.text(
        -0.05,
        0.5,
        f"{kind.capitalize()}s\n{count}",
        transform=axes.transAxes,
        rotation=90,
        ha="right",
        va="center",
        multialignment="center",
        fontweight="bold",
        fontsize=9.5,
    )
