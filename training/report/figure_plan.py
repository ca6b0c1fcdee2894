"""Which figures the results of a run have, with the words beneath them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure

from nodogram.nomogram import Nomogram
from nodogram.nomogram_figure import nomogram_figure
from training.model_names import feature_set_label
from training.report import figures
from training.report.model_rows import algorithm_rows, compared_feature_sets, final_rows
from training.results import RunResults

FigureSection = Literal[
    "algorithms",
    "models",
    "discrimination",
    "calibration",
    "utility",
    "honesty",
    "subgroups",
    "incremental",
    "explanation",
    "nomogram",
    "lasso",
    "finetuning",
]


@dataclass(frozen=True)
class PlannedFigure:
    """A figure before it is written.

    Attributes
    ----------
    section
        Part of the page it belongs to.
    stem
        File name without suffix.
    """

    section: FigureSection
    stem: str
    title: str
    caption: str
    figure: Figure


def nomogram_plan(results: RunResults, nomogram: Nomogram) -> PlannedFigure:
    """Draw the nomogram itself."""
    caption = (
        "To read it by hand: find each finding on its own line, go straight up to the points, add the points, find the sum "
        f"on the line of total points and go straight down to the probability of {results.outcome_name}."
    )
    return PlannedFigure("nomogram", "nomogram", "Nomogram", caption, nomogram_figure(nomogram))


def result_plans(results: RunResults) -> Iterator[PlannedFigure]:
    """Draw every other figure that ``run.json`` has material for."""
    final = final_rows(results.models)
    if final:
        yield PlannedFigure(
            "models",
            "apparent_vs_honest",
            "Apparent and honest AUC of each model",
            "Grey circles: AUC on the very patients the model was fitted on (apparent: optimistic). Squares: the same patients "
            "scored by models that had not seen them (out-of-fold). Diamonds: test patients. Bars are 95% intervals; "
            "the longer the grey band, the more the apparent figure flatters the model.",
            figures.apparent_vs_honest_figure(results.models),
        )
        yield PlannedFigure(
            "models",
            "roc_models",
            "ROC curves of the models of Table 5",
            "The dot marks the nomogram at its decision threshold. The panel in grey shows apparent curves, which are "
            "optimistic and say nothing about new patients.",
            figures.roc_figure(final),
        )
    for feature_set in compared_feature_sets(results.models):
        label = feature_set_label(feature_set)
        yield PlannedFigure(
            "algorithms",
            f"roc_{feature_set}",
            f"ROC curves of all algorithms on {label.lower()}",
            "The star and the thick curve mark the algorithm the recipe chose, with its decision threshold as a dot. "
            "The panel in grey shows apparent curves, which are optimistic.",
            figures.roc_figure(algorithm_rows(results.models, feature_set)),
        )
    yield from _learning_plans(results)


def _learning_plans(results: RunResults) -> Iterator[PlannedFigure]:
    rule = {"min": "with the least loss", "one_se": "within one standard error of the least loss"}
    for path in results.lasso_paths:
        yield PlannedFigure(
            "lasso",
            f"lasso_{re.sub(r'[^a-z0-9]+', '-', path.branch.lower())}",
            f"LASSO path: {path.branch}",
            f"Above, how coefficients shrink as the penalty grows (strongest {figures.LASSO_CURVE_LIMIT} features at most; "
            "grey ones are zero or small at the minimum). Below, the loss on held-out folds inside the development patients. "
            f"The recipe takes the penalty {rule[results.recipe.selection.lasso_rule]}.",
            figures.lasso_figure(path),
        )
    if results.finetune_curves:
        yield PlannedFigure(
            "finetuning",
            "finetuning",
            "Fine-tuning of the backbone",
            "Loss per epoch of every fine-tuning: one for each fold and one for the final model. A training loss that falls "
            "while the other rises is memorizing.",
            figures.finetune_figure(results.finetune_curves),
        )
