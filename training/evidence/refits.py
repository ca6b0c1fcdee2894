"""The whole procedure once more on other rows: resampled, dealt again, permuted, of noise, untuned, without a center.

A refit repeats everything that looked at an outcome: fine-tuning (where the recipe says so), selection, classifiers,
cross-fitting, score calibration, clinical model and nomogram.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import config_context
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from nodogram.deep.embed import DEEP_FEATURE_NAMES
from nodogram.errors import Reason, TrainingError
from nodogram.features import FeatureTable
from training.backbone_fit import embed, finetune
from training.chain import fit_chain
from training.crossfit import BranchSelection, FoldResult, TrainingData, branch_selections, stable_names
from training.evidence.refit_material import RefitKind, RefitMaterial, RefitResult, Rows
from training.evidence.refit_models import fitted_probabilities, held_out_probabilities
from training.guard import FitScope
from training.patient_folds import Folds, smaller_class, stratified_folds
from training.recipe import Recipe
from training.weights import InitialWeights

# Streams of random numbers: a kind keeps its own, whatever else is asked for.
STREAMS: Mapping[RefitKind, int] = {"frozen": 1, "bootstrap": 2, "repeat": 3, "permutation": 4, "noise": 5, "centre": 6}
# Kinds that are about held-out scores, and kinds that need the final chain.
CROSS_FITTED: frozenset[RefitKind] = frozenset({"frozen", "repeat", "permutation", "noise"})
FINAL: frozenset[RefitKind] = frozenset({"frozen", "bootstrap", "noise", "centre"})
# Kinds that keep the folds of the run, because what they are compared with has them.
OF_THE_RUN: frozenset[RefitKind] = frozenset({"frozen", "noise"})
# Fewest folds; a class with fewer patients cannot be cross-fitted.
FEWEST_FOLDS = 2
SEED_LIMIT = 2**30


@dataclass(frozen=True)
class RefitTask:
    """One refit: which kind, which number, and whom it must leave out."""

    kind: RefitKind
    index: int
    left_out: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """Name of its file, and of its scope in messages."""
        return f"{self.kind}-{self.index + 1:04d}"


@dataclass(frozen=True, eq=False)
class ChainScores:
    """What a chain fitted on some rows says of every development patient.

    Attributes
    ----------
    probability
        float64 (n_patients, n_branches).
    """

    branches: tuple[str, ...]
    probability: NDArray[np.float64]
    selections: tuple[BranchSelection, ...]


def run_refit(task: RefitTask, material: RefitMaterial) -> RefitResult:
    """Do one refit, in one thread, so that the same task gives the same numbers wherever it runs.

    A refit that cannot be fitted, such as a resample with too few patients of a class, is returned with its reason: it has
    to be counted.

    Raises
    ------
    TrainingError
        ``HELD_OUT_PATIENT_IN_FIT``.
    """
    try:
        with _one_thread():
            return _refit(task, material)
    except TrainingError as error:
        if error.reason is not Reason.MODEL_FIT_FAILED:
            raise
        return RefitResult(kind=task.kind, index=task.index, failure=error.message)
    except Warning as warning:  # fits treat warnings of numerical libraries as errors
        return RefitResult(kind=task.kind, index=task.index, failure=f"{type(warning).__name__}: {warning}")


def _refit(task: RefitTask, material: RefitMaterial) -> RefitResult:
    rng = np.random.default_rng([material.recipe.seed, STREAMS[task.kind], task.index])
    rows = draw_rows(task, material, rng)
    seed = material.recipe.seed if task.kind == "frozen" else int(rng.integers(SEED_LIMIT))
    folds = deal_folds(task, rows, material, seed)
    if task.kind == "noise":
        material = noise_material(material, rng)
    # Where a score enters the nomogram resubstituted, a resample has no use for held-out ones.
    is_cross_fitted = task.kind in CROSS_FITTED or material.recipe.score.source == "out_of_fold"
    results = cross_fit(task, rows, folds, material, seed) if is_cross_fitted else ()
    final = None
    if task.kind in FINAL:
        scope = FitScope(f"{task.name}, final", frozenset(rows.case_ids) - hidden(task, rows), rows.patient_of)
        final = fit_rows(rows, np.arange(len(rows.labels)), scope, material, seed)
    return RefitResult(
        kind=task.kind,
        index=task.index,
        drawn=tuple(int(i) for i in rows.position),
        outcome=tuple(int(y) for y in rows.outcome),
        fold=_fold_of(folds, len(rows.labels)) if results else (),
        out_of_fold=held_out_probabilities(rows, results, material) if results else None,
        fitted=None if final is None else fitted_probabilities(rows, results, final.probability, material),
        fold_selections=tuple(result.selections for result in results),
        final_selections=() if final is None else final.selections,
    )


def draw_rows(task: RefitTask, material: RefitMaterial, rng: np.random.Generator) -> Rows:
    """Return the rows of a refit.

    ``bootstrap`` draws as many patients as there are, with replacement; ``permutation`` deals the outcomes to other patients
    before anything has looked at one; the others take everybody who is not left out.
    """
    ids, outcome = material.case_ids, material.outcome
    if task.kind == "bootstrap":
        position = np.sort(rng.integers(0, len(ids), len(ids))).astype(np.intp)
        return Rows(ids, position, outcome[position])
    if task.kind == "permutation":
        return Rows(ids, np.arange(len(ids)), rng.permutation(outcome))
    position = np.array([i for i, patient in enumerate(ids) if patient not in task.left_out], dtype=np.intp)
    return Rows(ids, position, outcome[position])


def hidden(task: RefitTask, rows: Rows) -> frozenset[str]:
    """Return the patients a refit must not see: those left out, and of a resample those not drawn."""
    if task.kind != "bootstrap":
        return task.left_out
    drawn = np.bincount(rows.position, minlength=len(rows.case_ids))
    return frozenset(patient for patient, count in zip(rows.case_ids, drawn, strict=True) if not count)


def deal_folds(task: RefitTask, rows: Rows, material: RefitMaterial, seed: int) -> Folds:
    """Return rows to fit on and rows held out, fold by fold; all copies of a patient are in the same fold.

    Raises
    ------
    TrainingError
        ``MODEL_FIT_FAILED`` if a class has a single patient.
    """
    if task.kind in OF_THE_RUN:
        held_out = [set(fold.held_out) for fold in material.folds]
        out = [np.array([patient in held for patient in rows.patients]) for held in held_out]
        return [(np.flatnonzero(~rows_out), np.flatnonzero(rows_out)) for rows_out in out]
    smaller = smaller_class(rows.outcome, rows.patients)
    if smaller < FEWEST_FOLDS:
        raise TrainingError(
            Reason.MODEL_FIT_FAILED,
            f"fewer than {FEWEST_FOLDS} patients in the smaller class; at least {FEWEST_FOLDS} are required to cross-fit",
        )
    return stratified_folds(rows.outcome, rows.patients, min(len(material.folds), smaller), seed)


def cross_fit(task: RefitTask, rows: Rows, folds: Folds, material: RefitMaterial, seed: int) -> tuple[FoldResult, ...]:
    """Fit the chain without each fold in turn; the results go by the names of the rows."""
    may_be_seen = frozenset(rows.case_ids) - hidden(task, rows)
    results = []
    for index, (fit, out) in enumerate(folds):
        held_out = {rows.patients[row] for row in out}
        scope = FitScope(f"{task.name}, fold {index + 1}", may_be_seen - held_out, rows.patient_of)
        scores = fit_rows(rows, fit, scope, material, seed + 1000 * (index + 1))
        results.append(
            FoldResult(
                index=index,
                fit=tuple(rows.labels[row] for row in fit),
                held_out=tuple(rows.labels[row] for row in out),
                branches=scores.branches,
                dlr_held_out=_of_rows(scores.probability, rows.position[out]),
                dlr_fit=_of_rows(scores.probability, rows.position[fit]),
                models=(),
                selections=scores.selections,
                finetune=None,
            )
        )
    return tuple(results)


def fit_rows(rows: Rows, fit: NDArray[np.intp], scope: FitScope, material: RefitMaterial, seed: int) -> ChainScores:
    """Fit the chain on some rows.

    Parameters
    ----------
    fit
        Rows to fit on.
    scope
        Whom the fit may see; every step of it asks.

    Raises
    ------
    TrainingError
        ``HELD_OUT_PATIENT_IN_FIT`` or ``MODEL_FIT_FAILED``.

    Notes
    -----
    Features are judged reproducible on each patient once; copies are no further readings. A network that is tuned again
    gives its features directly, without export to ONNX.
    """
    data, recipe = material.data, material.recipe
    labels = scope.admit(tuple(rows.labels[row] for row in fit), "a refit")
    patients = tuple(rows.patients[row] for row in fit)
    deep = material.deep
    if deep is None and data.pixels is not None:
        backbone = finetune(
            data.pixels_of(patients),
            rows.outcome[fit],
            labels,
            network=recipe.network,
            settings=recipe.finetune,
            initial=material.weights,
            seed=seed,
            scope=scope,
        )
        deep = FeatureTable(data.case_ids, DEEP_FEATURE_NAMES, embed(backbone, data.pixels_of(data.case_ids))[0])
    chain = fit_chain(
        None if data.radiomics is None else rows.take(data.radiomics, fit),
        None if deep is None else rows.take(deep, fit),
        rows.outcome[fit],
        recipe,
        scope=scope,
        stable=stable_names(data, recipe, tuple(dict.fromkeys(patients))),
        seed=seed,
        jobs=1,
        all_classifiers=False,
    )
    return ChainScores(
        branches=tuple(branch.name for branch in chain.branches),
        probability=chain.branch_probabilities(data.radiomics, deep),
        selections=branch_selections(chain),
    )


def noise_material(material: RefitMaterial, rng: np.random.Generator) -> RefitMaterial:
    """Return the same patients with standard normal noise for every radiomic and deep feature.

    A network cannot be tuned on such features, and a second outline of them means nothing: both are left out.
    """
    data = material.data
    radiomics = data.radiomics
    if radiomics is not None:
        radiomics = FeatureTable(data.case_ids, radiomics.names, rng.standard_normal(radiomics.values.shape))
    deep = None
    if material.recipe.network.enabled:
        noise = rng.standard_normal((len(data.case_ids), len(DEEP_FEATURE_NAMES)))
        deep = FeatureTable(data.case_ids, DEEP_FEATURE_NAMES, noise)
    return replace(material, data=replace(data, radiomics=radiomics, pixels=None, repeated=None), deep=deep)


def initial_features(data: TrainingData, recipe: Recipe, weights: InitialWeights) -> FeatureTable | None:
    """Return what the network says before it is tuned, or ``None`` without a network; no outcome has touched it.

    Where it starts at random, batch normalization learns the mean and spread of the crops given, and nothing else.
    """
    if data.pixels is None:
        return None
    ids = data.case_ids
    with _one_thread():
        backbone = finetune(
            data.pixels_of(ids),
            data.outcome_of(ids),
            ids,
            network=recipe.network,
            settings=recipe.finetune.model_copy(update={"maximum_epochs": 0}),
            initial=weights,
            seed=recipe.seed,
            scope=FitScope("untuned network", frozenset(ids)),
        )
        return FeatureTable(ids, DEEP_FEATURE_NAMES, embed(backbone, data.pixels_of(ids))[0])


def _fold_of(folds: Folds, row_count: int) -> tuple[int, ...]:
    fold = np.zeros(row_count, dtype=np.int64)
    for index, (_, out) in enumerate(folds):
        fold[out] = index
    return tuple(int(k) for k in fold)


def _of_rows(probability: NDArray[np.float64], position: NDArray[np.intp]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(v) for v in row) for row in probability[position])


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let numerical libraries use one thread: sums in another order would be other numbers.

    Thousands of tiny fits ask the same settings and finite tables the same questions; the run itself has answered them.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1), config_context(assume_finite=True, skip_parameter_validation=True):
            yield
    finally:
        torch.set_num_threads(before)
