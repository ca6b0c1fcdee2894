"""The pack is written from the example documents of the report and of external validation, which lie elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

for folder in (Path(__file__).parents[1], Path(__file__).parents[2] / "external"):
    sys.path.insert(0, str(folder))


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run without anything readable; tests write elsewhere."""
    from example_pack import write_run

    return write_run(tmp_path_factory.mktemp("finished") / "run")
