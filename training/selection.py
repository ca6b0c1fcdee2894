"""Feature selection in the order of the paper: ICC, Z-score, univariate test, Spearman correlation, LASSO.

Everything is learned from the rows given, and asks the :class:`~training.guard.FitScope` first. An empty selection is a
result: on pure noise it is the right one.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nodogram.errors import Reason, TrainingError
from nodogram.features import FeatureTable
from training.guard import FitScope, LabeledTable
from training.lasso import LassoPath, fit_lasso_path
from training.patient_folds import smaller_class
from training.recipe import SelectionSettings

# A spread this small relative to the size of the numbers is rounding, not information.
CONSTANT_TOLERANCE = 1e-10
CORRELATION_BLOCK = 256
MINIMUM_PER_CLASS = 2


@dataclass(frozen=True)
class SelectionStep:
    """How many features entered and left one step."""

    name: str
    count_in: int
    count_out: int


@dataclass(frozen=True, eq=False)
class Selection:
    """The features a branch uses, with everything needed to standardize them.

    Attributes
    ----------
    names
        Selected features in the order of the table; may be empty.
    mean, scale
        float64 (n_selected,): mean and standard deviation (divisor n) among the rows seen; ``scale`` > 0.
    coefficients
        float64 (n_selected,): LASSO coefficients on the standardized scale.
    p_values
        float64 (n_selected,): univariate p-values; of the Mann-Whitney test where the recipe tests nothing.
    steps
        Counts entering and leaving each step, in order.
    lasso_path
        Penalty path and cross-validation curve; ``None`` if no feature reached the LASSO.
    seen
        Patients learned from.
    notes
        What was unusual.
    """

    names: tuple[str, ...]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    p_values: NDArray[np.float64]
    steps: tuple[SelectionStep, ...]
    lasso_path: LassoPath | None
    seen: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in ("mean", "scale", "coefficients", "p_values"):
            values = np.array(getattr(self, field), dtype=np.float64)
            if values.shape != (len(self.names),):
                raise ValueError(f"{field} of shape {values.shape} for {len(self.names)} features")
            values.setflags(write=False)
            object.__setattr__(self, field, values)
        if not (self.scale > 0).all():
            raise ValueError("scale must be positive")

    def transform(self, table: FeatureTable) -> NDArray[np.float64]:
        """Return the selected features standardized, float64 (n_cases, n_selected).

        Raises
        ------
        FeatureError
            ``FEATURE_UNKNOWN`` if a selected feature is absent.
        """
        return (table.select(self.names).values - self.mean) / self.scale


def select(
    data: LabeledTable,
    settings: SelectionSettings,
    *,
    seed: int,
    scope: FitScope,
    stable: frozenset[str] | None = None,
) -> Selection:
    """Select features.

    Parameters
    ----------
    data
        (n_cases, n_features) with at least two cases of each outcome.
    seed
        Of the assignment of cases to LASSO folds.
    stable
        Reproducible features (:func:`training.stability.stable_features`); others are dropped first. ``None``: not known.

    Raises
    ------
    TrainingError
        ``HELD_OUT_PATIENT_IN_FIT`` or ``MODEL_FIT_FAILED``.
    """
    seen = scope.admit(data.case_ids, "feature selection")
    _require_both_outcomes(data.outcome, scope.patients(seen))
    names, values = data.table.names, data.table.values
    mean, scale = values.mean(axis=0), values.std(axis=0)
    funnel = _Funnel(len(names))
    if stable is not None:
        funnel.keep("icc", np.array([name in stable for name in names], dtype=np.bool_))
    funnel.keep("constant", scale > CONSTANT_TOLERANCE * np.abs(values).max(axis=0, initial=0.0))
    p = np.ones(len(names))
    z = (values[:, funnel.kept] - mean[funnel.kept]) / scale[funnel.kept]
    p[funnel.kept] = univariate_p_values(
        z, data.outcome, "mann_whitney" if settings.univariate_test == "none" else settings.univariate_test
    )
    if settings.univariate_test != "none":
        funnel.keep("univariate", _significant(p, funnel.kept, settings))
    z = (values[:, funnel.kept] - mean[funnel.kept]) / scale[funnel.kept]
    labels = [names[i] for i in funnel.kept]
    survives = _uncorrelated(z, p[funnel.kept], labels, settings)
    funnel.keep("correlation", _scatter(survives, funnel.kept, len(names)))
    path = None
    coefficients = np.zeros(len(names))
    if len(funnel.kept):
        entering = tuple(names[i] for i in funnel.kept)
        path = fit_lasso_path(
            z[:, survives],
            data.outcome,
            entering,
            kind=settings.lasso,
            folds=settings.lasso_folds,
            seed=seed,
            patients=scope.patients(seen),
        )
        coefficients[funnel.kept] = path.coefficients[path.index_min if settings.lasso_rule == "min" else path.index_one_se]
        funnel.keep("lasso", coefficients != 0)
        if settings.maximum_features is not None:
            funnel.keep("maximum_features", _strongest(coefficients, settings.maximum_features))
    kept = funnel.kept
    return Selection(
        names=tuple(names[i] for i in kept),
        mean=mean[kept],
        scale=scale[kept],
        coefficients=coefficients[kept],
        p_values=p[kept],
        steps=tuple(funnel.steps),
        lasso_path=path,
        seen=seen,
        notes=() if path is None else path.notes,
    )


def univariate_p_values(values: NDArray[np.float64], outcome: NDArray[np.int64], test: str) -> NDArray[np.float64]:
    """Return the two-sided p-value of each column against a 0/1 outcome, float64 (n_features,).

    Parameters
    ----------
    values
        float64 (n_cases, n_features).
    test
        ``student_t`` (pooled variance), ``welch_t`` or ``mann_whitney`` (exact where one class has at most eight cases and
        the column no ties, else normal approximation with tie and continuity correction).
    """
    first, second = values[outcome == 0], values[outcome == 1]
    if values.shape[1] == 0:
        return np.empty(0)
    if test == "mann_whitney":
        ordered = np.sort(values, axis=0)
        tied = (np.diff(ordered, axis=0) == 0).any(axis=0)
        p = np.ones(values.shape[1])
        # SciPy chooses one method for all columns of a call, so that one tied column would change the others.
        for columns in (np.flatnonzero(tied), np.flatnonzero(~tied)):
            if columns.size:
                p[columns] = stats.mannwhitneyu(first[:, columns], second[:, columns], axis=0).pvalue
        return p
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # A feature constant within both classes has no variance to divide by: p is 0 if the classes differ.
        warnings.filterwarnings("ignore", message="Precision loss occurred", category=RuntimeWarning)
        p = stats.ttest_ind(first, second, axis=0, equal_var=test == "student_t").pvalue
    return np.where(np.isnan(p), 1.0, p)


class _Funnel:
    """Positions that are still in, and the count of every step."""

    def __init__(self, count: int) -> None:
        self.kept = np.arange(count, dtype=np.intp)
        self.steps: list[SelectionStep] = []

    def keep(self, step: str, passes: NDArray[np.bool_]) -> None:
        survivors = self.kept[passes[self.kept]]
        self.steps.append(SelectionStep(step, len(self.kept), len(survivors)))
        self.kept = survivors


def _significant(p: NDArray[np.float64], tested: NDArray[np.intp], settings: SelectionSettings) -> NDArray[np.bool_]:
    adjusted = p[tested]
    if settings.false_discovery_control == "benjamini_hochberg" and adjusted.size:
        adjusted = stats.false_discovery_control(adjusted, method="bh")
    return _scatter(adjusted < settings.univariate_alpha, tested, len(p))


def _uncorrelated(
    z: NDArray[np.float64], p: NDArray[np.float64], names: list[str], settings: SelectionSettings
) -> NDArray[np.bool_]:
    """Keep features in order of precedence, each only if no feature already kept has abs(Spearman rho) above the threshold."""
    count = z.shape[1]
    survives = np.zeros(count, dtype=np.bool_)
    if count == 0:
        return survives
    if settings.correlation_keeps == "first":
        precedence = np.arange(count, dtype=np.intp)
    else:
        precedence = np.array(sorted(range(count), key=lambda j: (p[j], names[j])), dtype=np.intp)
    # Spearman's rho is Pearson's correlation of midranks.
    ranks = stats.rankdata(z, axis=0)
    ranks = ranks - ranks.mean(axis=0)
    unit = ranks / np.linalg.norm(ranks, axis=0)
    for start in range(0, count, CORRELATION_BLOCK):
        block = precedence[start : start + CORRELATION_BLOCK]
        excluded = (np.abs(unit[:, survives].T @ unit[:, block]) > settings.correlation_threshold).any(axis=0)
        within = np.abs(unit[:, block].T @ unit[:, block]) > settings.correlation_threshold
        for position, index in enumerate(block):
            if not excluded[position]:
                survives[index] = True
                excluded |= within[position]
    return survives


def _strongest(coefficients: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """Mark the largest absolute coefficients; the earlier column wins a tie."""
    order = np.argsort(-np.abs(coefficients), kind="stable")[:count]
    return _scatter(np.ones(len(order), dtype=np.bool_), order, len(coefficients))


def _scatter(passes: NDArray[np.bool_], positions: NDArray[np.intp], count: int) -> NDArray[np.bool_]:
    result = np.zeros(count, dtype=np.bool_)
    result[positions] = passes
    return result


def _require_both_outcomes(outcome: NDArray[np.int64], patients: tuple[str, ...]) -> None:
    counts = np.bincount(outcome, minlength=2)
    if smaller_class(outcome, patients) < MINIMUM_PER_CLASS:
        raise TrainingError(
            Reason.MODEL_FIT_FAILED,
            f"{counts[1]} of {counts.sum()} cases have the outcome; at least {MINIMUM_PER_CLASS} patients of each kind "
            "are required",
        )
