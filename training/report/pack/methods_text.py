"""The methods section of a manuscript, generated: every sentence says what this run did, and no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from docx.document import Document as DocumentObject

from training.report.pack import methods_imaging, methods_modeling, methods_statistics
from training.report.pack.docx_document import add_heading, add_text, new_document
from training.report.pack.facts import PackFacts

TITLE = "Methods"
NOTE = (
    "Generated from the documents of the run; every sentence depends on what was done. Authors add the setting, dates, "
    "eligibility, treatment, imaging protocol, who drew the outlines and who assessed the outcome, as the checklists say."
)

_PARTS: Sequence[tuple[str, Sequence[Callable[[PackFacts], Iterator[str]]]]] = (
    ("Patients and outcome", (methods_statistics.patients, methods_statistics.sample_size)),
    ("Image preparation", (methods_imaging.preprocessing,)),
    ("Radiomic features", (methods_imaging.radiomics,)),
    ("Deep features", (methods_imaging.network,)),
    ("Reproducibility", (methods_statistics.agreement,)),
    ("Feature selection", (methods_modeling.selection,)),
    ("Algorithms", (methods_modeling.classifiers,)),
    ("Score and cross-fitting", (methods_modeling.score,)),
    ("Clinical predictors and nomogram", (methods_modeling.nomogram, methods_modeling.threshold)),
    ("Performance", (methods_statistics.performance, methods_statistics.external)),
    ("Comparisons and subgroups", (methods_statistics.comparisons,)),
    ("Checks of the whole procedure", (methods_statistics.honesty,)),
    ("Software", (methods_statistics.software,)),
)


@dataclass(frozen=True)
class Passage:
    """A paragraph under its heading."""

    heading: str
    text: str


def methods_passages(facts: PackFacts) -> tuple[Passage, ...]:
    """Return the section in passages; one without sentences is left out."""
    passages = []
    for heading, parts in _PARTS:
        text = " ".join(sentence for part in parts for sentence in part(facts))
        if text:
            passages.append(Passage(heading, text))
    return tuple(passages)


def methods_markdown(facts: PackFacts) -> str:
    """Return the section as Markdown."""
    parts = [f"# {TITLE}", f"*{NOTE}*"]
    for passage in methods_passages(facts):
        parts += [f"## {passage.heading}", passage.text]
    return "\n\n".join(parts) + "\n"


def methods_document(facts: PackFacts) -> DocumentObject:
    """Return the section as a Word document."""
    document = new_document(f"{TITLE}: {facts.results.cohort_title}", facts.results.created)
    add_heading(document, TITLE, 0)
    add_text(document, NOTE)
    for passage in methods_passages(facts):
        add_heading(document, passage.heading, 2)
        # Asterisks would be read as bold.
        add_text(document, passage.text.replace("**", "^"))
    return document
