"""The demonstration: every step a user would take, on patients that never existed."""

from __future__ import annotations

import csv
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from nodogram.bundle import load_bundle
from nodogram.errors import Reason, SurroundingsError
from nodogram.imaging.load import load_case
from nodogram.predict import Prediction, predict
from nodogram.present import render_prediction, write_prediction
from nodogram.self_test import reproduce
from nodogram.synthesis.cohort import write_cohort
from training.cohort import Patient, load_cohort
from training.demo_serving import TOLERANCE, ask_server
from training.progress import RunProgress
from training.run import PHASES, RunOptions, train_run
from training.terminal import print_results

SEED = 2025
SIGNAL = 1.0


def run_demo(out: Path, patient_count: int, jobs: int) -> None:
    """Make a cohort, train on it, verify the bundle and predict a held-out patient with it."""
    console = Console(stderr=True)
    started = time.monotonic()
    console.rule("[bold]nodogram demo: synthetic patients, no real person behind them")
    cohort = _synthesize(out / "cohort", patient_count, jobs, console)
    run = out / "run"
    progress = RunProgress(PHASES, console)
    results = train_run(cohort, "demo", run, RunOptions(resume=True, jobs=jobs), progress)
    bundle = load_bundle(run / "bundle")
    for answer in reproduce(bundle):
        console.print(f"known answer {answer.name} reproduced within {answer.probability_difference:.1g}", highlight=False)
    patient = _held_out_patient(cohort, run / "predictions.csv", {p.name for p in bundle.manifest.predictors})
    case = load_case(patient.patient_id, patient.image, patient.roi, roi_name=patient.roi_name, clinical=patient.clinical)
    prediction = predict(case, bundle)
    write_prediction(prediction, bundle, out / "prediction")
    print_results(results, run, console)
    console.print(f"\nA held-out patient, {case.case_id}:", highlight=False)
    render_prediction(prediction, bundle, Console(), out / "prediction")
    console.print("\nThe same on the command line:", highlight=False)
    console.print(_command(patient, run), highlight=False, soft_wrap=True, markup=False)
    _compare_protocols(patient, run, prediction, out / "serving", console)
    console.print(f"report: {run / 'report' / 'index.html'}", highlight=False, soft_wrap=True)
    console.rule(f"[bold]done in {(time.monotonic() - started) / 60:.1f} minutes")


def _compare_protocols(patient: Patient, run: Path, prediction: Prediction, folder: Path, console: Console) -> None:
    """Ask a server for the same patient; refuse to end well if it says something else."""
    console.print("\nServing the bundle and asking for the same patient over HTTP and gRPC:", highlight=False)
    answers = ask_server(run / "bundle", patient.image, patient.roi, dict(patient.clinical), folder)
    table = Table("asked by", "probability", "difference", box=None)
    expected = prediction.probability or 0.0
    for way, probability in (("command line", expected), ("HTTP", answers.http), ("gRPC", answers.grpc)):
        table.add_row(way, f"{probability:.9f}", f"{abs(probability - expected):.1g}")
        if abs(probability - expected) > TOLERANCE:
            raise SurroundingsError(
                Reason.BUNDLE_KNOWN_ANSWER_FAILED, f"{way} says {probability:.9f}, the command line {expected:.9f}"
            )
    console.print(table)
    console.print(
        f"ready after {answers.ready_s:.1f} s, stopped again; metrics: {answers.metrics}", highlight=False, soft_wrap=True
    )


def _synthesize(folder: Path, patient_count: int, jobs: int, console: Console) -> Path:
    with Progress(console=console, transient=True) as bars:
        task = bars.add_task("      synthetic patients", total=patient_count)
        write_cohort(
            folder,
            patient_count=patient_count,
            seed=SEED,
            signal=SIGNAL,
            image_format="dicom",
            jobs=jobs,
            progress=lambda *_: bars.advance(task),
        )
    console.print(f"{patient_count} synthetic patients as DICOM series with RTSTRUCT or SEG in {folder}", highlight=False)
    return folder


def _held_out_patient(cohort: Path, predictions: Path, predictors: set[str]) -> Patient:
    """Return the first test patient, with the findings the bundle asks for."""
    with predictions.open(encoding="utf-8", newline="") as stream:
        chosen = next(row["patient_id"] for row in csv.DictReader(stream) if row["split"] == "test")
    patient = next(p for p in load_cohort(cohort).patients if p.patient_id == chosen)
    return replace(patient, clinical={name: value for name, value in patient.clinical.items() if name in predictors})


def _command(patient: Patient, run: Path) -> str:
    findings = " ".join(f"--set {name}={value}" for name, value in patient.clinical.items())
    return f"  nodogram predict --bundle {run / 'bundle'} --image {patient.image} --roi {patient.roi} {findings}"
