"""Which figures a run has, with the words beneath them, and their files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure

from nodogram.nomogram import Nomogram
from nodogram.nomogram_figure import draw_nomogram
from training.report import figures, style
from training.report.model_rows import algorithm_rows, compared_feature_sets, feature_set_label, final_rows
from training.results import RunResults

FigureSection = Literal["honesty", "models", "algorithms", "nomogram", "lasso", "finetuning"]


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
        """File name without suffix; also the anchor on the page."""
        return self.svg.stem


@dataclass(frozen=True)
class _Plan:
    section: FigureSection
    stem: str
    title: str
    caption: str
    figure: Figure


def write_figures(results: RunResults, nomogram: Nomogram, folder: Path) -> tuple[DrawnFigure, ...]:
    """Draw every figure of a run as SVG and PNG.

    Parameters
    ----------
    folder
        Made if absent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [_nomogram(results, nomogram, folder)]
    for plan in _plans(results):
        svg, png = style.save_figure(plan.figure, folder / plan.stem)
        drawn.append(DrawnFigure(plan.section, plan.title, plan.caption, svg, png))
    return tuple(drawn)


def _nomogram(results: RunResults, nomogram: Nomogram, folder: Path) -> DrawnFigure:
    svg, png = folder / "nomogram.svg", folder / "nomogram.png"
    with style.figure_style():
        draw_nomogram(nomogram, None, svg, png)
    caption = (
        "To read it by hand: find each finding on its own line, go straight up to the points, add the points, find the sum "
        f"on the line of total points and go straight down to the probability of {results.outcome_name}."
    )
    return DrawnFigure("nomogram", "Nomogram", caption, svg, png)


def _plans(results: RunResults) -> Iterator[_Plan]:
    final = final_rows(results.models)
    if final:
        yield _Plan(
            "honesty",
            "apparent_vs_honest",
            "Apparent and honest AUC of each model",
            "Grey circles: AUC on the very patients the model was fitted on (apparent: optimistic). Squares: the same patients "
            "scored by models that had not seen them (out-of-fold). Diamonds: test patients. Bars are 95% intervals; "
            "the longer the grey band, the more the apparent figure flatters the model.",
            figures.apparent_vs_honest_figure(results.models),
        )
        yield _Plan(
            "models",
            "roc_models",
            "ROC curves of the models of Table 5",
            "The dot marks the nomogram at its decision threshold. The panel in grey shows apparent curves, which are "
            "optimistic and say nothing about new patients.",
            figures.roc_figure(final),
        )
    for feature_set in compared_feature_sets(results.models):
        label = feature_set_label(feature_set)
        yield _Plan(
            "algorithms",
            f"roc_{feature_set}",
            f"ROC curves of all algorithms on {label.lower()}",
            "The star and the thick curve mark the algorithm the recipe chose, with its decision threshold as a dot. "
            "The panel in grey shows apparent curves, which are optimistic.",
            figures.roc_figure(algorithm_rows(results.models, feature_set)),
        )
    rule = {"min": "with the least loss", "one_se": "within one standard error of the least loss"}
    for path in results.lasso_paths:
        yield _Plan(
            "lasso",
            f"lasso_{re.sub(r'[^a-z0-9]+', '-', path.branch.lower())}",
            f"LASSO path: {path.branch}",
            f"Above, how coefficients shrink as the penalty grows (strongest {figures.LASSO_CURVE_LIMIT} features at most; "
            "grey ones are zero or small at the minimum). Below, the loss on held-out folds inside the development patients. "
            f"The recipe takes the penalty {rule[results.recipe.selection.lasso_rule]}.",
            figures.lasso_figure(path),
        )
    if results.finetune_curves:
        yield _Plan(
            "finetuning",
            "finetuning",
            "Fine-tuning of the backbone",
            "Loss per epoch of every fine-tuning: one for each fold and one for the final model. A training loss that falls "
            "while the other rises is memorizing.",
            figures.finetune_figure(results.finetune_curves),
        )
