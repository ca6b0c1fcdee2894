"""``nodogram plan``: how many patients a model needs, before anything is trained."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from nodogram.errors import Reason, SettingsError

if TYPE_CHECKING:
    from training.cohort import Cohort
    from training.evidence.sample_size import CohortCounts, SampleSizePlan
    from training.recipe import Recipe


def plan(
    prevalence: Annotated[float | None, typer.Option(help="Share with the outcome; the default is the cohort's.")] = None,
    candidates: Annotated[
        int | None,
        typer.Option(help="Candidate parameters of the nomogram, the image score included; the default is the cohort's."),
    ] = None,
    cohort: Annotated[Path | None, typer.Option(help="Folder with cohort.csv and cohort.toml, or the table.")] = None,
    auc: Annotated[
        float | None, typer.Option(help="AUC to be expected on new patients, cautiously; the default is the recipe's.")
    ] = None,
    r2: Annotated[float | None, typer.Option(help="Cox-Snell R² to be expected instead.")] = None,
    recipe: Annotated[
        str, typer.Option(help="Says how many image features there are: sound, paper, demo or a file.")
    ] = "sound",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")] = False,
) -> None:
    """Say how many patients and events a model needs, by which criterion, and what the cohort at hand has."""
    from training.cohort import load_cohort
    from training.evidence.sample_size import plan_sample_size
    from training.recipe import load_recipe

    chosen = load_recipe(recipe)
    read = None if cohort is None else load_cohort(cohort)
    counts = None if read is None else _counts(read, chosen)
    if read is not None:
        prevalence = _share(read) if prevalence is None else prevalence
        candidates = _candidates(read) if candidates is None else candidates
    if prevalence is None or candidates is None:
        raise SettingsError(Reason.SETTINGS_INVALID, "a plan needs --prevalence and --candidates, or a --cohort that has both")
    if auc is not None and r2 is not None:
        raise SettingsError(Reason.SETTINGS_INVALID, "the performance to expect is required once: --auc, or --r2")
    if auc is None and r2 is None:
        auc = chosen.evaluation.anticipated_auc
    try:
        found = plan_sample_size(
            prevalence=prevalence, candidates=candidates, auc=auc, cox_snell=r2, branches=_branches(chosen), cohort=counts
        )
    except ValueError as error:
        raise SettingsError(Reason.SETTINGS_INVALID, str(error)) from error
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        print_plan(found, Console())


def print_plan(plan: SampleSizePlan, console: Console) -> None:
    """Print needed and available patients as a table, then what follows."""
    expected = "" if plan.auc is None else f"AUC {plan.auc:g}, "
    console.print(
        f"[bold]Expected[/]: prevalence {plan.prevalence:.3g}, {expected}R² {plan.cox_snell:.3f} (Cox-Snell), "
        f"{plan.nagelkerke:.3f} (Nagelkerke)",
        highlight=False,
    )
    table = Table(header_style="bold", title=f"{plan.nomogram.candidates} candidate parameters", title_justify="left")
    table.add_column("criterion")
    for heading in ("patients", "with the outcome", "events per candidate"):
        table.add_column(heading, justify="right")
    need = plan.nomogram
    rows = (
        (f"1 effects shrunk {1 - plan.shrinkage:.0%} at most", need.shrinkage_patients),
        (f"2 optimism in R² {plan.optimism:g} at most", need.optimism_patients),
        (f"3 overall risk to ±{plan.margin:g}", need.risk_patients),
    )
    for label, patients in rows:
        table.add_row(label, *_row(patients, plan))
    table.add_section()
    table.add_row("[bold]all three[/]", *(f"[bold]{cell}[/]" for cell in _row(need.patients, plan)))
    if plan.at_hand is not None:
        counts = plan.at_hand.counts
        table.add_row(
            "at hand, to learn from",
            f"{counts.development_patients:,}",
            f"{counts.development_events:,}",
            f"{plan.at_hand.events_per_candidate:.1f}",
        )
    console.print(table)
    for statement in plan.statements:
        console.print(f"• {statement}", highlight=False)


def _row(patients: int, plan: SampleSizePlan) -> tuple[str, str, str]:
    events = patients * plan.prevalence
    return f"{patients:,}", f"{math.ceil(events):,}", f"{events / plan.nomogram.candidates:.1f}"


def _share(cohort: Cohort) -> float:
    return sum(p.outcome for p in cohort.patients) / len(cohort.patients)


def _candidates(cohort: Cohort) -> int:
    """Count the coefficients of the clinical candidates, and one for the image score."""
    return 1 + sum(len(predictor.column_names) for predictor in cohort.definition.candidates)


def _counts(cohort: Cohort, recipe: Recipe) -> CohortCounts:
    """Count who is learned from: by the split of the table, or about as many as the recipe will draw."""
    from training.evidence.sample_size import CohortCounts

    total, events = len(cohort.patients), sum(p.outcome for p in cohort.patients)
    if all(p.split is not None for p in cohort.patients):
        tested = [p.outcome for p in cohort.patients if p.split == "test"]
        test, test_events = len(tested), sum(tested)
    else:
        test = math.ceil(recipe.split.test_fraction * total)
        test_events = round(test * events / total)
    return CohortCounts(
        development_patients=total - test,
        development_events=events - test_events,
        test_patients=test,
        test_events=test_events,
    )


def _branches(recipe: Recipe) -> dict[str, int]:
    from nodogram.deep.embed import FEATURE_COUNT
    from nodogram.radiomics.manifest import feature_names

    return {
        "radiomic": len(feature_names(recipe.radiomics)),
        "deep": FEATURE_COUNT if recipe.network.enabled else 0,
    }
