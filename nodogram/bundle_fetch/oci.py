"""A bundle as an artifact of a container registry: one manifest, one layer, the layer a tar.

References
----------
OCI Distribution Specification 1.1, pull; OCI Image Manifest Specification 1.1, guidelines for artifact usage;
Distribution Registry, token authentication specification.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nodogram.bundle_fetch.incoming import Incoming, reading
from nodogram.bundle_fetch.registry import Registry
from nodogram.errors import BundleError, Reason, SettingsError

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
# Registries answer with 4 MiB at most (Distribution Specification, pushing manifests).
_LARGEST_MANIFEST_BYTES = 4 * 2**20

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"oci://(?P<host>[A-Za-z0-9.-]+(?::\d+)?|\[[0-9a-fA-F:]+\](?::\d+)?)/(?P<repository>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)


@dataclass(frozen=True)
class ArtifactReference:
    """``oci://HOST/REPOSITORY:TAG`` or ``@sha256:HEX``; with both, the digest decides."""

    host: str
    repository: str
    tag: str | None
    digest: str | None

    @property
    def version(self) -> str:
        """Tag or digest, whichever is exact."""
        return self.digest or self.tag or ""


@dataclass(frozen=True)
class ArtifactSource:
    """The one layer of an artifact."""

    registry: Registry
    label: str
    digest: str
    size_bytes: int

    @property
    def is_archive(self) -> bool:
        """Whether it is one tar."""
        return True

    def open(self, name: str) -> Incoming:
        """Open the layer; its end is believed only if it has the size and the digest of the manifest."""
        if name:
            raise ValueError(f"{name!r}: an artifact is opened as a whole")
        stream = self.registry.blob(self.digest)
        return Incoming(stream, self.label, self.digest.removeprefix("sha256:"), self.size_bytes)


class _Layer(BaseModel):
    """Descriptor of a layer; the specification lets it have more keys than are looked at."""

    model_config = ConfigDict(frozen=True)

    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]


class _Manifest(BaseModel):
    """Image manifest; more keys as above."""

    model_config = ConfigDict(frozen=True)

    layers: tuple[_Layer, ...]


def open_artifact(uri: str) -> ArtifactSource:
    """Find the layer an URI means.

    Raises
    ------
    NodogramError
        ``SETTINGS_INVALID`` for an URI that names no version, ``BUNDLE_NOT_FOUND`` or ``UNAUTHENTICATED`` if the registry
        says so, ``BUNDLE_DIGEST_MISMATCH`` if the manifest is not the one named, ``BUNDLE_FORMAT_UNSUPPORTED`` if it is no
        artifact with one layer.
    """
    reference = parse_reference(uri)
    registry = Registry(reference.host, reference.repository)
    content = _manifest(registry, reference, uri)
    if reference.digest is not None and f"sha256:{hashlib.sha256(content).hexdigest()}" != reference.digest:
        raise BundleError(Reason.BUNDLE_DIGEST_MISMATCH, f"{uri}: the registry sent another manifest than the one named")
    try:
        manifest = _Manifest.model_validate_json(content)
    except ValidationError as error:
        raise BundleError(
            Reason.BUNDLE_FORMAT_UNSUPPORTED, f"{uri} is no artifact: {error.errors()[0]['msg']}; a single manifest is required"
        ) from error
    if len(manifest.layers) != 1:
        raise BundleError(
            Reason.BUNDLE_FORMAT_UNSUPPORTED, f"{uri} has {len(manifest.layers)} layers; one, the tar of a bundle, is required"
        )
    layer = manifest.layers[0]
    return ArtifactSource(registry, uri, layer.digest, layer.size)


def parse_reference(uri: str) -> ArtifactReference:
    """Take an ``oci://`` URI apart.

    Raises
    ------
    SettingsError
        ``SETTINGS_INVALID``.
    """
    match = _REFERENCE.fullmatch(uri)
    if match is None or not (match["tag"] or match["digest"]):
        raise SettingsError(
            Reason.SETTINGS_INVALID,
            f"{uri!r}: oci://REGISTRY/REPOSITORY:TAG or oci://REGISTRY/REPOSITORY@sha256:HEX is required",
        )
    return ArtifactReference(match["host"], match["repository"], match["tag"], match["digest"])


def _manifest(registry: Registry, reference: ArtifactReference, uri: str) -> bytes:
    stream = registry.manifest(reference.version, MANIFEST_TYPE)
    try:
        content = reading(uri, lambda: stream.read(_LARGEST_MANIFEST_BYTES + 1))
    finally:
        stream.close()
    if len(content) > _LARGEST_MANIFEST_BYTES:
        raise BundleError(Reason.BUNDLE_FORMAT_UNSUPPORTED, f"{uri}: a manifest has {_LARGEST_MANIFEST_BYTES} bytes at most")
    return content
