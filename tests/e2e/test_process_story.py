"""The story with processes of this machine for containers: all of it but the isolation, in every run of the suite."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nodogram.synthesis.cohort import write_cohort
from tests.deploy.emulator.runners import ProcessRunner
from tests.e2e.story import IMAGES, held_out_patient, staged

PARITY = 1e-6
NODOGRAM = (sys.executable, "-m", "nodogram")


@pytest.mark.timeout(900)
def test_a_killed_job_resumes_and_its_bundle_is_promoted_served_and_rolled_back(
    tiny_cohort: Path, tiny_recipe: Path, tiny_run: Path, tmp_path: Path
) -> None:
    runner = ProcessRunner(dict.fromkeys(IMAGES.values(), NODOGRAM))
    # Another seed, so that the bundle is not the champion's; no refits, which others test.
    recipe = tiny_recipe.read_text(encoding="utf-8").replace("seed = 20250812", "seed = 20250813")
    for key in ("bootstrap_resamples", "repeats", "permutations", "perturbed_patients"):
        recipe = re.sub(rf"^{key} = \d+", f"{key} = 0", recipe, flags=re.MULTILINE)
    with staged(tmp_path, runner) as stage:
        shutil.copytree(tiny_cohort, stage.cohort, dirs_exist_ok=True)
        run = stage.train({"toml": recipe}, 600.0)
        assert run.exit_codes == [137, 0]
        assert run.kept_first_fold
        assert (run.folder / "report" / "index.html").is_file()

        champion = stage.install_serving(tiny_run / "bundle")
        assert champion.digest != run.bundle.digest
        assert stage.promote(run.bundle, champion).state == "promoted"
        patient, findings, expected = held_out_patient(stage.cohort, run)
        for way in ("http", "grpc"):
            answer = stage.ask(patient, findings, way)
            assert answer["probability"] == pytest.approx(expected, abs=PARITY)
            assert answer["bundle_digest"] == run.bundle.digest

        assert stage.roll_back() == champion
        assert stage.ask(patient, findings, "http")["bundle_digest"] == champion.digest
        for release in ("night", "clinic"):
            stage.helm.uninstall(release)


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
