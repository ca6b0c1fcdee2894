"""A validation elsewhere: read from its sealed document, refused if it was changed or is of another bundle."""

from __future__ import annotations

from pathlib import Path

import pytest
from example_external import made_up_findings, write_clinical_bundle
from example_pack import example_facts, pack_results

from nodogram.bundle import load_bundle
from nodogram.errors import NodogramError, Reason
from training.external.document import ExternalEvaluation
from training.external.findings import make_document
from training.external.signature import sealed_text
from training.report.pack.answers import ANSWERS
from training.report.pack.checklist import Answer, fill, load_checklist
from training.report.pack.external import read_external
from training.report.pack.facts import PackFacts
from training.report.pack.methods_text import methods_markdown


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> ExternalEvaluation:
    model = load_bundle(write_clinical_bundle(tmp_path_factory.mktemp("external") / "bundle"))
    found = make_document(made_up_findings(model))
    # The same validation, of the bundle of the example run.
    return found.model_copy(update={"bundle": found.bundle.model_copy(update={"digest": pack_results().bundle_digest})})


@pytest.fixture(scope="module")
def file(document: ExternalEvaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sealed") / "evaluation.json"
    path.write_text(sealed_text(document, None), encoding="utf-8")
    return path


def test_the_figures_are_those_of_the_document(document: ExternalEvaluation, file: Path) -> None:
    found = read_external(file, pack_results().bundle_digest)
    evidence = document.evidence_of("nomogram")
    assert evidence is not None
    assert evidence.discrimination is not None
    assert (found.score, found.patient_count, found.event_count) == ("nomogram", 120, evidence.event_count)
    assert found.auc == evidence.discrimination.auc_logit
    assert found.slope == evidence.calibration.slope
    assert found.title == document.cohort.title
    assert [update.form for update in found.updates] == ["none", "intercept", "logistic"]


def test_forms_and_methods_tell_it(document: ExternalEvaluation, file: Path) -> None:
    facts = PackFacts(**{**vars(example_facts()), "external": read_external(file, pack_results().bundle_digest)})
    answers: dict[str, Answer] = {e.item.number: e.answer for e in fill(load_checklist("tripod_ai"), facts, ANSWERS)}
    metrics = {e.item.number: e.answer for e in fill(load_checklist("metrics"), facts, ANSWERS)}
    assert metrics["27"].status == "answered"
    assert f"“{document.cohort.title}”: 120 patients" in metrics["27"].text
    assert "for the authors to vouch for" in metrics["27"].text
    assert "logistic update: intercept" in answers["24"].text
    assert "none update" not in answers["24"].text
    assert "The bundle was validated without refitting on the cohort" in methods_markdown(facts)
    assert "validated without refitting" not in methods_markdown(example_facts())


def refused(path: Path, digest: str) -> NodogramError:
    with pytest.raises(NodogramError) as caught:
        read_external(path, digest)
    return caught.value


def test_a_changed_document_is_refused(document: ExternalEvaluation, file: Path, tmp_path: Path) -> None:
    text = file.read_text(encoding="utf-8")
    changed = text.replace(f'"title": "{document.cohort.title}"', '"title": "Elsewhere"')
    assert changed != text
    (tmp_path / "evaluation.json").write_text(changed, encoding="utf-8")
    error = refused(tmp_path / "evaluation.json", pack_results().bundle_digest)
    assert error.reason == Reason.SETTINGS_INVALID
    assert "CHANGED" in error.message


def test_a_validation_of_another_bundle_is_refused(file: Path) -> None:
    error = refused(file, "ef" * 32)
    assert error.reason == Reason.RUN_MISMATCH
    assert pack_results().bundle_digest[:12] in error.message
    assert "efefefefefef" in error.message
