"""A bundle that is complete as files, made in no time; what is in them means nothing."""

from __future__ import annotations

import json
from pathlib import Path

from nodogram.bundle import (
    AcquisitionEnvelope,
    BundleManifest,
    Outcome,
    Tolerances,
    TrainingSummary,
    list_files,
    write_document,
)
from training.recipe import load_recipe

BACKBONE_BYTES = 300_000


def write_sealed_bundle(folder: Path, seed: int = 1) -> str:
    """Write a bundle whose content depends on the seed and return its digest."""
    (folder / "cases" / "known-1").mkdir(parents=True)
    (folder / "backbone.onnx").write_bytes(bytes((seed + i * i) % 251 for i in range(BACKBONE_BYTES)))
    (folder / "nomogram.json").write_text(json.dumps({"intercept": seed}), encoding="utf-8")
    (folder / "cases" / "known-1" / "expected.json").write_text("{}", encoding="utf-8")
    manifest = _manifest(seed, list_files(folder))
    manifest = manifest.model_copy(update={"digest": manifest.content_digest()})
    write_document(folder / "bundle.json", manifest)
    return manifest.digest


def _manifest(seed: int, files: dict[str, str]) -> BundleManifest:
    return BundleManifest(
        format_version=1,
        name="sealed",
        created="2025-01-01T00:00:00+00:00",
        digest="",
        nodogram_version="0.1.0",
        intended_use="tests",
        outcome=Outcome(name="lnm", positive_label="N+", provenance="pathology"),
        settings=load_recipe("sound").model,
        predictors=(),
        thresholds=(),
        acquisition=AcquisitionEnvelope(slice_spacing_mm=(1, 3), pixel_spacing_mm=(0.4, 1), region_volume_cm3=(1, 50)),
        training=TrainingSummary(
            recipe_name="sound",
            recipe_digest="0" * 64,
            seed=seed,
            development_count=40,
            development_event_count=20,
            test_count=10,
            split_digest="0" * 64,
            classifier="LR",
            initial_weights="none",
            notes=(),
        ),
        software={},
        tolerances=Tolerances(),
        files=files,
    )
