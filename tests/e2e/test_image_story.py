"""From two Dockerfiles to an answer: built, trained in the chart's Job, killed, resumed, fetched, served, asked, stopped.

Containers are real, run by podman; the Kubernetes they run under is the emulator.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from images.base import build_base
from images.build import ROLES, ROOT, BuiltImage, Role, build_image
from images.podman import STORE, Podman, prepare_podman
from nodogram.synthesis.cohort import write_cohort
from tests.deploy.emulator.runners import PodmanRunner
from tests.e2e.story import IMAGES, TrainedRun, demo_recipe, held_out_patient, staged, write_former

pytestmark = [pytest.mark.slow, pytest.mark.timeout(5400)]

LARGEST_BYTES: dict[Role, float] = {"serve": 1.1e9, "train": 3.0e9}
# As the charts run them: nothing but /tmp can be written, no right is left, and no network is there.
HARDENED = (
    *("--rm", "--pull=never", "--network=none", "--read-only", "--read-only-tmpfs=false", "--tmpfs=/tmp:rw,mode=1777"),
    *("--cap-drop=ALL", "--security-opt=no-new-privileges"),
)
PARITY = 1e-6


@dataclass(frozen=True)
class Told:
    """What the story left behind."""

    cohort: Path
    run: TrainedRun
    answers: dict[str, dict[str, Any]]
    expected: float
    after_rollback: str
    champion: str


@pytest.fixture(scope="module")
def podman() -> Podman:
    if shutil.which("podman") is None:
        reason = "podman is not installed: apt-get install podman runc catatonit mmdebstrap"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return prepare_podman(STORE)


@pytest.fixture(scope="module")
def images(podman: Podman) -> dict[Role, BuiltImage]:
    base = os.environ.get("E2E_BASE") or build_base(podman)
    built = {role: build_image(podman, role, base, STORE) for role in ROLES}
    for role, image in built.items():
        print(f"\n{role}: {image.size_bytes / 1e6:.0f} MB, {image.build_s:.0f} s")  # noqa: T201 - what the README states
    return built


@pytest.fixture(scope="module")
def told(podman: Podman, images: dict[Role, BuiltImage], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Tell the story: trained in the Job that the chart renders, killed, resumed, promoted, served, asked, rolled back."""
    runner = PodmanRunner({IMAGES[role]: built.name for role, built in images.items()}, podman.environment)
    with staged(tmp_path_factory.mktemp("emulator"), runner) as stage:
        write_cohort(
            stage.cohort, patient_count=28, seed=5, signal=1.0, image_format="nifti", matrix=128, slice_count=32, jobs=2
        )
        run = stage.train({"toml": demo_recipe()}, 3600.0)
        former = write_former(run.folder / "bundle", tmp_path_factory.mktemp("former") / "bundle")
        champion = stage.install_serving(former)
        assert stage.promote(run.bundle, champion).state == "promoted"
        patient, findings, expected = held_out_patient(stage.cohort, run)
        answers = {way: stage.ask(patient, findings, way) for way in ("http", "grpc")}
        stage.roll_back()
        after = stage.ask(patient, findings, "http")["bundle_digest"]
        yield Told(stage.cohort, run, answers, expected, after, champion.digest)


def writable(folder: Path) -> Path:
    folder.chmod(0o777)
    return folder


# --- the story


def test_a_killed_job_resumes_where_it_was(told: Told) -> None:
    assert told.run.exit_codes == [137, 0]
    assert told.run.kept_first_fold
    assert (told.run.folder / "report" / "index.html").is_file()


def test_the_pod_tells_kubernetes_what_came_out(told: Told) -> None:
    assert told.run.result is not None
    assert told.run.result.bundle_digest == told.run.bundle.digest


def test_its_bundle_is_promoted_served_and_rolled_back(told: Told) -> None:
    for answer in told.answers.values():
        assert answer["probability"] == pytest.approx(told.expected, abs=PARITY)
        assert answer["bundle_digest"] == told.run.bundle.digest
    assert told.after_rollback == told.champion != told.run.bundle.digest


