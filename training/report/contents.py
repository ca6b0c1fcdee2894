"""Parts of the page in the reader's order, and those a run has."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from training.evidence.document import RunEvidence
from training.results import RunResults


@dataclass(frozen=True)
class PageSection:
    """One part of the page.

    Attributes
    ----------
    short
        Its name in the table of contents.
    """

    anchor: str
    title: str
    short: str


@dataclass(frozen=True)
class SectionGroup:
    """Parts that belong together."""

    title: str
    sections: tuple[PageSection, ...]


GROUPS = (
    SectionGroup(
        "Result",
        (
            PageSection("answer", "Answer", "Answer"),
            PageSection("reading", "How to read this report", "How to read it"),
        ),
    ),
    SectionGroup(
        "Patients",
        (
            PageSection("flow", "Cohort flow", "Cohort flow"),
            PageSection("baseline", "Patients", "Tables 1–2: patients"),
            PageSection("acquisition", "Scanners and images", "Scanners and images"),
            PageSection("clinical", "Clinical findings", "Table 3: odds ratios"),
        ),
    ),
    SectionGroup(
        "Models",
        (
            PageSection("algorithms", "Algorithms", "Table 4: algorithms"),
            PageSection("models", "The nomogram and what it must beat", "Table 5: nomogram"),
        ),
    ),
    SectionGroup(
        "Performance",
        (
            PageSection("discrimination", "Discrimination in detail", "Discrimination"),
            PageSection("calibration", "Calibration", "Calibration"),
            PageSection("utility", "Clinical utility", "Clinical utility"),
        ),
    ),
    SectionGroup(
        "Can it be trusted?",
        (
            PageSection("honesty", "How honest the figures are", "Honesty checks"),
            PageSection("agreement", "Agreement of repeated readings", "Agreement"),
            PageSection("subgroups", "Subgroups and fairness", "Subgroups"),
            PageSection("incremental", "What the images add", "Incremental value"),
        ),
    ),
    SectionGroup(
        "Inside the model",
        (
            PageSection("explanation", "What the model rests on", "Explanation"),
            PageSection("nomogram-section", "Nomogram", "Nomogram and formula"),
            PageSection("selection", "Selected features", "Selected features"),
            PageSection("finetuning-section", "Fine-tuning", "Fine-tuning"),
        ),
    ),
    SectionGroup(
        "Record",
        (
            PageSection("recipe", "Recipe", "Recipe"),
            PageSection("provenance", "Bundle and software", "Bundle and software"),
            PageSection("pack", "Reviewer pack", "Reviewer pack"),
            PageSection("predict", "Predict a patient", "Predict a patient"),
        ),
    ),
)
# Parts that exist only where they have a table or a figure.
OPTIONAL = ("acquisition", "discrimination", "calibration", "utility", "subgroups", "incremental", "explanation")


@dataclass(frozen=True)
class PageContents:
    """Groups with the parts this page has."""

    groups: tuple[SectionGroup, ...]

    def has(self, anchor: str) -> bool:
        """Return whether the page has this part."""
        return any(section.anchor == anchor for group in self.groups for section in group.sections)

    def title(self, anchor: str) -> str:
        """Return the heading of a part."""
        return next(section.title for group in self.groups for section in group.sections if section.anchor == anchor)


def page_contents(results: RunResults, evidence: RunEvidence, filled: Collection[str]) -> PageContents:
    """Return the parts of a page.

    Parameters
    ----------
    filled
        Anchors of the parts for which there is a table or a figure.
    """
    absent = {anchor for anchor in OPTIONAL if anchor not in filled}
    if evidence.agreement is None:
        absent.add("agreement")
    if not results.finetune_curves:
        absent.add("finetuning-section")
    groups = (
        SectionGroup(group.title, tuple(section for section in group.sections if section.anchor not in absent))
        for group in GROUPS
    )
    return PageContents(tuple(group for group in groups if group.sections))
