"""Reporting checklists: items as data, answers from the run, and what only the authors can say."""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Annotated, Literal

from docx.document import Document as DocumentObject
from pydantic import Field, model_validator

from nodogram.settings import Settings
from training.report.pack.docx_document import add_heading, add_list, add_text, new_document, set_page
from training.report.pack.docx_tables import add_text_table
from training.report.pack.facts import PackFacts

Status = Literal["answered", "partly", "authors", "not_applicable"]
CHECKLISTS = ("tripod_ai", "clear", "metrics")
STATUS_TEXT: Mapping[Status, str] = {
    "answered": "answered from the run",
    "partly": "partly; authors add",
    "authors": "authors must supply",
    "not_applicable": "not applicable",
}
COLUMNS = ("Item", "Asked", "Status", "Answer from the run", "Authors must supply", "Shown in")
# Share of the width of a lying page.
WIDTHS_MM = (14.0, 48.0, 26.0, 88.0, 47.0, 34.0)


@dataclass(frozen=True)
class Answer:
    """What a run says about an item.

    Attributes
    ----------
    shown
        Where a reader finds it.
    met
        Whether the thing asked for was done; a run can answer that it was not.
    """

    status: Status
    text: str
    shown: str = ""
    met: bool = True


AnswerFunction = Callable[[PackFacts], Answer]


class ChecklistItem(Settings):
    """One item.

    Attributes
    ----------
    ask
        What is asked, in our words.
    answer
        Key of the function that answers.
    supply
        What the authors must say where the run cannot, or cannot alone.
    applies
        Of TRIPOD+AI: development, evaluation or both.
    weight
        Of METRICS.
    condition
        Of METRICS: the condition the item depends on.
    essential
        Of CLEAR: whether the item is more than recommended.
    """

    number: str
    section: str
    ask: str
    answer: str
    supply: str = ""
    applies: Literal["D", "E", "D;E"] | None = None
    weight: Annotated[float, Field(gt=0, lt=1)] | None = None
    condition: Literal["segmentation", "automatic_segmentation", "hand_crafted", "tabular", "end_to_end"] | None = None
    essential: bool = True


class Checklist(Settings):
    """A published checklist.

    Attributes
    ----------
    source
        Reference with its DOI.
    """

    name: str
    title: str
    source: str
    items: tuple[ChecklistItem, ...]

    @model_validator(mode="after")
    def _once(self) -> Checklist:
        numbers = [item.number for item in self.items]
        if len(set(numbers)) != len(numbers):
            raise ValueError("items: each number once")
        return self


@dataclass(frozen=True)
class FilledItem:
    """An item with its answer."""

    item: ChecklistItem
    answer: Answer

    @property
    def supply(self) -> str:
        """What is left to the authors; empty where nothing is."""
        return self.item.supply if self.answer.status in ("partly", "authors") else ""

    @property
    def cells(self) -> tuple[str, ...]:
        """A line of the form, in the order of :data:`COLUMNS`."""
        answer = self.answer
        number = self.item.number + ("" if self.item.essential else "*")
        return (number, self.item.ask, STATUS_TEXT[answer.status], answer.text, self.supply, answer.shown)


def load_checklist(name: str) -> Checklist:
    """Read one of :data:`CHECKLISTS`."""
    text = resources.files("training.report.pack").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return Checklist.model_validate(tomllib.loads(text))


def fill(checklist: Checklist, facts: PackFacts, answers: Mapping[str, AnswerFunction]) -> tuple[FilledItem, ...]:
    """Answer every item from the documents of a run."""
    return tuple(FilledItem(item, answers[item.answer](facts)) for item in checklist.items)


def checklist_csv(filled: Sequence[FilledItem]) -> str:
    """Return a filled form as CSV."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(entry.cells for entry in filled)
    return stream.getvalue()


def checklist_document(
    checklist: Checklist, filled: Sequence[FilledItem], facts: PackFacts, notes: Sequence[str] = ()
) -> DocumentObject:
    """Return a filled form as a Word document.

    Parameters
    ----------
    notes
        Lines above the form, such as a score with its arithmetic.
    """
    document = new_document(f"{checklist.name}: {facts.results.cohort_title}", facts.results.created)
    set_page(document.sections[0], "landscape")
    add_heading(document, f"{checklist.name}: {checklist.title}", 0)
    add_text(document, f"{checklist.source} Items are paraphrased; their numbers are those of the publication.")
    add_text(document, summary(filled))
    add_list(document, notes)
    rows: list[tuple[str, ...]] = []
    section = ""
    for entry in filled:
        if entry.item.section != section:
            section = entry.item.section
            rows.append((section,))
        rows.append(entry.cells)
    add_text_table(document, COLUMNS, rows, WIDTHS_MM)
    if not all(entry.item.essential for entry in filled):
        add_text(document, "* recommended, not essential")
    return document


def summary(filled: Sequence[FilledItem]) -> str:
    """Count the items by status, in a sentence."""
    counts = [(STATUS_TEXT[status], sum(entry.answer.status == status for entry in filled)) for status in STATUS_TEXT]
    return f"{len(filled)} items: " + "; ".join(f"{count} {text}" for text, count in counts) + "."