def test_its_bundle_is_fetched_served_asked_and_drained_without_a_network(
    podman: Podman, images: dict[Role, BuiltImage], told: Told, tmp_path: Path
) -> None:
    volume, digest = writable(tmp_path), told.run.bundle.digest
    fetch = ("run", *HARDENED, f"--volume={told.run.folder}:/runs/story:ro", f"--volume={volume}:/bundle", images["serve"].name)
    fetch += ("bundle", "fetch", "file:///runs/story/bundle", "--out=/bundle/model")
    refused = podman(*fetch, f"--digest={'0' * 64}", check=False)
    assert refused.returncode == 1
    assert "BUNDLE_DIGEST_MISMATCH" in refused.stderr
    assert "fetched and verified" in podman(*fetch, f"--digest={digest}").stdout
    assert "was there already" in podman(*fetch, f"--digest={digest}").stdout

    patient, findings, _ = held_out_patient(told.cohort, told.run)
    case = ["--image", f"/cohort/{patient['image']}", "--roi", f"/cohort/{patient['roi']}"]
    case += [part for name, value in findings.items() for part in ("--set", f"{name}={value}")]
    with server(podman, images["serve"].name, volume, told.cohort) as name:
        for way in (("--url", "http://127.0.0.1:3000"), ("--grpc", "127.0.0.1:3001")):
            answer = json.loads(podman("exec", name, "nodogram", "request", *way, *case, "--json").stdout)
            assert answer["probability"] == pytest.approx(told.expected, abs=PARITY)
            assert answer["bundle_digest"] == digest
        assert podman("healthcheck", "run", name, check=False).returncode == 0
        podman("kill", "--signal=TERM", name)
        assert podman("wait", name, timeout_s=90).stdout.strip() == "0"
        assert "draining" in podman("logs", name).stderr + podman("logs", name).stdout


# --- the images


@pytest.mark.parametrize("role", ROLES)
def test_images_are_small(images: dict[Role, BuiltImage], role: Role) -> None:
    assert images[role].size_bytes < LARGEST_BYTES[role]


LOOK_ABOUT = """
import importlib.util, json, os, shutil
def writable(path):
    try:
        open(path + '/probe', 'w').close()
    except OSError:
        return False
    return True
print(json.dumps({
    'user': [os.getuid(), os.getgid()],
    'programs': [p for p in ('cc', 'gcc', 'c++', 'ld', 'make', 'pip') if shutil.which(p)],
    'modules': [m for m in ('torch', 'sklearn', 'xgboost', 'lightgbm', 'pip') if importlib.util.find_spec(m)],
    'written': [p for p in ('/', '/opt/nodogram', '/bundle', '/tmp', '/usr/share/nodogram') if writable(p)],
}))
"""


@pytest.mark.parametrize(("role", "modules"), [("serve", []), ("train", ["torch", "sklearn", "xgboost", "lightgbm"])])
def test_what_is_in_an_image_and_what_is_not(
    podman: Podman, images: dict[Role, BuiltImage], role: Role, modules: list[str]
) -> None:
    answer = podman("run", *HARDENED, "--entrypoint=python", images[role].name, "-c", LOOK_ABOUT)
    assert json.loads(answer.stdout) == {"user": [10001, 10001], "programs": [], "modules": modules, "written": ["/tmp"]}  # noqa: S108


@pytest.mark.parametrize("role", ROLES)
def test_labels_and_bill_of_materials(podman: Podman, images: dict[Role, BuiltImage], role: Role) -> None:
    found = podman.inspect("image", images[role].name)
    labels = {key.rpartition(".")[2]: value for key, value in found["Labels"].items() if key.startswith("org.opencontainers")}
    assert set(labels) == {"title", "description", "licenses", "version", "revision", "created"}
    assert (found["User"], found["Config"]["StopSignal"]) == ("10001:10001", "SIGTERM")
    command = ("run", *HARDENED, "--entrypoint=cat", images[role].name, "/usr/share/nodogram/sbom.json")
    document = json.loads(podman(*command).stdout)
    versions = {c["name"]: c["version"] for c in document["components"]}
    pins = dict(line.split("==") for line in (ROOT / "requirements" / "constraints.txt").read_text().split() if "==" in line)
    assert versions["numpy"] == pins["numpy"]
    assert versions["nodogram"] == labels["version"]
    assert {"libc6", "python3.11-minimal"} <= set(versions) or "E2E_BASE" in os.environ


def test_a_public_address_needs_tokens(podman: Podman, images: dict[Role, BuiltImage]) -> None:
    done = podman("run", *HARDENED, images["serve"].name, check=False)
    assert done.returncode == 1
    assert "SETTINGS_INVALID" in done.stderr


@contextmanager
def server(podman: Podman, image: str, bundle: Path, cohort: Path) -> Iterator[str]:
    """Run the server until the block ends; it is ready when the block begins."""
    options = [option for option in HARDENED if option != "--rm"]
    mounts = (f"--volume={bundle}:/bundle:ro", f"--volume={cohort}:/cohort:ro")
    name = podman("run", "--detach", *options, *mounts, "--env=NODOGRAM_ALLOW_ANONYMOUS=true", image).stdout.strip()
    try:
        ask = "import urllib.request as u; u.urlopen('http://127.0.0.1:3000/readyz', timeout=5)"
        give_up = time.monotonic() + 300
        while podman("exec", name, "python", "-c", ask, check=False).returncode:
            assert time.monotonic() < give_up, podman("logs", name).stderr[-2000:]
            time.sleep(0.5)
        yield name
    finally:
        podman("rm", "--force", "--time=0", name)
