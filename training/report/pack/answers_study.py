"""What a run can say about design, patients and outcome, and what it leaves to the authors."""

from __future__ import annotations

from collections.abc import Mapping

from training.model_names import SAMPLES, sample_label
from training.report import formatting
from training.report.pack import methods_statistics
from training.report.pack.checklist import Answer, AnswerFunction
from training.report.pack.facts import PackFacts
from training.report.pack.wording import counted, listed, percent

METHODS = "report/pack/methods.docx"
CENTRE = "centre"
BASELINE_TABLES = ("table1_baseline_by_split", "table2_baseline_by_outcome")


def authors(_facts: PackFacts) -> Answer:
    """Leave an item to the authors altogether."""
    return Answer("authors", "")


def title(facts: PackFacts) -> Answer:
    """Offer the parts of a title."""
    results = facts.results
    kinds = listed(
        [
            *(["deep learning"] if facts.recipe.network.enabled else []),
            *(["radiomics"] if facts.recipe.radiomics.enabled else []),
        ]
    )
    evaluated = "development and external validation" if facts.external else "development and internal validation"
    return Answer(
        "partly", f"The run is the {evaluated} of a nomogram from CT with {kinds}, for {results.outcome_name}: name these."
    )


def abstract(facts: PackFacts) -> Answer:
    """Offer the figures of an abstract."""
    final = facts.chosen("nomogram", facts.final_sample)
    text = (
        f"{facts.development_count:,} development and {facts.test_count:,} test patients, {facts.development_events:,} and "
        f"{facts.test_events:,} with {facts.results.outcome_name}."
    )
    if final is not None:
        text += f" Nomogram, {sample_label(final.sample).lower()}: AUC {formatting.interval(final.auc)} (95% CI)."
    return Answer("partly", text, facts.where(tables=("table5_nomogram",)))


def keywords(facts: PackFacts) -> Answer:
    """Offer keywords."""
    words = [
        "computed tomography",
        *(["radiomics"] if facts.recipe.radiomics.enabled else []),
        *(["deep learning"] if facts.recipe.network.enabled else []),
        "nomogram",
        facts.results.outcome_name,
    ]
    return Answer("partly", f"Suggested by what was done: {listed(words)}.")


def intended_use(facts: PackFacts) -> Answer:
    """Repeat the intended use the cohort's description states."""
    return Answer("partly", f"Stated in the bundle: “{facts.manifest.intended_use}”.", "bundle/bundle.json, intended_use")


def objectives(facts: PackFacts) -> Answer:
    """Say whether a model was developed, evaluated or both."""
    what = "development with internal validation"
    if facts.external is not None:
        what += f", and validation on the cohort “{facts.external.title}”"
    return Answer("partly", f"The run covers {what} of a model for {facts.results.outcome_name}.")


def guideline_use(_facts: PackFacts) -> Answer:
    """Point at the forms of this pack."""
    return Answer(
        "partly",
        "TRIPOD+AI, CLEAR and METRICS were filled from the run; the items left to the authors are still open.",
        "report/pack/checklist_*.docx",
    )


def ethics(_facts: PackFacts) -> Answer:
    """Say what of data protection the software sees to."""
    return Answer(
        "partly",
        "The documents of the run hold no names, dates of birth or DICOM identifiers; patients carry the labels of the cohort "
        "table. Approval and consent are not known to the software.",
        "predictions.csv; bundle/",
    )


def protocol(facts: PackFacts) -> Answer:
    """Say what of a protocol the recipe is."""
    return Answer(
        "partly",
        f"All choices of the analysis are in the recipe “{facts.recipe.name}” (SHA-256 {facts.results.recipe_digest[:12]}), "
        "fixed before the run. A study protocol is not known to the software.",
        "run.json, recipe",
    )


def data_source(facts: PackFacts) -> Answer:
    """Give the cohort and how it was divided."""
    text = " ".join(methods_statistics.split(facts))
    return Answer("partly", f"Cohort “{facts.results.cohort_title}”. {text}", METHODS)


def centers(facts: PackFacts) -> Answer:
    """Count the centers, where the cohort names them."""
    found = center_names(facts)
    if not found:
        return Answer("authors", "The cohort names no centers.")
    return Answer("partly", f"{counted(len(found), 'center')}: {listed(found)}.", facts.where(tables=("subgroups",)))


