"""A run as it lies on disk, made of the example documents, for the pack and the command that rewrites it."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from example_evidence import example_evidence
from example_nomogram import example_nomogram
from example_results import example_results

from nodogram.bundle import (
    MANIFEST,
    NOMOGRAM,
    AcquisitionEnvelope,
    BundleManifest,
    Outcome,
    Threshold,
    Tolerances,
    TrainingSummary,
    write_document,
)
from nodogram.clinical import ClinicalPredictor
from training.evidence.document import EVIDENCE_FILE, RunEvidence
from training.report.pack.facts import PackFacts
from training.report.pack.numbered_tables import numbered_tables
from training.report.pack.session import SESSION_FILE, Session
from training.results import RunResults, SelectionCount

PREDICTORS = (
    ClinicalPredictor(
        name="ct_reported_lnm",
        label="Lymph nodes on CT report",
        type="categorical",
        levels=("no", "yes"),
        reference="no",
    ),
    ClinicalPredictor(name="age_years", label="Age", type="continuous", unit="years", range=(18, 110)),
)
SESSION = Session(
    system="Linux 6.1, x86_64",
    processor="Example processor",
    core_count=2,
    memory_gib=16.0,
    accelerators=(),
    python="3.11.9",
    nodogram="0.1.0",
    packages=(("numpy", "2.4.6"), ("pandas", "2.3.3")),
    thread_variables=(("OMP_NUM_THREADS", "1"),),
)
STEPS = ("icc", "constant", "univariate", "correlation", "lasso", "maximum_features")
COUNTS = {"radiomics": (1316, 1012, 1010, 140, 61, 15, 10), "deep": (2048, 2048, 1900, 230, 118, 12, 10)}


@lru_cache(maxsize=1)
def pack_results() -> RunResults:
    """Return the example results with the names the selection gives its steps."""
    results = example_results()
    counts = tuple(
        SelectionCount(branch=branch, step=step, count_in=entering, count_out=leaving)
        for branch, numbers in COUNTS.items()
        for step, entering, leaving in zip(STEPS, numbers[:-1], numbers[1:], strict=True)
    )
    manifest = manifest_of(results)
    return results.model_copy(
        update={
            "selection_counts": counts,
            "score_weights": (("radiomics", 0.62), ("deep", 0.38)),
            "bundle_digest": manifest.digest,
        }
    )


@lru_cache(maxsize=1)
def pack_evidence() -> RunEvidence:
    """Return the example evidence, computed once."""
    return example_evidence()


def manifest_of(results: RunResults, files: dict[str, str] | None = None, test_count: int = 71) -> BundleManifest:
    """Return the manifest of the bundle such a run would have written."""
    manifest = BundleManifest(
        format_version=1,
        name="larynx-sound",
        created=results.created,
        digest="",
        nodogram_version=results.nodogram_version,
        intended_use="Research; not for decisions about patients",
        outcome=Outcome(name=results.outcome_name, positive_label=results.positive_label, provenance="pathology"),
        settings=results.recipe.model,
        predictors=PREDICTORS,
        thresholds=(Threshold(name="decision", value=results.threshold, rule=results.threshold_rule),),
        acquisition=AcquisitionEnvelope(
            slice_spacing_mm=(0.625, 1.25),
            pixel_spacing_mm=(0.39, 0.49),
            region_volume_cm3=(0.8, 31.4),
            kvp=(100.0, 120.0),
            manufacturers=("Vendor A", "Vendor B"),
            convolution_kernels=("STANDARD",),
        ),
        training=TrainingSummary(
            recipe_name=results.recipe.name,
            recipe_digest=results.recipe_digest,
            seed=results.recipe.seed,
            development_count=164,
            development_event_count=67,
            test_count=test_count,
            split_digest=results.split_digest,
            classifier="radiomics: XGBoost (weight 0.62), deep: XGBoost (weight 0.38)",
            initial_weights=results.initial_weights,
            notes=(),
        ),
        software=dict(results.software),
        tolerances=Tolerances(),
        files=files or {},
    )
    return manifest.model_copy(update={"digest": manifest.content_digest()})


def example_facts(results: RunResults | None = None, evidence: RunEvidence | None = None) -> PackFacts:
    """Return the facts of the example run, or of a changed one."""
    results = pack_results() if results is None else results
    evidence = pack_evidence() if evidence is None else evidence
    return PackFacts(
        results=results,
        evidence=evidence,
        nomogram=example_nomogram(),
        manifest=manifest_of(results),
        session=SESSION,
        table_numbers={item.table.stem: item.number for item in numbered_tables(results, evidence)},
        figures=("calibration", "decision_curve", "nomogram", "roc_models"),
    )


def write_run(run: Path) -> Path:
    """Leave the documents of the example run in a folder, as training would."""
    bundle = run / "bundle"
    bundle.mkdir(parents=True)
    write_document(bundle / NOMOGRAM, example_nomogram())
    digest = hashlib.sha256((bundle / NOMOGRAM).read_bytes()).hexdigest()
    manifest = manifest_of(pack_results(), {NOMOGRAM: digest})
    write_document(bundle / MANIFEST, manifest)
    results = pack_results().model_copy(update={"bundle_digest": manifest.digest})
    (run / "run.json").write_text(results.model_dump_json(indent=1), encoding="utf-8")
    (run / EVIDENCE_FILE).write_text(pack_evidence().model_dump_json(), encoding="utf-8")
    (run / SESSION_FILE).write_text(SESSION.model_dump_json(indent=1), encoding="utf-8")
    return run
