"""The report of a run: one self-contained HTML file."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nodogram.nomogram import SCORE, Nomogram
from training.evidence.document import RunEvidence
from training.recipe import Recipe, load_recipe
from training.report import formatting
from training.report.answer import all_warnings, find_answer, honest_lines
from training.report.contents import page_contents
from training.report.figure_files import DrawnFigure, show_figure, write_figures
from training.report.markup import page_environment, page_script
from training.report.pack.write_pack import PACK_FILES
from training.report.page_tables import evidence_tables
from training.report.tables import make_tables
from training.results import FlowStep, RunResults


@dataclass(frozen=True)
class RecipeRow:
    """One key; ``sound`` is the value of the recipe ``sound`` where it differs."""

    key: str
    value: str
    sound: str | None


@dataclass(frozen=True)
class RecipeSection:
    """One table of the recipe's TOML file."""

    name: str
    rows: tuple[RecipeRow, ...]


@dataclass(frozen=True)
class Flow:
    """Boxes of the cohort flow: a chain, then the parts it is split into."""

    chain: tuple[FlowStep, ...]
    parts: tuple[FlowStep, ...]


def write_report(results: RunResults, evidence: RunEvidence, nomogram: Nomogram, run: Path) -> Path:
    """Write ``RUN/report/index.html``, and in ``RUN/figures`` the figures it shows.

    Returns
    -------
    page : pathlib.Path
        One file that needs no other and no network; it links to the reviewer pack beside it.
    """
    drawn = write_figures(results, evidence, nomogram, run / "figures")
    page = run / "report" / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render_page(results, evidence, nomogram, drawn, run.name), encoding="utf-8")
    return page


def render_page(
    results: RunResults, evidence: RunEvidence, nomogram: Nomogram, drawn: Sequence[DrawnFigure], run_name: str
) -> str:
    """Return the HTML of the report.

    Parameters
    ----------
    run_name
        Folder of the run, for the command that uses its bundle.
    """
    environment = page_environment()
    tables = evidence_tables(results, evidence)
    script = page_script(environment)
    return environment.get_template("report.html.j2").render(
        results=results,
        evidence=evidence,
        created=results.created.replace("T", " ").replace("+00:00", " UTC"),
        answer=find_answer(results.models),
        honest=honest_lines(evidence),
        warnings=all_warnings(results, evidence),
        tables=make_tables(results),
        placed_tables=tables,
        figures=[show_figure(d, f"f{place}") for place, d in enumerate(drawn)],
        contents=page_contents(results, evidence, {t.section for t in tables} | {d.section for d in drawn}),
        flow=split_flow(results.flow),
        recipe=recipe_sections(results.recipe),
        pack_files=PACK_FILES,
        command=prediction_command(nomogram, run_name),
        bundle_path=shlex.quote(f"{run_name}/bundle"),
        script=script.source,
        script_digest=script.digest,
    )


def split_flow(flow: Sequence[FlowStep]) -> Flow:
    """Set the last two boxes side by side where they are the parts of the one before."""
    if len(flow) > 2 and not flow[-1].excluded and flow[-1].count + flow[-2].count == flow[-3].count:
        return Flow(tuple(flow[:-2]), tuple(flow[-2:]))
    return Flow(tuple(flow), ())


def recipe_sections(recipe: Recipe) -> tuple[RecipeSection, ...]:
    """Return every key of the recipe in its section, beside the value of ``sound`` where that is another."""
    own, sound = recipe.model_dump(mode="json"), load_recipe("sound").model_dump(mode="json")
    general = RecipeSection(
        "general", tuple(RecipeRow(k, _printed(v), None) for k, v in own.items() if not isinstance(v, dict))
    )
    sections = [general]
    for name, keys in own.items():
        if isinstance(keys, dict):
            rows = (
                RecipeRow(k, _printed(v), None if v == sound[name][k] else _printed(sound[name][k])) for k, v in keys.items()
            )
            sections.append(RecipeSection(name, tuple(rows)))
    return tuple(sections)


def _printed(value: object) -> str:
    match value:
        case bool():
            return formatting.yes_no(value)
        case None:
            return formatting.UNDEFINED
        case float():
            return f"{value:g}"
        case list():
            return ", ".join(_printed(v) for v in value) or formatting.UNDEFINED
        case _:
            return str(value)


def prediction_command(nomogram: Nomogram, run_name: str) -> str:
    """Return the command line that predicts one patient with the bundle of this run."""
    findings = {
        term.predictor: term.levels[-1] if term.levels else "NUMBER" for term in nomogram.terms if term.predictor != SCORE
    }
    parts = [
        f"nodogram predict --bundle {shlex.quote(f'{run_name}/bundle')}",
        "--image CT_FOLDER_OR_FILE --roi TUMOR_OUTLINE_FILE",
        *(f"--set {shlex.quote(f'{name}={level}')}" for name, level in findings.items()),
        "--out PREDICTION_FOLDER",
    ]
    return " \\\n    ".join(parts)
