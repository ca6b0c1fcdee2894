"""Print the report ``benchmarks/evidence.md``.

    python -m benchmarks.evidence > benchmarks/evidence.md
    python -m benchmarks.evidence --only coverage --cohorts 50 --jobs 2

Sections: speed (always on one core), coverage, permutation, optimism.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import time
from importlib.metadata import version

from threadpoolctl import threadpool_limits

from benchmarks.evidence.coverage import report_coverage
from benchmarks.evidence.honesty import report_optimism, report_permutation
from benchmarks.evidence.speed import report_speed
from benchmarks.extraction.report import load, processor, say

SECTIONS = ("speed", "coverage", "permutation", "optimism")
PACKAGES = ("numpy", "scipy", "statsmodels")
SEED = 2025


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, separated by commas")
    parser.add_argument("--cohorts", type=int, default=200, help="simulated cohorts of each section")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    sections = options.only.split(",")
    if unknown := sorted(set(sections) - set(SECTIONS)):
        parser.error(f"--only {', '.join(unknown)}: sections are {', '.join(SECTIONS)}")
    today = datetime.datetime.now(datetime.UTC).date()
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    say(f"What the statistics promise, on simulated cohorts, {today}, {processor()},")
    say(f"Python {platform.python_version()}, {versions}, {load()} at the start. Seed {SEED}, fixed before the first run.")
    started = time.perf_counter()
    with threadpool_limits(1):
        if "speed" in sections:
            report_speed(SEED)
        if "coverage" in sections:
            report_coverage(options.cohorts, SEED, options.jobs)
        if "permutation" in sections:
            report_permutation(options.cohorts, SEED, options.jobs)
        if "optimism" in sections:
            report_optimism(options.cohorts, SEED, options.jobs)
    minutes = (time.perf_counter() - started) / 60
    say(f"Made by `python -m benchmarks.evidence` in {minutes:.1f} minutes, {options.jobs} process(es); {load()} at the end.")


if __name__ == "__main__":
    main()
