"""The whole DLR chain on features: selection, seven classifiers, choice and fusion, by the rule of the recipe.

The conventional radiomics model is always fitted as well, for it is what the DLR model must be better than.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nodogram.dlr import BranchName, expit, fuse
from nodogram.errors import FeatureError, Reason, TrainingError
from nodogram.features import FeatureTable
from training.classifiers import FittedClassifier, choose, fit_all
from training.guard import FitScope, LabeledTable
from training.recipe import Recipe
from training.selection import Selection, select

FeatureSet = Literal["radiomics", "deep", "dlr"]


@dataclass(frozen=True, eq=False)
class Branch:
    """One selection with the algorithms fitted on it.

    Attributes
    ----------
    name
        Where its features come from.
    fitted
        One per algorithm, in the order of the recipe.
    chosen
        The one the recipe's rule takes.
    """

    name: BranchName
    selection: Selection
    fitted: tuple[FittedClassifier, ...]
    chosen: FittedClassifier

    def probability(self, table: FeatureTable, classifier: str | None = None) -> NDArray[np.float64]:
        """Return the probability (n,) of the chosen algorithm, or of the one named."""
        model = self.chosen if classifier is None else next(f for f in self.fitted if f.name == classifier)
        return model.probability(self.selection.transform(table))


@dataclass(frozen=True, eq=False)
class ModelProbability:
    """Probabilities (n,) of one algorithm on one feature set."""

    feature_set: FeatureSet
    classifier: str
    probability: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Chain:
    """A fitted chain.

    Attributes
    ----------
    branches
        What the DLR score is made of: one branch, or two whose logits are averaged.
    radiomics, deep
        The models on one source alone; ``None`` where the source is disabled or was not asked for. Under the ``decision``
        and ``stacked`` rules they are the branches themselves.
    """

    branches: tuple[Branch, ...]
    radiomics: Branch | None
    deep: Branch | None

    @property
    def classifier_names(self) -> tuple[str, ...]:
        """Algorithms fitted."""
        return tuple(f.name for f in self.branches[0].fitted)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was unusual in any selection or fit of the score."""
        lines = []
        for branch in self.branches:
            found = branch.selection.notes + tuple(f"{f.name}: {note}" for f in branch.fitted for note in f.notes)
            lines += [f"{branch.name}: {note}" for note in found]
        return tuple(lines)

    def probability(self, radiomics: FeatureTable | None, deep: FeatureTable | None) -> NDArray[np.float64]:
        """Return the fused DLR probability, float64 (n,), not calibrated.

        Raises
        ------
        FeatureError
            ``FEATURE_UNKNOWN`` if a needed feature is absent.
        """
        return self._fused(_joined(radiomics, deep), None)

    def branch_probabilities(self, radiomics: FeatureTable | None, deep: FeatureTable | None) -> NDArray[np.float64]:
        """Return the probability of each branch, float64 (n, n_branches), in the order of ``branches``."""
        table = _joined(radiomics, deep)
        return np.column_stack([branch.probability(table) for branch in self.branches])

    def radiomics_probability(self, radiomics: FeatureTable) -> NDArray[np.float64]:
        """Return the probability (n,) of the conventional radiomics model."""
        if self.radiomics is None:
            raise FeatureError(Reason.FEATURE_UNKNOWN, "this chain was fitted without radiomics")
        return self.radiomics.probability(radiomics)

    def model_probabilities(self, radiomics: FeatureTable | None, deep: FeatureTable | None) -> tuple[ModelProbability, ...]:
        """Return the probabilities of every algorithm on every feature set.

        Where both sources have a branch, the DLR model of an algorithm is their mean logit with that algorithm.
        """
        table = _joined(radiomics, deep)
        sources: list[tuple[FeatureSet, Branch | None]] = [("radiomics", self.radiomics), ("deep", self.deep)]
        single = [
            ModelProbability(name, fitted.name, branch.probability(table, fitted.name))
            for name, branch in sources
            if branch is not None
            for fitted in branch.fitted
        ]
        fused = [ModelProbability("dlr", name, self._fused(table, name)) for name in self.classifier_names]
        return (*single, *fused)

    def is_chosen(self, feature_set: str, classifier: str) -> bool:
        """Whether the recipe's rule chose the algorithm; for ``dlr``, whether it chose it in every branch."""
        if feature_set == "dlr":
            return all(branch.chosen.name == classifier for branch in self.branches)
        branch = {"radiomics": self.radiomics, "deep": self.deep}.get(feature_set)
        return branch is not None and branch.chosen.name == classifier

    def _fused(self, table: FeatureTable, classifier: str | None) -> NDArray[np.float64]:
        return expit(fuse([branch.probability(table, classifier) for branch in self.branches]))


