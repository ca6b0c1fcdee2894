"""Methods, patients and statistics: who was in, who was held out, and how every number and interval was computed."""

from __future__ import annotations

from collections.abc import Iterator

from training.report.pack.facts import PackFacts
from training.report.pack.footnotes import interval_methods
from training.report.pack.wording import counted, estimate, listed, number, percent, sentence

PROVENANCE = {"pathology": "histopathology", "clinical": "clinical assessment"}


def patients(facts: PackFacts) -> Iterator[str]:
    """Yield the cohort, the outcome, who left and how the others were divided."""
    results = facts.results
    yield (
        f"The cohort was “{results.cohort_title}”. The outcome was {results.outcome_name} ({results.positive_label}), known "
        f"from {PROVENANCE[results.outcome_provenance]}."
    )
    listed_count, total = results.flow[0].count, facts.development_count + facts.test_count
    left = [f"{reason} ({count})" for step in results.flow for reason, count in step.excluded]
    yield (
        f"Of {counted(listed_count, 'patient')} listed, {total:,} had complete candidates, a usable CT and a usable outline "
        f"and were analyzed{f'; reasons for leaving were {listed(left)}' if left else ''}."
    )
    low, high = facts.manifest.acquisition.region_volume_cm3
    yield from split(facts)
    yield f"Outlined tumors of development patients measured {number(round(low, 2))} to {number(round(high, 2))} cm³."


def split(facts: PackFacts) -> Iterator[str]:
    """Yield how patients were divided."""
    recipe, total = facts.recipe, facts.development_count + facts.test_count
    development = f"{facts.development_count:,} for development ({facts.development_events:,} with the outcome)"
    if not facts.test_count:
        yield f"All {total:,} patients were used for development; none was set aside for testing."
    else:
        test = f"{facts.test_count:,} for testing ({facts.test_events:,} with the outcome)"
        how = (
            f"at random, stratified by outcome, with a share of {percent(recipe.split.test_fraction)} for testing"
            if facts.was_split_at_random
            else "as the cohort's own table says"
        )
        yield f"Patients were divided, {how}: {development} and {test}."
    yield (
        f"The division was made before anything was computed; its SHA-256 begins with {facts.results.split_digest[:12]}. All "
        f"random choices followed from the seed {recipe.seed}."
    )


def performance(facts: PackFacts) -> Iterator[str]:
    """Yield what was measured, on which patients, and how intervals were computed."""
    final = facts.measured("nomogram", facts.final_sample)
    yield (
        "Performance is given for development patients scored out of fold"
        + (" and for test patients, who were scored once, by the finished bundle" if facts.test_count else "")
        + ". Apparent performance, on the patients fitted on, is given only to show how much it flatters."
    )
    yield interval_methods(facts.results)
    if final is None:
        return
    settings = final.settings
    yield from (sentence(f"{m.measure}: {m.text}") for m in final.methods)
    yield (
        f"Decision curves cover threshold probabilities from {percent(settings.threshold_low)} to "
        f"{percent(settings.threshold_high)}. {sentence(settings.threshold_reason)}"
    )


def comparisons(facts: PackFacts) -> Iterator[str]:
    """Yield how models were compared with each other."""
    evidence = facts.evidence
    parts = (
        ("The nomogram was compared with every other model on the same patients.", evidence.comparisons),
        ("Incremental value was measured over models without the image score.", evidence.incremental),
        ("Subgroups were looked at with the threshold of all patients.", evidence.subgroups),
    )
    for opening, documents in parts:
        methods = dict.fromkeys(m for document in documents for m in document.methods)
        if methods:
            yield opening
        yield from (sentence(f"{m.measure}: {m.text}") for m in methods)


def honesty(facts: PackFacts) -> Iterator[str]:
    """Yield how the whole chain was put to the test."""
    evidence = facts.evidence.honesty
    for method in evidence.methods:
        yield sentence(f"{method.measure}: {method.text}")
    if evidence.network != "none":
        yield sentence(evidence.network_note)


def agreement(facts: PackFacts) -> Iterator[str]:
    """Yield how reproducible features and score are."""
    report = facts.evidence.agreement
    if report is None:
        yield "Agreement of repeated outlines was not examined."
        return
    bound = "the lower end of its 95% interval" if report.bound == "lower_95" else "its estimate"
    yield (
        f"Agreement of features was examined on {report.source} in {counted(report.patient_count, 'patient')} with "
        f"{counted(report.reading_count, 'reading')} each, by {report.form}; a feature counts as reproducible if {bound} is at "
        f"least {number(report.threshold)}."
    )


def sample_size(facts: PackFacts) -> Iterator[str]:
    """Yield how many patients are needed, and how many there were."""
    plan = facts.evidence.sample_size
    expected = "" if plan.auc is None else f" for an anticipated AUC of {number(plan.auc)}"
    yield (
        f"Needed patients were computed by the criteria of Riley et al.{expected} and a prevalence of "
        f"{percent(plan.prevalence)}: {plan.nomogram.patients:,} patients with {plan.nomogram.events:,} events to develop a "
        f"nomogram of {counted(plan.nomogram.candidates, 'candidate parameter')}."
    )


def software(facts: PackFacts) -> Iterator[str]:
    """Yield versions and digests."""
    results = facts.results
    versions = listed([f"{name} {version}" for name, version in results.software])
    yield (
        f"Computations were made with {versions}, by the recipe “{results.recipe.name}” (SHA-256 {results.recipe_digest[:12]})."
    )
    yield f"The model is the bundle with SHA-256 {results.bundle_digest}."


def external(facts: PackFacts) -> Iterator[str]:
    """Yield the validation elsewhere, if there was one."""
    found = facts.external
    if found is None:
        return
    yield (
        f"The bundle was validated without refitting on the cohort “{found.title}”: {counted(found.patient_count, 'patient')}, "
        f"{found.event_count:,} with the outcome; {found.score}: {estimate('AUC', found.auc)}, "
        f"{estimate('calibration slope', found.slope, 2)}, {estimate('calibration in the large', found.in_the_large, 2)}."
    )
