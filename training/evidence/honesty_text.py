"""What was done to question a run, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from training.evidence.honesty_result import NetworkUse
from training.evidence.sample_result import Method
from training.recipe import Recipe

SWITCHED_OFF = "switched off in the recipe ([honesty] {} = {})"
NO_NETWORK = "the recipe has no network that could be left untuned"

NETWORK_NOTES: Mapping[NetworkUse, str] = {
    "refit": "Every refit fine-tunes the network again.",
    "initial": "Refits do not fine-tune: they take the features of the untuned network, which have seen no outcome, and are "
    "compared with the chain on these features, not with the fine-tuned one.",
    "none": "The recipe has no network.",
}


def none_fitted(requested: int) -> str:
    """Return the reason of a section all of whose refits failed."""
    return f"none of the {requested} refits could be fitted"


def methods(recipe: Recipe, network: NetworkUse, fold_count: int) -> tuple[Method, ...]:
    """Return how every number is come by; of what is switched off nothing is said."""
    screening = "; clinical predictors are screened on the patients of the refit" if recipe.clinical.screening != "none" else ""
    every = f"development patients only; the whole procedure is repeated each time{screening}. {NETWORK_NOTES[network]}"
    resampled = tuple(_resampled(recipe, fold_count)) if recipe.honesty.bootstrap_resamples else ()
    others = (Method(measure=name, text=text) for wanted, name, text in _others(recipe, network, fold_count) if wanted)
    return (Method(measure="refits", text=every), *resampled, *others)


def _resampled(recipe: Recipe, fold_count: int) -> Iterator[Method]:
    procedure = "chain, score calibration, clinical model, nomogram"
    if recipe.score.source == "out_of_fold":
        procedure = f"{fold_count} cross-fitting folds over distinct patients, final {procedure}"
    yield Method(
        measure="optimism",
        text=f"{recipe.honesty.bootstrap_resamples} bootstrap resamples of development patients, with replacement; in each: "
        f"{procedure}; folds never tear copies of a patient apart. Optimism: performance of the model of a resample on the "
        "resample less that on the original patients; corrected: apparent less mean optimism (Harrell). Percentiles are of the "
        "resamples and no confidence interval: the apparent AUC of a flexible model is close to 1 in every resample, so that "
        "an interval shifted by the optimism (Noma et al. 2021, doi:10.1002/sim.8987) would be too narrow. Where a model all "
        "but remembers its patients this correction is too small, because each resample holds about 63% of the original "
        "patients: read the .632+ estimate",
    )
    yield Method(
        measure=".632+ estimate",
        text="the same resamples, judged by the patients they did not draw (Efron, Tibshirani 1997). AUC: mean over resamples, "
        "no information 0.5 (Iba et al. 2021). Brier score: mean per patient, then over patients; no information: predictions "
        "dealt to outcomes at random",
    )
    yield Method(
        measure="shrinkage factor",
        text="corrected calibration slope; beside it the slope of all predictions for patients not drawn, resamples together",
    )


def _others(recipe: Recipe, network: NetworkUse, fold_count: int) -> Iterator[tuple[bool, str, str]]:
    """Yield whether it was asked for, its name and how it is done."""
    settings = recipe.honesty
    yield (
        True,
        "frequency of selection",
        "final chains of the resamples; fold chains of the procedure itself and of its repeats",
    )
    yield (
        settings.repeats > 0,
        "repeated cross-validation",
        f"{settings.repeats} stratified divisions into {fold_count} folds, not those of the run; pooled out-of-fold AUC",
    )
    yield (
        settings.permutations > 0,
        "permuted outcomes",
        f"outcomes dealt to other development patients {settings.permutations} times, before folds are drawn and anything is "
        "fitted; out-of-fold AUC of the nomogram; one-sided p = (1 + null values at least as large) / (1 + permutations) "
        "(Phipson, Smyth 2010). Pooled over folds, the AUC without any information averages below 0.5, because a fold with "
        "more events is scored by models that learned from fewer; the comparison of patients within folds is free of that",
    )
    yield (
        settings.noise_runs > 0,
        "noise",
        f"radiomic and deep features replaced by standard normal noise {settings.noise_runs} times; outcome, clinical findings "
        "and folds as they are",
    )
    yield (
        network != "none",
        "untuned network",
        "folds and seeds of the run with the features of the network before any fine-tuning; difference with the interval of "
        "DeLong for paired AUCs, not adjusted",
    )
    yield (
        settings.leave_one_centre_out,
        "leave-one-center-out",
        "the whole procedure without the center, AUC there with the interval of DeLong on the logit scale; summary: "
        "DerSimonian-Laird on the logit scale, Hartung-Knapp interval (with the larger variance), prediction interval; "
        "patients of unknown center take no part",
    )
