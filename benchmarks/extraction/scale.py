"""Many cases: two processes against one, and whether a process that goes on and on keeps its memory."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks.extraction.neck import SPACING_MM, scans
from benchmarks.extraction.process import MIB, resident_bytes, run_fresh
from benchmarks.extraction.report import against_goal, heading, load, progress, say, seconds, table
from benchmarks.extraction.work import SETTINGS, Pipeline, image_of
from nodogram.case import Case
from nodogram.geometry import Geometry
from nodogram.imaging.prepare import prepare
from nodogram.radiomics.extract import extract
from nodogram.volume import Mask, Volume
from training.extraction import ExtractedCase, ExtractionTask, extract_all

CASES = 8
CALLS = 3
"""Calls timed after the first one, which also starts the processes."""
GOAL_TWO_PROCESSES = 1.6
GOAL_GROWTH_MIB = 2.0
PIPELINES: tuple[Pipeline, ...] = ("inside", "ibsi")


@dataclass(frozen=True)
class PoolTask:
    """Cases extracted from files, several times over, in one process that may start others."""

    folder: str
    pipeline: Pipeline
    jobs: int


def report_processes(folder: Path, sizes_cm3: list[int]) -> None:
    heading("Two processes")
    files = _write_cases(folder, sizes_cm3)
    walls: dict[PoolTask, list[float]] = {}
    tasks = [PoolTask(str(files), pipeline, jobs) for pipeline in PIPELINES for jobs in (1, 2)]
    with progress() as shown:
        for task in shown.track(tasks * 2, description="processes"):
            walls.setdefault(task, []).extend(run_fresh("benchmarks.extraction.scale", {"pool": vars(task)}))
    rows = []
    for pipeline in PIPELINES:
        one, two = (walls[PoolTask(str(files), pipeline, jobs)] for jobs in (1, 2))
        starts = [min(each[:: CALLS + 1]) for each in (one, two)]
        running = [statistics.median(wall for i, wall in enumerate(each) if i % (CALLS + 1)) for each in (one, two)]
        rows.append(
            (
                pipeline,
                seconds(starts[0]),
                seconds(starts[1]),
                f"{starts[0] / starts[1]:.2f}",
                seconds(running[0]),
                seconds(running[1]),
                against_goal(running[0] / running[1], GOAL_TWO_PROCESSES),
            )
        )
    table(
        (
            "pipeline",
            "1 process, first call",
            "2 processes, first call",
            "ratio",
            "1 process",
            "2 processes",
            "ratio (goal)",
        ),
        rows,
    )
    say(
        f"Seconds by the clock for {CASES} cases from compressed NIfTI: reading, all features, writing. The first call starts",
        f"the processes and imports what they need; the others are the median of {2 * CALLS} later ones. {load()} at the end.",
    )


def report_growth(count: int) -> None:
    heading("Memory over many extractions")
    with progress() as shown:
        shown.add_task(f"{count} extractions", total=None)
        found = run_fresh("benchmarks.extraction.scale", {"count": count})
    table(("extractions", "resident, MiB"), [(done, f"{bytes_ / MIB:.1f}") for done, bytes_ in found.items()])
    first, last = found[str(count // 10)], found[str(count)]
    say(
        f"All 1,595 features of one region of 1 cm³ in one process, conventions in turns: {(last - first) / MIB:+.1f} MiB",
        f"between the {count // 10}th and the {count}th; the goal is no growth ({GOAL_GROWTH_MIB:g} MiB at most).",
    )


def main() -> None:
    task = json.load(sys.stdin)
    print(json.dumps(_pool(PoolTask(**task["pool"])) if "pool" in task else _growth(task["count"])))


def _write_cases(folder: Path, sizes_cm3: list[int]) -> Path:
    """Write the neck and as many regions, none like another, as the files a user has."""
    target = folder / "cases"
    native = scans(folder)["native"]
    if not (target / "image.nii.gz").is_file():
        target.mkdir(exist_ok=True)
        sitk.WriteImage(image_of(native.image(), SPACING_MM), str(target / "part.nii.gz"))
        (target / "part.nii.gz").replace(target / "image.nii.gz")
    for index in range(CASES):
        size = sizes_cm3[index % len(sizes_cm3)]
        moved = np.roll(native.region(size), 2 * (index // len(sizes_cm3)), axis=0)
        sitk.WriteImage(image_of(moved.astype(np.uint8), SPACING_MM), str(target / f"region-{index}.nii.gz"))
    return target


def _pool(task: PoolTask) -> list[float]:
    """Return seconds by the clock of each call, every one with a cache of its own."""
    folder = Path(task.folder)
    tasks = [ExtractionTask(f"{i}", folder / "image.nii.gz", folder / f"region-{i}.nii.gz", None) for i in range(CASES)]
    walls = []
    for _ in range(CALLS + 1):
        with tempfile.TemporaryDirectory() as cache:
            start = time.perf_counter()
            results = list(extract_all(tasks, SETTINGS[task.pipeline], Path(cache), jobs=task.jobs))
            walls.append(time.perf_counter() - start)
        if not all(isinstance(result, ExtractedCase) for result in results):
            raise RuntimeError(f"not every case was extracted: {results}")
    return walls


def _growth(count: int) -> dict[int, int]:
    """Return resident memory after a first, a tenth, a half and all of so many extractions."""
    case = _small_case()
    seen: dict[int, int] = {}
    for done in range(1, count + 1):
        settings = SETTINGS[PIPELINES[done % 2]]
        extract(prepare(case, settings), settings)
        if done in (1, count // 10, count // 2, count):
            seen[done] = resident_bytes()
    return seen


def _small_case() -> Case:
    rng = np.random.default_rng(0)
    shape, spacing_mm = (40, 48, 48), (1.25, 0.8, 0.8)
    array = np.rint(60 + 30 * rng.standard_normal(shape)).astype(np.float32)
    z, y, x = np.ogrid[-25:25:40j, -19.2:19.2:48j, -19.2:19.2:48j]
    geometry = Geometry(shape, spacing_mm, (0.0, 0.0, 0.0), np.eye(3))
    return Case("small", Volume(array, geometry), Mask(z**2 + y**2 + x**2 < 6.2**2, geometry))


if __name__ == "__main__":
    main()
