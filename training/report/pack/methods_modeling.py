"""Methods, second half: how features became a nomogram, told from the recipe."""

from __future__ import annotations

from collections.abc import Iterator

from training.classifier_grids import Value, grid
from training.crossfit import MINIMUM_REPEATED
from training.lasso import PENALTY_COUNT
from training.report import formatting
from training.report.pack.facts import PackFacts
from training.report.pack.wording import ALGORITHMS, counted, listed, number, percent, spelled

UNIVARIATE = {
    "student_t": "Student's t test",
    "welch_t": "Welch's t test",
    "mann_whitney": "the Mann-Whitney U test",
}
BRANCHES = {"radiomics": "radiomic features", "deep": "deep features", "dlr": "fused features"}


def selection(facts: PackFacts) -> Iterator[str]:
    """Yield the steps from all features to the few that are used."""
    settings = facts.recipe.selection
    yield "Features were selected on the patients a model was fitted on and on no others, in these steps."
    if facts.recipe.radiomics.enabled:
        yield agreement_filter(facts)
    yield "Constant features were dropped and the others standardized to mean 0 and standard deviation 1."
    if settings.univariate_test == "none":
        yield "No univariate test was made."
    else:
        adjusted = (
            "adjusted for the false discovery rate by Benjamini and Hochberg"
            if settings.false_discovery_control == "benjamini_hochberg"
            else "not adjusted for their number"
        )
        yield (
            f"Features were kept if {UNIVARIATE[settings.univariate_test]} between the outcomes gave p < "
            f"{number(settings.univariate_alpha)}, {adjusted}."
        )
    kept = "with the smaller p-value" if settings.correlation_keeps == "smallest_p" else "that came first in the feature table"
    yield (
        f"Of features with an absolute Spearman correlation above {number(settings.correlation_threshold)} the one {kept} was "
        "kept."
    )
    kind, loss = ("logistic", "binomial deviance") if settings.lasso == "logistic" else ("linear", "squared error")
    rule = "with the smallest loss" if settings.lasso_rule == "min" else "within one standard error of the smallest loss"
    penalty = f"the penalty {rule}" if settings.lasso_rule == "min" else f"the largest penalty {rule}"
    yield (
        f"A LASSO ({kind} regression with an L1 penalty, {PENALTY_COUNT} penalties) chose among the rest, at {penalty} in "
        f"{settings.lasso_folds}-fold cross-validation stratified by outcome (mean {loss})."
    )
    if settings.maximum_features is not None:
        yield f"At most {counted(settings.maximum_features, 'feature')} with the largest absolute coefficients were used."
    yield from _selected(facts)


def agreement_filter(facts: PackFacts) -> str:
    """Return whether and how radiomic features had to be reproducible."""
    settings = facts.recipe.selection
    if not facts.was_filtered_by_agreement:
        return (
            f"Second outlines of at least {MINIMUM_REPEATED} patients would have been needed to drop features that are not "
            "reproducible; there were fewer, and none was dropped for that reason."
        )
    bound = "the lower end of the 95% interval of the" if settings.icc_bound == "lower_95" else "the"
    return (
        f"Radiomic features were dropped if {bound} ICC(2,1) (absolute agreement of single measurements) between two outlines "
        f"of the same tumors was below {number(settings.icc_threshold)}."
    )


def _selected(facts: PackFacts) -> Iterator[str]:
    for branch in dict.fromkeys(row.branch for row in facts.results.selection_counts):
        rows = [row for row in facts.results.selection_counts if row.branch == branch]
        yield f"In the final fit {rows[0].count_in:,} {BRANCHES.get(branch, branch)} were reduced to {rows[-1].count_out:,}."


def classifiers(facts: PackFacts) -> Iterator[str]:
    """Yield which algorithms were tuned, how, and how one was chosen."""
    settings = facts.recipe.classifiers
    names = listed([ALGORITHMS[name] for name in settings.names])
    yield (
        f"On the selected features {spelled(len(settings.names))} algorithm{'s' * (len(settings.names) > 1)} "
        f"{'were' if len(settings.names) > 1 else 'was'} fitted: {names}."
    )
    yield (
        f"Each was tuned by a search over all combinations of the grid “{settings.grid}”, for the largest AUC in "
        f"{settings.inner_folds}-fold cross-validation stratified by outcome, and refitted on all patients of the fit."
    )
    yield f"The grid was: {'; '.join(_grid(name, facts) for name in settings.names)}."
    if "SVM" in settings.names:
        yield "The margin of the support vector machine was turned into a probability by Platt scaling on held-out margins."
    yield "No class weights, over-sampling or under-sampling were used."
    yield {
        "inner_cv": "The algorithm with the largest cross-validated AUC was chosen.",
        "inner_cv_one_se": "The simplest algorithm whose cross-validated AUC was within one standard error of the largest was "
        "chosen.",
        "training_auc": "The algorithm with the largest AUC on the patients it was fitted on was chosen, as in the publication "
        "the recipe follows; this favors algorithms that memorize.",
    }[settings.choose_by]
    chosen = dict.fromkeys(
        f"{ALGORITHMS[m.classifier]} on {BRANCHES[m.feature_set]}"
        for m in facts.results.models
        if m.chosen and m.classifier is not None and m.feature_set in facts.score_branches
    )
    if chosen:
        yield f"In the final fit this was {listed(list(chosen))}."