def multi_center(facts: PackFacts) -> Answer:
    """Say whether images come from more than one center."""
    found = center_names(facts)
    if not found:
        return Answer("authors", "The cohort names no centers.")
    return Answer("answered", f"Images come from {counted(len(found), 'center')}: {listed(found)}.", met=len(found) > 1)


def center_names(facts: PackFacts) -> list[str]:
    """Return the centers with patients in any sample, by the labels of the cohort table."""
    levels = (
        row.level
        for table in facts.evidence.subgroups
        for characteristic in table.characteristics
        if characteristic.name == CENTRE
        for row in characteristic.rows
        if row.patient_count
    )
    return list(dict.fromkeys(levels))


def eligibility(facts: PackFacts) -> Answer:
    """Give the exclusions the software made, which are not the eligibility of the study."""
    left = [f"{reason} ({count})" for step in facts.results.flow for reason, count in step.excluded]
    text = (
        f"Of the listed patients the software excluded: {listed(left)}." if left else "The software excluded no listed patient."
    )
    return Answer("partly", text, "report/index.html, cohort flow")


def outcome(facts: PackFacts) -> Answer:
    """Name the outcome and on whose word it is known."""
    results = facts.results
    known = methods_statistics.PROVENANCE[results.outcome_provenance]
    return Answer("partly", f"{results.outcome_name}, {results.positive_label}; known from {known}.", "report/index.html")


def reference_standard(facts: PackFacts) -> Answer:
    """Say whether the outcome is known from pathology."""
    if facts.results.outcome_provenance == "pathology":
        return Answer("partly", f"{facts.results.outcome_name} is recorded as known from histopathology.")
    return Answer(
        "partly",
        f"{facts.results.outcome_name} is recorded as known from clinical assessment, which may rest on the images the model "
        "reads.",
        met=False,
    )


def candidate_predictors(facts: PackFacts) -> Answer:
    """Name the candidates and any screening."""
    screening = facts.recipe.clinical.screening
    labels = listed(facts.predictor_labels) or "none"
    how = "none was screened out" if screening == "none" else f"screened by p < {facts.recipe.clinical.screening_alpha:g}"
    images = [
        *([f"{facts.radiomic_count:,} radiomic features"] if facts.recipe.radiomics.enabled else []),
        *(["2,048 deep features"] if facts.recipe.network.enabled else []),
    ]
    return Answer(
        "partly",
        f"Clinical candidates: {labels} ({how}). Image candidates: {listed(images)}, reduced as the methods say.",
        facts.where(tables=("table3_odds_ratios", "selection_counts")),
    )


def predictor_definitions(facts: PackFacts) -> Answer:
    """Give levels, reference levels, units and ranges of the clinical predictors in the nomogram."""
    lines = [
        f"{p.label}: {' / '.join(p.levels)} (reference {p.reference})"
        if p.type == "categorical"
        else f"{p.label}: {p.unit or 'number'}, {p.range[0]:g} to {p.range[1]:g}"
        if p.range
        else p.label
        for p in facts.manifest.predictors
    ]
    text = f"{'; '.join(lines)}." if lines else "The nomogram has no clinical predictor."
    return Answer("partly" if lines else "answered", text, "bundle/bundle.json, predictors")


def sample_size(facts: PackFacts) -> Answer:
    """Give needed and available patients."""
    return Answer(
        "partly",
        " ".join(facts.evidence.sample_size.statements),
        facts.where(tables=("sample_size",)) or METHODS,
    )


def missing_data(facts: PackFacts) -> Answer:
    """Say that nothing was imputed, and who was left out."""
    left = [f"{reason} ({count})" for step in facts.results.flow for reason, count in step.excluded]
    gone = f"Left out, with reasons: {listed(left)}." if left else "Nobody was left out."
    return Answer(
        "answered",
        "Complete cases: patients without outcome, usable image or outline, or a clinical candidate were left out; nothing was "
        f"imputed. {gone} Missing values of predictors that are no candidates are counted in the baseline tables.",
        facts.where(tables=BASELINE_TABLES, files=("report/index.html, cohort flow",)),
    )


def participant_flow(facts: PackFacts) -> Answer:
    """Give the flow in a line."""
    steps = "; ".join(f"{step.label.lower()} {step.count:,}" for step in facts.results.flow)
    return Answer(
        "partly",
        f"{steps}. With the outcome: {facts.development_events:,} development and {facts.test_events:,} test patients.",
        "report/index.html, cohort flow",
    )


