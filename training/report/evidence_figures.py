"""Calibration, decision and precision-recall curves, each a pure function from evidence to a Matplotlib figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from training.evidence.sample_result import CalibrationEvidence, Measure, SampleEvidence, UtilityEvidence
from training.report import formatting, style
from training.report.figures import WIDTH_IN

Panels = Sequence[tuple[str, SampleEvidence]]
"""Name of a sample and what was measured on it; one panel each."""

Beside = Mapping[str, UtilityEvidence]
"""The clinical findings alone, by the name of the sample."""

PANEL_HEIGHT_IN = 4.6
# A difference as small as this is not seen, and a treat-all line that falls to minus one would flatten everything else.
LOWEST_NET_BENEFIT = -0.05
CLINICAL_LINE: dict[str, Any] = {"color": style.ORANGE, "linestyle": "-.", "linewidth": 1.6}


def calibration_figure(panels: Panels) -> Figure:
    """Draw observed against predicted probability: groups with their intervals, a smooth curve with its band."""
    with style.figure_style():
        figure, all_axes = _row_of_panels(panels)
        for axes, (label, evidence) in zip(all_axes, panels, strict=True):
            found = evidence.calibration
            axes.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.8, linestyle=(0, (2, 3)), label="ideal")
            _smooth(axes, found)
            _groups(axes, found)
            axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", xlabel="Predicted probability")
            _title(axes, label, evidence)
            axes.text(0.98, 0.03, _calibration_text(found), transform=axes.transAxes, ha="right", va="bottom", fontsize=8)
            axes.grid(visible=True)
        all_axes[0].set_ylabel("Observed share")
        _common_legend(figure, all_axes[0])
    return figure


def _smooth(axes: Axes, found: CalibrationEvidence) -> None:
    if found.curve is None:
        return
    axes.fill_between(
        found.curve_predicted,
        found.curve.low,
        found.curve.high,
        color=style.SKY_BLUE,
        alpha=0.25,
        linewidth=0,
        label="95% band",
    )
    axes.plot(found.curve_predicted, found.curve.value, color=style.BLUE, label="smooth curve (lowess)")


def _groups(axes: Axes, found: CalibrationEvidence) -> None:
    drawn = [(g.predicted, g.observed.value, *_whiskers(g.observed), g.patient_count) for g in found.groups]
    points = [row for row in drawn if row[1] is not None]
    if not points:
        return
    x, y, below, above, _ = zip(*points, strict=True)
    axes.errorbar(
        x,
        y,
        yerr=[below, above],
        fmt="s",
        markersize=5,
        color=style.VERMILION,
        markeredgecolor="white",
        elinewidth=1.1,
        label="groups of similar prediction, 95% interval",
    )


def _whiskers(measure: Measure) -> tuple[float, float]:
    if measure.value is None or measure.low is None or measure.high is None:
        return 0.0, 0.0
    return measure.value - measure.low, measure.high - measure.value


def _calibration_text(found: CalibrationEvidence) -> str:
    return "\n".join(
        (
            f"slope {formatting.interval(found.slope, 2)}",
            f"intercept {formatting.interval(found.in_the_large, 2)}",
            f"observed : expected {formatting.interval(found.observed_to_expected, 2)}",
            f"ICI {formatting.number(found.ici)}",
        )
    ).replace("-", "−")


def decision_figure(panels: Panels, clinical: Beside | None = None) -> Figure:
    """Draw net benefit and net interventions avoided over the threshold, with pointwise bands.

    Parameters
    ----------
    clinical
        The model it must beat, where there is one on that sample: lines without band.
    """
    with style.figure_style():
        figure = Figure(figsize=(WIDTH_IN, 6.6), layout="constrained")
        grid = figure.subplots(2, len(panels), sharex=True, sharey="row", squeeze=False, height_ratios=(1.25, 1.0))
        for place, (label, evidence) in enumerate(panels):
            upper, lower = grid[0, place], grid[1, place]
            other = (clinical or {}).get(label)
            _net_benefit(upper, evidence.utility, other)
            _title(upper, label, evidence)
            _avoided(lower, evidence.utility, other)
            lower.set_xlabel("Threshold probability")
            lower.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        top = max(max(e.utility.net_benefit.value + e.utility.treat_all.value) for _, e in panels)
        grid[0, 0].set_ylim(LOWEST_NET_BENEFIT, 1.12 * max(top, 0.05))
        grid[1, 0].set_ylim(*_avoided_limits(panels))
        grid[0, 0].set_ylabel("Net benefit, true positives per patient")
        grid[1, 0].set_ylabel("Net interventions avoided\nper 100 patients")
        _common_legend(figure, grid[0, 0])
    return figure


def _net_benefit(axes: Axes, found: UtilityEvidence, other: UtilityEvidence | None) -> None:
    axes.fill_between(
        found.threshold, found.net_benefit.low, found.net_benefit.high, color=style.VERMILION, alpha=0.15, linewidth=0
    )
    axes.plot(found.threshold, found.net_benefit.value, color=style.VERMILION, linewidth=2.2, label="nomogram, 95% band")
    if other is not None:
        axes.plot(other.threshold, other.net_benefit.value, **CLINICAL_LINE, label="clinical findings alone")
    axes.plot(found.threshold, found.treat_all.value, color=style.BLUE, linestyle="--", label="treat all")
    axes.axhline(0, color=style.INK, linewidth=1.0, linestyle=":", label="treat none")
    axes.grid(visible=True)


def _avoided(axes: Axes, found: UtilityEvidence, other: UtilityEvidence | None) -> None:
    band = found.interventions_avoided
    axes.fill_between(found.threshold, band.low, band.high, color=style.VERMILION, alpha=0.15, linewidth=0)
    axes.plot(found.threshold, band.value, color=style.VERMILION, linewidth=2.2)
    if other is not None:
        axes.plot(other.threshold, other.interventions_avoided.value, **CLINICAL_LINE)
    axes.axhline(0, color=style.INK, linewidth=0.8, linestyle=":")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}".replace("-", "−")))
    axes.grid(visible=True)


def _avoided_limits(panels: Panels) -> tuple[float, float]:
    values = np.concatenate([e.utility.interventions_avoided.value for _, e in panels])
    # At small thresholds one missed metastasis counts as many interventions: the band there would hide the rest.
    return max(-100.0, math.floor(values.min() / 10) * 10 - 10), min(100.0, math.ceil(values.max() / 10) * 10 + 10)


def precision_recall_figure(panels: Panels) -> Figure:
    """Draw precision over recall with the prevalence, which is what no information gives."""
    with style.figure_style():
        figure, all_axes = _row_of_panels(panels)
        for axes, (label, evidence) in zip(all_axes, panels, strict=True):
            found = evidence.discrimination
            axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.03), aspect="equal", xlabel="Recall (sensitivity)")
            axes.axhline(evidence.prevalence, color=style.GREY, linewidth=1.0, linestyle=(0, (2, 3)), label="prevalence")
            _title(axes, label, evidence)
            axes.grid(visible=True)
            if found is not None:
                axes.step(found.recall, found.precision, where="post", color=style.VERMILION, linewidth=2.0, label="nomogram")
                text = f"average precision {formatting.interval(found.auprc)}"
                axes.text(0.98, 0.03, text, transform=axes.transAxes, ha="right", va="bottom", fontsize=8)
        all_axes[0].set_ylabel("Precision (positive predictive value)")
        _common_legend(figure, all_axes[0])
    return figure


def _row_of_panels(panels: Panels) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH_IN if len(panels) > 1 else WIDTH_IN / 2, PANEL_HEIGHT_IN), layout="constrained")
    return figure, list(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0])


def _title(axes: Axes, label: str, evidence: SampleEvidence) -> None:
    axes.set_title(label)
    size = f"n = {evidence.patient_count}, {evidence.event_count} events"
    axes.set_title(size, loc="right", fontsize=8.5, fontweight="normal", color=style.GREY)


def _common_legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=5)
