"""Figures of what refits of the whole procedure say: null distribution, optimism, selection, centers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from training.evidence.honesty_result import (
    CentreEvidence,
    ClassifierFrequency,
    CorrectedMeasure,
    HonestyEvidence,
    NullTest,
    SelectionEvidence,
)
from training.evidence.sample_result import Measure
from training.model_names import feature_set_label
from training.report import formatting, style
from training.report.explanation_figures import readable_feature
from training.report.figures import FEATURE_SET_COLORS, WIDTH_IN

PANEL_IN = 3.1
# More bars are neither read nor needed; the table has all.
FEATURES_SHOWN = 20
BRANCHES = {"radiomics": "Radiomics", "deep": "Deep features", "dlr": "Radiomics and deep features"}


def honesty_figures(evidence: HonestyEvidence) -> dict[str, Figure]:
    """Draw every figure there is something to draw in, by file name."""
    found: dict[str, Figure] = {}
    if evidence.permutation.pooled is not None:
        found["permutation_null"] = null_figure(evidence)
    if evidence.optimism.models:
        found["optimism"] = optimism_figure(evidence)
    if evidence.selection.features and (evidence.selection.resamples or evidence.selection.folds):
        found["selection_frequency"] = selection_figure(evidence)
    if evidence.centres.rows:
        found["leave_one_center_out"] = centre_figure(evidence)
    return found


def honesty_captions(evidence: HonestyEvidence) -> dict[str, str]:
    """Return the words beneath each figure; the first sentence names it."""
    note = evidence.network_note
    null, optimism, chosen, centres = evidence.permutation, evidence.optimism, evidence.selection, evidence.centres
    return {
        "permutation_null": "What the procedure finds where there is nothing to find. Bars: AUC of the nomogram, out of fold, "
        f"in {null.count.fitted} cross-fittings with the outcomes dealt to other patients. Line: with the real outcomes. p is "
        "the share at least as large, the real one included. Left, all pairs of patients; right, only pairs scored by the same "
        f"fold model. {note}",
        "optimism": f"Optimism in each of {optimism.count.fitted} bootstrap resamples. A dot is a model fitted on a resample: "
        "its AUC on the resample itself (across) and on the original patients (up). The further below the diagonal, the more "
        "a model flatters itself. The star is the final model, apparent and corrected; the ring is its .632+ estimate. "
        f"{note}",
        "selection_frequency": "How often features and algorithms were chosen. Bars: share of "
        f"{chosen.resamples} final chains on resamples; diamonds: share of {chosen.folds} fold chains. Dark: in the final "
        f"model. A feature that most refits do without is interchangeable with others, or chance. {note}",
        "leave_one_center_out": f"AUC of the nomogram in each of {len(centres.rows)} centers it was fitted without. Bars are "
        "95% intervals. Diamond: random-effects mean with its 95% interval; grey line through it: where the AUC of a new "
        f"center is expected (95% prediction interval, with three centers or more). {note}",
    }


def null_figure(evidence: HonestyEvidence) -> Figure:
    """Draw the null distributions with the observed values."""
    pairs = (("Out of fold, pooled", evidence.permutation.pooled), ("Within folds", evidence.permutation.within_folds))
    panels = [(title, test) for title, test in pairs if test is not None]
    with style.figure_style():
        figure = Figure(figsize=(WIDTH_IN, PANEL_IN), layout="constrained")
        for axes, (title, test) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _null_panel(axes, title, test)
    return figure


def _null_panel(axes: Axes, title: str, test: NullTest) -> None:
    values = np.array([*test.null, test.observed])
    low, high = min(values.min(), 0.3), max(values.max(), 0.7)
    bins = np.linspace(low, high, 1 + int(np.clip(np.sqrt(values.size) * 2, 8, 30)))
    axes.hist(test.null, bins=bins.tolist(), color=style.SKY_BLUE, edgecolor="white", label="permuted outcomes")
    axes.axvline(0.5, color=style.GREY, linewidth=0.9, linestyle=(0, (2, 3)))
    p = formatting.p_value(test.p)
    label = f"real outcomes: {formatting.number(test.observed)}, p {p if p[0] in '<>' else f'= {p}'}"
    axes.axvline(test.observed, color=style.VERMILION, linewidth=2.2, label=label)
    axes.set_title(title, pad=34)
    axes.set(xlabel="AUC of the nomogram", ylabel="Permutations")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=1, borderaxespad=0.1)


def optimism_figure(evidence: HonestyEvidence) -> Figure:
    """Draw the AUC of each resample's model on the resample against that on the original patients, a panel for each model."""
    models = evidence.optimism.models
    with style.figure_style():
        figure = Figure(figsize=(WIDTH_IN, WIDTH_IN / 3 + 0.75), layout="constrained")
        panels = figure.subplots(1, max(len(models), 2), sharex=True, sharey=True, squeeze=False)[0]
        aucs = [next(c for c in model.corrected if c.measure == "auc") for model in models]
        low = _lowest(aucs, [p.value for m in models for p in m.plus if p.measure == "auc"])
        for axes, model, auc in zip(panels, models, aucs, strict=False):
            color = FEATURE_SET_COLORS[model.model]
            axes.plot([low, 1], [low, 1], color=style.GREY, linewidth=0.8, linestyle=(0, (2, 3)))
            axes.plot(auc.in_resample, auc.on_original, "o", color=color, markersize=4.5, alpha=0.55, markeredgewidth=0)
            plus = next(p for p in model.plus if p.measure == "auc")
            if auc.apparent is not None and plus.value is not None:
                axes.plot(auc.apparent, plus.value, "o", markersize=10, markerfacecolor="none", color=style.INK)
            if auc.apparent is not None and auc.corrected is not None:
                axes.plot(auc.apparent, auc.corrected, "*", markersize=13, color=style.INK, markeredgecolor="white")
            axes.set_title(feature_set_label(model.model))
            axes.set(xlim=(low, 1.012), ylim=(low, 1.012), aspect="equal", xlabel="AUC on the resample")
            axes.grid(visible=True)
        for axes in panels[len(models) :]:
            axes.set_visible(False)
        panels[0].set_ylabel("AUC on the original patients")
        figure.legend(handles=_optimism_keys(), loc="outside upper left", ncols=3)
    return figure


