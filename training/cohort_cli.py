"""``nodogram cohort``: make a synthetic cohort, check any cohort."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from training.cohort import read_cohort

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.cohort_check import AcquisitionCount, CohortReport

cohort_app = typer.Typer(help="Make synthetic cohorts and check cohorts.", no_args_is_help=True)

JobsOption = Annotated[int, typer.Option("--jobs", min=1, help="Processes.")]

_STYLES = {"error": "bold red", "warning": "yellow"}


class ImageFormatOption(StrEnum):
    """What ``--format`` accepts."""

    DICOM = "dicom"
    NIFTI = "nifti"


@cohort_app.command("synth")
def synth_command(
    out: Annotated[Path, typer.Option(help="Folder of the cohort; an interrupted one is continued.", show_default=False)],
    patients: Annotated[int, typer.Option(min=2, help="Number of patients.", show_default=False)],
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.", show_default=False)],
    signal: Annotated[
        float, typer.Option(min=0, max=1, help="0: the outcome is a coin; 1: nearly all of it can be known.")
    ] = 1.0,
    image_format: Annotated[ImageFormatOption, typer.Option("--format", help="Files to write.")] = ImageFormatOption.DICOM,
    jobs: JobsOption = 1,
) -> None:
    """Write a cohort of synthetic necks with tumors whose outcome can be known as well as --signal says."""
    from nodogram.synthesis.cohort import write_cohort

    with _progress("synthesize", patients) as advance:
        write_cohort(
            out, patient_count=patients, seed=seed, signal=signal, image_format=image_format.value, jobs=jobs, progress=advance
        )
    Console().print(f"{patients} synthetic patients in {out}", highlight=False, soft_wrap=True, markup=False)


@cohort_app.command("check")
def check_command(
    cohort: Annotated[Path, typer.Argument(help="Folder with cohort.csv and cohort.toml.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")] = False,
    jobs: JobsOption = 1,
) -> None:
    """Read every image and outline and say what is wrong with which patient; exit 1 on errors."""
    from training.cohort_check import check_cohort

    found, problems = read_cohort(cohort)
    with _progress("read", 0 if found is None else len(found.patients)) as advance:
        report = check_cohort(found, problems, jobs=jobs, progress=advance)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print_report(report, Console())
    if report.has_errors:
        raise typer.Exit(1)


def print_report(report: CohortReport, console: Console) -> None:
    """Print one line per finding, then what the cohort holds."""
    for finding in report.findings:
        advice = f" → {finding.advice}" if finding.advice else ""
        console.print(
            f"[{_STYLES[finding.severity]}]{finding.severity}[/] [bold]{escape(finding.patient_id or 'cohort')}[/] "
            f"{finding.code} {escape(finding.message)}[dim]{escape(advice)}[/]",
            highlight=False,
            soft_wrap=True,
        )
    if report.title is not None:
        console.print(f"[bold]{escape(report.title)}[/]: {report.outcome_name} ({report.outcome_provenance})", highlight=False)
    if report.splits:
        table = Table("split", "patients", "with the outcome", header_style="bold")
        for row in report.splits:
            table.add_row(row.split, str(row.patient_count), f"{row.event_count} ({row.event_count / row.patient_count:.0%})")
        console.print(table)
    if report.acquisitions:
        console.print(_acquisition_table(report.acquisitions))
    if report.region_volume_cm3 is not None:
        volume = report.region_volume_cm3
        console.print(
            f"region volume {volume.minimum:.1f} to {volume.maximum:.1f} cm³, median {volume.median:.1f}", highlight=False
        )
    errors, warnings = _counted(report.count("error"), "error"), _counted(report.count("warning"), "warning")
    summary = f"{_counted(report.readable_count, 'patient')} readable, {errors}, {warnings}"
    console.print(f"[{'red' if report.has_errors else 'green'}]{summary}[/]", highlight=False)


def _acquisition_table(rows: tuple[AcquisitionCount, ...]) -> Table:
    table = Table("images", "manufacturer", "kVp", "kernel", "thickness", "spacing", "pixel", header_style="bold")
    for row in rows:
        how = row.acquisition
        table.add_row(
            str(row.image_count),
            escape(how.manufacturer or "–"),
            "–" if how.kvp is None else f"{how.kvp:g}",
            escape(how.convolution_kernel or "–"),
            "–" if how.slice_thickness_mm is None else f"{how.slice_thickness_mm:g} mm",
            f"{how.slice_spacing_mm:g} mm",
            f"{how.pixel_spacing_mm:g} mm",
        )
    return table


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


@contextmanager
def _progress(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """Show a bar on stderr where somebody watches."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(title, total=total)
        yield lambda _: bars.advance(task)
