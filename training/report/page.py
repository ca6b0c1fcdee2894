"""The report of a run: one self-contained HTML file."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from nodogram.nomogram import SCORE, Nomogram
from training.recipe import Recipe, load_recipe
from training.report import formatting
from training.report.figure_files import DrawnFigure, write_figures
from training.report.model_rows import APPARENT, OUT_OF_FOLD, TEST, chosen_row
from training.report.style import inline_svg
from training.report.tables import make_tables
from training.results import FlowStep, ModelPerformance, RunResults

INTERVAL = re.compile(r"^(-?[\d.e+]+) (\(.+(?:–| to ).+\))$")
MINUS = re.compile(r"(?<![\w.])-(?=\d)")


@dataclass(frozen=True)
class Answer:
    """What the first screen says.

    Attributes
    ----------
    out_of_fold, test, apparent
        The nomogram on each sample, ``None`` where there is none.
    clinical_out_of_fold, clinical_test, clinical_apparent
        The clinical findings alone: what the nomogram must beat.
    """

    out_of_fold: ModelPerformance | None
    test: ModelPerformance | None
    apparent: ModelPerformance | None
    clinical_out_of_fold: ModelPerformance | None
    clinical_test: ModelPerformance | None
    clinical_apparent: ModelPerformance | None

    @property
    def optimism(self) -> float | None:
        """Apparent minus out-of-fold AUC."""
        if self.apparent is None or self.out_of_fold is None:
            return None
        high, low = self.apparent.auc.value, self.out_of_fold.auc.value
        return None if high is None or low is None else high - low


@dataclass(frozen=True)
class PageFigure:
    """A figure and its SVG element, with identifiers of its own."""

    drawn: DrawnFigure
    svg: str


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


def write_report(results: RunResults, nomogram: Nomogram, run: Path) -> Path:
    """Write ``RUN/report/index.html``, and in ``RUN/figures`` the figures it shows.

    Returns
    -------
    page : pathlib.Path
        One file without references to any other or to the network.
    """
    drawn = write_figures(results, nomogram, run / "figures")
    page = run / "report" / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render_page(results, nomogram, drawn, run.name), encoding="utf-8")
    return page


def render_page(results: RunResults, nomogram: Nomogram, drawn: Sequence[DrawnFigure], run_name: str) -> str:
    """Return the HTML of the report.

    Parameters
    ----------
    run_name
        Folder of the run, for the command that uses its bundle.
    """
    environment = Environment(
        loader=PackageLoader("training.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=formatting.number,
        interval=formatting.interval,
        p_value=formatting.p_value,
        duration=formatting.duration,
        measured=formatting.measured,
        cell=cell_markup,
        heading=heading_markup,
    )
    shown = [PageFigure(d, inline_svg(d.svg.read_text(encoding="utf-8"), d.stem)) for d in drawn]
    return environment.get_template("report.html.j2").render(
        results=results,
        answer=find_answer(results.models),
        tables=make_tables(results),
        figures=shown,
        flow=split_flow(results.flow),
        recipe=recipe_sections(results.recipe),
        cautions=cautions(results.recipe),
        command=prediction_command(nomogram, run_name),
        bundle_path=shlex.quote(f"{run_name}/bundle"),
    )


def find_answer(models: Sequence[ModelPerformance]) -> Answer:
    """Pick the rows of the first screen."""
    return Answer(
        out_of_fold=chosen_row(models, "nomogram", OUT_OF_FOLD),
        test=chosen_row(models, "nomogram", TEST),
        apparent=chosen_row(models, "nomogram", APPARENT),
        clinical_out_of_fold=chosen_row(models, "clinical", OUT_OF_FOLD),
        clinical_test=chosen_row(models, "clinical", TEST),
        clinical_apparent=chosen_row(models, "clinical", APPARENT),
    )


def cautions(recipe: Recipe) -> tuple[str, ...]:
    """Return what the recipe itself does to the honesty of the numbers, for the box of warnings."""
    notes = []
    if recipe.clinical.selected_on == "all" and recipe.clinical.screening != "none":
        notes.append(
            "The recipe screened the clinical findings on all patients, test patients included (clinical.selected_on = all): "
            "test figures of the clinical model and the nomogram are optimistic too."
        )
    if recipe.classifiers.choose_by == "training_auc":
        notes.append(
            "The recipe chose algorithms by their AUC on the patients they were fitted on "
            "(classifiers.choose_by = training_auc), which favors the one that memorizes best."
        )
    return tuple(notes)


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
            return "yes" if value else "no"
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


def cell_markup(text: str) -> Markup:
    """Return a table cell: an interval on a line of its own, minus signs where hyphens stood for them."""
    found = INTERVAL.match(text)
    if found:
        value, bounds = (MINUS.sub("−", part) for part in found.groups())
        return Markup('{}<span class="ci">{}</span>').format(value, bounds)
    return escape(MINUS.sub("−", text) if text.startswith("-") else text)


def heading_markup(text: str) -> Markup:
    """Return a column heading with what stands in parentheses at its end on a line of its own."""
    name, opening, rest = text.partition(" (")
    return Markup('{}<span class="ci">({}</span>').format(name, rest) if opening else escape(text)
