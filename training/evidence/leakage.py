"""Who saw whom: the split, what each learned object was learned from, and what lets the outcome through."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import combinations

from nodogram.settings import Settings, canonical_json
from training.crossfit import MINIMUM_REPEATED, FoldResult
from training.evidence.duplicates import SHARED, Duplicate, find_duplicates
from training.recipe import Recipe
from training.splits import Split

__all__ = ["Duplicate", "LeakageReport", "find_duplicates", "leakage_report"]

GUARDED = "refused by FitScope: a patient out of scope stops the run (HELD_OUT_PATIENT_IN_FIT)"
CONSTRUCTED = "by construction: the fit is given no one else"
CHOSEN = "not enforced: the recipe asks for it"

SECOND_ORDER = (
    "Cross-fitting leaves a known, small dependence: weights, calibration and nomogram of a fold are fitted on out-of-fold "
    "scores of the other patients, and the chains behind those scores had seen the patients now held out."
)
THRESHOLD = (
    "The decision threshold was fixed on the out-of-fold probabilities of the development patients: sensitivity and "
    "specificity out of fold are at a threshold fitted to these very patients; on the test patients it is unseen."
)


class FoldPatients(Settings):
    """One fold: how many patients, and digests by which two runs can be compared without naming anybody.

    Attributes
    ----------
    overlap
        Patients both fitted on and held out; 0.
    """

    index: int
    fitted_on: int
    held_out: int
    overlap: int
    fitted_on_digest: str
    held_out_digest: str


class LearnedObject(Settings):
    """Something estimated from patients.

    Attributes
    ----------
    final
        Patients the object in the bundle was learned from.
    out_of_fold
        Patients it was learned from for the out-of-fold figures.
    enforced
        What keeps others out.
    """

    name: str
    final: str
    out_of_fold: str
    enforced: str


class LeakyChoice(Settings):
    """A key of the recipe that lets patients be judged by what was learned from them."""

    key: str
    value: str
    text: str


class DuplicateCheck(Settings):
    """How many patients share something no two patients can share.

    Attributes
    ----------
    groups, patients
        Sets of such patients, and patients in them.
    across_split
        Pairs with one patient in development and the other in test.
    across_folds
        Pairs of development patients held out in different folds.
    """

    what: str
    groups: int
    patients: int
    across_split: int
    across_folds: int


class LeakageReport(Settings):
    """What a reviewer needs in order to believe that held-out patients were held out.

    Attributes
    ----------
    overlap
        Patients in development and in test; 0.
    held_out_once
        Whether every development patient is held out in exactly one fold.
    folds
        As they were really fitted.
    choices
        Empty for a recipe that does not leak.
    duplicates
        One line a check, found or not.
    statements
        What remains to be known, in sentences.
    """

    split_digest: str
    development_patients: int
    test_patients: int
    overlap: int
    held_out_once: bool
    folds: tuple[FoldPatients, ...]
    learned: tuple[LearnedObject, ...]
    choices: tuple[LeakyChoice, ...]
    duplicates: tuple[DuplicateCheck, ...]
    statements: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What every reader must see: patients on both sides of the split, and keys that leak."""
        found = []
        if self.overlap:
            found.append(f"{_counted(self.overlap, 'patient')} in development and in test: test figures are worthless.")
        if not self.held_out_once or any(fold.overlap for fold in self.folds):
            found.append("Not every development patient was held out exactly once: out-of-fold figures are not to be trusted.")
        for check in self.duplicates:
            if check.across_split:
                found.append(
                    f"{_counted(check.across_split, 'pair')} of patients, one in development and one in test, with the same "
                    f"{check.what}: the same patient twice? Test figures may be optimistic."
                )
            elif check.groups:
                effect = "Out-of-fold figures may be optimistic." if check.across_folds else "They count twice."
                found.append(f"{check.patients} patients share their {check.what}: the same patient twice? {effect}")
        return (*found, *(f"{choice.text} ({choice.key} = {choice.value})." for choice in self.choices))


def leakage_report(
    split: Split,
    folds: Sequence[FoldResult],
    recipe: Recipe,
    *,
    duplicates: Sequence[Duplicate] = (),
    second_outlines: int = 0,
    candidates: int = 0,
) -> LeakageReport:
    """Report who was learned from for what.

    Parameters
    ----------
    folds
        As fitted.
    duplicates
        From :func:`find_duplicates`.
    second_outlines
        Development patients with a second outline.
    candidates
        Clinical candidates.
    """
    development, test = set(split.development), set(split.test)
    held_out = sorted(c for fold in folds for c in fold.held_out)
    return LeakageReport(
        split_digest=split.digest,
        development_patients=len(development),
        test_patients=len(test),
        overlap=len(development & test),
        held_out_once=held_out == sorted(development),
        folds=tuple(
            FoldPatients(
                index=fold.index,
                fitted_on=len(fold.fit),
                held_out=len(fold.held_out),
                overlap=len(set(fold.fit) & set(fold.held_out)) + len(test & {*fold.fit, *fold.held_out}),
                fitted_on_digest=_digest(fold.fit),
                held_out_digest=_digest(fold.held_out),
            )
            for fold in folds
        ),
        learned=tuple(_learned(recipe, second_outlines, candidates)),
        choices=tuple(_choices(recipe, candidates)),
        duplicates=tuple(_check(what, duplicates, split) for what in SHARED),
        statements=tuple(_statements(split, recipe)),
    )


