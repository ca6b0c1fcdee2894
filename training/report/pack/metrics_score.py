"""The METRICS score as far as a run can earn it, with its arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from training.report.pack.checklist import FilledItem

# Lower bounds of the quality categories, percent (Kocak et al. 2024).
CATEGORIES = ((80.0, "excellent"), (60.0, "good"), (40.0, "moderate"), (20.0, "low"), (0.0, "very low"))
CONDITIONS = (
    ("Segmentation", "yes: tumors were outlined", ("8", "10")),
    ("Fully automatic segmentation", "no: the software draws no outlines", ("9",)),
    ("Hand-crafted features", "{hand_crafted}", ("12",)),
    ("Tabular data", "yes: features enter as a table", ("14", "15", "16")),
    ("End-to-end deep learning", "no: deep features enter a classifier", ("17",)),
)


@dataclass(frozen=True)
class MetricsScore:
    """Weights of applicable items: earned by the run, open because the authors must supply something, and lost.

    Attributes
    ----------
    applicable
        Sum of the weights of all items that apply.
    """

    earned: float
    open: float
    applicable: float
    earned_items: tuple[str, ...]
    open_items: tuple[str, ...]
    lost_items: tuple[str, ...]
    excluded_items: tuple[str, ...]

    @property
    def lowest(self) -> float:
        """Score if the authors supply nothing, percent."""
        return 100 * self.earned / self.applicable

    @property
    def highest(self) -> float:
        """Score if they supply everything, percent."""
        return 100 * (self.earned + self.open) / self.applicable


def metrics_score(filled: Sequence[FilledItem]) -> MetricsScore:
    """Add up the weights.

    A point is earned where the run answers alone and what is asked for was done; it is open where the authors must add
    something and nothing speaks against it; it is lost where the run shows that it was not done.
    """
    weights = {entry.item.number: entry.item.weight or 0.0 for entry in filled}
    excluded = [e.item.number for e in filled if e.answer.status == "not_applicable"]
    earned = [e.item.number for e in filled if e.answer.status == "answered" and e.answer.met]
    open_items = [e.item.number for e in filled if e.answer.status in ("partly", "authors") and e.answer.met]
    lost = [e.item.number for e in filled if e.answer.status != "not_applicable" and not e.answer.met]
    return MetricsScore(
        earned=sum(weights[n] for n in earned),
        open=sum(weights[n] for n in open_items),
        applicable=sum(weights.values()) - sum(weights[n] for n in excluded),
        earned_items=tuple(earned),
        open_items=tuple(open_items),
        lost_items=tuple(lost),
        excluded_items=tuple(excluded),
    )


def category(percent: float) -> str:
    """Return the quality category of a score."""
    return next(name for bound, name in CATEGORIES if percent >= bound)


def score_lines(score: MetricsScore, *, hand_crafted: bool) -> list[str]:
    """Return conditions and arithmetic in sentences."""
    answer = "yes: radiomic features" if hand_crafted else "no: deep features only"
    conditions = [
        f"Condition “{name}”: {text.format(hand_crafted=answer)}; it governs item{'s' * (len(items) > 1)} {', '.join(items)}."
        for name, text, items in CONDITIONS
    ]
    without = f", without items {', '.join(score.excluded_items)}, which do not apply" if score.excluded_items else ""
    return [
        *conditions,
        f"Applicable weights sum to {score.applicable:.4f}{without}.",
        f"Earned by the run: items {_items(score.earned_items)}, {score.earned:.4f}.",
        f"Open until the authors supply what is missing: items {_items(score.open_items)}, {score.open:.4f}.",
        f"Not done in this run: items {_items(score.lost_items)}.",
        f"**Score: at least {score.earned:.4f} / {score.applicable:.4f} = {score.lowest:.1f}% ({category(score.lowest)}), at "
        f"most ({score.earned:.4f} + {score.open:.4f}) / {score.applicable:.4f} = {score.highest:.1f}% "
        f"({category(score.highest)}) once the authors have supplied everything.**",
    ]


def _items(numbers: Sequence[str]) -> str:
    return ", ".join(numbers) or "none"
