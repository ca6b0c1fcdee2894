"""From a cohort to an answer, as a cluster would do it: trained in the chart's Job, killed, resumed, promoted, served, asked.

The API server is the emulator; what runs the containers is a parameter: processes of this machine, or podman.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import helm_python
from running_server import free_port

from deploy.cluster import Cluster, connect
from deploy.job_template import TrainingRequest
from deploy.jobs import Limits, Snapshot, follow, submit
from deploy.outcome import TrainingResult
from deploy.promote import BundleReference, Promotion, promote, roll_back
from deploy.rollout import await_rollout
from nodogram.bundle import MANIFEST, read_manifest, write_document
from tests.deploy.emulator.emulator import Emulator, running
from tests.deploy.emulator.kubelet import Document
from tests.deploy.emulator.runners import Runner

CHARTS = Path(__file__).parents[2] / "charts"
NAMESPACE, NIGHT, CLINIC = "ml", "night", "clinic"
IMAGES = {"train": "nodogram-train:story", "serve": "nodogram-serve:story"}
SHORTENED = {
    **dict.fromkeys(("bootstrap_resamples", "repeats", "permutations", "perturbed_patients"), "0"),
    "leave_one_centre_out": "false",
    "inner_folds": "3",
    "maximum_epochs": "1",
    "names": '["LR", "XGBoost"]',
}
CHAMPION = "file:///bundles/champion/bundle"
DEMO = Path(__file__).parents[2] / "training" / "recipes" / "demo.toml"


@dataclass(frozen=True)
class TrainedRun:
    """What the Job left on its claim, and how its pods ended.

    Attributes
    ----------
    folder
        Of the run.
    exit_codes
        Of its pods, the killed one first.
    kept_first_fold
        Whether the second pod found the first fold done and left it alone.
    result
        What the pod told Kubernetes; ``None`` where there is no termination log.
    """

    folder: Path
    name: str
    exit_codes: list[int]
    kept_first_fold: bool
    result: TrainingResult | None

    @property
    def bundle(self) -> BundleReference:
        """Return the bundle as a release on the same claim finds it."""
        return BundleReference(f"file:///bundles/{self.name}/bundle", read_manifest(self.folder / "bundle").digest)


@dataclass(frozen=True)
class ShardedFeatures:
    """What shards and merge left on the claim.

    Attributes
    ----------
    folder
        Of the features.
    exit_codes
        Of the pods of the shard that was killed, the killed one first.
    kept_measured
        Whether every patient measured before the kill was left alone after it.
    """

    folder: Path
    exit_codes: list[int]
    kept_measured: bool


class Listener:
    """Prints what the Job says."""

    def looked(self, snapshot: Snapshot) -> None:
        """Nothing is said between lines."""

    def line(self, pod: str, text: str) -> None:
        """Print a line of a pod."""
        print(f"{pod}: {text}")  # noqa: T201 - shown by pytest where the story fails


@dataclass(frozen=True)
class Stage:
    """Both claims and both charts on an emulator.

    Attributes
    ----------
    cohort, runs
        Folders behind the claims.
    http_port, grpc_port
        Of the server: containers share the network of this machine.
    """

    emulator: Emulator
    helm: helm_python.Config
    cluster: Cluster
    cohort: Path
    runs: Path
    http_port: int
    grpc_port: int

    def train(self, recipe: Mapping[str, str], longest_s: float) -> TrainedRun:
        """Let the Job of the chart train; its first pod is killed when the first fold is done."""
        values = {
            "image": image("train"),
            "cohort": {"existingClaim": "cohort"},
            "output": {"existingClaim": "runs"},
            "recipe": dict(recipe),
            "jobs": 2,
            "resources": {"requests": {"cpu": "1", "memory": "8Gi"}},
        }
        self.helm.install(str(CHARTS / "nodogram-training"), NIGHT, values)
        submission = submit(self.cluster, NIGHT, TrainingRequest())
        folder = self.runs / submission.name
        first_fold = folder / "work" / "fold-1" / "fold.json"
        with ThreadPoolExecutor(1) as pool:
            ending = pool.submit(follow, self.cluster, submission, Listener(), Limits(whole_s=longest_s))
            wait_for(lambda: first_fold.is_file() or ending.done(), longest_s)
            assert first_fold.is_file(), ending.result()
            before = first_fold.stat().st_mtime_ns
            self._kill(self._pods(submission.name)[0], "train")
            outcome = ending.result()
        assert outcome.state == "done", outcome
        kept = first_fold.stat().st_mtime_ns == before
        return TrainedRun(folder, submission.name, exit_codes(self._pods(submission.name)), kept, outcome.result)

    def extract(self, recipe: Mapping[str, str], shards: int, longest_s: float) -> ShardedFeatures:
        """Let the Indexed Job of the chart extract, two shards at a time, and its Job merge; one shard is killed underway."""
        values = {
            "mode": "extraction",
            "image": image("train"),
            "cohort": {"existingClaim": "cohort"},
            "output": {"existingClaim": "runs"},
            "recipe": dict(recipe),
            "jobs": 1,
            "resources": {"requests": {"cpu": "1", "memory": "4Gi"}},
            "extraction": {"shards": shards, "parallelism": 2},
        }
        self.helm.install(str(CHARTS / "nodogram-training"), NIGHT, values)
        jobs = {j["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]: j for j in self._jobs()}
        name = jobs["extract"]["metadata"]["name"]
        folder = self.runs / name
        wait_for(lambda: len(measured(folder)) >= shards, longest_s)
        victim = next(p for p in self._pods(name) if p["status"]["phase"] == "Running")
        self._kill(victim, "extract")
        before = measured(folder)
        wait_for(lambda: {self._ending(j["metadata"]["name"]) for j in jobs.values()}.isdisjoint({None}), longest_s)
        assert {component: self._ending(j["metadata"]["name"]) for component, j in jobs.items()} == {
            "extract": "Complete",
            "merge": "Complete",
        }
        index = "batch.kubernetes.io/job-completion-index"
        again = [p for p in self._pods(name) if p["metadata"]["annotations"][index] == victim["metadata"]["annotations"][index]]
        after = measured(folder)
        return ShardedFeatures(folder, exit_codes(again), {case: after[case] for case in before} == before)

    def install_serving(self, champion: Path) -> BundleReference:
        """Install the release with a bundle that was there before; return once it is served."""
        shutil.copytree(champion, self.runs / "champion" / "bundle")
        reference = BundleReference(CHAMPION, read_manifest(champion).digest)
        ports = {"NODOGRAM_HTTP_PORT": self.http_port, "NODOGRAM_GRPC_PORT": self.grpc_port}
        values = {
            "image": image("serve"),
            "replicaCount": 1,
            # The ports are those of this machine: two servers cannot have them at once.
            "strategy": {"type": "Recreate", "rollingUpdate": None},
            "bundle": {"uri": reference.uri, "digest": reference.digest, "existingClaim": "runs"},
            "tokens": {"allowAnonymous": True},
            "server": {"drainDelayS": 0, "caseWorkers": 2},
            "extraEnv": [{"name": name, "value": str(value)} for name, value in ports.items()],
        }
        self.helm.install(str(CHARTS / "nodogram-serving"), CLINIC, values)
        self.await_served(reference)
        return reference

    def promote(self, bundle: BundleReference, expected: BundleReference) -> Promotion:
        """Promote and wait until nothing else is served."""
        done = promote(self.cluster, CLINIC, bundle, expected_digest=expected.digest)
        self.await_served(bundle)
        return done

    def roll_back(self) -> BundleReference:
        """Go back to the bundle before and wait until it is served."""
        done = roll_back(self.cluster, CLINIC)
        self.await_served(done.bundle)
        return done.bundle

    def await_served(self, bundle: BundleReference) -> None:
        """Wait until the pods are ready with a bundle."""
        assert await_rollout(self.cluster, CLINIC, bundle, 600.0, print).is_complete

    def ask(self, patient: Mapping[str, str], findings: Mapping[str, str], way: str) -> dict[str, Any]:
        """Ask for a patient of the cohort over ``http`` or ``grpc``, as the command line does."""
        where = {
            "http": ("--url", f"http://127.0.0.1:{self.http_port}"),
            "grpc": ("--grpc", f"127.0.0.1:{self.grpc_port}"),
        }
        files = ("--image", str(self.cohort / patient["image"]), "--roi", str(self.cohort / patient["roi"]))
        given = [option for name, value in findings.items() for option in ("--set", f"{name}={value}")]
        command = [sys.executable, "-m", "nodogram", "request", *where[way], *files, *given, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def _kill(self, pod: Document, container: str) -> None:
        assert self.emulator.kubelet is not None
        self.emulator.kubelet.worker(NAMESPACE, pod["metadata"]["name"]).kill(container)

    def _jobs(self) -> list[Document]:
        return list(self.emulator.store.objects("Job"))

    def _ending(self, job: str) -> str | None:
        found = next(j for j in self._jobs() if j["metadata"]["name"] == job)
        ended = [c["type"] for c in (found.get("status") or {}).get("conditions") or [] if c["status"] == "True"]
        return next((kind for kind in ended if kind in ("Complete", "Failed")), None)

    def _pods(self, job: str) -> list[Document]:
        return [p for p in self.emulator.store.objects("Pod") if p["metadata"]["labels"].get("job-name") == job]


def demo_recipe() -> str:
    """Return the recipe ``demo`` without what only takes its time here: most refits, epochs, inner folds and algorithms."""
    text = DEMO.read_text(encoding="utf-8")
    for key, value in SHORTENED.items():
        text, count = re.subn(rf"(?m)^{key} = [^#\n]+", f"{key} = {value} ", text)
        assert count == 1, key
    return text


def write_former(bundle: Path, folder: Path) -> Path:
    """Write a bundle of another name with the same models, as the one that was served before."""
    shutil.copytree(bundle, folder)
    manifest = read_manifest(bundle).model_copy(update={"name": "former"})
    write_document(folder / MANIFEST, manifest.model_copy(update={"digest": manifest.content_digest()}))
    return folder


def held_out_patient(cohort: Path, run: TrainedRun) -> tuple[dict[str, str], dict[str, str], float]:
    """Return the first test patient: row of the cohort, findings, and the probability training wrote down."""
    with (run.folder / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        row = next(row for row in csv.DictReader(stream) if row["split"] == "test")
    with (cohort / "cohort.csv").open(encoding="utf-8", newline="") as stream:
        patient = next(p for p in csv.DictReader(stream) if p["patient_id"] == row["patient_id"])
    predictors = read_manifest(run.folder / "bundle").predictors
    return patient, {p.name: patient[p.name] for p in predictors}, float(row["probability"])


@contextmanager
def staged(folder: Path, runner: Runner) -> Iterator[Stage]:
    """Run an emulator with the claims ``cohort`` and ``runs``."""
    http_port, grpc_port = free_port(), free_port()

    def ready(container: Document, probe: Document) -> bool:
        path = probe["httpGet"]["path"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{http_port}{path}", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    with running(folder, runner, probe=ready) as emulator:
        emulator.create_namespace(NAMESPACE)
        cohort, runs = (emulator.create_claim(NAMESPACE, name) for name in ("cohort", "runs"))
        for claim in (cohort, runs):
            claim.chmod(0o777)
        kubeconfig = emulator.kubeconfig(NAMESPACE)
        with helm_python.Config(kubeconfig_path=kubeconfig, namespace=NAMESPACE, storage_driver="memory") as helm:
            cluster = connect(kubeconfig, None, None, print)
            yield Stage(emulator, helm, cluster, cohort, runs, http_port, grpc_port)


def exit_codes(pods: Iterable[Document]) -> list[int]:
    """Return how the pods of a Job ended, killed ones first."""
    return sorted((p["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] for p in pods), reverse=True)


def measured(folder: Path) -> dict[str, tuple[int, int]]:
    """Return inode and time of every patient's file."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (folder / "cases").glob("*.npz")}


def image(role: str) -> dict[str, str]:
    """Return the values that name an image of the story."""
    repository, _, tag = IMAGES[role].partition(":")
    return {"repository": repository, "tag": tag}


def wait_for(happened: Callable[[], bool], longest_s: float) -> None:
    """Look five times a second."""
    give_up = time.monotonic() + longest_s
    while not happened():
        assert time.monotonic() < give_up, f"waited {longest_s:.0f} s"
        time.sleep(0.2)