def _digest(case_ids: Sequence[str]) -> str:
    return hashlib.sha256(canonical_json(sorted(case_ids))).hexdigest()


ALL = "all development patients"
OTHERS = "the development patients outside the fold"


def _learned(recipe: Recipe, second_outlines: int, candidates: int) -> Iterator[LearnedObject]:
    """Yield what was learned, in the order of the chain."""

    def learned(name: str, enforced: str, final: str = ALL, out_of_fold: str = OTHERS) -> LearnedObject:
        return LearnedObject(name=name, final=final, out_of_fold=out_of_fold, enforced=enforced)

    if recipe.network.enabled:
        yield learned("network (fine-tuned backbone), with its early stopping", GUARDED)
    if recipe.radiomics.enabled and second_outlines >= MINIMUM_REPEATED:
        readings = "{} with a second outline"
        yield learned("reproducible features (ICC)", CONSTRUCTED, readings.format(ALL), readings.format(OTHERS))
    yield learned("feature selection, with the means and deviations it standardizes by", GUARDED)
    yield learned("classifiers, their grids and the choice among them", GUARDED)
    apparent = recipe.score.source == "apparent"
    own = "; their scores come from the chain fitted on them" if apparent else "; their scores come from chains without them"
    if recipe.score.calibration != "none":
        yield learned("weights of the sources and calibration of the score", CONSTRUCTED, ALL + own, OTHERS + own)
    if candidates and recipe.clinical.screening != "none":
        everyone = recipe.clinical.selected_on == "all"
        yield learned(
            "screening of the clinical findings",
            CHOSEN if everyone else CONSTRUCTED,
            "all patients, test patients included" if everyone else ALL,
            f"nomogram: {OTHERS}; clinical model: as in the bundle",
        )
    yield learned("coefficients of the nomogram", CONSTRUCTED, ALL + own, OTHERS + own)
    source = "resubstituted" if recipe.evaluation.threshold_from == "apparent" else "out-of-fold"
    threshold = f"{source} probabilities of {ALL}"
    yield learned("decision threshold", CONSTRUCTED, threshold, threshold)


def _choices(recipe: Recipe, candidates: int) -> Iterator[LeakyChoice]:
    """Yield keys that leak by choice, what they touch in plain words."""
    screened = candidates > 0 and recipe.clinical.screening != "none"
    if screened and recipe.clinical.selected_on == "all":
        yield LeakyChoice(
            key="clinical.selected_on",
            value="all",
            text="Clinical findings were screened on all patients, test patients included: test figures of the clinical model "
            "and the nomogram are optimistic",
        )
    if screened:
        yield LeakyChoice(
            key="clinical.screening",
            value=recipe.clinical.screening,
            text="The clinical findings of the clinical model were screened once, on all development patients, not anew in "
            "each fold: its out-of-fold figures are optimistic, and the nomogram's advantage over it looks smaller than it is",
        )
    if recipe.score.source == "apparent":
        yield LeakyChoice(
            key="score.source",
            value="apparent",
            text="The nomogram was fitted on scores of patients the score itself was fitted on: it trusts the score too much, "
            "and its apparent figures say nothing",
        )
    if recipe.evaluation.threshold_from == "apparent":
        yield LeakyChoice(
            key="evaluation.threshold_from",
            value="apparent",
            text="The decision threshold was fixed on resubstituted probabilities: apparent sensitivity and specificity are "
            "optimistic, and on new patients the threshold will lie elsewhere than meant",
        )
    if recipe.classifiers.choose_by == "training_auc":
        yield LeakyChoice(
            key="classifiers.choose_by",
            value="training_auc",
            text="Algorithms were chosen by their AUC on the patients they were fitted on, which favors the one that memorizes "
            "best",
        )


def _check(what: str, duplicates: Sequence[Duplicate], split: Split) -> DuplicateCheck:
    groups = [d.case_ids for d in duplicates if d.what == what]
    test = set(split.test)
    fold_of = {c: fold.index for fold in split.folds for c in fold.held_out}
    pairs = [pair for ids in groups for pair in combinations(ids, 2)]
    return DuplicateCheck(
        what=what,
        groups=len(groups),
        patients=sum(len(ids) for ids in groups),
        across_split=sum((a in test) != (b in test) for a, b in pairs),
        across_folds=sum(a in fold_of and b in fold_of and fold_of[a] != fold_of[b] for a, b in pairs),
    )


def _statements(split: Split, recipe: Recipe) -> Iterator[str]:
    tested = (
        "The test patients were predicted once, by the bundle read back from disk."
        if split.test
        else "There are no test patients: nothing here was measured on patients kept apart from every decision."
    )
    yield f"Patients, not images, were split, before anything was computed. {tested}"
    if recipe.score.source == "out_of_fold":
        yield SECOND_ORDER
    if recipe.evaluation.threshold_from == "out_of_fold":
        yield THRESHOLD
    yield (
        "Duplicates are looked for among files, features and crops that are equal to the last digit; a second scan of the "
        "same patient under another identifier would not be noticed."
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
