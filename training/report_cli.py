"""``nodogram report``: page, tables, figures and reviewer pack of a finished run, written again without fitting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from training.report.pack.rebuild import Rebuilt


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Folder to write to instead of the run's own.")] = None,
    evaluation: Annotated[
        Path | None, typer.Option(help="evaluation.json of a validation elsewhere (nodogram evaluate), for the forms.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")] = False,
) -> None:
    """Write report and reviewer pack of a finished run again: nothing is fitted, nothing is measured anew."""
    from training.report.pack.rebuild import rebuild_report

    written = rebuild_report(run, out, evaluation)
    if as_json:
        typer.echo(json.dumps(rebuilt_document(written), indent=1))
    else:
        print_rebuilt(written, Console())


def rebuilt_document(written: Rebuilt) -> dict[str, str | list[str]]:
    """Return the JSON form of what was written."""
    return {
        "page": str(written.page),
        "pack": str(written.pack),
        "tables": [str(path) for path in written.tables],
        "figures": [str(path) for path in written.figures],
    }


def print_rebuilt(written: Rebuilt, console: Console) -> None:
    """Print where everything is."""
    rows = (
        ("report", str(written.page)),
        ("reviewer pack", str(written.pack)),
        ("tables", f"{len(written.tables)} CSV files in {written.tables[0].parent}" if written.tables else "none"),
        ("figures", f"{len(written.figures)} files in {written.figures[0].parent}" if written.figures else "none"),
    )
    for name, what in rows:
        console.print(f"[green]✓[/] {name:<14} {what}", highlight=False, soft_wrap=True)
