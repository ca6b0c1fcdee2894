"""What Dockerfiles run, run here."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path

import pytest

from images.build import ROOT
from images.steps.finish import finish
from images.steps.resolve import extras, for_variant
from images.steps.sbom import bill_of_materials, debian_components, python_components
from images.steps.weights import fetch_weights

PYPROJECT = ROOT / "pyproject.toml"


def test_extras_follow_the_variant() -> None:
    assert extras(PYPROJECT, "cpu", ("serve", "client")) == ["serve", "client"]
    assert extras(PYPROJECT, "cuda", ("serve", "client")) == ["serve-gpu", "client"]


@pytest.mark.parametrize(("variant", "extra", "named"), [("gpu", "serve", "VARIANT"), ("cpu", "sreve", "sreve")])
def test_a_misspelt_argument_stops_the_build(variant: str, extra: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        extras(PYPROJECT, variant, (extra,))


CPU = ["nvidia-ml-py==13.615.71", "nvidia-nccl-cu12==2.32.3", "torch==2.13.0+cpu"]
CUDA = ["nvidia-cudnn-cu13==9.20", "nvidia-nccl-cu12==2.32.3", "torch==2.13.0", "triton==3.7"]


@pytest.mark.parametrize(
    ("variant", "resolved", "installed"),
    [("cpu", CPU, [CPU[0], CPU[2]]), ("cuda", CUDA, CUDA), ("cpu", ["numpy==2.4.6"], ["numpy==2.4.6"])],
)
def test_what_a_variant_installs(variant: str, resolved: list[str], installed: list[str]) -> None:
    assert for_variant(resolved, variant) == installed


@pytest.mark.parametrize(("variant", "resolved", "named"), [("cpu", CUDA, "TORCH_BACKEND"), ("cuda", CPU, "CPU build")])
def test_the_wrong_torch_is_refused(variant: str, resolved: list[str], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        for_variant(resolved, variant)


def test_weights_only_with_their_digest(tmp_path: Path) -> None:
    source = tmp_path / "w.pth"
    source.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    assert fetch_weights(source.as_uri(), digest, tmp_path / "a") is None
    assert (tmp_path / "a" / "resnet50.pth").read_bytes() == b"weights"
    assert (tmp_path / "a" / "hub" / "checkpoints" / f"resnet50-{digest[:8]}.pth").read_bytes() == b"weights"
    assert digest in (fetch_weights(source.as_uri(), "0" * 64, tmp_path / "b") or "")
    assert not list((tmp_path / "b").iterdir())
    assert "WEIGHTS_SHA256" in (fetch_weights(source.as_uri(), "", tmp_path / "c") or "")
    assert fetch_weights("", "", tmp_path / "d") is None
    assert "without WEIGHTS_URL" in (fetch_weights("", digest, tmp_path / "e") or "")


def test_bill_of_materials_of_this_environment() -> None:
    found = python_components(metadata.distributions())
    document = bill_of_materials("nodogram-serve", "0.1.0", found)
    assert document == bill_of_materials("nodogram-serve", "0.1.0", reversed(found))
    components = {str(c["name"]): c for c in document["components"]}  # type: ignore[attr-defined]
    assert components["numpy"]["version"] == metadata.version("numpy")
    assert components["numpy"]["purl"] == f"pkg:pypi/numpy@{metadata.version('numpy')}"
    assert "licenses" in components["pydicom"]
    changed = bill_of_materials("nodogram-serve", "0.1.0", (c for c in found if c["name"] != "numpy"))
    assert changed["serialNumber"] != document["serialNumber"]


def test_debian_packages_as_package_urls() -> None:
    (component,) = debian_components("libstdc++6\t12.2.0-14+deb12u1\tamd64\n", "debian")
    # Package URL specification: '+' is percent-encoded in names and versions.
    assert component["purl"] == "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64"


@pytest.fixture
def alive() -> Iterator[list[int]]:
    """Return the statuses a server answers with, and its port as the last."""
    answers: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answers[0] if self.path == "/livez" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    answers += [200, server.server_address[1]]
    yield answers
    server.shutdown()
    server.server_close()
    thread.join()


def test_health_check(alive: list[int]) -> None:
    command = [sys.executable, str(ROOT / "images" / "steps" / "healthcheck.py")]

    def status(port: int) -> int:
        return subprocess.run(command, env={"NODOGRAM_HTTP_PORT": str(port)}, check=False).returncode

    assert status(alive[1]) == 0
    alive[0] = 500
    assert status(alive[1]) == 1
    assert status(1) == 1


def test_an_environment_is_compiled_and_rid_of_what_nobody_runs(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    kept = {
        "skimage/__init__.py",
        "skimage/__init__.pyi",
        "skimage/data/__init__.py",
        "onnxruntime/__init__.py",
        "own/tests/one.py",
    }
    spare = {
        "skimage/data/cell.png",
        "onnxruntime/tools/convert.py",
        "scipy/stats/tests/test_one.py",
        "scipy/stats/tests/tests/fast.c",
        "skimage/filters/fast.pyx",
    }
    write_empty(packages, kept | spare)
    finish(tmp_path)
    assert {name for name in files(packages) if not name.endswith(".pyc")} == kept
    assert len(compiled(packages)) == 4


def test_an_addition_alone_is_compiled(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    write_empty(packages, {"nodogram/__init__.py", "skimage/__init__.py"})
    finish(tmp_path, ["nodogram"])
    assert [name.split("/")[0] for name in compiled(packages)] == ["nodogram"]


def write_empty(folder: Path, names: set[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("", encoding="utf-8")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def compiled(folder: Path) -> list[str]:
    return [name for name in files(folder) if name.endswith(".pyc")]
