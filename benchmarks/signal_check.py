"""Does the method find nothing where there is nothing? Apparent and honest AUC on cohorts with and without signal.

    python benchmarks/signal_check.py OUT [--seeds 5] [--patients 60] [--jobs 2]

Every cohort is synthetic; ``--signal 0`` means that neither image nor record knows the outcome. Runs that finished are
read back, so the program can be stopped and started again. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np

from nodogram.synthesis.cohort import write_cohort
from training.progress import RunProgress
from training.results import RunResults, Sample, load_results
from training.run import PHASES, RunOptions, train_run

# The paper's recipe, which fine-tunes a whole ResNet50 six times per run, is asked only the question it is there for.
RECIPES = {0.0: ("sound", "paper"), 1.0: ("sound",)}
SAMPLES: tuple[Sample, ...] = ("development_apparent", "development_out_of_fold", "test")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--patients", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    print(
        "| signal | recipe | seed | DLR apparent | DLR out of fold | nomogram apparent | nomogram out of fold | nomogram test |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for signal, recipes in RECIPES.items():
        rows: dict[str, list[tuple[float, ...]]] = {recipe: [] for recipe in recipes}
        for seed in range(arguments.seeds):
            for recipe, results in _runs(arguments, signal, seed).items():
                figures = _figures(results)
                rows[recipe].append(figures)
                print(_line(signal, recipe, str(seed), figures), flush=True)
        for recipe in recipes:
            print(_line(signal, recipe, "**mean**", tuple(np.mean(rows[recipe], axis=0))), flush=True)


def _runs(arguments: argparse.Namespace, signal: float, seed: int) -> dict[str, RunResults]:
    folder = arguments.out / f"signal-{signal:g}-seed-{seed}"
    runs = {recipe: folder / recipe for recipe in RECIPES[signal]}
    if not all((run / "run.json").is_file() for run in runs.values()):
        cohort = folder / "cohort"
        write_cohort(
            cohort, patient_count=arguments.patients, seed=seed, signal=signal, image_format="nifti", jobs=arguments.jobs
        )
        for recipe, run in runs.items():
            if not (run / "run.json").is_file():
                train_run(cohort, recipe, run, RunOptions(resume=True, jobs=arguments.jobs), RunProgress(PHASES))
                shutil.rmtree(run / "work")
        shutil.rmtree(cohort)
    return {recipe: load_results(run) for recipe, run in runs.items()}


def _figures(results: RunResults) -> tuple[float, ...]:
    auc = {(m.feature_set, m.sample): m.auc.value for m in results.models if m.chosen and m.classifier is None}
    wanted = [("dlr", s) for s in SAMPLES[:2]] + [("nomogram", s) for s in SAMPLES]
    return tuple(float(auc[key] or np.nan) for key in wanted)


def _line(signal: float, recipe: str, seed: str, figures: tuple[float, ...]) -> str:
    return f"| {signal:g} | {recipe} | {seed} | " + " | ".join(f"{value:.3f}" for value in figures) + " |"


if __name__ == "__main__":
    main()
