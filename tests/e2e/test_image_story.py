"""From two Dockerfiles to an answer: built, trained in the chart's Job, killed, resumed, fetched, served, asked, stopped.

Containers are real, run by podman; the Kubernetes they run under is the emulator.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from images.base import build_base
from images.build import ROLES, ROOT, BuiltImage, Role, build_image
from images.podman import STORE, Podman, prepare_podman
from nodogram.bundle import read_manifest
from tests.deploy.emulator.emulator import Emulator, running
from tests.deploy.emulator.resources import resource
from tests.deploy.emulator.runners import PodmanRunner

pytestmark = [pytest.mark.slow, pytest.mark.timeout(5400)]

NAMESPACE, JOB_IMAGE = "ml", "nodogram-train:e2e"
LARGEST_BYTES: dict[Role, float] = {"serve": 1.1e9, "train": 3.0e9}
# As the charts run them: nothing but /tmp can be written, no right is left, and no network is there.
HARDENED = (
    *("--rm", "--pull=never", "--network=none", "--read-only", "--read-only-tmpfs=false", "--tmpfs=/tmp:rw,mode=1777"),
    *("--cap-drop=ALL", "--security-opt=no-new-privileges"),
)
PARITY = 1e-6


@dataclass(frozen=True)
class TrainedRun:
    """What the Job left on its claim, and how its pods ended."""

    cohort: Path
    folder: Path
    exit_codes: list[int]
    resumed_untouched: bool

    @property
    def digest(self) -> str:
        return read_manifest(self.folder / "bundle").digest


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
def trained(podman: Podman, images: dict[Role, BuiltImage], tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """Train in the Job that the chart renders; its first pod is killed when the first fold is done."""
    runner = PodmanRunner({JOB_IMAGE: images["train"].name}, podman.environment)
    with running(tmp_path_factory.mktemp("emulator"), runner) as emulator:
        emulator.create_namespace(NAMESPACE)
        cohort, runs = (writable(emulator.create_claim(NAMESPACE, name)) for name in ("cohort", "runs"))
        synthesize(podman, images["train"].name, cohort)
        job = install(emulator)
        folder = runs / job
        first_fold = folder / "work" / "fold-1" / "fold.json"
        wait_for(first_fold.is_file, 1800, lambda: job_state(emulator, job))
        before = first_fold.stat().st_mtime_ns
        assert emulator.kubelet is not None
        emulator.kubelet.worker(NAMESPACE, pods(emulator)[0]["metadata"]["name"]).kill("train")
        wait_for(lambda: job_state(emulator, job) in ("Complete", "Failed"), 3600, lambda: job_state(emulator, job))
        assert job_state(emulator, job) == "Complete"
        codes = sorted(
            (pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] for pod in pods(emulator)), reverse=True
        )
        kept = tmp_path_factory.mktemp("kept")
        # Outlives the emulator, as a claim outlives its pods.
        shutil.copytree(cohort, kept / "cohort")
        shutil.copytree(folder, kept / "run")
        return TrainedRun(kept / "cohort", kept / "run", codes, first_fold.stat().st_mtime_ns == before)


def writable(folder: Path) -> Path:
    folder.chmod(0o777)
    return folder


def synthesize(podman: Podman, image: str, cohort: Path) -> None:
    options = ("--patients=36", "--seed=5", "--signal=1", "--format=nifti", "--jobs=2")
    podman("run", *HARDENED, f"--volume={cohort}:/cohort", image, "cohort", "synth", "--out=/cohort", *options)


def install(emulator: Emulator) -> str:
    """Create what the chart renders and return the name of the Job."""
    values = {
        "mode": "job",
        "run": "story",
        "image": {"repository": JOB_IMAGE.partition(":")[0], "tag": JOB_IMAGE.partition(":")[2]},
        "cohort": {"existingClaim": "cohort"},
        "output": {"existingClaim": "runs"},
        "recipe": {"name": "demo"},
        "jobs": 2,
        "resources": {"requests": {"cpu": "1", "memory": "8Gi"}},
    }
    with helm_python.Chart.load(str(ROOT / "charts" / "nodogram-training")) as chart:
        rendered = chart.render(values, name="night", namespace=NAMESPACE)
    documents = [d for name in sorted(rendered) if name.endswith(".yaml") for d in yaml.safe_load_all(rendered[name]) if d]
    for kind in ("ServiceAccount", "ConfigMap", "Job"):
        for document in documents:
            if document["kind"] == kind and "helm.sh/hook" not in (document["metadata"].get("annotations") or {}):
                emulator.create(document, NAMESPACE)
    name: str = next(d["metadata"]["name"] for d in documents if d["kind"] == "Job")
    return name


def pods(emulator: Emulator) -> list[dict[str, Any]]:
    return list(emulator.store.objects("Pod"))


def job_state(emulator: Emulator, job: str) -> str:
    conditions = (emulator.store.get(resource("Job"), NAMESPACE, job).get("status") or {}).get("conditions") or []
    return next((c["type"] for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True"), "running")


def wait_for(happened: Callable[[], bool], longest_s: float, state: Callable[[], str]) -> None:
    give_up = time.monotonic() + longest_s
    while not happened():
        assert time.monotonic() < give_up, f"waited {longest_s:.0f} s: {state()}"
        assert state() != "Failed"
        time.sleep(0.2)


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


# --- the story


def test_a_killed_job_resumes_where_it_was(trained: TrainedRun) -> None:
    assert trained.exit_codes == [137, 0]
    assert trained.resumed_untouched
    assert (trained.folder / "report" / "index.html").is_file()


def test_its_bundle_is_fetched_served_asked_and_drained(
    podman: Podman, images: dict[Role, BuiltImage], trained: TrainedRun, tmp_path: Path
) -> None:
    volume = writable(tmp_path)
    fetch = ("run", *HARDENED, f"--volume={trained.folder}:/runs/story:ro", f"--volume={volume}:/bundle", images["serve"].name)
    fetch += ("bundle", "fetch", "file:///runs/story/bundle", "--out=/bundle/model")
    refused = podman(*fetch, f"--digest={'0' * 64}", check=False)
    assert refused.returncode == 1
    assert "BUNDLE_DIGEST_MISMATCH" in refused.stderr
    assert "fetched and verified" in podman(*fetch, f"--digest={trained.digest}").stdout
    assert "was there already" in podman(*fetch, f"--digest={trained.digest}").stdout

    case, expected = held_out_case(trained)
    with server(podman, images["serve"].name, volume, trained.cohort) as name:
        for way in (("--url", "http://127.0.0.1:3000"), ("--grpc", "127.0.0.1:3001")):
            answer = json.loads(podman("exec", name, "nodogram", "request", *way, *case, "--json").stdout)
            assert answer["probability"] == pytest.approx(expected, abs=PARITY)
            assert answer["bundle_digest"] == trained.digest
        assert podman("healthcheck", "run", name, check=False).returncode == 0
        podman("kill", "--signal=TERM", name)
        assert podman("wait", name, timeout_s=90).stdout.strip() == "0"
        assert "draining" in podman("logs", name).stderr + podman("logs", name).stdout


def held_out_case(trained: TrainedRun) -> tuple[list[str], float]:
    """Return options of a request for the first test patient, and what training said of them."""
    with (trained.folder / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        row = next(row for row in csv.DictReader(stream) if row["split"] == "test")
    with (trained.cohort / "cohort.csv").open(encoding="utf-8", newline="") as stream:
        patient = next(p for p in csv.DictReader(stream) if p["patient_id"] == row["patient_id"])
    options = ["--image", f"/cohort/{patient['image']}", "--roi", f"/cohort/{patient['roi']}"]
    for predictor in read_manifest(trained.folder / "bundle").predictors:
        options += ["--set", f"{predictor.name}={patient[predictor.name]}"]
    return options, float(row["probability"])


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