def _optimism_keys() -> list[Line2D]:
    return [
        Line2D([], [], color=style.GREY, marker="o", linestyle="", markersize=4.5, label="model of a resample"),
        Line2D([], [], color=style.INK, marker="*", linestyle="", markersize=11, label="final model: apparent, corrected"),
        Line2D([], [], color=style.INK, marker="o", linestyle="", markersize=8, markerfacecolor="none", label=".632+"),
    ]


def _lowest(found: Sequence[CorrectedMeasure], others: Sequence[float | None]) -> float:
    values = [v for c in found for v in (*c.in_resample, *c.on_original, c.apparent, c.corrected) if v is not None]
    values += [v for v in others if v is not None]
    return min(0.48, float(np.floor(min(values) * 20) / 20) - 0.02)


def selection_figure(evidence: HonestyEvidence) -> Figure:
    """Draw how often features were selected and algorithms chosen."""
    found = evidence.selection
    shown = found.features[:FEATURES_SHOWN]
    lines = max(len(shown), len(found.classifiers) + len({row.branch for row in found.classifiers}))
    with style.figure_style():
        figure = Figure(figsize=(WIDTH_IN, 1.1 + 0.3 * lines), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.5, 1.0))
        for place, feature in enumerate(shown):
            _frequency(left, place, feature.resamples, feature.folds, found, feature.in_final)
        left.set_yticks(range(len(shown)), [readable_feature(feature.name, 44) for feature in shown], fontsize=7.5)
        left.set_title(f"Radiomic features, {len(shown)} of {len(found.features)}")
        _algorithms(right, found.classifiers, found)
        for axes, count in ((left, len(shown)), (right, lines)):
            axes.set(xlim=(0, 1.04), ylim=(max(count, 1) - 0.4, -0.6), xlabel="Share of refits")
            axes.xaxis.set_major_formatter(PercentFormatter(1.0))
            axes.tick_params(axis="y", length=0)
            axes.grid(visible=True, axis="x")
    return figure


