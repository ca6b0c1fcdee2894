"""What pip is told, as uv takes it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from images.build import ROOT
from images.sources import pip_configuration, pip_sources, uv_configuration

CONFIGURED = """[global]
index-url = https://pypi.example.org/simple
extra-index-url = https://one.example.org/simple file:///srv/simple
find-links = /srv/wheels
trusted-host = pypi.example.org
proxy = http://proxy.example.org:3128
cert = /etc/ssl/certs/ca-certificates.crt
timeout = 60
"""


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "pip.conf"
    path.write_text(CONFIGURED, encoding="utf-8")
    for name in ("FIND_LINKS", "CERT", "INDEX_URL", "EXTRA_INDEX_URL"):
        monkeypatch.delenv(f"PIP_{name}", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(path))
    monkeypatch.setenv("PIP_FIND_LINKS", "/srv/more")
    return path


@pytest.mark.usefixtures("configured")
def test_pip_and_uv_look_in_the_same_places() -> None:
    sources = pip_sources()
    assert {"/srv/wheels", "/srv/more"} <= set(sources["find-links"])
    uv = tomllib.loads(uv_configuration(sources))
    assert uv["index-url"] == "https://pypi.example.org/simple"
    assert uv["https-proxy"] == "http://proxy.example.org:3128"
    assert uv["system-certs"] is True
    assert uv["index-strategy"] == "unsafe-best-match"
    assert "https://one.example.org/simple" in uv["extra-index-url"]
    # A folder of this machine is not there in a build.
    assert "file:///srv/simple" not in uv["extra-index-url"]
    assert {"/srv/wheels", "/srv/more"} <= set(uv["find-links"])
    assert "find-links = " in pip_configuration(sources)
    assert "timeout" not in pip_configuration(sources)


@pytest.mark.usefixtures("configured")
def test_uv_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "uv.toml"
    path.write_text(uv_configuration(pip_sources()), encoding="utf-8")
    uv = Path(sys.executable).with_name("uv")
    done = subprocess.run([uv, "--config-file", path, "pip", "list"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_configured_is_nothing_said() -> None:
    assert uv_configuration({}) == ""