def _grid(name: str, facts: PackFacts) -> str:
    entries = grid(name, facts.recipe.classifiers.grid).items()
    return f"{ALGORITHMS[name]} ({', '.join(f'{key} {_values(values)}' for key, values in entries)})"


def _values(values: object) -> str:
    return " / ".join(_value(v) for v in values) if isinstance(values, tuple) else str(values)


def _value(value: Value) -> str:
    if isinstance(value, tuple):
        return "-".join(str(part) for part in value)
    return number(value) if isinstance(value, float) else str(value)


def score(facts: PackFacts) -> Iterator[str]:
    """Yield how sources were fused into one score, and how the score was kept honest."""
    recipe = facts.recipe
    held_out = recipe.score.source == "out_of_fold"
    both = recipe.radiomics.enabled and recipe.network.enabled
    yield from fusion(facts) if both else ["The score rested on a single source of features, so that nothing was fused."]
    yield (
        f"Development patients were dealt to {facts.fold_count} folds, stratified by outcome. For each fold the whole chain"
        f"{' with the training of the network' if recipe.network.enabled else ''}, the selection, the tuning and the choice "
        "of an algorithm was fitted without the patients of the fold, who were then scored; nothing but this probability left "
        "a fold. The final chain was fitted on all development patients."
    )
    sample = "out-of-fold" if held_out else "resubstituted"
    if recipe.score.calibration == "sigmoid":
        fused = " together with the weights of the sources" if both and recipe.fusion.rule == "stacked" else ""
        yield (
            f"The score was calibrated by a logistic function{fused}, fitted to {sample} probabilities of development patients."
        )
    else:
        yield f"The score was not calibrated; {sample} probabilities of development patients were used as they were."
    scale = "log odds" if recipe.score.scale == "logit" else "probability"
    yield (
        f"It entered the nomogram as {scale}. The nomogram was fitted to the {sample} scores of development patients"
        + ("." if held_out else ", as in the publication the recipe follows; its apparent performance is inflated by that.")
    )


def fusion(facts: PackFacts) -> Iterator[str]:
    """Yield how radiomics and deep features met."""
    rule = facts.recipe.fusion.rule
    if rule == "stacked":
        yield (
            "Radiomic and deep features each had a chain of their own, and their log odds were combined by a logistic "
            "regression with weights that cannot be negative (a normal prior of standard deviation 2.5 keeps them finite)."
        )
        weights = [f"{formatting.number(w, 2)} for {BRANCHES.get(b, b)}" for b, w in facts.results.score_weights]
        if weights:
            yield f"The weights, as shares of their sum, were {listed(weights)}."
    elif rule == "decision":
        yield "Radiomic and deep features each had a chain of their own, and their log odds were averaged."
    elif rule == "concat_selected":
        yield (
            "Radiomic features were selected first; the selected ones and all deep features were then joined, and selection, "
            "tuning and choice were repeated on the joined table."
        )
    else:
        yield "Radiomic and deep features were joined to one table, and selection, tuning and choice were made on that."


def nomogram(facts: PackFacts) -> Iterator[str]:
    """Yield the clinical model and the nomogram."""
    settings, labels = facts.recipe.clinical, facts.predictor_labels
    kept = facts.kept_labels
    if not labels:
        yield "The cohort has no clinical candidates; the nomogram has the score alone."
    elif settings.screening == "none":
        yield f"All clinical candidates of the cohort's description were used, without screening: {listed(labels)}."
    else:
        sample = (
            "all patients, test patients included, as in the publication the recipe follows"
            if settings.selected_on == "all"
            else "development patients"
        )
        result = f"kept were {listed(kept)}" if kept else "none was kept"
        yield (
            f"The clinical candidates were {listed(labels)}. Candidates with p < {number(settings.screening_alpha)} in "
            f"univariable logistic regression on {sample} were kept: {result}."
        )
    separated = (
        "Firth's penalized likelihood was used where the outcomes were separated"
        if settings.separation == "firth"
        else "a fit in which the outcomes were separated would have been refused"
    )
    interval = "profile likelihood" if settings.interval == "profile" else "Wald"
    yield (
        "Clinical model and nomogram are logistic regressions, linear in continuous predictors and with the stated reference "
        f"level of categorical ones; {separated}. Odds ratios have {interval} intervals. The nomogram was fitted by "
        f"{facts.results.nomogram.method}."
    )
    yield "Points of the nomogram are its log odds in another unit: the predictor with the longest axis is worth 100 points."


def threshold(facts: PackFacts) -> Iterator[str]:
    """Yield where the decision threshold comes from."""
    settings = facts.recipe.evaluation
    sample = "out-of-fold" if settings.threshold_from == "out_of_fold" else "apparent"
    rule = (
        f"the highest one with a sensitivity of at least {percent(settings.minimum_sensitivity)}"
        if settings.threshold_rule == "sensitivity_at_least"
        else "the one with the largest Youden index"
    )
    yield (
        f"The decision threshold is {rule} on {sample} probabilities of development patients. It was fixed at "
        f"{formatting.number(facts.results.threshold)} before test patients were scored and used unchanged."
    )
