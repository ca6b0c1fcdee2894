"""The document: every number from where it belongs, nobody in it, every sentence true."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_external import CT, SITE, made_up_findings, write_clinical_bundle

from nodogram.bundle import ModelBundle, load_bundle
from nodogram.errors import CohortError, Reason
from nodogram.stats.discrimination import auc, compare_aucs_paired
from training.external.document import ExternalEvaluation
from training.external.findings import Findings, make_document
from training.external.prediction import Predicted
from training.external.prediction_table import predictions_csv


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    return load_bundle(write_clinical_bundle(tmp_path_factory.mktemp("findings") / "bundle"))


@pytest.fixture(scope="module")
def findings(model: ModelBundle) -> Findings:
    return made_up_findings(model, 120, missing=7)


@pytest.fixture(scope="module")
def document(findings: Findings) -> ExternalEvaluation:
    return make_document(findings)


def vectors(predicted: tuple[Predicted, ...] | list[Predicted]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    known = [p for p in predicted if p.prediction.probability is not None]
    return (
        np.array([p.patient.outcome for p in known]),
        np.array([p.prediction.probability for p in known]),
        np.array([p.prediction.dlr_probability for p in known]),
    )


def test_numbers_are_those_of_the_patients(findings: Findings, document: ExternalEvaluation) -> None:
    outcome, nomogram, score = vectors(list(findings.predicted))
    evidence = document.evidence_of("nomogram")
    assert evidence is not None
    assert evidence.discrimination is not None
    assert (evidence.patient_count, evidence.event_count) == (113, int(outcome.sum()))
    assert evidence.discrimination.auc_plain.value == pytest.approx(auc(outcome, nomogram))
    assert evidence.decisions.threshold == 0.4
    assert evidence.decisions.true_positive == int((nomogram[outcome == 1] >= 0.4).sum())
    assert evidence.calibration.expected == pytest.approx(nomogram.sum())
    alone = document.evidence_of("dlr")
    assert alone is not None
    assert alone.patient_count == 120
    assert [found.without for found in document.scores] == [7, 0]
    assert document.nomogram_minus_dlr is not None
    assert document.nomogram_minus_dlr.difference.value == pytest.approx(auc(outcome, nomogram) - auc(outcome, score))
    assert document.nomogram_minus_dlr.difference.low == pytest.approx(compare_aucs_paired(outcome, nomogram, score).low)


def test_the_flow_adds_up(document: ExternalEvaluation) -> None:
    counts = [step.count for step in document.flow]
    assert counts == [122, 120, 120, 113]
    for before, step in zip(counts, document.flow[1:], strict=False):
        assert before - sum(count for _, count in step.excluded) == step.count
    assert document.flow[1].excluded == (("COHORT_INVALID", 2),)
    assert document.flow[3].excluded == (("CLINICAL_PREDICTOR_MISSING", 7),)


def test_case_mix_by_hand(findings: Findings, document: ExternalEvaluation) -> None:
    mix = {found.predictor: found for found in document.case_mix.predictors}
    ct = [str(p.patient.clinical[CT.name]) for p in findings.predicted if CT.name in p.patient.clinical]
    assert mix[CT.name].count == 113
    assert [level.count for level in mix[CT.name].levels] == [ct.count("no"), ct.count("yes")]
    assert [level.development_share for level in mix[CT.name].levels] == [0.6, 0.4]
    scores = np.array([p.prediction.dlr_value for p in findings.predicted])
    score = next(found for name, found in mix.items() if name not in (CT.name, SITE.name))
    assert score.here is not None
    assert score.here.median == pytest.approx(np.median(scores))
    assert score.central_share == pytest.approx(np.mean((scores >= -1.28) & (scores <= 1.28)))
    # Drawn from the very distribution of development, it exceeds what chance allows once in a hundred times.
    assert score.stability is not None
    assert score.stability_chance is not None
    assert score.stability < score.stability_chance
    beyond = int(sum(abs(p.prediction.dlr_value) > 2 for p in findings.predicted if p.prediction.probability is not None))
    assert score.out_of_range_count == (None if 0 < beyond < 5 else beyond)
    assert document.case_mix.development_prevalence == 0.4
    assert {note.code: note.patient_count for note in document.case_mix.notes}["CLINICAL_PREDICTOR_MISSING"] == 7


def test_nobody_is_in_the_document(findings: Findings, document: ExternalEvaluation) -> None:
    text = document.model_dump_json()
    assert "SECRET" not in text
    numbers = {
        value
        for p in findings.predicted
        for value in (p.prediction.probability, p.prediction.dlr_probability, p.prediction.dlr_value)
    }
    found: set[float] = set()

    def collect(node: object) -> None:
        if isinstance(node, dict):
            [collect(child) for child in node.values()]
        elif isinstance(node, list):
            [collect(child) for child in node]
        elif isinstance(node, float):
            found.add(node)

    collect(json.loads(text))
    assert not numbers & found


def test_subgroups_hold_at_least_five_of_either_outcome(document: ExternalEvaluation) -> None:
    assert document.subgroups is not None
    names = {c.name for c in document.subgroups.characteristics}
    assert {"ct_reported_lnm", "tumour_site", "centre", "age_years", "volume"} <= names
    for characteristic in document.subgroups.characteristics:
        for row in characteristic.rows:
            assert 5 <= row.event_count <= row.patient_count - 5
        assert "development" not in characteristic.rule
    if document.subgroups.node_negative is not None:
        negative = document.subgroups.node_negative
        assert min(negative.event_count, negative.patient_count - negative.event_count) >= 5


def test_small_levels_leave_with_what_would_tell_them(model: ModelBundle) -> None:
    found = made_up_findings(model, 60)
    rare = []
    for i, p in enumerate(found.predicted):
        rare.append(Predicted(replace(p.patient, centre="Rare" if i < 4 else f"Center {i % 2}"), p.prediction))
    document = make_document(replace(found, predicted=rare))
    assert document.subgroups is not None
    shown = {row.level for c in document.subgroups.characteristics if c.name == "centre" for row in c.rows}
    assert "Rare" not in shown
    assert len(shown) == 1
    withheld = next(text for text in document.subgroups.withheld if text.startswith("Center"))
    assert "Rare" in withheld


def test_few_patients_have_no_subgroups_and_fewer_no_document(model: ModelBundle) -> None:
    assert make_document(made_up_findings(model, 15)).subgroups is None
    with pytest.raises(CohortError, match="9 patients") as caught:
        make_document(made_up_findings(model, 9))
    assert caught.value.reason is Reason.COHORT_TOO_SMALL


def test_without_findings_the_score_stands_alone(model: ModelBundle) -> None:
    document = make_document(made_up_findings(model, 40, missing=35))
    assert [found.score for found in document.scores] == ["dlr"]
    assert document.recalibration is None
    assert document.nomogram_minus_dlr is None
    assert any("5. With fewer than 10 the nomogram is not evaluated" in warning for warning in document.warnings)
    assert document.statements[0].startswith("The AUC of the DLR score is ")


def test_one_outcome_is_evaluated_as_far_as_it_goes(model: ModelBundle) -> None:
    found = made_up_findings(model, 30)
    healthy = [Predicted(replace(p.patient, outcome=0), p.prediction) for p in found.predicted]
    document = make_document(replace(found, predicted=healthy, recalibrate="logistic"))
    evidence = document.evidence_of("nomogram")
    assert evidence is not None
    assert evidence.discrimination is None
    assert evidence.calibration.observed_to_expected.value == 0
    assert any("same outcome" in warning for warning in document.warnings)
    assert any("cannot be estimated" in warning for warning in document.warnings)
    assert predictions_csv(healthy, (), "none").count("\n") == 31


def test_sentences_say_which_side_of_the_ideal(model: ModelBundle) -> None:
    more = make_document(made_up_findings(model, 300, shift=2.0))
    fewer = make_document(made_up_findings(model, 300, shift=-2.0))
    fair = make_document(made_up_findings(model, 300))
    assert "more than the model expects" in more.statements[1]
    assert "fewer than the model expects" in fewer.statements[1]
    assert "the interval includes 1" in fair.statements[1]
    for document in (more, fewer, fair):
        text = " ".join((*document.statements, *document.warnings)).lower()
        assert "significan" not in text
        assert "should" not in text


def test_a_recalibrated_column_is_there_on_request(findings: Findings, tmp_path: Path) -> None:
    asked = make_document(replace(findings, recalibrate="intercept"))
    assert asked.recalibration is not None
    assert asked.recalibration.written == "intercept"
    lines = [line.split(",") for line in predictions_csv(list(findings.predicted), (), "intercept").splitlines()]
    assert lines[0][6] == "probability_recalibrated"
    outcome, _, _ = vectors(list(findings.predicted))
    # The new intercept makes as many events expected as observed.
    assert sum(float(line[6]) for line in lines[1:] if line[6]) == pytest.approx(outcome.sum(), abs=1e-6)
    assert sum(not line[6] for line in lines[1:]) == 7
