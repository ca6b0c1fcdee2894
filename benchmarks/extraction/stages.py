"""Where nodogram's time goes: every stage of an extraction timed on its own, in a process of its own."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.extraction.neck import scans
from benchmarks.extraction.process import run_fresh
from benchmarks.extraction.report import heading, progress, say, table
from benchmarks.extraction.work import SCAN_OF, SETTINGS, Pipeline, load_case
from nodogram.case import Case
from nodogram.imaging.prepare import PreparedCase, prepare
from nodogram.radiomics import texture
from nodogram.radiomics.calculators import GrayLevels, intensity_features, shape_features
from nodogram.radiomics.extract import discretize, extract
from nodogram.radiomics.filters import responses
from nodogram.radiomics.manifest import PREFIX, feature_names, image_names
from nodogram.settings import ModelSettings
from nodogram.volume import Mask, bounding_box

FLOOR_S = 0.35
"""Least CPU time thought possible for all features at 12 cm³ with PyRadiomics' own kernels."""
PIPELINES: tuple[Pipeline, ...] = ("inside", "whole", "ibsi")
MATRICES: Mapping[str, Callable[[Any, int], Any]] = {
    "glcm": texture.glcm,
    "gldm": texture.gldm,
    "glrlm": texture.glrlm,
    "glszm": texture.glszm,
    "ngtdm": texture.ngtdm,
}
TOTAL = "**prepare and extract, as called**"


class _Clock:
    """CPU seconds by stage."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def time(self, stage: str, call: Callable[[], Any]) -> Any:
        start = time.process_time()
        result = call()
        self.add(stage, time.process_time() - start)
        return result

    def add(self, stage: str, spent_s: float) -> None:
        self.spent[stage] = self.spent.get(stage, 0.0) + spent_s


def report_stages(folder: Path, size_cm3: int, repeats: int) -> None:
    heading(f"Where the time goes, {size_cm3} cm³")
    found = {}
    with progress() as shown:
        for pipeline in shown.track(PIPELINES, description="stages"):
            task = {"folder": str(folder), "pipeline": pipeline, "size_cm3": size_cm3, "repeats": repeats}
            found[pipeline] = run_fresh("benchmarks.extraction.stages", task)
    stages = list(dict.fromkeys(stage for pipeline in PIPELINES for stage in found[pipeline]))
    table(
        ("CPU ms", *PIPELINES),
        [(stage, *(f"{1000 * found[p][stage]:.1f}" if stage in found[p] else "–" for p in PIPELINES)) for stage in stages],
    )
    say(
        f"Median of {repeats} in one process. Stages are timed one by one and not exactly those of the extraction as called;",
        '"unaccounted" is what is left: names, sorting, bookkeeping. A matrix is part of its class.',
    )
    reached = ", ".join(f"{found[p][TOTAL]:.2f} s in `{p}` ({found[p][TOTAL] / FLOOR_S:.1f} times)" for p in PIPELINES)
    say(f"Against the floor of {FLOOR_S} s of CPU for all features at 12 cm³: {reached}.")


def main() -> None:
    task = json.load(sys.stdin)
    pipeline: Pipeline = task["pipeline"]
    settings = SETTINGS[pipeline]
    case = load_case(scans(Path(task["folder"]))[SCAN_OF[pipeline]], task["size_cm3"])
    runs = [_stages(case, settings) for _ in range(task["repeats"] + 1)][1:]
    medians = {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]}
    print(json.dumps(medians))


def _stages(case: Case, settings: ModelSettings) -> dict[str, float]:
    clock, whole = _Clock(), _Clock()
    whole.time("box", lambda: bounding_box(case.mask.array))
    unseen = _unseen(case)
    whole.time("all", lambda: extract(prepare(unseen, settings), settings))
    unseen = _unseen(case)
    prepared: PreparedCase = clock.time("prepare: clip, resample, region", lambda: prepare(unseen, settings))
    matrices = _features(prepared, settings, clock)
    stages: dict[str, float] = {}
    for stage, spent in clock.spent.items():
        stages[stage] = spent
        if stage.startswith("prepare"):
            stages["– of which finding the region's box, once"] = whole.spent["box"]
        elif stage in matrices.spent:
            stages[f"– of which the matrix, {stage}"] = matrices.spent[stage]
    accounted = sum(clock.spent.values())
    return {**stages, "unaccounted": whole.spent["all"] - accounted, TOTAL: whole.spent["all"]}


def _unseen(case: Case) -> Case:
    """Return the case without what its mask remembers of earlier questions."""
    return Case(case.case_id, case.volume, Mask(case.mask.array, case.mask.geometry))


def _features(prepared: PreparedCase, settings: ModelSettings, clock: _Clock) -> _Clock:
    """Do what :func:`extract` does, by the clock; return the time of the matrices alone."""
    radiomics, spacing_mm = settings.radiomics, prepared.volume.geometry.spacing_mm
    names: dict[str, list[str]] = {}
    for full_name in feature_names(radiomics):
        image, feature_class, name = full_name.removeprefix(PREFIX).split("_")
        if image == "original":
            names.setdefault(feature_class, []).append(name)
    matrices = _Clock()
    box = clock.time("box of the resampled region", lambda: bounding_box(prepared.intensity_mask))
    inside = np.ascontiguousarray(prepared.intensity_mask[box])
    images = iter(responses(prepared, radiomics, box, set(image_names(radiomics))))
    regions: list[GrayLevels] = []
    while True:
        start = time.process_time()
        image, response = next(images, ("", inside))
        if not image:
            break
        clock.add(f"filter: {image.split('-')[0] if image.startswith('wavelet') else image}", time.process_time() - start)
        bound = settings.imaging.hu_range[0] if settings.imaging.hu_range and image == "original" else None
        regions.append(GrayLevels(response, inside, _levels(response, inside, settings, bound, clock), spacing_mm))
    outline = prepared.mask.array[prepared.mask.box]
    clock.time("shape", lambda: shape_features(outline, spacing_mm, names["shape"]))
    classes = sorted(names.keys() - {"shape"})
    for region in regions:
        for feature_class in classes:
            _class(region, feature_class, names[feature_class], clock)
            if feature_class in MATRICES:
                _matrix(region, feature_class, matrices)
    return matrices


def _levels(response: Any, inside: Any, settings: ModelSettings, bound: float | None, clock: _Clock) -> Any:
    return clock.time("discretization", lambda: discretize(response, inside, settings.radiomics, bound))


def _class(region: GrayLevels, feature_class: str, names: list[str], clock: _Clock) -> None:
    clock.time(feature_class, lambda: intensity_features(region, feature_class, names))


def _matrix(region: GrayLevels, feature_class: str, clock: _Clock) -> None:
    clock.time(feature_class, lambda: MATRICES[feature_class](region.levels, int(region.levels.max())))


if __name__ == "__main__":
    main()
