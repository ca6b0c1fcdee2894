from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from nodogram.errors import Reason, SurroundingsError
from nodogram.settings import ModelSettings
from training.extraction import (
    ExtractedCase,
    ExtractionFailure,
    ExtractionTask,
    cache_key,
    extract_all,
    extract_one,
)
from training.recipe import load_recipe


@pytest.fixture
def task(tiny_cohort: Path, tmp_path: Path) -> ExtractionTask:
    with (tiny_cohort / "cohort.csv").open(encoding="utf-8", newline="") as stream:
        row = next(iter(csv.DictReader(stream)))
    image, roi = tmp_path / "ct.nii.gz", tmp_path / "tumor.nii.gz"
    shutil.copyfile(tiny_cohort / row["image"], image)
    shutil.copyfile(tiny_cohort / row["roi"], roi)
    return ExtractionTask("p", image, roi, None)


@pytest.fixture
def settings(tiny_recipe: Path) -> ModelSettings:
    return load_recipe(str(tiny_recipe)).model


def test_cached_case_equals_the_computed_one(task: ExtractionTask, settings: ModelSettings, tmp_path: Path) -> None:
    first, second = (extract_one(task, settings, tmp_path) for _ in range(2))
    assert isinstance(first, ExtractedCase)
    assert isinstance(second, ExtractedCase)
    assert first.radiomics.names == second.radiomics.names
    assert np.array_equal(first.radiomics.values, second.radiomics.values)
    assert first.pixels is not None
    assert second.pixels is not None
    assert np.array_equal(first.pixels, second.pixels)
    assert (first.acquisition, first.notes) == (second.acquisition, second.notes)
    assert len(list(tmp_path.glob("*.npz"))) == 1
    assert not list(tmp_path.glob("*.partial"))


def test_a_damaged_cache_file_is_computed_again(task: ExtractionTask, settings: ModelSettings, tmp_path: Path) -> None:
    first = extract_one(task, settings, tmp_path)
    (file,) = tmp_path.glob("*.npz")
    file.write_bytes(file.read_bytes()[:1000])
    second = extract_one(task, settings, tmp_path)
    assert isinstance(first, ExtractedCase)
    assert isinstance(second, ExtractedCase)
    assert np.array_equal(first.radiomics.values, second.radiomics.values)


def test_features_asked_for_are_those_of_the_whole_extraction(
    task: ExtractionTask, settings: ModelSettings, tmp_path: Path
) -> None:
    names = ("radiomics.original_glcm_Idmn", "radiomics.original_shape_MeshVolume")
    (whole,) = extract_all([task], settings, tmp_path, jobs=1)
    (part,) = extract_all([task], settings, tmp_path, jobs=1, names=names)
    assert isinstance(whole, ExtractedCase)
    assert isinstance(part, ExtractedCase)
    assert part.radiomics.names == names
    assert np.array_equal(part.radiomics.values, whole.radiomics.select(names).values)
    # All of them by name is the same work, and the same file.
    list(extract_all([task], settings, tmp_path, jobs=1, names=whole.radiomics.names))
    assert len(list(tmp_path.glob("*.npz"))) == 2


def test_what_killed_processes_left_half_written_is_removed_in_time(
    task: ExtractionTask, settings: ModelSettings, tmp_path: Path
) -> None:
    fresh, abandoned = tmp_path / "a.npz.1.partial", tmp_path / "b.npz.2.partial"
    for path in (fresh, abandoned):
        path.write_bytes(b"half")
    os.utime(abandoned, (0, 0))
    list(extract_all([task], settings, tmp_path, jobs=1))
    assert fresh.exists()
    assert not abandoned.exists()


def test_a_cache_that_cannot_be_written_ends_the_run(task: ExtractionTask, settings: ModelSettings, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file, where a folder should be")
    with pytest.raises(SurroundingsError) as caught:
        list(extract_all([task], settings, tmp_path / "cache", jobs=1))
    assert caught.value.reason is Reason.OUTPUT_NOT_WRITABLE


def test_the_key_follows_content_and_settings_and_nothing_else(task: ExtractionTask, settings: ModelSettings) -> None:
    key = cache_key(task, settings)
    moved = task.image.rename(task.image.with_name("other.nii.gz"))
    assert cache_key(ExtractionTask("q", moved, task.roi, None), settings) == key
    assert cache_key(ExtractionTask("q", moved, task.roi, "1"), settings) != key
    assert cache_key(ExtractionTask("q", moved, task.roi, None, allow_border=True), settings) != key
    assert cache_key(ExtractionTask("q", moved, task.roi, None), settings, ["radiomics.original_glcm_Idmn"]) != key
    assert cache_key(ExtractionTask("q", moved, task.roi, None), load_recipe("paper").model) != key
    task.roi.write_bytes(task.roi.read_bytes() + b"\0")
    assert cache_key(ExtractionTask("q", moved, task.roi, None), settings) != key


def test_one_bad_case_costs_only_itself(task: ExtractionTask, settings: ModelSettings, tmp_path: Path) -> None:
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"not an image")
    tasks = [
        ExtractionTask("broken", broken, task.roi, None),
        ExtractionTask("gone", tmp_path / "gone.nii.gz", task.roi, None),
        task,
    ]
    seen: list[str] = []
    results = {r.label: r for r in extract_all(tasks, settings, tmp_path / "cache", jobs=2, progress=seen.append)}
    assert isinstance(results["p"], ExtractedCase)
    failures = {label: r.reason for label, r in results.items() if isinstance(r, ExtractionFailure)}
    assert failures == {"broken": Reason.UNREADABLE_FILE, "gone": Reason.FILE_NOT_FOUND}
    assert sorted(seen) == ["broken", "gone", "p"]
