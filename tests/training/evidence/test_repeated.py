from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from training.cohort import load_cohort
from training.evidence.document import load_evidence
from training.recipe import load_recipe


def test_the_same_outline_twice_agrees_entirely(uneven_run: Path) -> None:
    agreement = load_evidence(uneven_run).agreement
    assert agreement is not None
    assert agreement.source == "outlines of two readers"
    assert agreement.form == "ICC(2,1)"
    varying = [f for f in agreement.features if f.icc is not None and f.icc > 0]
    assert len(varying) > 100
    assert all(f.icc == pytest.approx(1.0) for f in varying)
    assert agreement.score is not None
    assert agreement.score.limits is not None
    assert agreement.score.limits.bias == 0
    assert agreement.score.limits.sd == 0
    assert agreement.outlines is not None
    assert {(c.dice, c.hausdorff_95_mm) for c in agreement.outlines.cases} == {(1.0, 0.0)}


def test_only_development_patients_are_read_twice(uneven_run: Path, tiny_cohort: Path) -> None:
    agreement = load_evidence(uneven_run).agreement
    assert agreement is not None
    with (uneven_run / "predictions.csv").open(newline="") as stream:
        development = {row["patient_id"] for row in csv.DictReader(stream) if row["split"] == "development"}
    assert agreement.patient_count == len(development) < len(load_cohort(tiny_cohort).patients)
    assert agreement.outlines is not None
    assert {c.case_id for c in agreement.outlines.cases} == development


def test_without_a_second_outline_outlines_are_perturbed(tiny_run: Path, tiny_recipe: Path) -> None:
    agreement = load_evidence(tiny_run).agreement
    settings = load_recipe(str(tiny_recipe)).agreement
    assert agreement is not None
    assert agreement.source.startswith(f"outlines perturbed at random, {settings.perturbed_outlines} of each patient")
    assert agreement.form == "ICC(1,1)"
    assert agreement.reading_count == settings.perturbed_outlines
    assert 2 <= agreement.patient_count <= settings.perturbed_patients
    kinds = {f.feature_class for f in agreement.features}
    assert {"shape", "firstorder", "glcm", "deep"} <= kinds
    # Volume of perturbed outlines varies less within patients than between them; were it mixed up, it would be near zero.
    volume = next(f for f in agreement.features if f.name == "radiomics.original_shape_MeshVolume")
    assert volume.icc is not None
    assert 0.8 < volume.icc < 1


def test_the_document_is_strict_json(tiny_run: Path) -> None:
    text = (tiny_run / "evidence.json").read_text(encoding="utf-8")
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in evidence.json"))
