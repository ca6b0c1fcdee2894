"""Side by side with PyRadiomics: CPU seconds, equality of the values, and memory, from the same processes."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.extraction.neck import scans
from benchmarks.extraction.process import MIB
from benchmarks.extraction.report import against_goal, heading, progress, say, seconds, table
from benchmarks.extraction.work import SELECTED, Pipeline, Work, compare
from benchmarks.extraction.worker import Measurement, measure

Measured = Mapping[Work, Sequence[Measurement]]

# How many times PyRadiomics' time: by region size, cm³.
GOALS_ALL: Mapping[Pipeline, Mapping[int, float]] = {
    "inside": {3: 30, 12: 20, 30: 10},
    "whole": {3: 20, 12: 14, 30: 7},
}
GOALS_SELECTED: Mapping[int, float] = {3: 80, 12: 50, 30: 30}
GOAL_MEMORY = 2.0


def measure_all(folder: Path, sizes_cm3: Sequence[int], rounds: int) -> Measured:
    """Run every extraction once per round, each in a fresh process, engines in turns that begin with another each round."""
    measured: dict[Work, list[Measurement]] = {}
    works = [work for size in sizes_cm3 for work in _works(size)]
    with progress() as shown:
        task = shown.add_task("extractions", total=len(works) * rounds)
        for size in sizes_cm3:
            turn = _works(size)
            for index in range(rounds):
                first = index % len(turn)
                for work in turn[first:] + turn[:first]:
                    shown.update(task, description=f"{work.size_cm3} cm³, {work.pipeline}, {work.engine}")
                    measured.setdefault(work, []).append(measure(folder, work))
                    shown.advance(task)
    return measured


def report_speed(measured: Measured) -> None:
    rounds = len(next(iter(measured.values())))
    heading("Speed")
    say(
        "CPU seconds of one extraction from an image in memory, 17 image types, 1,595 features: median",
        f"of {rounds}, each in a fresh process of one thread, engines in turns. Goals stand beside the ratios.",
    )
    print("Resampled to 1 mm by the engine (B-spline, five voxels around the region, HU clipped to [-125, 225] first):\n")
    _inside(measured)
    say(
        '"No diagnostics" is PyRadiomics with `additionalInfo=False`. "Asked for 15" is PyRadiomics with the image types and',
        "feature names of the fifteen; it cannot be asked for a feature of one image only. Ratios are to PyRadiomics as it",
        "comes, computing everything, as in the goals. Clipping is part of nodogram's time, not of PyRadiomics'.",
        f"Like against like: without diagnostics {_narrower(measured, False)}, fifteen by both {_narrower(measured, True)}.",
    )
    print("The paper's pipeline, the whole image at 1 mm already (linear) and filtered as a whole:\n")
    _whole(measured)
    print('Convention `ibsi`, which PyRadiomics does not have ("sound": linear, mask by half volume, re-segmented):\n')
    _ibsi(measured)
    if rounds == 1:
        return
    spread = max(
        max(m.cpu_s for m in each) / min(m.cpu_s for m in each) for work, each in measured.items() if work.engine == "nodogram"
    )
    say(f"The slowest of {rounds} runs of nodogram took at most {spread:.2f} times the fastest of the same kind.")


def report_equality(measured: Measured) -> None:
    heading("Equality, in the same runs")
    rows = []
    for pipeline in ("inside", "whole", "ibsi"):
        for size in _sizes(measured):
            ours = measured[Work("nodogram", pipeline, size)][0].values
            chosen = measured[Work("nodogram", pipeline, size, selected=True)][0].values
            again = compare(chosen, ours, frozenset(SELECTED))
            own = f"{again.differing + again.differing_log} of {again.count}"
            if pipeline == "ibsi":
                rows.append((pipeline, f"{size}", f"{len(ours):,}", "–", "–", "–", own))
                continue
            found = compare(ours, measured[Work("pyradiomics", pipeline, size)][0].values)
            rows.append(
                (
                    pipeline,
                    f"{size}",
                    f"{found.count:,}",
                    f"{found.differing}" + (f", by {found.largest:.1e}" if found.differing else ""),
                    f"{found.differing_log}",
                    f"{found.largest_log:.1e}" if found.differing_log else "0",
                    own,
                )
            )
    table(
        (
            "pipeline",
            "region, cm³",
            "features",
            "differing, LoG aside",
            "LoG, differing",
            "LoG, largest deviation",
            "selected alone against all, differing",
        ),
        rows,
    )
    say(
        "Differing means not the same to the last bit. Deviations are shares of the value or, for first-order features, of the",
        "standard deviation in the region if that is larger; the goal is 1e-6 for LoG and none for the others.",
    )


def report_memory(measured: Measured, folder: Path) -> None:
    heading("Memory")
    rows = []
    for work, each in measured.items():
        if not work.diagnostics or (work.selected and work.engine == "pyradiomics"):
            continue
        voxels = scans(folder)["1mm" if work.pipeline == "whole" else "native"].image().size
        above = statistics.median(m.peak_bytes - m.loaded_bytes for m in each)
        held = statistics.median(m.loaded_bytes - m.libraries_bytes for m in each)
        total = above + held
        rows.append(
            (
                f"{work.pipeline}, {work.engine}{', 15 selected' if work.selected else ''}",
                f"{work.size_cm3}",
                f"{held / MIB:.0f}",
                f"{above / MIB:.0f}",
                f"{above / (2 * voxels):.2f}",
                f"{above / (4 * voxels):.2f}",
                against_goal(total / (4 * voxels), GOAL_MEMORY if work.engine == "nodogram" else None, least=False),
            )
        )
    table(
        (
            "extraction",
            "region, cm³",
            "image and region held, MiB",
            "peak above that, MiB",
            "in images of int16",
            "in images of float32",
            "all but libraries, in images of float32",
        ),
        rows,
    )
    say(
        "Peak resident memory of a fresh process, median. nodogram holds HU as float32 and the region as bool, PyRadiomics",
        "int16 and uint8. The goal is a peak under twice the image.",
    )


def _works(size_cm3: int) -> list[Work]:
    return [
        Work("pyradiomics", "inside", size_cm3),
        Work("nodogram", "inside", size_cm3),
        Work("nodogram", "inside", size_cm3, selected=True),
        Work("pyradiomics", "inside", size_cm3, diagnostics=False),
        Work("pyradiomics", "inside", size_cm3, selected=True),
        Work("nodogram", "ibsi", size_cm3),
        Work("nodogram", "ibsi", size_cm3, selected=True),
        Work("pyradiomics", "whole", size_cm3),
        Work("nodogram", "whole", size_cm3),
        Work("nodogram", "whole", size_cm3, selected=True),
        Work("pyradiomics", "whole", size_cm3, diagnostics=False),
    ]


def _sizes(measured: Measured) -> Iterable[int]:
    return dict.fromkeys(work.size_cm3 for work in measured)


def _median(measured: Measured, work: Work) -> float:
    return statistics.median(m.cpu_s for m in measured[work])


def _inside(measured: Measured) -> None:
    rows = []
    for size in _sizes(measured):
        theirs = _median(measured, Work("pyradiomics", "inside", size))
        quiet = _median(measured, Work("pyradiomics", "inside", size, diagnostics=False))
        narrow = _median(measured, Work("pyradiomics", "inside", size, selected=True))
        ours = _median(measured, Work("nodogram", "inside", size))
        chosen = _median(measured, Work("nodogram", "inside", size, selected=True))
        rows.append(
            (
                f"{size}",
                seconds(theirs),
                seconds(quiet),
                seconds(narrow),
                seconds(ours),
                against_goal(theirs / ours, GOALS_ALL["inside"].get(size)),
                seconds(chosen),
                against_goal(theirs / chosen, GOALS_SELECTED.get(size)),
            )
        )
    table(
        (
            "region, cm³",
            "PyRadiomics",
            "no diagnostics",
            "asked for 15",
            "nodogram, all",
            "ratio (goal)",
            "nodogram, 15",
            "ratio (goal)",
        ),
        rows,
    )


def _narrower(measured: Measured, selected: bool) -> str:
    """Return ratios to PyRadiomics that is spared the same work, in words."""
    parts = []
    for size in _sizes(measured):
        theirs = Work("pyradiomics", "inside", size, selected=selected, diagnostics=selected)
        ratio = _median(measured, theirs) / _median(measured, Work("nodogram", "inside", size, selected=selected))
        parts.append(f"{ratio:.0f} ({size} cm³)")
    return ", ".join(parts)


def _whole(measured: Measured) -> None:
    rows = []
    for size in _sizes(measured):
        theirs = _median(measured, Work("pyradiomics", "whole", size))
        quiet = _median(measured, Work("pyradiomics", "whole", size, diagnostics=False))
        ours = _median(measured, Work("nodogram", "whole", size))
        chosen = _median(measured, Work("nodogram", "whole", size, selected=True))
        rows.append(
            (
                f"{size}",
                seconds(theirs),
                seconds(quiet),
                seconds(ours),
                against_goal(theirs / ours, GOALS_ALL["whole"].get(size)),
                seconds(chosen),
                against_goal(theirs / chosen, GOALS_SELECTED.get(size)),
            )
        )
    table(
        ("region, cm³", "PyRadiomics", "no diagnostics", "nodogram, all", "ratio (goal)", "nodogram, 15", "ratio (goal)"), rows
    )


def _ibsi(measured: Measured) -> None:
    rows = []
    for size in _sizes(measured):
        theirs = _median(measured, Work("pyradiomics", "inside", size))
        ours = _median(measured, Work("nodogram", "ibsi", size))
        chosen = _median(measured, Work("nodogram", "ibsi", size, selected=True))
        rows.append((f"{size}", seconds(ours), f"{theirs / ours:.0f}", seconds(chosen), f"{theirs / chosen:.0f}"))
    table(("region, cm³", "nodogram, all", "PyRadiomics' time, times", "nodogram, 15", "PyRadiomics' time, times"), rows)
