"""How many cores the server takes for its own, and what follows from it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serving import config
from serving.config import ServerSettings

BOUND = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("max 100000", BOUND),
        ("100000 100000", 1),
        ("20000 100000", 1),  # a fifth of a core is still a process
        (f"{100_000 * (BOUND + 5)} 100000", BOUND),
        ("nonsense", BOUND),
    ],
)
def test_a_container_has_the_cores_of_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, cores: int
) -> None:
    (tmp_path / "cpu.max").write_text(limit + "\n", encoding="ascii")
    monkeypatch.setattr(config, "_CGROUP_CPU_LIMIT", tmp_path / "cpu.max")
    settings = ServerSettings(bundle=tmp_path)
    assert (settings.case_workers, settings.backbone_calls) == (cores, cores)
    assert ServerSettings(bundle=tmp_path, backbone_threads=1000).backbone_calls == 1
    assert ServerSettings(bundle=tmp_path, provider="cuda").backbone_calls == 1
