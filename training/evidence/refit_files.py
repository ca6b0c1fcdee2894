"""Refits done side by side, each kept in a file of its own, so that an interrupted run goes on where it was."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

from joblib import Parallel, delayed

from training.atomic_file import write_atomically
from training.evidence.refit_material import RefitMaterial, RefitResult
from training.evidence.refits import RefitTask, run_refit
from training.progress import RunProgress


def all_refits(
    tasks: Sequence[RefitTask],
    material: RefitMaterial,
    frozen: RefitMaterial | None,
    work: Path,
    *,
    jobs: int,
    resume: bool,
    progress: RunProgress,
) -> tuple[RefitResult, ...]:
    """Do every refit that is not there yet and return all, in the order of the tasks.

    Parameters
    ----------
    frozen
        What the refit of kind ``frozen`` starts from.
    work
        Holds one file per refit.
    """
    stored = {task: _stored(work, task) for task in tasks} if resume else {}
    found = {task: result for task, result in stored.items() if result is not None}
    pending = [task for task in tasks if task not in found]
    if found:
        progress.say(f"{len(found)} of {len(tasks)} refits are there already")
    if pending:
        started = time.monotonic()
        runner = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)
        work_list = (delayed(_run_and_store)(task, _material_of(task, material, frozen), work) for task in pending)
        with progress.steps("refit", len(pending)) as advance:
            for done, (task, result) in enumerate(runner(work_list), start=1):
                found[task] = result
                advance(_remaining(time.monotonic() - started, done, len(pending)))
    return tuple(found[task] for task in tasks)


def _run_and_store(task: RefitTask, material: RefitMaterial, work: Path) -> tuple[RefitTask, RefitResult]:
    result = run_refit(task, material)
    write_atomically(_file(work, task), result.model_dump_json())
    return task, result


def _stored(work: Path, task: RefitTask) -> RefitResult | None:
    path = _file(work, task)
    return RefitResult.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else None


def _file(work: Path, task: RefitTask) -> Path:
    return work / f"{task.name}.json"


def _material_of(task: RefitTask, material: RefitMaterial, frozen: RefitMaterial | None) -> RefitMaterial:
    return frozen if task.kind == "frozen" and frozen is not None else material


def _remaining(elapsed_s: float, done: int, total: int) -> str:
    minutes = elapsed_s / done * (total - done) / 60
    return "" if done == total else f"less than {math.ceil(minutes)} min to go"
