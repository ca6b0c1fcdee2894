"""``nodogram extract`` as a user meets it: whole, in shards, killed, and with patients that cannot be used."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import typer
from typer.testing import CliRunner

from nodogram.errors import NodogramError
from nodogram.radiomics.manifest import PREFIX, feature_names
from nodogram.synthesis.cohort import write_cohort
from training.extract_cli import extract
from training.recipe import load_recipe

PATIENTS = 9
FILES = ("features.parquet", "features.csv", "failures.csv", "notes.csv", "manifest.json")
QUICK = "imageType: {Original: {}}\nfeatureClass: {shape: , firstorder: [Mean, RobustMeanAbsoluteDeviation]}\n"


def nodogram(
    *arguments: str | Path, code: int = 0, environment: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "nodogram", "extract", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@dataclass(frozen=True)
class Done:
    stdout: str
    stderr: str


def here(*arguments: str | Path, code: int = 0, environment: Mapping[str, str] = MappingProxyType({})) -> Done:
    """Run the command in this process, where no process of its own is what is tested."""
    app = typer.Typer()
    app.command()(extract)
    done = CliRunner().invoke(app, [*map(str, arguments)], env=dict(environment))
    error = done.exception
    if error is not None and not isinstance(error, NodogramError | SystemExit):
        raise error
    assert done.exit_code == code, done.output
    return Done(done.stdout, f"{done.stderr}{error}")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    write_cohort(folder, patient_count=PATIENTS, seed=3, signal=1.0, image_format="nifti", matrix=96, slice_count=24, jobs=1)
    return folder


@pytest.fixture(scope="module")
def whole(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an extraction in one go, with the default settings."""
    out = tmp_path_factory.mktemp("whole")
    nodogram("--cohort", cohort, "--out", out, "--jobs", "2")
    return out


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    path = tmp_path / "quick.yaml"
    path.write_text(QUICK, encoding="utf-8")
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def assert_same_bytes(first: Path, second: Path) -> None:
    assert [name for name in FILES if (first / name).read_bytes() != (second / name).read_bytes()] == []


@contextmanager
def started(out: Path, cohort: Path) -> Iterator[subprocess.Popen[str]]:
    """Start an extraction by two processes, wait until two patients are finished, and leave nothing running."""
    command = [sys.executable, "-m", "nodogram", "extract", "--cohort", str(cohort), "--out", str(out), "--jobs", "2"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            until = time.monotonic() + 60
            while len(finished(out)) < 2:
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.01)
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def finished(out: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (out / "cases").glob("*.npz")}


def test_table_and_parquet_hold_every_feature_of_every_patient_in_order(whole: Path, cohort: Path) -> None:
    stored, text = (
        pd.read_parquet(whole / "features.parquet"),
        pd.read_csv(whole / "features.csv", float_precision="round_trip"),
    )
    expected = [name.removeprefix(PREFIX) for name in feature_names(load_recipe("sound").radiomics)]
    assert list(stored.columns) == ["patient_id", *expected]
    assert list(stored["patient_id"]) == [row["patient_id"] for row in rows(cohort / "cohort.csv")]
    pd.testing.assert_frame_equal(stored, text, check_exact=True)
    assert np.isfinite(stored[expected].to_numpy()).all()
    assert rows(whole / "failures.csv") == []


def test_the_manifest_says_how_the_features_came_about(whole: Path) -> None:
    manifest = json.loads((whole / "manifest.json").read_text(encoding="utf-8"))
    recipe = load_recipe("sound")
    assert manifest["settings"]["radiomics"] == recipe.radiomics.model_dump(mode="json")
    assert manifest["settings"]["network"]["enabled"] is False
    assert manifest["features"]["names"] == list(feature_names(recipe.radiomics))
    assert manifest["features"]["pyradiomics_version"] == "3.0.1"
    assert manifest["ibsi_codes"]["original_glcm_Idmn"] == "1QCO"
    assert len(manifest["digest"]) == 64


