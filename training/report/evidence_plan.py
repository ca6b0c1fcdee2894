"""Which figures the evidence of a run has, with the words beneath them."""

from __future__ import annotations

from collections.abc import Iterator

from training.evidence.document import RunEvidence
from training.model_names import OUT_OF_FOLD, TEST, sample_label
from training.report.evidence_figures import (
    Beside,
    Panels,
    calibration_figure,
    decision_figure,
    precision_recall_figure,
)
from training.report.explanation_figures import explanation_figures
from training.report.figure_plan import FigureSection, PlannedFigure
from training.report.honesty_figures import honesty_captions, honesty_figures
from training.report.subgroup_figure import subgroup_caption, subgroup_figure
from training.results import RunResults, Sample

HONEST_SAMPLES: tuple[Sample, ...] = (OUT_OF_FOLD, TEST)


def evidence_plans(results: RunResults, evidence: RunEvidence) -> Iterator[PlannedFigure]:
    """Draw every figure that ``evidence.json`` has material for."""
    panels = honest_panels(evidence)
    if panels:
        yield from _nomogram_plans(panels, _clinical(evidence))
    captions = honesty_captions(evidence.honesty)
    for stem, figure in honesty_figures(evidence.honesty).items():
        title, caption = _split(captions[stem])
        yield PlannedFigure("honesty", stem, title, caption, figure)
    for table in evidence.subgroups:
        title = f"Subgroups: {sample_label(table.sample).lower()}"
        caption = subgroup_caption(table, results.outcome_name)
        yield PlannedFigure("subgroups", f"subgroups_{_short(table.sample)}", title, caption, subgroup_figure(table))
    for explained in explanation_figures(evidence.explanation, results.outcome_name):
        yield PlannedFigure("explanation", explained.stem, explained.title, explained.caption, explained.figure)


def honest_panels(evidence: RunEvidence) -> Panels:
    """Return what was measured of the nomogram on the samples whose numbers can be expected again."""
    found = ((sample_label(sample), evidence.of("nomogram", sample)) for sample in HONEST_SAMPLES)
    return tuple((label, measured) for label, measured in found if measured is not None)


def _clinical(evidence: RunEvidence) -> Beside:
    found = ((sample_label(sample), evidence.of("clinical", sample)) for sample in HONEST_SAMPLES)
    return {label: measured.utility for label, measured in found if measured is not None}


def _nomogram_plans(panels: Panels, clinical: Beside) -> Iterator[PlannedFigure]:
    settings = panels[0][1].settings
    low, high = settings.sensitivity_zone
    plans: tuple[tuple[FigureSection, str, str, str], ...] = (
        (
            "discrimination",
            "precision_recall",
            "Precision and recall of the nomogram",
            "Of the patients called positive, how many have the outcome (precision), as more and more of those who have it are "
            "found (recall). The dotted line is the prevalence: what calling patients at random would reach. Read it beside "
            f"the ROC curve where the outcome is rare; the partial AUC in the table covers sensitivity {low:g} to {high:g}.",
        ),
        (
            "calibration",
            "calibration",
            "Calibration of the nomogram",
            "Whether a predicted 30% means 30 of 100. On the dotted diagonal it does; above it, risk is predicted too low, "
            "below it too high. Squares are groups of patients with similar predictions, the curve is smoothed over all of "
            "them, and its band shows how little a small sample can tell.",
        ),
        (
            "utility",
            "decision_curve",
            "Decision curves of the nomogram",
            "Above: net benefit of treating those whose probability reaches the threshold, against treating all and treating "
            "none; the higher line is the better policy for whoever sets that threshold. Below: interventions spared per 100 "
            f"patients without missing more patients with the outcome. {settings.threshold_reason}",
        ),
    )
    drawn = (precision_recall_figure(panels), calibration_figure(panels), decision_figure(panels, clinical))
    for (section, stem, title, caption), figure in zip(plans, drawn, strict=True):
        yield PlannedFigure(section, stem, title, caption, figure)


def _short(sample: Sample) -> str:
    return "test" if sample == TEST else "out_of_fold"


def _split(caption: str) -> tuple[str, str]:
    """Return the first sentence of a caption, which names the figure, and the others."""
    title, _, rest = caption.partition(". ")
    return title, rest