def baseline(facts: PackFacts) -> Answer:
    """Point at Tables 1 and 2."""
    if not facts.results.baseline_by_split.rows:
        return Answer("authors", "The cohort lists no clinical characteristics.")
    names = dict.fromkeys(row.characteristic for row in facts.results.baseline_by_split.rows)
    return Answer(
        "partly",
        f"{counted(len(names), 'characteristic')} by split and by outcome, with tests and standardized mean differences; "
        "acquisition of the images beside them.",
        facts.where(tables=(*BASELINE_TABLES, "acquisition")),
    )


def baseline_by_split(facts: PackFacts) -> Answer:
    """Compare development and test."""
    if not facts.test_count:
        return Answer("not_applicable", "There are no test patients.")
    shares = (facts.development_events / facts.development_count, facts.test_events / facts.test_count)
    return Answer(
        "answered",
        f"Outcome in {percent(shares[0])} of development and {percent(shares[1])} of test patients; predictors in Table 1.",
        facts.where(tables=("table1_baseline_by_split", "acquisition")),
    )


def development_against_evaluation(facts: PackFacts) -> Answer:
    """Say how test patients differ from development patients."""
    if facts.external is not None:
        text = f"Evaluation on the cohort “{facts.external.title}” used the same predictors and definitions, by construction."
    elif facts.test_count:
        text = "Test patients are of the same cohort, with the same predictors and the same definition of the outcome."
    else:
        text = "Evaluation is out of fold, on the development patients themselves."
    return Answer("partly", text, facts.where(tables=("table1_baseline_by_split", "acquisition")))


def patients_per_analysis(facts: PackFacts) -> Answer:
    """Give patients and events of every analysis."""
    counts = [
        f"{sample_label(sample)}: {row.patient_count:,} patients, {row.event_count:,} events"
        for sample in SAMPLES
        if (row := facts.chosen("nomogram", sample)) is not None
    ]
    tuning = (
        f"Tuning: {facts.recipe.classifiers.inner_folds} inner folds of the patients of each fit. Cross-fitting: "
        f"{facts.fold_count} folds."
    )
    return Answer("answered", f"{'; '.join(counts)}. {tuning}", facts.where(tables=("table4_models", "table5_nomogram")))


def pipeline_chart(_facts: PackFacts) -> Answer:
    """Say that the steps are told, not drawn."""
    return Answer("partly", "The steps are told in order in the methods text; no chart of them is drawn.", METHODS)


def readers(facts: PackFacts) -> Answer:
    """Say whether outlines of a second reader were there."""
    report = facts.evidence.agreement
    if report is None:
        return Answer("authors", "One outline a patient was given.")
    return Answer("partly", f"Agreement was examined on {report.source} of {counted(report.patient_count, 'patient')}.")


def limitations(facts: PackFacts) -> Answer:
    """Repeat what the run warns of, and what it does not have."""
    absent = [
        *([] if facts.external else ["no patients from another institution were used"]),
        *([] if facts.test_count else ["no patients were set aside for testing"]),
        *([] if facts.was_filtered_by_agreement else ["features were not filtered by agreement of readers"]),
    ]
    text = " ".join(facts.results.warnings)
    return Answer("partly", f"{text} Known to the software: {'; '.join(absent)}." if absent else text, "report/index.html")


def next_steps(facts: PackFacts) -> Answer:
    """Name the patients a validation elsewhere would need."""
    plan = facts.evidence.sample_size.validation
    if plan is None:
        return Answer("authors", "")
    return Answer(
        "partly",
        f"A validation on new patients would need {plan.patients:,}, {plan.events:,} of them with the outcome, for an AUC "
        f"interval {plan.auc_width:g} wide and calibration slope and observed/expected intervals {plan.slope_width:g} and "
        f"{plan.ratio_width:g} wide.",
    )


ANSWERS: Mapping[str, AnswerFunction] = {
    function.__name__: function
    for function in (
        authors,
        title,
        abstract,
        keywords,
        intended_use,
        objectives,
        guideline_use,
        ethics,
        protocol,
        data_source,
        centers,
        multi_center,
        eligibility,
        outcome,
        reference_standard,
        candidate_predictors,
        predictor_definitions,
        sample_size,
        missing_data,
        participant_flow,
        baseline,
        baseline_by_split,
        development_against_evaluation,
        patients_per_analysis,
        pipeline_chart,
        readers,
        limitations,
        next_steps,
    )
}
