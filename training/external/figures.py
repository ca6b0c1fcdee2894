"""The figures of an external validation, each a pure function from evidence to a Matplotlib figure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.evidence.sample_result import SampleEvidence
from training.external.document import EvaluatedScore, ExternalEvaluation
from training.external.tables import HEADINGS
from training.report import formatting, style
from training.report.evidence_figures import calibration_figure, decision_figure

_COLORS: dict[EvaluatedScore, str] = {"nomogram": style.VERMILION, "dlr": style.BLUE}
_DASHES: dict[EvaluatedScore, str] = {"nomogram": "-", "dlr": "--"}
_HEIGHT_IN = 5.0


@dataclass(frozen=True)
class ExternalFigure:
    """A figure before it is written.

    Attributes
    ----------
    section
        Anchor of the part of the page it belongs to.
    stem
        File name without suffix.
    """

    section: str
    stem: str
    title: str
    caption: str
    figure: Figure


def external_figures(document: ExternalEvaluation) -> Iterator[ExternalFigure]:
    """Draw every figure there is material for."""
    panels = [(HEADINGS[found.score], found.evidence) for found in document.scores]
    first = panels[:1]
    if first[0][1].discrimination is not None:
        yield ExternalFigure(
            "discrimination",
            "roc",
            "ROC and precision-recall curves on the patients here",
            "Left: the dot marks the decision threshold of the bundle. Right: of those called positive, how many have the "
            "outcome (precision), while more and more of those who have it are found (recall). Curves are given at every 0.05, "
            "so that no corner belongs to one patient.",
            roc_figure(document),
        )
    yield ExternalFigure(
        "calibration",
        "calibration",
        "Predicted and observed",
        "On the dotted line, as many patients have the outcome as predicted. Squares are groups of similar prediction of at "
        "least five patients, with 95% intervals; the curve is smoothed over all patients, with its band.",
        calibration_figure(panels),
    )
    if first[0][0] == HEADINGS["nomogram"]:
        yield ExternalFigure(
            "utility",
            "decision",
            "Decision curve",
            f"Above: net benefit of treating by the nomogram. Below: how many interventions that spares. Thresholds: "
            f"{first[0][1].utility.threshold_reason}",
            decision_figure(first),
        )


def roc_figure(document: ExternalEvaluation) -> Figure:
    """Draw ROC and precision-recall curves of nomogram and score, with the decision threshold as a dot."""
    with style.figure_style():
        figure = Figure(figsize=(style.WIDTH_IN, _HEIGHT_IN), layout="constrained")
        left, right = figure.subplots(1, 2)
        for axes in (left, right):
            axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
            axes.set_xticks(np.linspace(0, 1, 6))
            axes.set_yticks(np.linspace(0, 1, 6))
            axes.grid(visible=True)
        left.set(xlabel="1 − specificity", ylabel="Sensitivity", title="ROC")
        right.set(xlabel="Recall (sensitivity)", ylabel="Precision (positive predictive value)", title="Precision and recall")
        left.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.8, linestyle=(0, (2, 3)))
        for found in document.scores:
            _curves(left, right, found.score, found.evidence)
        left.legend(loc="lower right", title="AUC (95% CI)", alignment="left")
        right.legend(loc="lower right", title="Average precision (95% CI)", alignment="left")
    return figure


def _curves(left: Axes, right: Axes, score: EvaluatedScore, evidence: SampleEvidence) -> None:
    found = evidence.discrimination
    if found is None:
        return
    color, dashes = _COLORS[score], _DASHES[score]
    first = score == "nomogram"
    width, order = (2.2, 3) if first else (1.5, 2)
    look: dict[str, Any] = {"color": color, "linestyle": dashes, "linewidth": width, "zorder": order}
    roc = f"{HEADINGS[score]}  {formatting.interval(found.auc_logit)}"
    left.plot(found.false_positive_rate, found.true_positive_rate, label=roc, **look)
    precision = f"{HEADINGS[score]}  {formatting.interval(found.auprc)}"
    right.plot(found.recall, found.precision, drawstyle="steps-pre", label=precision, **look)
    if not first:
        return
    # Without information precision is the share of patients with the outcome.
    right.axhline(evidence.prevalence, color=style.GREY, linewidth=0.8, linestyle=(0, (2, 3)))
    decisions = evidence.decisions
    if decisions.sensitivity.value is not None and decisions.specificity.value is not None:
        x, y = 1 - decisions.specificity.value, decisions.sensitivity.value
        left.plot([x], [y], "o", color=color, markeredgecolor="white", zorder=4)