def _algorithms(axes: Axes, rows: Sequence[ClassifierFrequency], found: SelectionEvidence) -> None:
    place, labels = 0, []
    for branch in dict.fromkeys(row.branch for row in rows):
        labels.append((place, BRANCHES.get(branch, branch), "bold"))
        for row in (r for r in rows if r.branch == branch):
            place += 1
            labels.append((place, row.classifier, "normal"))
            _frequency(axes, place, row.resamples, row.folds, found, row.in_final)
        place += 1
    axes.set_yticks([at for at, _, _ in labels], [text for _, text, _ in labels], fontsize=8)
    for tick, (_, _, weight) in zip(axes.get_yticklabels(), labels, strict=True):
        tick.set_fontweight(weight)
    axes.set_title("Algorithms")


def _frequency(axes: Axes, place: int, resamples: int, folds: int, found: SelectionEvidence, in_final: bool) -> None:
    if found.resamples:
        axes.barh(place, resamples / found.resamples, height=0.62, color=style.BLUE if in_final else style.SKY_BLUE)
    if found.folds:
        axes.plot(
            folds / found.folds, place, "D", markersize=4.5, color=style.VERMILION, markeredgecolor="white", clip_on=False
        )


def centre_figure(evidence: HonestyEvidence) -> Figure:
    """Draw the AUC in each center the nomogram was fitted without, and the summary."""
    found = evidence.centres
    names = [f"{row.centre}  (n = {row.patient_count}, {row.event_count} events)" for row in found.rows]
    with style.figure_style():
        figure = Figure(figsize=(WIDTH_IN, 1.0 + 0.36 * (len(names) + 1)), layout="constrained")
        axes = figure.subplots()
        for place, row in enumerate(found.rows):
            _interval(axes, place, row.auc, style.BLUE, "s")
            _value(axes, place, row.auc)
        if found.summary is not None:
            names.append("Mean (random effects)")
            _summary(axes, len(names) - 1, found)
        axes.axvline(0.5, color=style.GREY, linewidth=0.9, linestyle=(0, (2, 3)))
        axes.set_yticks(range(len(names)), names)
        axes.set(ylim=(len(names) - 0.4, -0.6), xlim=(_lowest_bound(found), 1.0), xlabel="AUC of the nomogram (95% CI)")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(visible=True, axis="x")
    return figure


def _summary(axes: Axes, place: int, found: CentreEvidence) -> None:
    if found.summary is None:
        return
    ahead = found.summary.prediction
    if ahead.low is not None and ahead.high is not None:
        axes.plot([ahead.low, ahead.high], [place, place], color=style.GREY, linewidth=5, alpha=0.5, solid_capstyle="butt")
    _interval(axes, place, found.summary.auc, style.VERMILION, "D")
    _value(axes, place, found.summary.auc)


def _interval(axes: Axes, place: int, measure: Measure, color: str, marker: str) -> None:
    if measure.low is not None and measure.high is not None:
        axes.plot([measure.low, measure.high], [place, place], color=color, linewidth=1.6)
    if measure.value is not None:
        axes.plot(measure.value, place, marker, color=color, markersize=7, markeredgecolor="white")


def _value(axes: Axes, place: int, measure: Measure) -> None:
    axes.annotate(
        formatting.interval(measure),
        (1.0, place),
        xycoords=("axes fraction", "data"),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        fontsize=8.5,
        annotation_clip=False,
    )


def _lowest_bound(found: CentreEvidence) -> float:
    measures = [row.auc for row in found.rows]
    if found.summary is not None:
        measures += [found.summary.auc, found.summary.prediction]
    values = [v for m in measures for v in (m.low, m.value) if v is not None]
    return max(0.0, min(0.4, float(np.floor(10 * min(values)) / 10)))
