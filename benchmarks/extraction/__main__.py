"""Print the report ``benchmarks/radiomics.md``.

    python -m benchmarks.extraction CACHE --sarcoma COHORT > report.md
    python -m benchmarks.extraction CACHE --only speed --sizes 12 --rounds 1

CACHE keeps the synthetic neck and the environments of other engines. COHORT is a folder made by
``examples/sarcoma_cohort.py``. Needs Linux. Sections: speed (with equality), memory, stages, peers, scale, sarcoma.
"""

from __future__ import annotations

import argparse
import datetime
import platform
from importlib.metadata import version
from pathlib import Path

from benchmarks.extraction.neck import SHAPE, SPACING_MM, ensure_neck
from benchmarks.extraction.peers import report_peers
from benchmarks.extraction.report import heading, load, processor, say
from benchmarks.extraction.sarcoma import report_cohort
from benchmarks.extraction.scale import report_growth, report_processes
from benchmarks.extraction.speed import measure_all, report_equality, report_memory, report_speed
from benchmarks.extraction.stages import report_stages

SECTIONS = ("speed", "memory", "stages", "peers", "scale", "sarcoma")
SIZES_CM3 = (3, 12, 30)
MIDDLE_CM3 = 12
PACKAGES = ("nodogram", "pyradiomics", "SimpleITK", "numpy", "PyWavelets")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.extraction", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cache", type=Path)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, separated by commas")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES_CM3), help="regions, cm³")
    parser.add_argument("--rounds", type=int, default=5, help="times that the engines take turns")
    parser.add_argument("--extractions", type=int, default=1000, help="in one process, to see its memory")
    parser.add_argument("--sarcoma", type=Path, help="folder of the sarcoma cohort")
    options = parser.parse_args()
    sections = options.only.split(",")
    if unknown := sorted(set(sections) - set(SECTIONS)):
        parser.error(f"--only {', '.join(unknown)}: sections are {', '.join(SECTIONS)}")
    if "sarcoma" in sections and options.sarcoma is not None and not (options.sarcoma / "cohort.csv").is_file():
        parser.error(f"--sarcoma {options.sarcoma}: no cohort.csv there")
    folder: Path = options.cache.resolve()
    middle = MIDDLE_CM3 if MIDDLE_CM3 in options.sizes else options.sizes[0]
    ensure_neck(folder, options.sizes)
    _introduce()
    if {"speed", "memory"} & set(sections):
        measured = measure_all(folder, options.sizes, options.rounds if "speed" in sections else 1)
        if "speed" in sections:
            report_speed(measured)
            report_equality(measured)
        if "memory" in sections:
            report_memory(measured, folder)
    if "stages" in sections:
        report_stages(folder, middle, options.rounds)
    if "peers" in sections:
        report_peers(folder, middle, options.rounds)
    if "scale" in sections:
        report_processes(folder, options.sizes)
        report_growth(options.extractions)
    if "sarcoma" in sections:
        _sarcoma(options.sarcoma)
    say(f"Made by `python -m benchmarks.extraction`; {load()} at the end.")


def _introduce() -> None:
    today = datetime.datetime.now(datetime.UTC).date()
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    say(f"What radiomics cost, {today}, {processor()}, Python {platform.python_version()}, {load()} at the start.")
    say(f"{versions}.")
    say(
        f"The image is a synthetic neck, {' x '.join(map(str, SHAPE[::-1]))} voxels of",
        f"{' x '.join(f'{s:g}' for s in SPACING_MM[::-1])} mm (x, y, z), with a tumor outlined at several sizes.",
    )


def _sarcoma(cohort: Path | None) -> None:
    if cohort is None:
        heading("A cohort of sarcomas")
        say("Not measured: no `--sarcoma`.")
    else:
        report_cohort(cohort.resolve())


if __name__ == "__main__":
    main()
