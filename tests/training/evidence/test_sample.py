from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.special import expit
from sklearn.metrics import average_precision_score, brier_score_loss, precision_recall_curve, roc_auc_score

from nodogram.stats.discrimination import auc_interval
from training.evidence.sample import (
    CONSTANT_PREDICTION,
    NO_EVENT,
    NO_NON_EVENT,
    NO_SPREAD,
    NONE_CALLED_NEGATIVE,
    NONE_CALLED_POSITIVE,
    ONE_OUTCOME,
    SEPARATED,
    SINGLE_PATIENT,
    ZERO_COUNT,
    ZERO_DENOMINATOR,
    sample_evidence,
)
from training.evidence.sample_result import Measure, SampleEvidence, SampleSettings

QUICK = SampleSettings(replicates=100)


def drawn(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    linear = rng.normal(-0.4, 1.5, n)
    return (rng.random(n) < expit(linear)).astype(np.int64), expit(linear)


def measures(document: object) -> list[dict[str, object]]:
    """All measures in a document, wherever they are."""
    if isinstance(document, dict):
        if set(document) == set(Measure.model_fields):
            return [document]
        return [m for value in document.values() for m in measures(value)]
    return [m for value in document for m in measures(value)] if isinstance(document, list) else []


def check(evidence: SampleEvidence) -> None:
    """The document survives JSON; every bound holds its value; what is missing says why, and nothing else does."""
    text = evidence.model_dump_json()
    assert SampleEvidence.model_validate_json(text) == evidence
    assert "significan" not in text.lower()
    assert "NaN" not in text
    for measure in measures(json.loads(text)):
        value, low, high = measure["value"], measure["low"], measure["high"]
        assert (measure["reason"] is None) == (None not in (value, low, high))
        if value is not None and low is not None and high is not None:
            assert isinstance(low, float)
            assert isinstance(high, float)
            assert low <= high
            assert all(math.isfinite(bound) for bound in (low, high))


def test_everything_is_there_and_right() -> None:
    outcome, probability = drawn(235)
    found = sample_evidence(outcome, probability, 0.3, settings=QUICK)
    check(found)
    assert all(measure["reason"] is None for measure in measures(json.loads(found.model_dump_json())))
    part, called = found.discrimination, probability >= 0.3
    assert part is not None
    delong = auc_interval(outcome, probability, "delong_logit")
    assert (part.auc_logit.value, part.auc_logit.low) == (delong.auc, delong.low)
    assert part.auc_plain.value == part.auc_bootstrap.value == pytest.approx(roc_auc_score(outcome, probability))
    assert part.auprc.value == pytest.approx(average_precision_score(outcome, probability))
    assert part.auprc_baseline == found.prevalence == outcome.mean()
    assert part.partial_auc.value == pytest.approx(roc_auc_score(1 - outcome, -probability, max_fpr=0.1))
    assert found.decisions.true_positive == int((called & (outcome == 1)).sum())
    assert found.decisions.ppv.value == pytest.approx(outcome[called].mean())
    assert [row.prevalence for row in found.decisions.other_prevalences] == [0.1, 0.2, 0.3, 0.5]
    assert found.calibration.brier.value == pytest.approx(brier_score_loss(outcome, probability))
    assert found.calibration.observed == outcome.sum()
    assert [row.threshold for row in found.utility.per_hundred] == [0.1, 0.15, 0.2, 0.3]
    assert found.utility.per_hundred[3].avoided.value == pytest.approx(100 * (~called).mean())
    at = found.utility.threshold.index(0.3)
    odds = 0.3 / 0.7
    assert found.utility.net_benefit.value[at] == pytest.approx(
        (called & (outcome == 1)).mean() - odds * (called & (outcome == 0)).mean()
    )
    assert found.utility.difference is None
    assert "20 %" in found.utility.threshold_reason


def test_points_of_the_precision_recall_curve() -> None:
    outcome, probability = drawn(60)
    found = sample_evidence(outcome, np.round(probability, 1), 0.3, settings=QUICK).discrimination
    assert found is not None
    precision, recall, _ = precision_recall_curve(outcome, np.round(probability, 1))
    assert found.recall == pytest.approx(recall[-2::-1])
    assert found.precision == pytest.approx(precision[-2::-1])


def test_same_arguments_same_document_and_the_seed_moves_resamples_only() -> None:
    outcome, probability = drawn(80)
    first, again = (sample_evidence(outcome, probability, 0.5, settings=QUICK) for _ in range(2))
    assert first == again
    other = sample_evidence(outcome, probability, 0.5, settings=SampleSettings(replicates=100, seed=1))
    assert other.calibration.slope == first.calibration.slope
    assert other.calibration.brier.value == first.calibration.brier.value
    assert other.calibration.brier.low != first.calibration.brier.low


def test_difference_to_another_model() -> None:
    outcome, probability = drawn(120)
    found = sample_evidence(outcome, probability, 0.5, settings=QUICK, other=np.ones(120)).utility
    assert found.difference is not None
    expected = np.subtract(found.net_benefit.value, found.treat_all.value)
    assert found.difference.value == pytest.approx(expected)


def test_no_patient_with_the_outcome() -> None:
    found = sample_evidence(np.zeros(6, dtype=np.int64), np.linspace(0.1, 0.6, 6), 0.35, settings=QUICK)
    check(found)
    assert (found.discrimination, found.discrimination_reason) == (None, ONE_OUTCOME)
    assert (found.decisions.sensitivity.value, found.decisions.sensitivity.reason) == (None, NO_EVENT)
    assert found.decisions.specificity.value == 0.5
    assert found.decisions.other_prevalences[0].ppv.reason == NO_EVENT
    assert found.calibration.slope.reason == found.calibration.in_the_large.reason == ONE_OUTCOME
    assert found.calibration.scaled_brier.reason == ONE_OUTCOME
    assert found.calibration.curve is None
    assert found.calibration.observed_to_expected.value == 0.0


def test_all_patients_with_the_outcome() -> None:
    found = sample_evidence(np.ones(4, dtype=np.int64), np.full(4, 0.7), 0.5, settings=QUICK)
    check(found)
    assert found.decisions.specificity.reason == NO_NON_EVENT
    assert found.decisions.npv.reason == NONE_CALLED_NEGATIVE
    assert found.decisions.positive_likelihood_ratio.reason == NO_NON_EVENT


def test_one_event() -> None:
    found = sample_evidence(np.array([0, 0, 1, 0, 0]), np.array([0.1, 0.4, 0.3, 0.2, 0.6]), 0.35, settings=QUICK)
    check(found)
    assert found.discrimination is not None
    assert found.discrimination.auc_logit == Measure(value=0.5, reason=SINGLE_PATIENT)
    assert found.discrimination.auc_bootstrap.reason == SINGLE_PATIENT
    assert found.decisions.sensitivity.value == 0.0
    assert found.decisions.positive_likelihood_ratio.reason == ZERO_COUNT


def test_constant_predictions() -> None:
    found = sample_evidence(np.repeat([0, 1], 10), np.full(20, 0.2), 0.5, settings=QUICK)
    check(found)
    assert found.discrimination is not None
    assert found.discrimination.auc_logit == Measure(value=0.5, reason=NO_SPREAD)
    assert found.discrimination.auc_bootstrap.reason == NO_SPREAD
    assert found.calibration.slope == Measure(value=None, reason=CONSTANT_PREDICTION)
    assert found.calibration.in_the_large.value == pytest.approx(np.log(4))
    assert found.decisions.ppv.reason == NONE_CALLED_POSITIVE
    assert found.decisions.mcc.reason == ZERO_DENOMINATOR
    assert found.calibration.ici == pytest.approx(0.3)
    assert found.calibration.curve_predicted == (0.2,)


def test_perfect_separation() -> None:
    outcome = np.repeat([0, 1], 15)
    found = sample_evidence(outcome, np.linspace(0.1, 0.9, 30), 0.5, settings=QUICK)
    check(found)
    assert found.discrimination is not None
    assert found.discrimination.auc_logit.value == 1.0
    assert found.discrimination.auc_logit.low == pytest.approx(0.025 ** (1 / 15))
    assert found.discrimination.auc_bootstrap.reason == NO_SPREAD
    assert found.calibration.slope.reason == found.calibration.joint_intercept.reason == SEPARATED
    assert found.decisions.positive_likelihood_ratio.reason == ZERO_DENOMINATOR
    assert found.decisions.other_prevalences[0].ppv.value == 1.0


def test_certain_predictions() -> None:
    check(sample_evidence(np.array([0, 1, 1, 0]), np.array([0.0, 1.0, 0.0, 1.0]), 0.5, settings=QUICK))
    check(sample_evidence(np.array([0]), np.array([0.0]), 0.5, settings=QUICK))
    check(sample_evidence(np.array([1]), np.array([1.0]), 0.5, settings=QUICK))


@hypothesis_settings(max_examples=60)
@given(
    patients=st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.5001, 0.9, 1.0])), min_size=1, max_size=9
    ),
    threshold=st.sampled_from([0.05, 0.3, 0.5, 0.95]),
)
def test_any_small_sample(patients: list[tuple[int, float]], threshold: float) -> None:
    outcome, probability = (np.array(column) for column in zip(*patients, strict=True))
    check(sample_evidence(outcome.astype(np.int64), probability, threshold, settings=SampleSettings(replicates=20)))


@pytest.mark.parametrize(
    ("outcome", "probability", "message"),
    [
        ([], [], "and some"),
        ([0, 2], [0.1, 0.2], "0 and 1"),
        ([0, 1], [0.1], "one for each"),
        ([0, 1], [0.1, np.nan], "between"),
    ],
)
def test_what_is_no_sample_is_refused(outcome: list[int], probability: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample_evidence(np.array(outcome, dtype=np.int64), np.array(probability), 0.5)


def test_settings_and_measures_check_themselves() -> None:
    with pytest.raises(ValidationError, match="must rise"):
        SampleSettings(sensitivity_zone=(1.0, 0.9))
    with pytest.raises(ValidationError, match="below"):
        SampleSettings(threshold_low=0.5, threshold_high=0.2)
    with pytest.raises(ValidationError, match="needs a reason"):
        Measure(value=None)
