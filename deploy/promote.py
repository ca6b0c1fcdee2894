"""Which bundle is served: one ConfigMap says so, and whoever changes it first, wins.

A promotion changes the ConfigMap only if it is still what was read (its resource version), and then the pod templates that read
it, only while the ConfigMap still says what was promoted. An interrupted promotion is finished by repeating it.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from deploy.cluster import Cluster
from deploy.errors import ClusterError, PromotionError, Reason
from deploy.kinds import CONFIG_MAP, DEPLOYMENT, ConfigMap, Deployment

CHART = "nodogram-serving"
DIGEST_ANNOTATION = "nodogram.io/bundle-digest"
PREVIOUS_URI = "nodogram.io/previous-uri"
PREVIOUS_DIGEST = "nodogram.io/previous-digest"
PROMOTION = "nodogram.io/promotion"
PROMOTED_AT = "nodogram.io/promoted-at"
DECISION = "nodogram.io/decision-digest"

# Controllers write the status of a Deployment all the time, and each write is a conflict for us.
ATTEMPTS = 20

_SCHEMES = ("file", "s3", "gs", "az", "oci")


@dataclass(frozen=True)
class BundleReference:
    """Where a bundle is and what it is.

    Attributes
    ----------
    uri
        ``file://``, ``s3://``, ``gs://``, ``az://`` or ``oci://``, as ``nodogram bundle fetch`` takes it.
    digest
        SHA-256 of the bundle, 64 lower-case hexadecimal digits.
    """

    uri: str
    digest: str

    def __post_init__(self) -> None:
        scheme = self.uri.partition("://")[0]
        if scheme not in _SCHEMES or self.uri == f"{scheme}://":
            raise PromotionError(
                Reason.BUNDLE_REFERENCE_INVALID,
                f"{self.uri!r} is no URI of a bundle; one of {', '.join(_SCHEMES)}:// is required",
            )
        if not re.fullmatch(r"[0-9a-f]{64}", self.digest):
            raise PromotionError(
                Reason.BUNDLE_REFERENCE_INVALID, f"{self.digest!r} is no digest; 64 lower-case hexadecimal digits are required"
            )

    def __str__(self) -> str:
        return f"{self.digest[:12]} ({self.uri})"


@dataclass(frozen=True)
class Served:
    """What a release of the serving chart is told to serve.

    Attributes
    ----------
    bundle, previous
        ``None`` if not set, or not in a form that can be promoted again.
    promotion
        Identifier of the promotion that made it so; empty if the chart did.
    promoted_at
        RFC 3339.
    """

    release: str
    bundle: BundleReference | None
    previous: BundleReference | None
    promotion: str
    promoted_at: str


@dataclass(frozen=True)
class Promotion:
    """What a promotion did.

    Attributes
    ----------
    state
        ``promoted``, or ``unchanged`` if the bundle was served already.
    previous
        What was served before, and what a rollback returns to.
    """

    state: Literal["promoted", "unchanged"]
    release: str
    bundle: BundleReference
    previous: BundleReference | None

    def document(self) -> dict[str, Any]:
        """Return the JSON form."""
        before = None if self.previous is None else vars(self.previous)
        return {"state": self.state, "release": self.release, "bundle": vars(self.bundle), "previous": before}


def config_map_name(release: str) -> str:
    """Return the name of the ConfigMap that says what a release serves."""
    return f"{release}-{CHART}-bundle"


def deployment_name(release: str) -> str:
    """Return the name of the Deployment of a release."""
    return f"{release}-{CHART}"


def served(cluster: Cluster, release: str) -> Served:
    """Read what a release is told to serve.

    Raises
    ------
    ClusterError
        ``RELEASE_NOT_FOUND``, and the reasons of the API server.
    """
    return _served(release, _read(cluster, release))


def promote(
    cluster: Cluster, release: str, bundle: BundleReference, *, expected_digest: str | None = None, decision: Path | None = None
) -> Promotion:
    """Make a release serve a bundle; what is served already is left alone.

    Returns once the API server has taken the change; :func:`deploy.rollout.await_rollout` waits for the pods.

    Parameters
    ----------
    expected_digest
        Refuse if another bundle than this is served at the moment.
    decision
        File that records why; its SHA-256 is noted beside the bundle.

    Raises
    ------
    PromotionError
        ``PROMOTION_CONFLICT`` with what is served instead if another promotion came first.
    ClusterError
        ``RELEASE_NOT_FOUND``, and the reasons of the API server.
    """
    noted = {} if decision is None else {DECISION: _digest_of(decision)}
    own = str(uuid.uuid4())
    config_map = _read(cluster, release)
    first = _served(release, config_map)
    for _ in range(ATTEMPTS):
        found = _served(release, config_map)
        if found.bundle == bundle:
            # Ours from an attempt whose answer was lost, or somebody else's: the pods may still have to be told.
            _stamp(cluster, release, bundle)
            return Promotion("promoted" if found.promotion == own else "unchanged", release, bundle, found.previous)
        _check_expected(found, expected_digest, first)
        try:
            cluster.patch(CONFIG_MAP, config_map_name(release), _change(config_map, found, bundle, own, noted))
        except ClusterError as error:
            if error.reason is not Reason.OBJECT_CONFLICT:
                raise
            config_map = _read(cluster, release)
            continue
        _stamp(cluster, release, bundle)
        return Promotion("promoted", release, bundle, found.bundle)
    raise PromotionError(Reason.PROMOTION_CONFLICT, f"{config_map_name(release)} changed {ATTEMPTS} times in a row; try again")


def roll_back(cluster: Cluster, release: str) -> Promotion:
    """Make a release serve the bundle before the present one; a second rollback undoes the first.

    Raises
    ------
    PromotionError
        ``ROLLBACK_UNAVAILABLE`` if nothing was served before, and as :func:`promote`.
    """
    now = served(cluster, release)
    if now.previous is None:
        raise PromotionError(
            Reason.ROLLBACK_UNAVAILABLE,
            f"release {release} has no bundle before the present one to go back to; promote one instead",
        )
    return promote(cluster, release, now.previous, expected_digest=None if now.bundle is None else now.bundle.digest)


def deployment_of(cluster: Cluster, release: str) -> Deployment:
    """Return the Deployment of a release of the serving chart.

    Raises
    ------
    ClusterError
        ``RELEASE_NOT_FOUND`` if there is none.
    """
    found = cluster.find(DEPLOYMENT, deployment_name(release))
    if found is None:
        raise _missing(cluster, release, f"Deployment {deployment_name(release)}")
    return found


def _read(cluster: Cluster, release: str) -> ConfigMap:
    found = cluster.find(CONFIG_MAP, config_map_name(release))
    if found is None:
        raise _missing(cluster, release, f"ConfigMap {config_map_name(release)}")
    return found


def _missing(cluster: Cluster, release: str, what: str) -> ClusterError:
    return ClusterError(
        Reason.RELEASE_NOT_FOUND,
        f"namespace {cluster.namespace} has no {what}: is chart {CHART} installed there as release {release}?",
    )


def _served(release: str, config_map: ConfigMap) -> Served:
    notes = config_map.metadata.annotations
    return Served(
        release,
        _reference(config_map.data.get("uri"), config_map.data.get("digest")),
        _reference(notes.get(PREVIOUS_URI), notes.get(PREVIOUS_DIGEST)),
        notes.get(PROMOTION, ""),
        notes.get(PROMOTED_AT, ""),
    )


def _reference(uri: str | None, digest: str | None) -> BundleReference | None:
    try:
        return BundleReference(uri or "", digest or "")
    except PromotionError:
        return None


def _check_expected(found: Served, expected_digest: str | None, first: Served) -> None:
    """Refuse if something else is served than the caller believes, or than was served when the promotion began."""
    now = "nothing" if found.bundle is None else str(found.bundle)
    when = f" since {found.promoted_at}" if found.promoted_at else ""
    if expected_digest is not None and (found.bundle is None or found.bundle.digest != expected_digest):
        raise PromotionError(
            Reason.PROMOTION_CONFLICT,
            f"release {found.release} serves {now}{when}, not the expected {expected_digest[:12]}; nothing was changed",
        )
    if found.bundle != first.bundle:
        raise PromotionError(
            Reason.PROMOTION_CONFLICT,
            f"another promotion came first: release {found.release} serves {now}{when}; nothing was changed",
        )


def _change(
    config_map: ConfigMap, found: Served, bundle: BundleReference, promotion: str, noted: Mapping[str, str]
) -> dict[str, Any]:
    before = found.bundle
    annotations = {
        PREVIOUS_URI: None if before is None else before.uri,
        PREVIOUS_DIGEST: None if before is None else before.digest,
        PROMOTION: promotion,
        PROMOTED_AT: datetime.now(UTC).isoformat(timespec="seconds"),
        DECISION: None,
        **noted,
    }
    metadata = {"resourceVersion": config_map.metadata.resource_version, "annotations": annotations}
    return {"metadata": metadata, "data": {"uri": bundle.uri, "digest": bundle.digest}}


def _stamp(cluster: Cluster, release: str, bundle: BundleReference) -> None:
    """Write the digest into the pod template of the release, so that its pods are replaced."""
    for _ in range(ATTEMPTS):
        deployment = deployment_of(cluster, release)
        if deployment.spec.template.metadata.annotations.get(DIGEST_ANNOTATION) == bundle.digest:
            return
        # After the Deployment was read: whoever changes the ConfigMap after this look also changes the Deployment after us.
        now = served(cluster, release)
        if now.bundle != bundle:
            raise PromotionError(
                Reason.PROMOTION_CONFLICT,
                f"another promotion overtook this one: release {release} serves {now.bundle or 'nothing'}, not {bundle}",
            )
        template = {"metadata": {"annotations": {DIGEST_ANNOTATION: bundle.digest}}}
        change = {"metadata": {"resourceVersion": deployment.metadata.resource_version}, "spec": {"template": template}}
        try:
            cluster.patch(DEPLOYMENT, deployment_name(release), change)
        except ClusterError as error:
            if error.reason is not Reason.OBJECT_CONFLICT:
                raise
        else:
            return
    name = deployment_name(release)
    raise PromotionError(
        Reason.PROMOTION_CONFLICT, f"Deployment {name} changed {ATTEMPTS} times in a row; repeat the promotion"
    )


def _digest_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise PromotionError(Reason.FILE_NOT_FOUND, f"{path}: {error.strerror}") from error
