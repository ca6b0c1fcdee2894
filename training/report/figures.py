"""The figures of a run, each a pure function from results to a Matplotlib figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from training.model_names import APPARENT, FEATURE_SETS, OUT_OF_FOLD, SAMPLES, TEST, feature_set_label, short_label
from training.report import formatting, style
from training.report.model_rows import chosen_row
from training.results import Estimate, FeatureSet, FinetuneCurve, LassoCurve, LassoPath, ModelPerformance, Sample

WIDTH_IN = style.WIDTH_IN
PANEL_IN = 2.65
ALGORITHM_COLORS = {
    "LR": style.BLACK,
    "SVM": style.SKY_BLUE,
    "RF": style.GREEN,
    "ExtraTrees": style.ORANGE,
    "XGBoost": style.VERMILION,
    "LightGBM": style.BLUE,
    "MLP": style.PURPLE,
}
# Color alone must not carry meaning: neighbors in the palette also differ in their dashes.
ALGORITHM_DASHES = {"SVM": "--", "ExtraTrees": "-.", "LightGBM": "--", "MLP": ":"}
FEATURE_SET_COLORS: dict[FeatureSet, str] = {
    "clinical": style.ORANGE,
    "radiomics": style.GREEN,
    "deep": style.PURPLE,
    "dlr": style.BLUE,
    "nomogram": style.VERMILION,
}
FEATURE_SET_DASHES: dict[FeatureSet, str] = {"clinical": "--", "radiomics": "-.", "deep": ":", "dlr": "--", "nomogram": "-"}
MARKERS: dict[str, dict[str, Any]] = {
    "apparent: optimistic": {
        "marker": "o",
        "markersize": 9,
        "markerfacecolor": "white",
        "color": style.GREY,
        "markeredgewidth": 1.6,
    },
    "out-of-fold": {"marker": "s", "markersize": 7, "markeredgecolor": "white", "color": style.BLUE},
    "test": {"marker": "D", "markersize": 7, "markeredgecolor": "white", "color": style.VERMILION},
}
# More lines than this are neither read nor needed, and make the page heavy.
LASSO_CURVE_LIMIT = 60
LASSO_NAMED_LIMIT = 10


def roc_figure(models: Sequence[ModelPerformance]) -> Figure:
    """Draw ROC curves, one panel per sample, the apparent one greyed.

    Parameters
    ----------
    models
        Rows of one feature set with several algorithms, or of several feature sets with one model each.
    """
    samples = [s for s in SAMPLES if any(m.sample == s for m in models)]
    by_algorithm = len({m.feature_set for m in models}) == 1
    with style.figure_style():
        legend_lines = 1 + max((sum(m.sample == s for m in models) for s in samples), default=0)
        # Laid out in inches: an automatic layout leaves holes around square panels with their legends below.
        below = 0.55 + 0.165 * legend_lines
        height = below + PANEL_IN + 0.5
        figure = Figure(figsize=(WIDTH_IN, height))
        for place, sample in enumerate(samples):
            left = 0.6 + place * WIDTH_IN * 0.33
            axes = figure.add_axes((left / WIDTH_IN, below / height, PANEL_IN / WIDTH_IN, PANEL_IN / height))
            _roc_panel(axes, [m for m in models if m.sample == sample], sample, by_algorithm=by_algorithm)
    return figure


def _roc_panel(axes: Axes, rows: Sequence[ModelPerformance], sample: Sample, *, by_algorithm: bool) -> None:
    apparent = sample == APPARENT
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="1 − specificity", ylabel="Sensitivity", aspect="equal")
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.grid(visible=True)
    axes.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.8, linestyle=(0, (2, 3)))
    for row in rows:
        color, dashes, name = _roc_look(row, by_algorithm=by_algorithm)
        emphasized = row.chosen if by_algorithm else row.feature_set == "nomogram"
        label = f"{name}{'*' if by_algorithm and row.chosen else ''}  {formatting.interval(row.auc)}"
        axes.plot(
            row.false_positive_rate,
            row.true_positive_rate,
            color=color,
            linestyle=dashes,
            linewidth=2.3 if emphasized else 1.3,
            alpha=0.4 if apparent else 1.0,
            zorder=3 if emphasized else 2,
            label=label,
        )
        if emphasized and not apparent and row.true_positive_rate:
            _mark_threshold(axes, row, color)
    if apparent:
        axes.set_facecolor(style.PALE)
        axes.set_title("Development\napparent: optimistic", color=style.GREY)
    else:
        axes.set_title("Development\nout-of-fold" if sample == OUT_OF_FOLD else "Test\n")
    if rows:
        axes.set_title(_sample_size(rows[0]), loc="right", fontsize=8.5, fontweight="normal", color=style.GREY)
        axes.legend(
            loc="upper left",
            bbox_to_anchor=(-0.16, -0.16),
            title="AUC (95% CI)",
            alignment="left",
            title_fontproperties={"weight": "bold", "size": 8.5},
            handlelength=2.4,
            labelspacing=0.3,
            labelcolor=style.GREY if apparent else style.INK,
        )


def _mark_threshold(axes: Axes, row: ModelPerformance, color: str) -> None:
    if row.sensitivity.value is not None and row.specificity.value is not None:
        axes.plot([1 - row.specificity.value], [row.sensitivity.value], "o", color=color, markeredgecolor="white", zorder=4)


def _sample_size(row: ModelPerformance) -> str:
    return f"n = {row.patient_count}\n{row.event_count} events"


def _roc_look(row: ModelPerformance, *, by_algorithm: bool) -> tuple[str, str, str]:
    """Return color, dashes and name of a curve."""
    if by_algorithm:
        name = row.classifier or feature_set_label(row.feature_set)
        return ALGORITHM_COLORS.get(name, style.GREY), ALGORITHM_DASHES.get(name, "-"), name
    return FEATURE_SET_COLORS[row.feature_set], FEATURE_SET_DASHES[row.feature_set], short_label(row.feature_set)


def apparent_vs_honest_figure(models: Sequence[ModelPerformance]) -> Figure:
    """Draw the apparent AUC of each model of Table 5 beside the out-of-fold and test AUC with 95 % intervals."""
    present = [f for f in reversed(FEATURE_SETS) if any(chosen_row(models, f, s) for s in SAMPLES)]
    with style.figure_style():
        figure = Figure(figsize=(WIDTH_IN, 1.5 + 0.82 * max(len(present), 1)), layout="constrained")
        axes = figure.subplots()
        lowest = 0.45
        for position, feature_set in enumerate(present):
            apparent, out_of_fold, test = (_auc(models, feature_set, sample) for sample in (APPARENT, OUT_OF_FOLD, TEST))
            _dumbbell(axes, position, apparent, out_of_fold, test)
            lowest = min([lowest, *(v for e in (apparent, out_of_fold, test) for v in (e.value, e.low) if v is not None)])
        axes.set_yticks(range(len(present)), [feature_set_label(f) for f in present])
        axes.tick_params(axis="y", length=0, labelsize=10)
        axes.set(ylim=(-0.6, len(present) - 0.4), xlim=(max(0.0, math.floor(lowest * 20) / 20), 1.02))
        axes.set_xlabel("AUC with 95% interval; the dotted line is chance")
        axes.axvline(0.5, color=style.GREY, linewidth=0.8, linestyle=(0, (2, 3)))
        axes.spines["left"].set_visible(False)
        axes.grid(visible=True, axis="x")
        # Handles of their own: the first model may lack a sample that others have.
        handles = [Line2D([], [], linestyle="none", label=label, **look) for label, look in MARKERS.items()]
        axes.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(0.0, 1.02), ncols=3, borderaxespad=0.0, columnspacing=2.0
        )
    return figure


def _auc(models: Sequence[ModelPerformance], feature_set: FeatureSet, sample: Sample) -> Estimate:
    row = chosen_row(models, feature_set, sample)
    return Estimate(value=None) if row is None else row.auc


def _dumbbell(axes: Axes, position: float, apparent: Estimate, out_of_fold: Estimate, test: Estimate) -> None:
    """Draw one model: a grey band from the honest to the apparent AUC, and both honest ones with their intervals."""
    honest = [e.value for e in (out_of_fold, test) if e.value is not None]
    if apparent.value is not None:
        if honest:
            axes.plot([min(honest), apparent.value], [position, position], color="#D5D9DD", linewidth=7, zorder=1)
        axes.plot(apparent.value, position, linestyle="none", zorder=3, **MARKERS["apparent: optimistic"])
        _value_label(axes, apparent.value, position, style.GREY, offset=(9, 0), ha="left", va="center")
    for estimate, offset, name in ((out_of_fold, 0.2, "out-of-fold"), (test, -0.2, "test")):
        if estimate.value is None:
            continue
        color, y = MARKERS[name]["color"], position + offset
        if estimate.low is not None and estimate.high is not None:
            axes.plot([estimate.low, estimate.high], [y, y], color=color, linewidth=2.0, zorder=2)
        axes.plot(estimate.value, y, linestyle="none", zorder=4, **MARKERS[name])
        _value_label(axes, estimate.value, y, color, offset=(0, 30 * offset), ha="center", va="bottom" if offset > 0 else "top")


def _value_label(axes: Axes, x: float, y: float, color: str, *, offset: tuple[float, float], ha: str, va: str) -> None:
    text = formatting.number(x)
    axes.annotate(text, (x, y), xytext=offset, textcoords="offset points", color=color, fontsize=8, ha=ha, va=va)


def lasso_figure(path: LassoPath) -> Figure:
    """Draw the coefficients along the penalty and the cross-validated loss with both candidate penalties.

    Parameters
    ----------
    path
        ``penalty`` > 0 in any order; drawn over its decimal logarithm.
    """
    x = np.log10(np.asarray(path.penalty, dtype=np.float64))
    with style.figure_style():
        figure = Figure(figsize=(WIDTH_IN, 6.4), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1.25, 1.0))
        curves = sorted(path.curves, key=lambda c: _strength(c, path.index_min), reverse=True)[:LASSO_CURVE_LIMIT]
        named = [c for c in curves if _strength(c, path.index_min)[0] > 0][:LASSO_NAMED_LIMIT]
        for curve in reversed(curves[len(named) :]):
            upper.plot(x, curve.coefficients, color="#C3C9CF", linewidth=0.8)
        palette = (style.BLUE, style.VERMILION, style.GREEN, style.PURPLE, style.ORANGE, style.SKY_BLUE, style.BLACK)
        for place, curve in enumerate(named):
            dashes = "-" if place < len(palette) else "--"
            upper.plot(
                x, curve.coefficients, color=palette[place % len(palette)], linestyle=dashes, label=short_feature(curve.name)
            )
        upper.axhline(0, color=style.INK, linewidth=0.6)
        upper.set(ylabel="Coefficient (standardized)")
        upper.grid(visible=True)
        if named:
            upper.legend(
                loc="upper left",
                bbox_to_anchor=(1.01, 1.02),
                title="largest at the minimum",
                alignment="left",
                labelspacing=0.35,
            )
        loss, error = np.asarray(path.cv_loss), np.asarray(path.cv_standard_error)
        lower.fill_between(
            x, loss - error, loss + error, color=style.SKY_BLUE, alpha=0.25, linewidth=0, label="± 1 standard error"
        )
        lower.plot(x, loss, color=style.BLUE, marker="o", markersize=2.5, linewidth=1.2, label="held-out loss, mean of folds")
        lower.set(xlabel="log10 of the penalty λ (few features on the right)", ylabel="Cross-validated loss")
        lower.grid(visible=True)
        for axes in (upper, lower):
            axes.axvline(x[path.index_min], color=style.VERMILION, linewidth=1.2, linestyle="--", label="λ with the least loss")
            axes.axvline(
                x[path.index_one_se], color=style.GREEN, linewidth=1.2, linestyle="-.", label="λ within one standard error"
            )
        lower.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02))
    return figure


def _strength(curve: LassoCurve, index: int) -> tuple[float, float]:
    return abs(curve.coefficients[index]), max(abs(c) for c in curve.coefficients)


def short_feature(name: str, limit: int = 44) -> str:
    """Return a feature name without its branch prefix, shortened in the middle to a number of characters."""
    bare = name.split(".", 1)[1] if name.startswith(("radiomics.", "deep.")) else name
    return bare if len(bare) <= limit else f"{bare[: limit // 2 - 1]}…{bare[-limit // 2 :]}"


def finetune_figure(curves: Sequence[FinetuneCurve]) -> Figure:
    """Draw training and validation loss over epochs, a panel for each fine-tuning; a dot marks the epoch that was kept."""
    columns = 3
    lines = max(1, math.ceil(len(curves) / columns))
    with style.figure_style():
        figure = Figure(figsize=(WIDTH_IN, 0.5 + 2.35 * lines), layout="constrained")
        panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        for place, axes in enumerate(panels.flat):
            if place >= len(curves):
                axes.set_axis_off()
                continue
            _finetune_panel(axes, curves[place])
            # The last panel of a column carries the numbers of the shared axis.
            axes.tick_params(labelbottom=place + columns >= len(curves))
            axes.set(
                xlabel="epoch" if place + columns >= len(curves) else None, ylabel="loss" if place % columns == 0 else None
            )
        if curves:
            handles, labels = panels.flat[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper left", ncols=3)
    return figure


def _finetune_panel(axes: Axes, curve: FinetuneCurve) -> None:
    epochs = np.arange(1, len(curve.train_loss) + 1)
    held_out = np.array([math.nan if v is None else v for v in curve.validation_loss], dtype=np.float64)
    axes.plot(epochs, curve.train_loss, color=style.GREY, linestyle="--", label="training loss (optimistic)")
    axes.plot(epochs[: held_out.size], held_out, color=style.BLUE, label="loss on patients kept back for stopping")
    if 1 <= curve.best_epoch <= len(curve.train_loss):
        kept = held_out[curve.best_epoch - 1] if curve.best_epoch <= held_out.size else math.nan
        y = curve.train_loss[curve.best_epoch - 1] if math.isnan(kept) else kept
        axes.plot(
            [curve.best_epoch], [y], "o", color=style.VERMILION, markeredgecolor="white", markersize=7, label="epoch kept"
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(curve.label)
    axes.grid(visible=True)
