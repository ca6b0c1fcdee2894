"""A cohort of real scans, as ``examples/sarcoma_cohort.py`` makes it: how long its features take."""

from __future__ import annotations

import csv
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.extraction.process import run_fresh
from benchmarks.extraction.report import against_goal, heading, load, progress, say, table
from benchmarks.extraction.work import NETWORK_OFF
from training.extraction import ExtractedCase, ExtractionTask, extract_all
from training.recipe import load_recipe

RECIPES = ("sound", "paper")
"""The two conventions, ``ibsi`` and ``pyradiomics``."""
JOBS = 2
GOAL_S = 60.0


def report_cohort(cohort: Path) -> None:
    heading("A cohort of sarcomas")
    rows = []
    with progress() as shown:
        for recipe in shown.track(RECIPES, description="cohort"):
            found: dict[str, Any] = run_fresh("benchmarks.extraction.sarcoma", {"cohort": str(cohort), "recipe": recipe})
            rows.append(
                (
                    recipe,
                    found["convention"],
                    f"{found['extracted']}",
                    ", ".join(f"{n} {reason}" for reason, n in found["refused"].items()) or "none",
                    f"{found['features']:,}",
                    against_goal(found["wall_s"], GOAL_S, least=False),
                )
            )
    table(("recipe", "convention", "extracted", "refused", "features", "seconds (goal)"), rows)
    say(
        f"By the clock, {JOBS} processes, their start included, from DICOM and RTSTRUCT to features with an empty cache; the",
        "radiomics of the recipe as shipped, without the network's crop, outlines at the border of the image taken.",
        f"{load()} at the end.",
    )


def main() -> None:
    task = json.load(sys.stdin)
    cohort = Path(task["cohort"])
    settings = load_recipe(task["recipe"]).model.model_copy(update={"network": NETWORK_OFF})
    with (cohort / "cohort.csv").open(encoding="utf-8", newline="") as stream:
        tasks = [
            ExtractionTask(
                row["patient_id"], cohort / row["image"], cohort / row["roi"], row["roi_name"] or None, allow_border=True
            )
            for row in csv.DictReader(stream)
        ]
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        results = list(extract_all(tasks, settings, Path(cache), jobs=JOBS))
        wall_s = time.perf_counter() - start
    extracted = [result for result in results if isinstance(result, ExtractedCase)]
    refused = Counter(result.reason.value for result in results if not isinstance(result, ExtractedCase))
    print(
        json.dumps(
            {
                "convention": settings.radiomics.convention,
                "extracted": len(extracted),
                "refused": dict(refused),
                "features": len(extracted[0].radiomics) if extracted else 0,
                "wall_s": wall_s,
            }
        )
    )


if __name__ == "__main__":
    main()
