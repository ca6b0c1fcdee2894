"""What Dockerfiles run, run here."""

from __future__ import annotations

import hashlib
import json
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
from images.steps.requirements import requirements
from images.steps.sbom import bill_of_materials, debian_components, python_components
from images.steps.torch_build import fault
from images.steps.weights import fetch_weights

PYPROJECT = ROOT / "pyproject.toml"


def names(listed: list[str]) -> set[str]:
    return {r.split("[")[0].split("=")[0].split(">")[0].split("<")[0] for r in listed}


def test_requirements_follow_extras_and_variant() -> None:
    cpu, cuda = (requirements(PYPROJECT, variant, ("serve", "client")) for variant in ("cpu", "cuda"))
    assert {"numpy", "onnxruntime", "bentoml", "httpx"} <= names(cpu)
    assert names(cuda) - names(cpu) == {"onnxruntime-gpu"}
    assert not {"torch", "pytest"} & names(cpu)
    assert "torch" in names(requirements(PYPROJECT, "cpu", ("train",)))


@pytest.mark.parametrize(("variant", "extra", "named"), [("gpu", "serve", "VARIANT"), ("cpu", "sreve", "sreve")])
def test_a_misspelt_argument_stops_the_build(variant: str, extra: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        requirements(PYPROJECT, variant, (extra,))


@pytest.mark.parametrize(
    ("variant", "needs", "refused"),
    [
        ("cpu", ["filelock", "sympy>=1.13"], None),
        ("cpu", ["filelock", "nvidia-cublas==13.0; platform_system == 'Linux'"], "TORCH_INDEX"),
        ("cpu", ["cuda-bindings>=13; platform_system == 'Linux'"], "TORCH_INDEX"),
        ("cuda", ["nvidia-cudnn-cu13==9"], None),
        ("cuda", ["filelock"], "CPU build"),
    ],
)
def test_the_wrong_torch_is_refused(variant: str, needs: list[str], refused: str | None) -> None:
    torch = {"metadata": {"name": "torch", "version": "2.13.0", "requires_dist": needs}}
    report = json.dumps({"version": "1", "install": [{"metadata": {"name": "torchvision", "version": "0.28.0"}}, torch]})
    found = fault(variant, report)
    assert (found is None) == (refused is None)
    assert refused is None or refused in (found or "")


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
        "skimage/filters/fast.pyx",
    }
    for name in kept | spare:
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text("", encoding="utf-8")
    finish(tmp_path)
    left = {str(path.relative_to(packages)) for path in packages.rglob("*") if path.is_file()}
    assert {name for name in left if not name.endswith(".pyc")} == kept
    assert len([name for name in left if name.endswith(".pyc")]) == 4
