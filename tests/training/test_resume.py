"""Killed at any moment, a resumed run ends with the same bundle."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nodogram.bundle import read_manifest
from nodogram.errors import Reason, TrainingError
from training.progress import RunProgress
from training.run import PHASES, RunOptions, train_run


def train_command(cohort: Path, recipe: Path, out: Path, *, resume: bool) -> list[str]:
    command = [sys.executable, "-m", "nodogram", "train", "--cohort", str(cohort), "--recipe", str(recipe), "--out", str(out)]
    return [*command, "--jobs", "2", *(["--resume"] if resume else [])]


def run_with_kills(command: list[str], kill_after_s: list[float], log: Path) -> int:
    """Start, kill -9 the whole process group, resume; at last let it finish. Return how many kills hit."""
    kills = 0
    with log.open("ab") as stream:
        for delay in kill_after_s:
            process = subprocess.Popen([*command], stdout=stream, stderr=stream, start_new_session=True)
            try:
                process.wait(timeout=delay)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
            else:
                break
        subprocess.run(command, stdout=stream, stderr=stream, check=True, timeout=600)
    return kills


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_five_kills_at_random_moments_leave_the_same_bundle(
    tiny_cohort: Path, tiny_recipe: Path, tiny_run: Path, tmp_path: Path
) -> None:
    started = time.monotonic()
    undisturbed = tmp_path / "undisturbed"
    subprocess.run(train_command(tiny_cohort, tiny_recipe, undisturbed, resume=True), check=True, timeout=600)
    duration = time.monotonic() - started
    expected = read_manifest(undisturbed / "bundle").digest
    assert expected == read_manifest(tiny_run / "bundle").digest
    rng = random.Random(7)
    # Short enough that five of them, each with the start of a process, do not add up to a whole run.
    delays = [rng.uniform(0.12, 0.28) * duration for _ in range(5)]
    out = tmp_path / "killed"
    assert run_with_kills(train_command(tiny_cohort, tiny_recipe, out, resume=True), delays, tmp_path / "log.txt") == 5
    assert read_manifest(out / "bundle").digest == expected


def test_a_finished_run_is_not_overwritten(tiny_cohort: Path, tiny_recipe: Path, tiny_run: Path) -> None:
    with pytest.raises(TrainingError, match="--resume") as caught:
        train_run(tiny_cohort, str(tiny_recipe), tiny_run, RunOptions(resume=False, jobs=1), RunProgress(PHASES))
    assert caught.value.reason is Reason.RUN_EXISTS


def test_resume_with_another_recipe_is_refused(tiny_cohort: Path, tiny_run: Path) -> None:
    with pytest.raises(TrainingError, match="another recipe") as caught:
        train_run(tiny_cohort, "paper", tiny_run, RunOptions(resume=True, jobs=1), RunProgress(PHASES))
    assert caught.value.reason is Reason.RUN_MISMATCH
