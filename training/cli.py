"""Commands of the training extra: ``cohort``, ``train``, ``demo``; heavy packages are imported when a command runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from training.cohort_cli import cohort_app

__all__ = ["cohort_app", "demo", "train"]

JobsOption = Annotated[int, typer.Option("--jobs", min=1, help="Processes; the default uses every core.")]
CohortOption = Annotated[Path, typer.Option("--cohort", help="Folder with cohort.csv and cohort.toml.", show_default=False)]


def core_count() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def train(
    cohort: CohortOption,
    out: Annotated[Path, typer.Option(help="Folder of the run.", show_default=False)],
    recipe: Annotated[str, typer.Option(help="sound, paper, demo or a TOML file.")] = "sound",
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped or killed.")] = False,
    jobs: JobsOption = core_count(),  # noqa: B008 - a property of the machine, constant in a process
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first patient that cannot be used.")] = False,
    cache: Annotated[Path | None, typer.Option(help="Folder of extracted cases, to share between runs.")] = None,
) -> None:
    """Train on a cohort: bundle, predictions, tables, figures and report."""
    from training.progress import RunProgress
    from training.run import PHASES, RunOptions, train_run
    from training.terminal import print_results

    progress = RunProgress(PHASES)
    options = RunOptions(resume=resume, jobs=jobs, strict=strict, cache=cache)
    results = train_run(cohort, recipe, out, options, progress)
    print_results(results, out, progress.console)


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the demonstration; an earlier one is continued.")] = Path("demo"),
    patients: Annotated[int, typer.Option(min=30, help="Synthetic patients.")] = 60,
    jobs: JobsOption = core_count(),  # noqa: B008
) -> None:
    """Tell the whole story on synthetic patients: cohort, training, bundle, prediction, report."""
    from training.demo import run_demo

    run_demo(out, patients, jobs)
