"""``cohort.toml``: what the outcome is, who said so, and what the clinical columns mean."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from nodogram.clinical import ClinicalPredictor
from nodogram.settings import Settings

REQUIRED_COLUMNS = ("patient_id", "image", "roi", "roi_name", "outcome")
OPTIONAL_COLUMNS = ("roi_reader_b", "roi_repeat", "centre", "split")
# Columns a person keeps for himself; they are read by nobody.
NOTE_PREFIX = "note_"

Text = Annotated[str, Field(min_length=1)]


class CohortPredictor(ClinicalPredictor):
    """A clinical predictor and whether the model may use it.

    Attributes
    ----------
    candidate
        ``False``: described in the baseline table, not offered to the model.
    """

    candidate: bool = True


class OutcomeDefinition(Settings):
    """What is predicted.

    Attributes
    ----------
    name
        Such as ``lymph-node metastasis``.
    positive_label
        What 1 stands for, such as ``pN+``.
    provenance
        On whose word the outcome is known; printed on every report.
    """

    name: Text
    positive_label: Text
    provenance: Literal["pathology", "clinical"]


class CohortDefinition(Settings):
    """``cohort.toml``."""

    title: Text
    intended_use: Text = "Research; not for decisions about patients"
    outcome: OutcomeDefinition
    predictors: tuple[CohortPredictor, ...] = ()

    @model_validator(mode="after")
    def _names_are_free(self) -> CohortDefinition:
        names = [p.name for p in self.predictors]
        taken = sorted({n for n in names if names.count(n) > 1 or n in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)})
        taken += [n for n in names if n.startswith(NOTE_PREFIX)]
        if taken:
            raise ValueError(f"predictor names {', '.join(taken)} are used twice or reserved")
        return self

    @property
    def candidates(self) -> tuple[ClinicalPredictor, ...]:
        """Predictors the model may use."""
        return tuple(
            ClinicalPredictor.model_validate(p.model_dump(exclude={"candidate"})) for p in self.predictors if p.candidate
        )

    @property
    def slug(self) -> str:
        """The title in lower-case letters, digits and hyphens, for file and bundle names."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-") or "cohort"
