"""One real server for all tests that only ask it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from running_server import Served, running


@pytest.fixture(scope="session")
def served(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Return a ready server of the tiny bundle."""
    with running(tiny_run / "bundle", tmp_path_factory.mktemp("served")) as server:
        yield server
