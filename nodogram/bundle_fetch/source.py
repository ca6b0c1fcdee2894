"""Where bundles are kept: folders and tars on a disk or in an object store, artifacts in a container registry."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from nodogram.bundle_fetch.incoming import Incoming, reading
from nodogram.bundle_fetch.oci import open_artifact
from nodogram.errors import BundleError, Reason, SettingsError, SurroundingsError

EXTRA = "fetch"
# Which package reads what. Anything else that fsspec knows is taken as well.
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
# In an object store the name tells, not a listing: whoever fetches needs the right to read objects and no other.
_ARCHIVES = (".tar", ".tar.gz", ".tgz")


class BundleSource(Protocol):
    """A bundle somewhere: the files of a folder, or one archive."""

    @property
    def is_archive(self) -> bool:
        """Whether it is one tar, which is opened by the empty name."""

    def open(self, name: str) -> Incoming:
        """Open one file for reading."""


def open_source(uri: str) -> BundleSource:
    """Return what a URI means: a path or ``file://``, ``oci://``, or what fsspec knows (``s3://``, ``gs://``, ``az://``).

    Raises
    ------
    NodogramError
        ``SETTINGS_INVALID`` for a URI nobody reads, ``DEPENDENCY_MISSING`` if the package that reads it is not installed,
        ``BUNDLE_NOT_FOUND`` or ``UNAUTHENTICATED`` if the place cannot be read.
    """
    scheme, separator, _ = uri.partition("://")
    if "::" in uri:
        raise SettingsError(Reason.SETTINGS_INVALID, f"{uri}: chained file systems (::) are not read; name one place")
    if not separator or scheme == "file":
        return LocalSource(_local_path(uri) if separator else Path(uri))
    if scheme == "oci":
        return open_artifact(uri)
    return _store_source(scheme, uri)


@dataclass(frozen=True)
class LocalSource:
    """A folder or a tar on a disk."""

    path: Path

    def __post_init__(self) -> None:
        if not self.path.exists():
            raise BundleError(Reason.BUNDLE_NOT_FOUND, f"there is nothing at {self.path}")

    @property
    def is_archive(self) -> bool:
        """Whether it is one tar."""
        return not self.path.is_dir()

    def open(self, name: str) -> Incoming:
        """Open one file for reading."""
        path = self.path / name
        return Incoming(reading(str(path), lambda: path.open("rb")), str(path))


@dataclass(frozen=True)
class StoreSource:
    """A folder or a tar in an object store.

    Attributes
    ----------
    store
        ``fsspec.AbstractFileSystem``.
    root
        Path in it.
    uri
        What messages call it.
    """

    store: Any
    root: str
    uri: str

    @property
    def is_archive(self) -> bool:
        """Whether it is one tar."""
        return self.root.endswith(_ARCHIVES)

    def open(self, name: str) -> Incoming:
        """Open one file for reading."""
        suffix = f"/{name}" if name else ""
        label, path = self.uri.rstrip("/") + suffix, self.root.rstrip("/") + suffix
        return Incoming(reading(label, lambda: self.store.open(path, "rb")), label)


def _store_source(scheme: str, uri: str) -> StoreSource:
    if scheme in ("gs", "gcs"):
        # gcsfs would first ask over gRPC of what type the bucket is: a right that a reader need not have, and a minute of
        # waiting where gRPC is not let out.
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    try:
        from fsspec.core import url_to_fs

        store, root = url_to_fs(uri)
    except ImportError as error:
        package = _PACKAGES.get(scheme, error.name or "another package")
        raise SurroundingsError(
            Reason.DEPENDENCY_MISSING, f"{scheme}:// needs {package}; install it with: pip install 'nodogram[{EXTRA}]'"
        ) from error
    except ValueError as error:
        raise SettingsError(Reason.SETTINGS_INVALID, f"{uri}: {error}") from error
    return StoreSource(store, root, uri)


def _local_path(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise SettingsError(Reason.SETTINGS_INVALID, f"{uri} names the machine {parts.netloc}; file:///PATH is required")
    return Path(unquote(parts.path))
