"""What few patients may be told of: no point of a curve is a patient, no small count survives subtraction."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from nodogram.stats.discrimination import roc_curve
from training.evidence.sample import sample_evidence
from training.evidence.sample_result import SampleSettings
from training.external.disclosure import GRID, coarse_settings, coarsened, safe_quantiles, withheld

N = 60


@pytest.fixture(scope="module")
def patients() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    probability = rng.random(N)
    return (rng.random(N) < probability).astype(np.int64), probability


def numbers(document: object) -> list[float]:
    if isinstance(document, dict):
        return [n for value in document.values() for n in numbers(value)]
    if isinstance(document, list):
        return [n for value in document for n in numbers(value)]
    return [document] if isinstance(document, float) else []


def test_no_patients_probability_is_left(patients: tuple[np.ndarray, np.ndarray]) -> None:
    outcome, probability = patients
    fine = sample_evidence(outcome, probability, 0.4, settings=SampleSettings(replicates=50))
    own = set(probability.tolist())
    assert own <= set(numbers(json.loads(fine.model_dump_json())))  # that is why
    coarse = coarsened(fine)
    assert not own & set(numbers(json.loads(coarse.model_dump_json())))
    found = coarse.discrimination
    assert found is not None
    for curve in (found.false_positive_rate, found.recall, coarse.calibration.curve_predicted):
        assert all(abs(value / GRID - round(value / GRID)) < 1e-9 for value in curve)
    assert coarse.decisions == fine.decisions
    assert coarse.methods[-1].measure == "curves"


def test_the_coarse_curves_lie_on_the_fine_ones(patients: tuple[np.ndarray, np.ndarray]) -> None:
    outcome, probability = patients
    fine = sample_evidence(outcome, probability, 0.4, settings=SampleSettings(replicates=50))
    coarse = coarsened(fine)
    found = coarse.discrimination
    assert found is not None
    assert fine.discrimination is not None
    curve = roc_curve(outcome, probability)
    for false, true in zip(found.false_positive_rate[1:], found.true_positive_rate[1:], strict=True):
        # Between two corners the curve is straight; above no corner to the left, below none to the right.
        left = curve.true_positive_rate[curve.false_positive_rate <= false + 1e-12].max()
        right = curve.true_positive_rate[curve.false_positive_rate >= false - 1e-12].max()
        assert left - 1e-9 <= true <= right + 1e-9
    for recall, precision in zip(found.recall, found.precision, strict=True):
        place = next(i for i, r in enumerate(fine.discrimination.recall) if r >= recall - 1e-9)
        assert precision == fine.discrimination.precision[place]
    calibration = coarse.calibration
    assert calibration.curve is not None
    assert fine.calibration.curve is not None
    for x, y in zip(calibration.curve_predicted, calibration.curve.value, strict=True):
        assert y == pytest.approx(np.interp(x, fine.calibration.curve_predicted, fine.calibration.curve.value))


def test_groups_hold_at_least_five() -> None:
    for count in (10, 12, 24, 25, 300):
        settings = coarse_settings(count, 20)
        rng = np.random.default_rng(count)
        probability = rng.random(count)
        outcome = np.resize([0, 1], count).astype(np.int64)
        found = coarsened(sample_evidence(outcome, probability, 0.5, settings=settings))
        assert all(group.patient_count >= 5 for group in found.calibration.groups)
        assert sum(group.patient_count for group in found.calibration.groups) == count


def test_one_outcome_has_no_curve() -> None:
    outcome = np.zeros(12, dtype=np.int64)
    evidence = sample_evidence(outcome, np.linspace(0.1, 0.3, 12), 0.5, settings=SampleSettings(replicates=20))
    found = coarsened(evidence)
    assert found.discrimination is None
    assert found.calibration.curve is None
    assert found.calibration.curve_predicted == ()


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ((20, 30), (20, 30)),
        ((0, 50), (0, 50)),
        ((3, 47), (None, None)),
        ((4, 5, 40), (None, None, 40)),
        ((4, 3, 40), (None, None, 40)),
        ((4, 0, 0), (None, 0, 0)),
    ],
)
def test_small_counts_are_withheld(counts: tuple[int, ...], told: tuple[int | None, ...]) -> None:
    assert withheld(counts) == told


def test_nothing_withheld_follows_from_the_sum() -> None:
    for counts in itertools.product(range(9), repeat=3):
        told = withheld(counts)
        hidden = [c for c, t in zip(counts, told, strict=True) if t is None]
        assert not [t for t in told if t is not None and 0 < t < 5]
        assert len(hidden) != 1 or sum(1 for c in counts if c) == 1


def test_quantiles_are_given_of_twenty_or_more() -> None:
    assert safe_quantiles(np.arange(19.0)) is None
    assert safe_quantiles(np.arange(21.0)) == (2.0, 10.0, 18.0)