def test_shards_together_are_the_whole_byte_for_byte(whole: Path, cohort: Path, tmp_path: Path) -> None:
    nodogram("--cohort", cohort, "--out", tmp_path, "--shard", "1/3", "--jobs", "1")
    for index in ("1", "2"):
        pod = {"JOB_COMPLETION_INDEX": index, "NODOGRAM_SHARDS": "3"}
        nodogram("--cohort", cohort, "--out", tmp_path, "--jobs", "1", environment=pod)
    parts = [pd.read_parquet(tmp_path / "shards" / f"{i}-of-3" / "features.parquet")["patient_id"].tolist() for i in (1, 2, 3)]
    labels = [row["patient_id"] for row in rows(cohort / "cohort.csv")]
    assert parts == [labels[0::3], labels[1::3], labels[2::3]]
    nodogram("--cohort", cohort, "--out", tmp_path, "--merge")
    assert_same_bytes(tmp_path, whole)


def test_the_merge_names_what_is_missing(cohort: Path, quick: Path, tmp_path: Path) -> None:
    arguments = ("--cohort", cohort, "--out", tmp_path, "--settings", quick, "--jobs", "1")
    here(*arguments, "--shard", "1/3")
    here(*arguments, "--shard", "3/3")
    # A shard that was killed while it wrote: no manifest, nothing counts.
    (tmp_path / "shards" / "3-of-3" / "manifest.json").unlink()
    labels = [row["patient_id"] for row in rows(cohort / "cohort.csv")]
    missing = [label for i, label in enumerate(labels) if i % 3 != 0]
    merge = ("--cohort", cohort, "--out", tmp_path, "--merge")
    document = json.loads(here(*merge, "--json", code=1).stdout)
    assert document == {"missing_shards": ["2/3", "3/3"], "missing_patients": missing}
    text = here(*merge, code=1).stdout
    assert all(word in text for word in ("2/3", "3/3", *missing))
    assert labels[0] not in text
    assert not (tmp_path / "features.csv").exists()


def test_shards_that_do_not_belong_together_are_refused(cohort: Path, quick: Path, tmp_path: Path) -> None:
    arguments = ("--cohort", cohort, "--out", tmp_path, "--settings", quick, "--jobs", "1")
    merge = ("--cohort", cohort, "--out", tmp_path, "--merge")
    assert "RUN_MISMATCH" in here(*merge, code=1).stderr
    here(*arguments, "--shard", "1/2")
    quick.write_text(QUICK.replace("Mean, ", "Median, "), encoding="utf-8")
    here(*arguments, "--shard", "2/2")
    assert "other settings" in here(*merge, code=1).stderr
    here(*arguments, "--shard", "1/2")
    other = tmp_path / "other.csv"
    other.write_text("patient_id,image,roi\n" + "".join(f"x{i},a,b\n" for i in range(PATIENTS)), encoding="utf-8")
    assert "another cohort" in here("--cohort", other, "--out", tmp_path, "--merge", code=1).stderr
    here(*arguments, "--shard", "1/4")
    assert "--shard-count" in here(*merge, code=1).stderr
    here(*merge, "--shard-count", "2")
    assert len(rows(tmp_path / "features.csv")) == PATIENTS


def test_a_killed_extraction_goes_on_where_it_was(whole: Path, cohort: Path, tmp_path: Path) -> None:
    with started(tmp_path, cohort):
        pass  # and killed, with all its processes
    before = finished(tmp_path)
    assert 2 <= len(before) < PATIENTS
    assert not (tmp_path / "manifest.json").exists()
    nodogram("--cohort", cohort, "--out", tmp_path, "--jobs", "2")
    after = finished(tmp_path)
    assert len(after) == PATIENTS
    assert {name: after[name] for name in before} == before
    assert_same_bytes(tmp_path, whole)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to find the processes of the pool")
