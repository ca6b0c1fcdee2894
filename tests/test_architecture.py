"""Shape of the tree: names nobody may use, sizes nobody may exceed, things that must not be committed."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BANNED_NAMES = {"utils", "helpers", "common", "misc", "manager"}
PRODUCT = ("nodogram", "training", "serving", "deploy")
LARGEST_FILE_BYTES = 5 << 20


def tracked_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]


def product_modules() -> list[Path]:
    return sorted(path for package in PRODUCT for path in (ROOT / package).rglob("*.py"))


def test_no_module_is_named_after_nothing() -> None:
    assert not [p for p in product_modules() if p.stem in BANNED_NAMES or p.parent.name in BANNED_NAMES]


def test_nothing_is_pickled() -> None:
    """``UnpicklingError`` may be named, because it is what a refusal to unpickle looks like; nothing else may."""
    offenders = []
    for path in product_modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import) and {"pickle", "dill", "cloudpickle"} & {a.name for a in node.names}:
                offenders.append(path)
            if isinstance(node, ast.ImportFrom) and node.module in {"pickle", "dill", "cloudpickle"}:
                offenders += [path for a in node.names if a.name != "UnpicklingError"]
    assert not offenders


def test_torchvision_is_imported_in_one_module() -> None:
    importers = {
        path.name
        for path in product_modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Import) and any(a.name.split(".")[0] == "torchvision" for a in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torchvision")
    }
    assert importers <= {"torchvision_import.py"}


def test_no_mock_in_the_suite() -> None:
    mock = "unittest" + ".mock"
    assert not [p for p in (ROOT / "tests").rglob("*.py") if mock in p.read_text(encoding="utf-8")]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_nothing_large_and_no_notebook_is_committed() -> None:
    files = tracked_files()
    assert not [p for p in files if p.suffix == ".ipynb" or p.stat().st_size > LARGEST_FILE_BYTES]
