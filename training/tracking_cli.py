"""``nodogram track``: record a finished run in MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TRACK_HELP = "Record it in MLflow: local (a folder 'tracking' here), a folder, or a URI."


def track(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", show_default=False)],
    to: Annotated[str, typer.Option(help=TRACK_HELP)] = "local",
) -> None:
    """Record parameters, metrics and figures of a finished run; once, however often this is called."""
    from training.tracking import TrackingStore, track_run

    store = TrackingStore.at(to)
    typer.echo(f"{track_run(run, store)}  {store.uri}")