def fit_chain(
    radiomics: FeatureTable | None,
    deep: FeatureTable | None,
    outcome: NDArray[np.int64],
    recipe: Recipe,
    *,
    scope: FitScope,
    stable: frozenset[str] | None,
    seed: int,
    jobs: int,
    all_classifiers: bool = True,
) -> Chain:
    """Fit the chain on the rows given.

    Parameters
    ----------
    radiomics, deep
        Tables of the same cases in the same order; one may be ``None``. With one source alone every fusion rule gives one
        branch on it.
    outcome
        int64 (n,), at least two of each kind.
    stable
        Reproducible radiomic features, or ``None`` if not known. Deep features are not filtered by it.
    jobs
        Algorithms fitted at a time.
    all_classifiers
        Also fit the model on deep features alone where the fusion rule does not need it; only reports do.

    Raises
    ------
    TrainingError
        ``HELD_OUT_PATIENT_IN_FIT`` or ``MODEL_FIT_FAILED``.
    """
    fitter = _Fitter(outcome, recipe, scope, stable, seed, jobs)
    rule = recipe.fusion.rule
    radiomics_branch = None if radiomics is None else fitter.fit("radiomics", radiomics)
    separate = rule in ("decision", "stacked")
    needs_deep = separate or radiomics is None or all_classifiers
    deep_branch = fitter.fit("deep", deep) if deep is not None and needs_deep else None
    if radiomics is None or deep is None or separate:
        branches = tuple(branch for branch in (radiomics_branch, deep_branch) if branch is not None)
        if not branches:
            raise TrainingError(Reason.MODEL_FIT_FAILED, "neither radiomics nor deep features were given; one is required")
        return Chain(branches, radiomics_branch, deep_branch)
    kept = radiomics if radiomics_branch is None or rule == "concat_all" else radiomics.select(radiomics_branch.selection.names)
    return Chain((fitter.fit("dlr", kept.join(deep)),), radiomics_branch, deep_branch)


@dataclass(frozen=True, eq=False)
class _Fitter:
    """What every branch of one chain shares."""

    outcome: NDArray[np.int64]
    recipe: Recipe
    scope: FitScope
    stable: frozenset[str] | None
    seed: int
    jobs: int

    def fit(self, name: BranchName, table: FeatureTable) -> Branch:
        stable = self.stable
        if stable is not None:
            # A second outline says nothing about deep features unless they were computed on it as well.
            stable |= {feature for feature in table.names if not feature.startswith("radiomics.")}
        data = LabeledTable(table, self.outcome)
        selection = select(data, self.recipe.selection, seed=self.seed, scope=self.scope, stable=stable)
        fitted = fit_all(
            selection.transform(table),
            data.outcome,
            table.case_ids,
            self.recipe.classifiers,
            seed=self.seed,
            scope=self.scope,
            jobs=self.jobs,
        )
        return Branch(name, selection, fitted, choose(fitted, self.recipe.classifiers.choose_by))


def _joined(radiomics: FeatureTable | None, deep: FeatureTable | None) -> FeatureTable:
    if radiomics is not None and deep is not None:
        return radiomics.join(deep)
    table = deep if radiomics is None else radiomics
    if table is None:
        raise FeatureError(Reason.FEATURE_UNKNOWN, "neither radiomics nor deep features were given; one is required")
    return table
