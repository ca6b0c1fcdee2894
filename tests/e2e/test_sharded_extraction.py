"""Shards of an extraction, with processes of this machine for containers: what was measured is measured once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nodogram.synthesis.cohort import write_cohort
from tests.deploy.emulator.runners import ProcessRunner
from tests.e2e.story import IMAGES, staged

NODOGRAM = (sys.executable, "-m", "nodogram")


@pytest.mark.timeout(600)
def test_features_of_64_patients_by_four_shards_one_of_them_killed_are_those_of_one_run(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    runner = ProcessRunner(dict.fromkeys(IMAGES.values(), NODOGRAM))
    with staged(tmp_path / "stage", runner) as stage:
        write_cohort(
            stage.cohort, patient_count=64, seed=3, signal=1.0, image_format="nifti", matrix=64, slice_count=20, jobs=2
        )
        found = stage.extract({"toml": tiny_recipe.read_text(encoding="utf-8")}, 4, 300.0)
        assert found.exit_codes == [137, 0]
        assert found.kept_measured
        whole = tmp_path / "whole"
        command = [*NODOGRAM, "extract", "--cohort", stage.cohort, "--settings", tiny_recipe, "--out", whole, "--jobs", "2"]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        for name in ("features.parquet", "features.csv", "failures.csv", "notes.csv", "manifest.json"):
            assert (found.folder / name).read_bytes() == (whole / name).read_bytes(), name
        assert len((whole / "features.csv").read_text(encoding="utf-8").splitlines()) == 65
