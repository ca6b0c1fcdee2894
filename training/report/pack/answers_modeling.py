"""What a run can say about partition, models, output and sharing."""

from __future__ import annotations

from collections.abc import Mapping

from training.report import formatting
from training.report.pack import methods_imaging, methods_modeling, methods_statistics
from training.report.pack.answers_study import METHODS
from training.report.pack.checklist import Answer, AnswerFunction
from training.report.pack.facts import PackFacts
from training.report.pack.wording import counted, estimate, listed, percent, sentence

SPECIFICATION = "report/pack/model_specification.docx"
LEAKAGE_TABLES = ("leakage_learned", "leakage_checks", "leakage_folds")


def partition(facts: PackFacts) -> Answer:
    """Tell split, folds and what keeps held-out patients out."""
    report = facts.evidence.leakage
    leaks = " ".join(f"{choice.text} ({choice.key} = {choice.value})." for choice in report.choices)
    text = " ".join((*methods_statistics.split(facts), *report.statements))
    return Answer(
        "answered",
        f"{text} {leaks or 'No key of the recipe lets held-out patients be learned from.'}",
        facts.where(tables=LEAKAGE_TABLES, files=(METHODS,)),
    )


def proper_partition(facts: PackFacts) -> Answer:
    """Say whether the partition leaks."""
    report = facts.evidence.leakage
    touched = [c.key for c in report.choices if c.key == "clinical.selected_on"]
    sound = report.overlap == 0 and report.held_out_once and not touched and facts.test_count > 0
    found = (
        f"By patient, stratified, seed {facts.recipe.seed}; {report.overlap} patients on both sides; every development patient "
        f"held out once: {formatting.yes_no(report.held_out_once)}."
    )
    if touched:
        found += f" Test patients were looked at: {listed(touched)}."
    if not facts.test_count:
        found += " No test patients were set aside."
    return Answer("answered", found, facts.where(tables=LEAKAGE_TABLES), met=sound)


def predictor_form(facts: PackFacts) -> Answer:
    """Tell the form predictors entered in."""
    scale = "log odds" if facts.recipe.score.scale == "logit" else "a probability"
    return Answer(
        "answered",
        "Image features standardized; continuous clinical predictors linear and untransformed; categorical ones as indicators "
        f"against their reference level; the image score as {scale}.",
        facts.where(tables=("table3_odds_ratios",), files=(SPECIFICATION,)),
    )


def model_building(facts: PackFacts) -> Answer:
    """Tell every step from features to nomogram."""
    parts = (
        *methods_modeling.classifiers(facts),
        *methods_modeling.score(facts),
        *methods_modeling.nomogram(facts),
    )
    checks = facts.evidence.honesty
    done = [
        f"{section.count.fitted} {what}"
        for section, what in (
            (checks.optimism, "bootstrap resamples of the whole chain"),
            (checks.repeated, "repeats of cross-validation"),
            (checks.permutation, "permutations of the outcome"),
        )
        if section.count.fitted
    ]
    internal = f" Internal validation: cross-fitting{f', and {listed(done)}' if done else ''}."
    return Answer("answered", " ".join(parts) + internal, METHODS)


def algorithms(facts: PackFacts) -> Answer:
    """Name algorithms, architecture and fusion."""
    parts = (*methods_imaging.network(facts), *list(methods_modeling.classifiers(facts))[:1], *methods_modeling.score(facts))
    return Answer("answered", " ".join(parts), f"{METHODS}; report/pack/session.docx")


def tuning(facts: PackFacts) -> Answer:
    """Tell training and tuning."""
    return Answer(
        "answered",
        " ".join((*methods_imaging.network(facts), *methods_modeling.classifiers(facts))),
        facts.where(figures=("finetuning", "lasso"), files=(METHODS,)),
    )


def model_choice(facts: PackFacts) -> Answer:
    """Tell how the final model was chosen."""
    rule = next(s for s in methods_modeling.classifiers(facts) if s.startswith("The") and "was chosen" in s)
    chosen = f" Chosen: {facts.manifest.training.classifier}."
    honest = facts.recipe.classifiers.choose_by != "training_auc"
    tail = " Test patients played no part." if honest else ""
    return Answer("answered", f"{rule}{chosen}{tail}", facts.where(tables=("table4_models",)))


def class_imbalance(facts: PackFacts) -> Answer:
    """Say that nothing was done about class imbalance."""
    share = percent(facts.development_events / facts.development_count)
    return Answer(
        "answered",
        f"{share} of development patients have the outcome. No weights, over-sampling or under-sampling, which would spoil "
        "calibration; partitions are stratified by outcome.",
        METHODS,
    )


def model_output(facts: PackFacts) -> Answer:
    """Tell the output and its threshold."""
    return Answer(
        "answered",
        f"Probability of {facts.results.outcome_name}, points of the nomogram, and a class at the threshold "
        f"{formatting.number(facts.results.threshold)}. {' '.join(methods_modeling.threshold(facts))}",
        facts.where(tables=("nomogram_points",), figures=("nomogram",), files=(SPECIFICATION,)),
    )


