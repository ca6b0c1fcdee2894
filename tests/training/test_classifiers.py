from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from nodogram.errors import Reason, TrainingError
from training.classifier_grids import PUBLISHED, SMALL
from training.classifiers import SIMPLICITY, ConstantClassifier, FittedClassifier, choose, fit_all, fit_classifier
from training.guard import FitScope
from training.recipe import load_recipe

SETTINGS = load_recipe("sound").classifiers
ALL = SETTINGS.names


def rows(
    count: int, features: int, signal: float, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64], tuple[str, ...]]:
    rng = np.random.default_rng(seed)
    outcome = (np.arange(count) % 5 < 2).astype(np.int64)
    values = rng.normal(size=(count, features))
    values[:, : min(2, features)] += signal * outcome[:, None]
    return values, outcome, tuple(f"p{i}" for i in range(count))


def scope_of(ids: tuple[str, ...]) -> FitScope:
    return FitScope("final", frozenset(ids))


@pytest.fixture(scope="module")
def seven() -> tuple[FittedClassifier, ...]:
    X, y, ids = rows(60, 5, 1.5)
    return fit_all(X, y, ids, SETTINGS, seed=3, scope=scope_of(ids))


def test_every_algorithm_generalizes(seven: tuple[FittedClassifier, ...]) -> None:
    X, y, _ = rows(400, 5, 1.2, seed=9)
    assert tuple(f.name for f in seven) == ALL
    for fitted in seven:
        p = fitted.probability(X)
        assert p.shape == (400,)
        assert ((p >= 0) & (p <= 1)).all()
        assert roc_auc_score(y, p) > 0.8, fitted.name
        assert fitted.training_auc >= fitted.inner_auc_mean - 0.1
        assert 0.7 < fitted.inner_auc_mean <= 1.0
        assert 0.0 < fitted.inner_auc_se < 0.2
        assert len(fitted.seen) == 60
        assert {key for key, _ in fitted.parameters} == set(SMALL[fitted.name])


def test_probability_is_about_float32_rows(seven: tuple[FittedClassifier, ...]) -> None:
    X, _, _ = rows(50, 5, 1.0, seed=4)
    for fitted in seven:
        np.testing.assert_array_equal(fitted.probability(X), fitted.probability(X.astype(np.float32)))


def test_jobs_and_repetition_change_nothing(seven: tuple[FittedClassifier, ...]) -> None:
    X, y, ids = rows(60, 5, 1.5)
    again = fit_all(X, y, ids, SETTINGS, seed=3, scope=scope_of(ids), jobs=2)
    for first, second in zip(seven, again, strict=True):
        assert first.parameters == second.parameters
        assert first.inner_auc_mean == second.inner_auc_mean
        np.testing.assert_array_equal(first.probability(X), second.probability(X))


@pytest.mark.parametrize("count", [8])
def test_few_rows_do_not_crash(count: int) -> None:
    X, y, ids = rows(count, 3, 1.0)
    for fitted in fit_all(X, y, ids, SETTINGS, seed=1, scope=scope_of(ids)):
        assert np.isfinite(fitted.probability(X)).all()
        assert np.isfinite([fitted.inner_auc_mean, fitted.inner_auc_se, fitted.training_auc]).all()


def test_small_minority_reduces_the_folds_and_says_so() -> None:
    X, y, ids = rows(20, 2, 1.0)
    y = np.array([1] * 3 + [0] * 17)
    fitted = fit_classifier("LR", X, y, ids, SETTINGS, seed=1, scope=scope_of(ids))
    assert "3 inner folds instead of 5" in fitted.notes


def test_support_vectors_are_never_turned_over() -> None:
    # Without signal held-out margins often rank backwards; Platt scaling would then invert the machine.
    for seed in range(12):
        X, y, ids = rows(20, 3, 0.0, seed=seed)
        fitted = fit_classifier("SVM", X, y, ids, SETTINGS, seed=seed, scope=scope_of(ids))
        if isinstance(fitted.estimator, ConstantClassifier):
            assert fitted.inner_auc_mean == fitted.training_auc == 0.5
        else:
            assert fitted.training_auc >= 0.5


def test_no_feature_gives_the_prevalence() -> None:
    X, y, ids = rows(45, 1, 1.0)
    for fitted in fit_all(X[:, :0], y, ids, SETTINGS, seed=1, scope=scope_of(ids)):
        np.testing.assert_array_equal(fitted.probability(np.empty((7, 0))), np.full(7, 18 / 45))
        assert fitted.inner_auc_mean == 0.5


@pytest.mark.parametrize("name", ALL)
def test_held_out_patient_is_refused(name: str) -> None:
    X, y, ids = rows(20, 2, 1.0)
    with pytest.raises(TrainingError) as caught:
        fit_classifier(name, X, y, ids, SETTINGS, seed=1, scope=FitScope("fold 1", frozenset(ids[1:])))
    assert caught.value.reason is Reason.HELD_OUT_PATIENT_IN_FIT


def test_one_outcome_alone_is_refused() -> None:
    X, _, ids = rows(20, 2, 1.0)
    with pytest.raises(TrainingError) as caught:
        fit_classifier("LR", X, np.zeros(20, dtype=np.int64), ids, SETTINGS, seed=1, scope=scope_of(ids))
    assert caught.value.reason is Reason.MODEL_FIT_FAILED


def made(name: str, inner: float, se: float, training: float) -> FittedClassifier:
    return FittedClassifier(name, (), inner, se, training, ConstantClassifier(0.5), np.empty((0, 0), dtype=np.float32), ())


def test_rules_choose_as_documented() -> None:
    fitted = [
        made("XGBoost", 0.80, 0.03, 1.00),
        made("SVM", 0.78, 0.01, 0.85),
        made("LR", 0.76, 0.05, 0.80),
        made("RF", 0.80, 0.03, 1.00),
    ]
    assert choose(fitted, "inner_cv").name == "XGBoost"  # the simpler of the two best
    assert choose(fitted, "inner_cv_one_se").name == "SVM"  # 0.78 >= 0.80 - 0.03 > 0.76
    assert choose(fitted, "training_auc").name == "XGBoost"


def test_grids_cover_all_algorithms() -> None:
    assert set(SMALL) == set(PUBLISHED) == set(SIMPLICITY) == set(ALL)


def test_small_grids_are_quick() -> None:
    X, y, ids = rows(45, 10, 1.0)
    start = time.process_time()
    fit_all(X, y, ids, SETTINGS, seed=1, scope=scope_of(ids))
    assert time.process_time() - start < 15  # about 3 s on one free core
