"""Commands of the training extra: ``cohort``, ``train``, ``demo``; heavy packages are imported when a command runs."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.cohort_cli import cohort_app

if TYPE_CHECKING:
    from training.results import RunResults

__all__ = ["cohort_app", "demo", "train"]

JobsOption = Annotated[int, typer.Option("--jobs", min=1, help="Processes; the default uses every core.")]
CohortOption = Annotated[Path, typer.Option("--cohort", help="Folder with cohort.csv and cohort.toml.", show_default=False)]

# The kubelet makes it in every container.
TERMINATION_LOG = Path("/dev/termination-log")


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
    track: Annotated[str | None, typer.Option(help="Record it in MLflow: local, a folder, or a URI.")] = None,
) -> None:
    """Train on a cohort: bundle, predictions, tables, figures and report."""
    from training.progress import RunProgress
    from training.run import PHASES, RunOptions, train_run
    from training.terminal import print_results

    progress = RunProgress(PHASES)
    options = RunOptions(resume=resume, jobs=jobs, strict=strict, cache=cache)
    results = train_run(cohort, recipe, out, options, progress)
    print_results(results, out, progress.console)
    _leave_result(results, out)
    if track is not None:
        from training.tracking import TrackingStore, track_run

        track_run(out, TrackingStore.at(track))


def _leave_result(results: RunResults, out: Path) -> None:
    """Tell Kubernetes what came out; ``nodogram deploy train`` reads it from the status of the pod."""
    if TERMINATION_LOG.is_file():
        document = {"bundle_digest": results.bundle_digest, "bundle": str(out / "bundle"), "run": str(out)}
        with contextlib.suppress(OSError):
            TERMINATION_LOG.write_text(json.dumps(document), encoding="utf-8")


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the demonstration; an earlier one is continued.")] = Path("demo"),
    patients: Annotated[int, typer.Option(min=30, help="Synthetic patients.")] = 60,
    jobs: JobsOption = core_count(),  # noqa: B008
) -> None:
    """Tell the whole story on synthetic patients: cohort, training, bundle, prediction, report."""
    from training.demo import run_demo

    run_demo(out, patients, jobs)