def model_specification(facts: PackFacts) -> Answer:
    """Give the model in full."""
    return Answer(
        "partly",
        f"{facts.nomogram.formula()}. The score is computed by the bundle (SHA-256 {facts.results.bundle_digest}): ONNX and "
        "JSON, with known-answer cases; it predicts by command line, HTTP and gRPC.",
        facts.where(tables=("nomogram_points", "selected_features"), figures=("nomogram",), files=(SPECIFICATION, "bundle/")),
    )


def prediction_computation(facts: PackFacts) -> Answer:
    """Say that test patients were predicted by the bundle from their files."""
    if not facts.test_count:
        return Answer(
            "answered",
            "Out-of-fold predictions came from the fitted objects of each fold; there are no test patients.",
            "predictions.csv",
        )
    return Answer(
        "answered",
        "Test patients were predicted by the bundle, read back from disk, from their image files, as a user would; the result "
        "was compared with the fitted objects before it counted. Out-of-fold predictions came from the fitted objects of each "
        "fold.",
        "predictions.csv; bundle/",
    )


def model_updating(facts: PackFacts) -> Answer:
    """Say whether the model was updated after an evaluation."""
    if facts.external is None:
        return Answer("not_applicable", "No evaluation elsewhere was made, and the model was not updated after evaluation.")
    updates = [
        f"{update.form} update: {estimate('intercept', update.intercept, 2)}, {estimate('slope', update.slope, 2)}, Brier "
        f"score {formatting.number(update.brier)}"
        for update in facts.external.updates
        if update.form != "none"
    ]
    if not updates:
        return Answer("answered", "The model was not updated after the validation elsewhere, and no update could be estimated.")
    return Answer(
        "answered",
        f"The bundle was left as it is. What an update to the cohort “{facts.external.title}” would be: {'; '.join(updates)}.",
        "evaluation.json",
    )


def interpretability(facts: PackFacts) -> Answer:
    """Name what explains the model."""
    explanation = facts.evidence.explanation
    shares = [
        f"{p.label} {percent(p.absolute_share)}" for p in explanation.contribution.predictors if p.absolute_share is not None
    ]
    means = [
        "points of the nomogram",
        *(["SHAP values of the score"] if explanation.attributions else []),
        *(["activation maps of the network, with right and wrong cases"] if explanation.activation is not None else []),
        *(["box plots and correlations of selected features"] if explanation.boxes else []),
    ]
    moved = f" Share of each predictor in what moves the nomogram: {'; '.join(shares)}." if shares else ""
    return Answer(
        "answered",
        sentence(listed(means)) + moved,
        facts.where(
            figures=("nomogram", "contribution_share", "shap", "activation_maps", "feature_boxes", "feature_correlation")
        ),
    )


def user_skill(facts: PackFacts) -> Answer:
    """Say what a user must give and decide."""
    needs = ["a CT series", "an outline of the tumor", *(p.label for p in facts.manifest.predictors)]
    return Answer(
        "partly",
        f"A user gives {listed(needs)}; the software asks for nothing else and takes no choice of settings. An outline needs "
        "somebody who can delineate the tumor.",
    )


def data_sharing(_facts: PackFacts) -> Answer:
    """Name what of the data is ready to be shared."""
    return Answer(
        "authors",
        "Ready to be shared after de-identification: features.parquet (all radiomic features) and predictions.csv (outcome and "
        "every prediction, by patient).",
        "features.parquet; predictions.csv; report/pack/predictions_dictionary.csv",
    )


def image_sharing(_facts: PackFacts) -> Answer:
    """Say that images stay where they are."""
    return Answer("authors", "The run holds no original images or outlines.")


def settings_sharing(_facts: PackFacts) -> Answer:
    """Name the files of settings."""
    return Answer(
        "partly",
        "Recipe and all settings of preparation and extraction are files of the run and can be attached as they are.",
        "run.json, recipe; bundle/bundle.json, settings; bundle/radiomics.json",
    )


def code_sharing(facts: PackFacts) -> Answer:
    """Name version and recipe."""
    return Answer(
        "authors",
        f"nodogram {facts.results.nodogram_version}, recipe “{facts.recipe.name}”; versions of everything else in the session "
        "table.",
        "report/pack/session.docx",
    )


def model_sharing(facts: PackFacts) -> Answer:
    """Name the bundle."""
    return Answer(
        "authors",
        f"The bundle (SHA-256 {facts.results.bundle_digest[:12]}) holds the whole model with "
        f"{counted(len(facts.manifest.files), 'file')}, no patient data, and known-answer cases.",
        "bundle/; bundle/MODEL_CARD.md",
    )


def system_sharing(_facts: PackFacts) -> Answer:
    """Name the ways the bundle predicts."""
    return Answer("authors", "The bundle is served by command line, HTTP and gRPC without further programming.", "bundle/")


ANSWERS: Mapping[str, AnswerFunction] = {
    function.__name__: function
    for function in (
        partition,
        proper_partition,
        predictor_form,
        model_building,
        algorithms,
        tuning,
        model_choice,
        class_imbalance,
        model_output,
        model_specification,
        prediction_computation,
        model_updating,
        interpretability,
        user_skill,
        data_sharing,
        image_sharing,
        settings_sharing,
        code_sharing,
        model_sharing,
        system_sharing,
    )
}
