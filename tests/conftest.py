"""Shared places of the test data."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

# How long an example takes says more about the neighbors on the machine than about the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Make the run that many files read at once: every other worker has two minutes of other files before it asks for it."""
    asking = [item.path for item in items if "tiny_run" in getattr(item, "fixturenames", ())]
    if asking:
        items.sort(key=lambda item: item.path != asking[0])


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Return the folder of outside reference data, or skip where it is absent."""
    folder = Path(os.environ.get("NODOGRAM_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"outside reference data absent: {folder} (set NODOGRAM_TEST_DATA)")
    return folder


TINY_RECIPE = (
    ('name = "sound"', 'name = "tiny"'),
    ('image_types = ["Original", "Wavelet", "LoG"]', 'image_types = ["Original", "LoG"]'),
    ("log_sigma_mm = [1.0, 2.0, 3.0, 4.0, 5.0]", "log_sigma_mm = [2.0]"),
    ("resize_px = 256", "resize_px = 64"),
    ("input_px = 224", "input_px = 48"),
    ("folds = 5", "folds = 3"),
    ("inner_folds = 5", "inner_folds = 3"),
    ("lasso_folds = 10", "lasso_folds = 3"),
    ("maximum_epochs = 20", "maximum_epochs = 1"),
    ('initial_weights = ["imagenet", "none"]', 'initial_weights = ["none"]'),
    ('names = ["LR", "SVM", "RF", "ExtraTrees", "XGBoost", "LightGBM", "MLP"]', 'names = ["LR", "SVM", "XGBoost"]'),
    ("bootstrap_resamples = 50", "bootstrap_resamples = 1"),
    ("repeats = 5", "repeats = 1"),
    ("permutations = 49", "permutations = 1"),
    ("noise_runs = 5", "noise_runs = 0"),
    ("bootstrap_replicates = 2000", "bootstrap_replicates = 200"),
    ("perturbed_patients = 30", "perturbed_patients = 4"),
    ("perturbed_outlines = 10", "perturbed_outlines = 2"),
)


# Without network and refits, for what has nothing to do with them.
RADIOMICS_RECIPE = (
    ('name = "tiny"', 'name = "radiomics"'),
    ('names = ["LR", "SVM", "XGBoost"]', 'names = ["LR"]'),
    ("bootstrap_resamples = 1", "bootstrap_resamples = 0"),
    ("repeats = 1", "repeats = 0"),
    ("permutations = 1", "permutations = 0"),
)


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recipe of the same structure as ``sound`` that runs in seconds."""
    text = (Path(__file__).parents[1] / "training" / "recipes" / "sound.toml").read_text(encoding="utf-8")
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(_edited(text, TINY_RECIPE), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def radiomics_recipe(tiny_recipe: Path) -> Path:
    """Return ``tiny_recipe`` without network, refits and all algorithms but one."""
    head, section, rest = _edited(tiny_recipe.read_text(encoding="utf-8"), RADIOMICS_RECIPE).partition("[network]\n")
    assert section
    path = tiny_recipe.with_name("radiomics.toml")
    path.write_text(head + section + rest.replace("enabled = true", "enabled = false", 1), encoding="utf-8")
    return path


def _edited(text: str, replaced: Iterable[tuple[str, str]]) -> str:
    for old, new in replaced:
        lines = [new if line.split(" #")[0].strip() == old else line for line in text.splitlines()]
        assert lines != text.splitlines(), old
        text = "\n".join(lines)
    return text + "\n"


def once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that the first worker to ask for it makes and all others read."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder, made = root / name, root / f"{name}.made"
    with FileLock(root / f"{name}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            made.touch()
    return folder


@pytest.fixture(scope="session")
def tiny_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a synthetic cohort of 40 patients with a strong signal, as NIfTI."""
    from nodogram.synthesis.cohort import write_cohort

    def make(folder: Path) -> None:
        write_cohort(folder, patient_count=40, seed=5, signal=1.0, image_format="nifti", matrix=160, slice_count=40, jobs=2)

    return once(tmp_path_factory, "tiny-cohort", make)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, tiny_cohort: Path, tiny_recipe: Path) -> Path:
    """Return the folder of a finished run: the whole chain, small."""
    return _trained(tmp_path_factory, "tiny-run", tiny_cohort, tiny_recipe)


@pytest.fixture(scope="session")
def uneven_cohort(tmp_path_factory: pytest.TempPathFactory, tiny_cohort: Path) -> Path:
    """Return the cohort with what no model is needed for.

    A second reader who drew exactly what the first one did; a first patient whose image cannot be read; a second one whose
    report is neither of its levels.
    """

    def make(folder: Path) -> None:
        shutil.copytree(tiny_cohort, folder)
        with (folder / "cohort.csv").open(encoding="utf-8", newline="") as stream:
            rows = [{**row, "roi_reader_b": row["roi"]} for row in csv.DictReader(stream)]
        (folder / rows[0]["image"]).write_bytes(b"not an image")
        rows[1]["ct_reported_lnm"] = "maybe"
        with (folder / "cohort.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(rows)

    return once(tmp_path_factory, "uneven-cohort", make)


@pytest.fixture(scope="session")
def uneven_run(tmp_path_factory: pytest.TempPathFactory, uneven_cohort: Path, radiomics_recipe: Path) -> Path:
    """Return the folder of a run on the uneven cohort, by radiomics alone."""
    return _trained(tmp_path_factory, "uneven-run", uneven_cohort, radiomics_recipe)


def _trained(tmp_path_factory: pytest.TempPathFactory, name: str, cohort: Path, recipe: Path) -> Path:
    from training.progress import RunProgress
    from training.run import PHASES, RunOptions, train_run

    def make(folder: Path) -> None:
        train_run(cohort, str(recipe), folder, RunOptions(resume=False, jobs=2), RunProgress(PHASES))

    return once(tmp_path_factory, name, make)
