"""One extraction in a process of its own: reads a task from stdin, prints its cost and values."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from benchmarks.extraction.neck import Scan, scans
from benchmarks.extraction.process import forget_peak, peak_bytes, resident_bytes, run_fresh, timed
from benchmarks.extraction.work import SCAN_OF, Work, by_nodogram, by_pyradiomics, load_case, load_images


@dataclass(frozen=True)
class Measurement:
    """What one extraction cost.

    Attributes
    ----------
    cpu_s
        Of the extraction alone: libraries are warm, the image is in memory.
    libraries_bytes, loaded_bytes, peak_bytes
        Memory of the process before and after it read image and region, and its peak during the extraction.
    values
        Features by name.
    """

    cpu_s: float
    libraries_bytes: int
    loaded_bytes: int
    peak_bytes: int
    values: dict[str, float] = field(repr=False)


def measure(folder: Path, work: Work) -> Measurement:
    """Run :func:`main` in a fresh process."""
    return Measurement(**run_fresh("benchmarks.extraction.worker", {"folder": str(folder), "work": asdict(work)}))


def main() -> None:
    task = json.load(sys.stdin)
    work = Work(**task["work"])
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # type: ignore[no-untyped-call]
    _load(_Cube(Path(), "cube", (1.2, 1.2, 1.2)), work)()
    before = resident_bytes()
    extraction = _load(scans(Path(task["folder"]))[SCAN_OF[work.pipeline]], work)
    loaded = resident_bytes()
    forget_peak()
    values, seconds = timed(extraction)
    print(json.dumps(asdict(Measurement(seconds, before, loaded, peak_bytes(), values))))


def _load(scan: Scan, work: Work) -> Callable[[], dict[str, float]]:
    if work.engine == "nodogram":
        case = load_case(scan, work.size_cm3)
        return lambda: by_nodogram(case, work)
    image, mask = load_images(scan, work.size_cm3)
    return lambda: by_pyradiomics(image, mask, work)


class _Cube(Scan):
    """A small cube of noise, to import and set up what is loaded at first use."""

    def image(self) -> Any:
        return np.random.default_rng(0).integers(0, 200, (24, 24, 24), dtype=np.int16)

    def region(self, size_cm3: int) -> Any:  # noqa: ARG002
        region = np.zeros((24, 24, 24), dtype=np.bool_)
        region[6:18, 6:18, 6:18] = True
        return region


if __name__ == "__main__":
    main()
