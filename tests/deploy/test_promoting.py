"""Promotions, rollbacks, races of them, and rollouts that fail, against the emulator."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.cluster import Cluster
from deploy.errors import ClusterError, PromotionError, Reason
from deploy.kinds import CONFIG_MAP, DEPLOYMENT
from deploy.promote import BundleReference, Promotion, promote, roll_back, served
from deploy.rollout import await_rollout
from deploy.status import namespace_status
from tests.deploy.conftest import IMAGE
from tests.deploy.emulator.emulator import Emulator
from tests.deploy.emulator.faults import Fault
from tests.deploy.releases import FIRST, NAMESPACE, install_serving

RELEASE = "clinic"
NAME = "clinic-nodogram-serving"
SECOND = BundleReference("file:///bundles/second", "2" * 64)
THIRD = BundleReference("file:///bundles/third", "3" * 64)
DAMAGED = BundleReference("file:///bundles/damaged", "d" * 64)
PATIENT_S = 120.0


@pytest.fixture
def serving(emulator: Emulator) -> Emulator:
    """Return the emulator with release ``clinic`` of the serving chart."""
    install_serving(emulator, RELEASE, IMAGE, replicas=1)
    return emulator


def live(cluster: Cluster) -> tuple[str, str, str]:
    """Return digest served, digest before, and digest of the pod template."""
    config_map, deployment = cluster.read(CONFIG_MAP, f"{NAME}-bundle"), cluster.read(DEPLOYMENT, NAME)
    return (
        config_map.data["digest"],
        config_map.metadata.annotations.get("nodogram.io/previous-digest", ""),
        deployment.spec.template.metadata.annotations["nodogram.io/bundle-digest"],
    )


def rolled_out(cluster: Cluster, bundle: BundleReference) -> None:
    assert await_rollout(cluster, RELEASE, bundle, PATIENT_S, str).is_complete


def test_a_promotion_replaces_the_pods_and_a_rollback_brings_the_former_bundle_back(
    serving: Emulator, cluster: Cluster
) -> None:
    promotion = promote(cluster, RELEASE, SECOND, expected_digest=FIRST)
    assert promotion == Promotion("promoted", RELEASE, SECOND, BundleReference("file:///bundles/first", FIRST))
    rolled_out(cluster, SECOND)
    assert live(cluster) == (SECOND.digest, FIRST, SECOND.digest)
    pods = list(serving.store.objects("Pod", NAMESPACE))
    assert [p["metadata"]["annotations"]["nodogram.io/bundle-digest"] for p in pods] == [SECOND.digest]
    back = roll_back(cluster, RELEASE)
    assert back.bundle.digest == FIRST
    rolled_out(cluster, back.bundle)
    assert live(cluster) == (FIRST, SECOND.digest, FIRST)
    assert roll_back(cluster, RELEASE).bundle == SECOND


def test_what_is_served_is_promoted_without_touching_anything(serving: Emulator, cluster: Cluster) -> None:
    promote(cluster, RELEASE, SECOND)
    before = len(serving.requests)
    assert promote(cluster, RELEASE, SECOND, expected_digest=FIRST).state == "unchanged"
    assert {method for method, _ in serving.requests[before:]} == {"GET"}


def test_an_interrupted_promotion_is_finished_by_repeating_it(serving: Emulator, cluster: Cluster) -> None:
    serving.faults.add(Fault("PATCH", f"/deployments/{NAME}", code=403, message="forbidden"))
    with pytest.raises(ClusterError):
        promote(cluster, RELEASE, SECOND)
    assert live(cluster) == (SECOND.digest, FIRST, FIRST)
    assert promote(cluster, RELEASE, SECOND).state == "unchanged"
    assert live(cluster) == (SECOND.digest, FIRST, SECOND.digest)


@pytest.mark.parametrize("action", ["answer", "drop", "drop_after"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/configmaps/"), ("PATCH", "/configmaps/"), ("GET", "/deployments/"), ("PATCH", "/deployments/")],
)
def test_a_call_that_fails_is_repeated_and_the_promotion_is_done_once(
    serving: Emulator, cluster: Cluster, method: str, path: str, action: Any
) -> None:
    """Also where the change was made and only its answer was lost, so that the repetition is a conflict."""
    serving.faults.add(Fault(method, path, action=action, count=2))
    assert promote(cluster, RELEASE, SECOND, expected_digest=FIRST).state == "promoted"
    assert live(cluster) == (SECOND.digest, FIRST, SECOND.digest)
    assert not serving.faults.pending


@pytest.mark.parametrize("path", ["/configmaps/", "/deployments/"])
def test_conflicts_about_other_things_are_no_conflicts(serving: Emulator, cluster: Cluster, path: str) -> None:
    serving.faults.add(Fault("PATCH", path, code=409, reason="Conflict", message="the object has been modified", count=5))
    assert promote(cluster, RELEASE, SECOND, expected_digest=FIRST).state == "promoted"
    assert live(cluster) == (SECOND.digest, FIRST, SECOND.digest)


@pytest.mark.parametrize("with_expectation", [True, False])
def test_of_two_promotions_at_the_same_time_one_wins_and_the_other_is_told_what_won(
    serving: Emulator, client_of: Callable[[Emulator], Cluster], with_expectation: bool
) -> None:
    """Both have read the same state before either changes it."""
    ends: dict[str, Promotion | PromotionError] = {}
    both_have_read = threading.Barrier(2)

    class Racer(Cluster):
        def patch(self, kind: Any, name: str, changes: Any) -> Any:
            if kind is CONFIG_MAP and not hasattr(self, "has_raced"):
                self.has_raced = True
                both_have_read.wait(PATIENT_S)
            return super().patch(kind, name, changes)

    def run(racer: Cluster, bundle: BundleReference) -> None:
        try:
            ends[bundle.digest] = promote(racer, RELEASE, bundle, expected_digest=FIRST if with_expectation else None)
        except PromotionError as error:
            ends[bundle.digest] = error

    threads = []
    for bundle in (SECOND, THIRD):
        # Connected here: the emulator writes its kubeconfig anew each time, under the eyes of the other.
        racer = client_of(serving)
        racer.__class__ = Racer
        threads.append(threading.Thread(target=run, args=(racer, bundle)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENT_S)
    (winner,) = [end for end in ends.values() if isinstance(end, Promotion)]
    (loser,) = [end for end in ends.values() if isinstance(end, PromotionError)]
    assert loser.reason is Reason.PROMOTION_CONFLICT
    assert winner.bundle.digest[:12] in loser.message
    assert live(client_of(serving)) == (winner.bundle.digest, FIRST, winner.bundle.digest)


def test_an_expectation_that_is_wrong_changes_nothing(serving: Emulator, cluster: Cluster) -> None:
    with pytest.raises(PromotionError, match=r"serves 111111111111 .* not the expected 999999999999") as refused:
        promote(cluster, RELEASE, SECOND, expected_digest="9" * 64)
    assert refused.value.reason is Reason.PROMOTION_CONFLICT
    assert live(cluster) == (FIRST, "", FIRST)


def test_a_bundle_whose_digest_is_wrong_never_gets_ready_and_says_why(serving: Emulator, cluster: Cluster) -> None:
    serving.store.wait_until(lambda: namespace_status(cluster, RELEASE).serving[0].deployments[0].ready_count == 1)
    deadline = {"spec": {"progressDeadlineSeconds": 1}}
    cluster.patch(DEPLOYMENT, NAME, deadline)
    promote(cluster, RELEASE, DAMAGED)
    with pytest.raises(PromotionError, match=r"CONTAINER_CRASHED container fetch-bundle .* BUNDLE_DIGEST_MISMATCH") as refused:
        await_rollout(cluster, RELEASE, DAMAGED, PATIENT_S, str)
    assert refused.value.reason is Reason.ROLLOUT_FAILED
    # The old pod goes on serving all the while.
    assert namespace_status(cluster, RELEASE).serving[0].deployments[0].ready_count == 1
    rolled_out(cluster, roll_back(cluster, RELEASE).bundle)


def test_a_rollout_overtaken_by_another_promotion_is_told_so(serving: Emulator, cluster: Cluster) -> None:
    promote(cluster, RELEASE, SECOND)
    promote(cluster, RELEASE, THIRD)
    with pytest.raises(PromotionError, match="rolls out 333333333333 now") as refused:
        await_rollout(cluster, RELEASE, SECOND, PATIENT_S, str)
    assert refused.value.reason is Reason.PROMOTION_CONFLICT


def test_a_rollout_that_takes_too_long_for_the_caller_is_a_timeout(serving: Emulator, cluster: Cluster) -> None:
    promote(cluster, RELEASE, DAMAGED)
    with pytest.raises(PromotionError) as refused:
        await_rollout(cluster, RELEASE, DAMAGED, 0.0, str)
    assert (refused.value.reason, refused.value.exit_code) == (Reason.DEADLINE_EXCEEDED, 3)


def test_rights_to_read_and_change_by_name_are_enough(serving: Emulator, cluster: Cluster) -> None:
    """What the chart gives the ServiceAccount for promotion: no list, no watch."""
    for path in ("/configmaps$", "/deployments$", "/pods$"):
        serving.faults.add(Fault("GET", path, watch=None, code=403, message="forbidden", count=10_000))
    promote(cluster, RELEASE, SECOND)
    rolled_out(cluster, SECOND)


def test_nothing_to_go_back_to(serving: Emulator, cluster: Cluster) -> None:
    with pytest.raises(PromotionError) as refused:
        roll_back(cluster, RELEASE)
    assert refused.value.reason is Reason.ROLLBACK_UNAVAILABLE


def test_a_decision_is_noted_by_its_digest_and_forgotten_with_the_next_promotion(
    serving: Emulator, cluster: Cluster, tmp_path: Path
) -> None:
    decision = tmp_path / "decision.json"
    decision.write_bytes(b'{"promote": true}')
    promote(cluster, RELEASE, SECOND, decision=decision)
    notes = cluster.read(CONFIG_MAP, f"{NAME}-bundle").metadata.annotations
    assert notes["nodogram.io/decision-digest"] == hashlib.sha256(decision.read_bytes()).hexdigest()
    promote(cluster, RELEASE, THIRD)
    assert "nodogram.io/decision-digest" not in cluster.read(CONFIG_MAP, f"{NAME}-bundle").metadata.annotations
    with pytest.raises(PromotionError) as refused:
        promote(cluster, RELEASE, SECOND, decision=tmp_path / "absent.json")
    assert refused.value.reason is Reason.FILE_NOT_FOUND


@pytest.mark.parametrize(
    ("uri", "digest"),
    [("/bundles/x", "1" * 64), ("ftp://x/y", "1" * 64), ("s3://", "1" * 64), ("s3://b/k", "1" * 12), ("s3://b/k", "F" * 64)],
)
def test_a_reference_is_checked_before_anything_is_asked(uri: str, digest: str) -> None:
    with pytest.raises(PromotionError) as refused:
        BundleReference(uri, digest)
    assert refused.value.reason is Reason.BUNDLE_REFERENCE_INVALID


def test_a_release_that_is_not_installed_is_named(serving: Emulator, cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="no ConfigMap ward-nodogram-serving-bundle") as refused:
        served(cluster, "ward")
    assert refused.value.reason is Reason.RELEASE_NOT_FOUND


def test_the_status_shows_what_is_served_what_was_and_how_ready_it_is(serving: Emulator, cluster: Cluster) -> None:
    promote(cluster, RELEASE, SECOND)
    rolled_out(cluster, SECOND)
    (found,) = namespace_status(cluster, RELEASE).serving
    assert (found.bundle, found.previous) == (SECOND, BundleReference("file:///bundles/first", FIRST))
    assert found.promoted_at.startswith("20")
    (deployment,) = found.deployments
    assert (deployment.ready_count, deployment.wanted_count, deployment.words) == (1, 1, "1 of 1 ready")
    with pytest.raises(ClusterError, match="under release ward"):
        namespace_status(cluster, "ward")
