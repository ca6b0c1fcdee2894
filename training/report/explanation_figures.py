"""Figures that explain a model: predictors, features, and the places the network looked at."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from training.evidence.attribution import BranchAttribution, FeatureAttribution
from training.evidence.explanation import Box, ContributionShares, CorrelationMatrix, Explanation, FeatureBoxes
from training.report import formatting, style
from training.report.activation_figure import activation_figure, sheet_caption
from training.report.figures import WIDTH_IN, short_feature

BEESWARM_FEATURES = 12
# The yellow end of the map cannot be seen on white.
VALUE_LEVELS = 24
VALUE_MAP: Colormap = ListedColormap(colormaps["viridis"](np.linspace(0.0, 0.9, 256)))
CORRELATION_MAP = LinearSegmentedColormap.from_list("correlation", (style.BLUE, "#FFFFFF", style.VERMILION))
NUMBERED_CELLS = 14
WITHOUT, WITH = style.BLUE, style.VERMILION

_FILTERS = (
    (re.compile(r"^original$"), ""),
    (re.compile(r"^wavelet-([LH]+)$"), r"wavelet \1"),
    (re.compile(r"^squareroot$"), "square root"),
    (re.compile(r"^log-sigma-(\d+)-(\d+)-mm-3D$"), r"LoG \1.\2 mm"),
)
_CLASSES = {"firstorder": "first-order", "shape": "shape", "shape2D": "2D shape"}
_PHRASES = ((re.compile(r"\b(\d+) percentile"), r"\1th percentile"), (re.compile(r"\bnon uniformity"), "non-uniformity"))
_WORD = re.compile(r"Imc\d|[A-Z]{2,}(?=[A-Z][a-z]|\d|$)|[A-Z]?[a-z]+|[A-Z]+|\d+[A-Z]?(?![a-z])|\d+")
_ACRONYMS = {"imc1": "IMC 1", "imc2": "IMC 2", "idm": "IDM", "idmn": "IDMN", "id": "ID", "idn": "IDN"}


@dataclass(frozen=True)
class ExplanationFigure:
    """A figure with the words beneath it."""

    stem: str
    title: str
    caption: str
    figure: Figure


def explanation_figures(explanation: Explanation, outcome_name: str) -> Iterator[ExplanationFigure]:
    """Draw every figure an explanation has material for."""
    shares = explanation.contribution
    yield ExplanationFigure(
        "contribution_share",
        "What moves the nomogram",
        f"How far each predictor moves the {shares.patient_count} development patients from their mean: its part of the mean "
        "absolute contribution, with the points it is worth on average, and its part of the variance of the linear predictor. "
        "A share of the variance below zero means that the predictor works against the others.",
        contribution_figure(shares),
    )
    if any(a.features for a in explanation.attributions):
        yield ExplanationFigure(
            "shap",
            "What moves the DLR score (SHAP)",
            "Left, mean absolute SHAP value of each feature; right, a dot for each development patient, colored by the "
            "standardized value of the feature. Forests are explained in probability, all else in log odds. The values say "
            "what the model does, not what causes the outcome; how correlated features share their credit is an accident of "
            "the fit.",
            attribution_figure(explanation.attributions),
        )
    if explanation.boxes:
        yield ExplanationFigure(
            "feature_boxes",
            "Selected features by outcome",
            "Standardized as the model sees them: box, quartiles; line, median; whiskers, last value within 1.5 interquartile "
            "ranges. Features were selected because the groups differ in the development patients; whether they differ at "
            "all is to be read from test patients.",
            boxes_figure(explanation.boxes, outcome_name),
        )
    if explanation.correlation is not None:
        yield ExplanationFigure(
            "feature_correlation",
            "Correlation of the selected features",
            f"Spearman's ρ over {explanation.correlation.patient_count} development patients, similar features side by side "
            "(average linkage on 1 − |ρ|).",
            correlation_figure(explanation.correlation),
        )
    if explanation.activation is not None and all(c.picture is not None for c in explanation.activation.cases):
        yield ExplanationFigure(
            "activation_maps",
            "Where the network looked (Grad-CAM)",
            sheet_caption(explanation.activation, outcome_name),
            activation_figure(explanation.activation, outcome_name),
        )


def contribution_figure(shares: ContributionShares) -> Figure:
    """Draw the share of each predictor in what the nomogram says, by both measures."""
    rows = list(reversed(shares.predictors))
    with style.figure_style():
        figure = Figure(figsize=(WIDTH_IN, 1.25 + 0.62 * len(rows)), layout="constrained")
        axes = figure.subplots()
        for position, row in enumerate(rows):
            points = f"{formatting.number(row.mean_absolute_points, 1)} points on average"
            _share_bar(axes, position + 0.18, row.absolute_share, style.BLUE, points)
            _share_bar(axes, position - 0.18, row.variance_share, style.ORANGE, "")
        axes.set_yticks(range(len(rows)), [_wrapped(row.label) for row in rows])
        lowest = min([0.0, *(row.variance_share or 0.0 for row in rows)])
        highest = max([1.0, *(row.variance_share or 0.0 for row in rows)])
        axes.set(xlim=(lowest - (0.12 if lowest < 0 else 0.0), highest + 0.22), ylim=(-0.6, len(rows) - 0.4))
        axes.axvline(0, color=style.INK, linewidth=0.8)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0, labelsize=10)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xticks(0.2 * np.arange(int(np.ceil(lowest * 5)), int(np.floor(highest * 5)) + 1))
        axes.set_xlabel(f"Share (standard deviation of the linear predictor: {shares.standard_deviation:.2f} log odds)")
        axes.grid(visible=True, axis="x")
        handles = [
            Patch(color=style.BLUE, label="of the mean absolute contribution"),
            Patch(color=style.ORANGE, label="of the variance of the linear predictor"),
        ]
        axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.2)
    return figure


def _share_bar(axes: Axes, y: float, share: float | None, color: str, remark: str) -> None:
    axes.barh(y, share or 0.0, height=0.32, color=color)
    text = formatting.UNDEFINED if share is None else f"{100 * share:.1f}%".replace("-", "−")
    text = f"{text}  ({remark})" if remark else text
    negative = (share or 0.0) < 0
    axes.annotate(
        text,
        (share or 0.0, y),
        xytext=(-4 if negative else 4, 0),
        textcoords="offset points",
        ha="right" if negative else "left",
        va="center",
        fontsize=8.5,
    )


def attribution_figure(attributions: Sequence[BranchAttribution]) -> Figure:
    """Draw mean absolute SHAP values and their beeswarm, a row of panels for each branch."""
    present = [a for a in attributions if a.features]
    counts = [min(len(a.features), BEESWARM_FEATURES) + (len(a.features) > BEESWARM_FEATURES) for a in present]
    with style.figure_style():
        heights = [0.9 + 0.36 * count for count in counts]
        figure = Figure(figsize=(WIDTH_IN, 0.3 + sum(heights)), layout="constrained")
        panels = figure.subplots(len(present), 2, squeeze=False, height_ratios=heights, width_ratios=(1.0, 1.5))
        largest = max((abs(v) for a in present for f in a.features for v in f.value), default=1.0)
        norm = Normalize(-min(largest, 2.5), min(largest, 2.5))
        for (left, right), attribution in zip(panels, present, strict=True):
            _attribution_bars(left, attribution)
            _beeswarm(right, attribution, norm)
            right.sharey(left)
            right.tick_params(labelleft=False)
        bar = figure.colorbar(
            ScalarMappable(norm, VALUE_MAP),
            ax=panels[:, 1].tolist(),
            label="Feature value (standard deviations)",
            aspect=28,
            extend="both",
        )
        bar.outline.set_visible(False)
    return figure


def _attribution_bars(axes: Axes, attribution: BranchAttribution) -> None:
    shown, rest = attribution.features[:BEESWARM_FEATURES], attribution.features[BEESWARM_FEATURES:]
    values = [f.mean_absolute for f in shown]
    labels = [readable_feature(f.name) for f in shown]
    if rest:
        values.append(sum(f.mean_absolute for f in rest))
        labels.append(f"{len(rest)} other features together")
    positions = range(len(values) - 1, -1, -1)
    axes.barh(positions, values, height=0.62, color=[style.BLUE] * len(shown) + [style.GREY] * bool(rest))
    for position, value in zip(positions, values, strict=True):
        axes.annotate(f"{value:#.3g}", (value, position), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(positions, labels)
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(0, 1.18 * max([*values, 1e-12])), ylim=(-0.7, len(values) - 0.3))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel(f"Mean |SHAP| ({attribution.unit})")
    axes.grid(visible=True, axis="x")
    axes.set_title(f"{attribution.branch.capitalize()}: {attribution.classifier}, weight {attribution.weight:.2f} in the score")


def _beeswarm(axes: Axes, attribution: BranchAttribution, norm: Normalize) -> None:
    shown = attribution.features[:BEESWARM_FEATURES]
    count = len(shown) + (len(attribution.features) > BEESWARM_FEATURES)
    span = max([1e-12, *(abs(v) for f in shown for v in f.shap)])
    axes.axvline(0, color=style.INK, linewidth=0.8)
    for place, feature in enumerate(shown):
        y = count - 1 - place + swarm_offsets(feature, span)
        level = np.rint(np.clip(np.asarray(norm(feature.value)), 0, 1) * VALUE_LEVELS) / VALUE_LEVELS
        # Dots of one color after each other become one line of the SVG.
        order = np.argsort(level, kind="stable")
        axes.scatter(np.array(feature.shap)[order], y[order], color=VALUE_MAP(level[order]), s=13, linewidths=0.0, zorder=3)
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.set_xlim(-1.06 * span, 1.06 * span)
    axes.set_xlabel(f"SHAP value ({attribution.unit}); positive speaks for the outcome")
    axes.grid(visible=True, axis="x")
    axes.set_title(f"{attribution.explained_count} patients", loc="right", fontweight="normal", color=style.GREY)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def swarm_offsets(feature: FeatureAttribution, span: float) -> NDArray[np.float64]:
    """Return vertical offsets, at most 0.36, that set apart patients with nearly the same SHAP value."""
    bins = np.rint(np.array(feature.shap) / span * 50).astype(np.int64)
    return _stacked_offsets(bins, 0.36, 0.07)


def _stacked_offsets(bins: NDArray[np.int64], reach: float, step: float) -> NDArray[np.float64]:
    """Stack equal bins about 0: 0, up, down, further up, ...; squeezed to the reach."""
    offsets = np.zeros(bins.size)
    for value in np.unique(bins):
        members = np.flatnonzero(bins == value)
        rank = np.arange(members.size)
        offsets[members] = (rank + 1) // 2 * np.where(rank % 2, 1, -1) * step
    largest = np.abs(offsets).max(initial=0.0)
    return offsets * (reach / largest if largest > reach else 1.0)


def boxes_figure(boxes: Sequence[FeatureBoxes], outcome_name: str) -> Figure:
    """Draw selected features by outcome, a panel for each sample and a row for each feature."""
    samples = [s for s in ("development", "test") if any(b.sample == s for b in boxes)]
    rows = {sample: [b for b in boxes if b.sample == sample] for sample in samples}
    count = max(len(r) for r in rows.values())
    with style.figure_style():
        figure = Figure(figsize=(WIDTH_IN, 1.2 + 0.52 * count), layout="constrained")
        panels = figure.subplots(1, len(samples), squeeze=False, sharey=True, sharex=True)[0]
        for axes, sample in zip(panels, samples, strict=True):
            for place, row in enumerate(rows[sample]):
                _draw_box(axes, count - 1 - place + 0.19, row.without_outcome, WITHOUT)
                _draw_box(axes, count - 1 - place - 0.19, row.with_outcome, WITH)
            first = rows[sample][0]
            axes.set_title("Development: selected on these" if sample == "development" else "Test: not seen")
            axes.set_title(
                f"{first.without_outcome.count} + {first.with_outcome.count}",
                loc="right",
                fontweight="normal",
                color=style.GREY,
            )
            axes.set_xlabel("Standard deviations from the development mean")
            axes.grid(visible=True, axis="x")
            axes.axvline(0, color=style.INK, linewidth=0.6)
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
        panels[0].set_yticks(range(count - 1, -1, -1), [readable_feature(b.name) for b in rows[samples[0]]])
        panels[0].set_ylim(-0.6, count - 0.4)
        handles = [Patch(color=WITHOUT, label=f"without {outcome_name}"), Patch(color=WITH, label=f"with {outcome_name}")]
        figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def _draw_box(axes: Axes, y: float, summary: Box, color: str) -> None:
    points = np.array(summary.points)
    offsets = _stacked_offsets(np.rint(points * 12).astype(np.int64), 0.13, 0.035)
    axes.scatter(points, y + offsets, s=9, color=color, alpha=0.45, linewidths=0, zorder=2)
    if summary.median is None:
        return
    statistics = {
        "whislo": summary.low,
        "q1": summary.lower_quartile,
        "med": summary.median,
        "q3": summary.upper_quartile,
        "whishi": summary.high,
    }
    line = {"color": color, "linewidth": 1.1}
    axes.bxp(
        [statistics],
        positions=[y],
        widths=0.3,
        orientation="horizontal",
        showfliers=False,
        showcaps=False,
        boxprops=line,
        whiskerprops=line,
        medianprops={"color": color, "linewidth": 2.6, "solid_capstyle": "butt"},
        manage_ticks=False,
        zorder=3,
    )


def correlation_figure(matrix: CorrelationMatrix) -> Figure:
    """Draw Spearman correlations as a heat map, numbered while there is room."""
    count = len(matrix.names)
    values = np.array([[np.nan if v is None else v for v in row] for row in matrix.rho])
    with style.figure_style():
        side = 1.2 + 0.42 * max(count, 4)
        figure = Figure(figsize=(min(side + 3.6, WIDTH_IN), min(side + 1.4, 8.6)), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(values, cmap=CORRELATION_MAP.with_extremes(bad=style.PALE), vmin=-1, vmax=1)
        labels = [readable_feature(name) for name in matrix.names]
        axes.set_yticks(range(count), labels)
        axes.set_xticks(range(count), labels, rotation=90)
        axes.tick_params(length=0)
        for edge in axes.spines.values():
            edge.set_visible(False)
        for i, j in np.ndindex(count, count):
            if count <= NUMBERED_CELLS:
                text = formatting.number(matrix.rho[i][j], 2).replace("-", "−")
                axes.text(
                    j, i, text, ha="center", va="center", fontsize=7, color="white" if abs(values[i, j]) > 0.7 else style.INK
                )
        bar = figure.colorbar(image, ax=axes, label="Spearman's ρ", shrink=0.7, aspect=24)
        bar.outline.set_visible(False)
    return figure


def readable_feature(name: str, width: int = 34) -> str:
    """Return a feature name as words, on several lines if it is long.

    ``radiomics.wavelet-LLH_glcm_ClusterShade`` becomes ``GLCM cluster shade, wavelet LLH``; names of another make keep their
    letters and are shortened in the middle.
    """
    if name.startswith("deep."):
        return f"Deep {name.removeprefix('deep.')}"
    parts = name.removeprefix("radiomics.").split("_")
    if len(parts) != 3:
        return _wrapped(short_feature(name), width)
    image, family, feature = parts
    words = [_ACRONYMS.get(w.lower(), w if w.isupper() and len(w) > 1 else w.lower()) for w in _WORD.findall(feature)]
    text = f"{_CLASSES.get(family, family.upper())} {' '.join(words)}"
    for pattern, replacement in _PHRASES:
        text = pattern.sub(replacement, text)
    for pattern, replacement in _FILTERS:
        image = pattern.sub(replacement, image)
    text = text[:1].upper() + text[1:]
    return _wrapped(f"{text}, {image.replace('.0 mm', ' mm')}" if image else text, width)


def _wrapped(text: str, width: int = 34) -> str:
    return textwrap.fill(text, width, break_on_hyphens=False)
