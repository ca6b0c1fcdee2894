"""An emulator with a training release, and a client of it that repeats quickly."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.cluster import Cluster, Patience, connect
from tests.deploy.emulator.emulator import Emulator, running
from tests.deploy.emulator.runners import ProcessRunner
from tests.deploy.releases import NAMESPACE, install_training

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in.py")))
IMAGE = "registry.example.org/nodogram:1.0.0"
HASTE = Patience(at_first_s=30.0, later_s=60.0, first_pause_s=0.01, longest_pause_s=0.05)


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    """Return an emulator that runs the stand-in, with namespace ``ml`` and release ``night`` of the training chart."""
    with running(tmp_path, ProcessRunner({IMAGE: STAND_IN})) as found:
        found.create_namespace(NAMESPACE)
        install_training(found, "night", IMAGE)
        yield found


@pytest.fixture
def still_emulator(tmp_path: Path) -> Iterator[Emulator]:
    """Return an emulator without a kubelet: the test writes the status of pods."""
    with running(tmp_path) as found:
        found.create_namespace(NAMESPACE)
        install_training(found, "night", IMAGE)
        yield found


@pytest.fixture
def said() -> list[str]:
    """Return what the client said while waiting."""
    return []


@pytest.fixture
def client_of(said: list[str]) -> Callable[[Emulator], Cluster]:
    """Return a function that connects to an emulator."""
    return lambda emulator: connect(emulator.kubeconfig(NAMESPACE), None, None, said.append, HASTE)


@pytest.fixture
def cluster(emulator: Emulator, client_of: Callable[[Emulator], Cluster]) -> Cluster:
    """Return a client of the emulator."""
    return client_of(emulator)
