"""Shared places of the test data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Return the folder of outside reference data, or skip where it is absent."""
    folder = Path(os.environ.get("NODOGRAM_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"outside reference data absent: {folder} (set NODOGRAM_TEST_DATA)")
    return folder
