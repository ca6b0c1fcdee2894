"""Both charts installed by Helm itself, a training through the client, its bundle promoted, upgraded over and rolled back."""

from __future__ import annotations

from pathlib import Path

import helm_python
import pytest

from deploy.cluster import Cluster, connect
from deploy.job_template import TrainingRequest
from deploy.jobs import Limits, follow, submit
from deploy.kinds import DEPLOYMENT
from deploy.promote import BundleReference, promote, roll_back, served
from deploy.rollout import await_rollout
from deploy.status import namespace_status
from tests.deploy.conftest import HASTE, IMAGE, STAND_IN
from tests.deploy.emulator.emulator import Emulator, running
from tests.deploy.emulator.faults import Fault
from tests.deploy.emulator.runners import ProcessRunner
from tests.deploy.emulator.volumes import claim_folder
from tests.deploy.releases import FIRST, NAMESPACE
from tests.deploy.test_following import Notes

CHARTS = Path(__file__).parents[2] / "charts"
IMAGE_VALUES = {"registry": "registry.example.org", "repository": "nodogram", "tag": "1.0.0"}
TRAINING = {"image": IMAGE_VALUES, "cohort": {"existingClaim": "cohort"}}
SERVING = {
    "image": IMAGE_VALUES,
    "replicaCount": 1,
    "bundle": {"uri": "s3://bundles/first", "digest": FIRST},
    "tokens": {"allowAnonymous": True},
}
PATIENT_S = 120.0


def await_bundle(cluster: Cluster, bundle: BundleReference) -> None:
    assert await_rollout(cluster, "clinic", bundle, PATIENT_S, str).is_complete


def faults(emulator: Emulator) -> None:
    """Let every kind of request of the client fail once in every way."""
    emulator.faults.add(
        Fault("POST", "/jobs$", action="drop_after"),
        Fault("GET", "", watch=True, action="expire"),
        Fault("GET", "", watch=True, action="drop"),
        Fault("GET", "/pods$", code=500),
        Fault("GET", "/log$", action="drop_after"),
        Fault("PATCH", "/configmaps/", code=409, reason="Conflict"),
        Fault("PATCH", "/deployments/", action="drop_after"),
    )


def test_from_submit_to_promoted_bundle_and_back(tmp_path: Path) -> None:
    runner = ProcessRunner({IMAGE: STAND_IN})
    with running(tmp_path, runner, probe=lambda *_: True) as emulator:
        emulator.create_namespace(NAMESPACE)
        emulator.create_claim(NAMESPACE, "cohort")
        kubeconfig = emulator.kubeconfig(NAMESPACE)
        with helm_python.Config(kubeconfig_path=kubeconfig, namespace=NAMESPACE, storage_driver="memory") as helm:
            helm.install(str(CHARTS / "nodogram-training"), "night", TRAINING)
            helm.install(str(CHARTS / "nodogram-serving"), "clinic", SERVING)
            cluster = connect(kubeconfig, None, None, str, HASTE)
            await_bundle(cluster, BundleReference("s3://bundles/first", FIRST))
            faults(emulator)

            notes = Notes()
            submission = submit(cluster, "night", TrainingRequest(environment=(("DIGEST", "2" * 64),)))
            outcome = follow(cluster, submission, notes, Limits(PATIENT_S))
            assert outcome.state == "done"
            assert outcome.result is not None
            assert notes.texts[-1] == "[2/2] Bundle"
            # Every run has the folder of its Job on the claim that the chart made.
            assert (claim_folder(tmp_path, NAMESPACE, "night-nodogram-training-runs") / submission.name).is_dir()

            second = BundleReference("s3://bundles/second", outcome.result.bundle_digest)
            assert promote(cluster, "clinic", second, expected_digest=FIRST).state == "promoted"
            await_bundle(cluster, second)

            # An upgrade with the old values keeps what has been promoted.
            helm.upgrade(str(CHARTS / "nodogram-serving"), "clinic", {**SERVING, "replicaCount": 2})
            assert served(cluster, "clinic").bundle == second
            assert cluster.read(DEPLOYMENT, "clinic-nodogram-serving").spec.replicas == 2
            await_bundle(cluster, second)

            back = roll_back(cluster, "clinic")
            assert back.bundle.digest == FIRST
            await_bundle(cluster, back.bundle)
            status = namespace_status(cluster, None)
            assert [(job.state, job.bundle_digest) for job in status.jobs] == [("done", second.digest)]
            assert [(s.bundle, s.previous) for s in status.serving] == [(back.bundle, second)]

            for release in ("night", "clinic"):
                helm.uninstall(release)
            assert not list(emulator.store.objects("Deployment"))
            # Bundles outlive the releases.
            assert [c["metadata"]["name"] for c in emulator.store.objects("PersistentVolumeClaim")] == [
                "cohort",
                "night-nodogram-training-runs",
            ]
            assert not emulator.faults.pending


@pytest.mark.parametrize("chart", ["nodogram-training", "nodogram-serving"])
def test_names_the_client_uses_are_those_of_the_charts(chart: str) -> None:
    values = TRAINING if chart == "nodogram-training" else SERVING
    with helm_python.Chart.load(str(CHARTS / chart)) as found:
        rendered = "\n".join(found.render(values, name="r", namespace=NAMESPACE).values())
    names = ["r-nodogram-training"] if chart == "nodogram-training" else ["r-nodogram-serving", "r-nodogram-serving-bundle"]
    assert all(f"name: {name}\n" in rendered for name in names)