def test_a_killed_process_of_the_pool_ends_the_run_with_a_reason(cohort: Path, tmp_path: Path) -> None:
    with started(tmp_path, cohort) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        workers = [int(child) for child in children if b"popen_loky" in Path(f"/proc/{child}/cmdline").read_bytes()]
        os.kill(workers[0], signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "RUN_WORKER_KILLED" in errors
    assert "Traceback" not in errors
    assert len(finished(tmp_path)) >= 2


def changed(path: Path, target: Path, change: Callable[[Any], None]) -> Path:
    image: Any = sitk.ReadImage(path)
    array = sitk.GetArrayFromImage(image)
    change(array)
    copy: Any = sitk.GetImageFromArray(array)
    copy.CopyInformation(image)
    sitk.WriteImage(copy, target)
    return target


@pytest.fixture
def mixed(cohort: Path, tmp_path: Path) -> Path:
    """Return a batch table as PyRadiomics has it, in which most patients cannot be used."""
    first = rows(cohort / "cohort.csv")[0]
    image, roi = cohort / first["image"], cohort / first["roi"]
    torn = tmp_path / "torn.nii.gz"
    torn.write_bytes(image.read_bytes()[:5000])

    def one_voxel(array: Any) -> None:
        array[:] = 0
        array[10, 40, 40] = 1

    def two_voxels(array: Any) -> None:
        one_voxel(array)
        array[12, 50, 50] = 1

    def to_the_border(array: Any) -> None:
        array[0] = array.max(axis=0)

    def relabel(array: Any) -> None:
        array[array > 0] = 7
        array[2, 2, 2] = 3

    table = [
        ("torn", torn, roi, ""),
        ("gone", tmp_path / "gone.nii.gz", roi, ""),
        ("two", image, changed(roi, tmp_path / "two.nii.gz", two_voxels), ""),
        ("one", image, changed(roi, tmp_path / "one.nii.gz", one_voxel), ""),
        ("border", image, changed(roi, tmp_path / "border.nii.gz", to_the_border), ""),
        ("good [1]", image, roi, ""),
        ("twice", image, roi, ""),
        ("twice", image, roi, ""),
        ("", image, roi, ""),
        ("empty", "", roi, ""),
        ("label", image, changed(roi, tmp_path / "labels.nrrd", relabel), "7"),
    ]
    path = tmp_path / "batch.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("ID", "IMAGE", "Mask", "Label"), *table])
    return path


def test_a_patient_that_cannot_be_used_stops_no_other(mixed: Path, quick: Path, tmp_path: Path) -> None:
    arguments = ("--cohort", mixed, "--out", tmp_path / "out", "--settings", quick, "--jobs", "1")
    document = json.loads(nodogram(*arguments, "--json").stdout)
    expected = {
        "torn": "UNREADABLE_FILE",
        "gone": "FILE_NOT_FOUND",
        "two": "FEATURE_NOT_FINITE",
        "one": "ROI_TOO_SMALL",
        "border": "ROI_TOUCHES_BORDER",
        "twice": "PATIENT_DUPLICATE",
        "line 10": "COHORT_INVALID",
        "empty": "COHORT_INVALID",
    }
    assert {row["patient_id"]: row["reason"] for row in rows(tmp_path / "out" / "failures.csv")} == expected
    assert [row["patient_id"] for row in document["failures"]] == list(expected)
    features = rows(tmp_path / "out" / "features.csv")
    assert [row.pop("patient_id") for row in features] == ["good [1]", "label"]
    assert features[0] == features[1]
    assert (document["patient_count"], document["extracted_count"], document["feature_count"]) == (10, 2, 16)
    strict = here(*arguments, "--strict", code=1)
    assert "good [1]" not in strict.stderr
    assert "torn UNREADABLE_FILE" in strict.stderr
    assert "1 × FEATURE_NOT_FINITE two" in strict.stdout


def test_a_region_at_the_border_can_be_allowed_and_is_noted(mixed: Path, quick: Path, tmp_path: Path) -> None:
    arguments = ("--cohort", mixed, "--out", tmp_path / "out", "--settings", quick, "--jobs", "1")
    here(*arguments, "--allow-border")
    assert [row["patient_id"] for row in rows(tmp_path / "out" / "features.csv")] == ["border", "good [1]", "label"]
    assert [(row["patient_id"], row["code"]) for row in rows(tmp_path / "out" / "notes.csv")] == [
        ("border", "ROI_TOUCHES_BORDER")
    ]
    # What was allowed once is not found in the cache when it is not.
    here(*arguments)
    assert [row["patient_id"] for row in rows(tmp_path / "out" / "features.csv")] == ["good [1]", "label"]


def test_nothing_usable_is_a_failure_of_the_whole_and_not_of_a_shard(quick: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("patient_id,image,roi,note\na,a.nii,b.nii,\nb,a.nii,b.nii,\n", encoding="utf-8")
    arguments = ("--cohort", table, "--out", tmp_path, "--settings", quick, "--jobs", "1")
    here(*arguments, code=1)
    assert len(rows(tmp_path / "failures.csv")) == 2
    for shard in ("1/3", "2/3", "3/3"):
        here(*arguments, "--shard", shard)
    here("--cohort", table, "--out", tmp_path, "--merge", code=1)


def test_every_name_is_listed_once_with_code_and_meaning() -> None:
    expected = [name.removeprefix(PREFIX) for name in feature_names(load_recipe("sound").radiomics)]
    lines = [line.split("\t") for line in nodogram("--list").stdout.splitlines()]
    assert [name for name, _, _ in lines] == expected
    assert all(len(code) in (0, 4) and meaning for _, code, meaning in lines)
    documents = json.loads(here("--list", "--json").stdout)
    assert [(d["name"], d["ibsi_code"] or "", d["meaning"]) for d in documents] == [tuple(line) for line in lines]


def test_convention_and_padding_change_the_settings(cohort: Path, tmp_path: Path) -> None:
    arguments = ("--cohort", cohort, "--out", tmp_path, "--jobs", "1", "--json")
    recipe = Path(__file__).parents[2] / "training" / "recipes" / "sound.toml"
    text = recipe.read_text(encoding="utf-8").replace('["Original", "Wavelet", "LoG"]', '["Original"]')
    text = text.replace("log_sigma_mm = [1.0, 2.0, 3.0, 4.0, 5.0]", "log_sigma_mm = []")
    (tmp_path / "small.toml").write_text(text, encoding="utf-8")
    settings = ("--settings", tmp_path / "small.toml")
    as_is = json.loads(here(*arguments, *settings).stdout)
    turned = json.loads(here(*arguments, *settings, "--convention", "pyradiomics", "--padding", "pyradiomics").stdout)
    assert (as_is["convention"], as_is["padding"]) == ("ibsi", "full")
    assert (turned["convention"], turned["padding"]) == ("pyradiomics", "pyradiomics")
    assert json.loads((tmp_path / "manifest.json").read_text())["settings"]["imaging"]["mask_interpolation"] == "nearest"
    back = here("--list", "--settings", "paper", "--convention", "ibsi")
    assert back.stdout
    refused = here("--list", "--convention", "ibsi", "--padding", "pyradiomics", code=1)
    assert "SETTINGS_INVALID" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "word"),
    [
        ((), {}, "--cohort"),
        (("--cohort", "c", "--out", "o", "--shard", "0/4"), {}, "--shard"),
        (("--cohort", "c", "--out", "o", "--shard", "first"), {}, "I/N"),
        (("--cohort", "c", "--out", "o", "--shard", "1/4", "--shard-count", "5"), {}, "--shard"),
        (("--cohort", "c", "--out", "o"), {"JOB_COMPLETION_INDEX": "0"}, "NODOGRAM_SHARDS"),
        (("--cohort", "c", "--out", "o"), {"NODOGRAM_SHARDS": "4"}, "--shard"),
        (("--cohort", "c", "--out", "o"), {"JOB_COMPLETION_INDEX": "4", "NODOGRAM_SHARDS": "4"}, "5 of 4"),
        (("--cohort", "c", "--out", "o", "--merge", "--shard", "1/4"), {}, "--shard"),
        (("--list", "--convention", "mirp"), {}, "--convention"),
    ],
)
def test_usage_errors(arguments: tuple[str, ...], environment: dict[str, str], word: str) -> None:
    assert word in here(*arguments, code=2, environment=environment).stderr


def test_a_table_without_the_columns_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("patient,scan\na,b\n", encoding="utf-8")
    refused = here("--cohort", table, "--out", tmp_path / "out", code=1)
    assert "COHORT_INVALID" in refused.stderr
    assert "patient_id, image, roi" in refused.stderr
    assert not (tmp_path / "out").exists()
    shutil.rmtree(tmp_path)
    assert "FILE_NOT_FOUND" in here("--cohort", table, "--out", table.parent, code=1).stderr
