"""Fetch, verify, and only then put in place: what is in the folder is the bundle that was asked for, or nothing."""

from __future__ import annotations

import fcntl
import io
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nodogram.bundle import MANIFEST, BundleManifest, check_files, read_manifest
from nodogram.bundle_fetch.archive import safe_name, unpack_bundle
from nodogram.bundle_fetch.source import BundleSource, open_source
from nodogram.errors import BundleError, Reason, SettingsError, SurroundingsError

_DIGEST = re.compile(r"(?:sha256:)?(?P<hex>[0-9a-fA-F]{64})")
_CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class FetchedBundle:
    """A verified bundle where it was wanted.

    Attributes
    ----------
    was_there
        Nothing had to be fetched.
    """

    folder: Path
    name: str
    digest: str
    was_there: bool


def fetch_bundle(uri: str, digest: str, out: Path, *, replace: bool = False) -> FetchedBundle:
    """Fetch a bundle into a folder that is there whole or not at all, whenever the process is killed.

    Parameters
    ----------
    uri
        Folder or tar: a path, ``file://``, ``s3://``, ``gs://``, ``az://``; or ``oci://REGISTRY/REPOSITORY:TAG`` (or
        ``@sha256:HEX``), an artifact with one layer that is a tar.
    digest
        Of the bundle, as ``nodogram bundle show`` says it: 64 hexadecimal digits, ``sha256:`` before them or not.
    out
        The folder; those above it are made. Its parent keeps a lock file beside it.
    replace
        Put it in the place of another bundle.

    Raises
    ------
    NodogramError
        ``BUNDLE_DIGEST_MISMATCH`` if it is another bundle, here or there; any reason of :mod:`nodogram.bundle`, for a
        damaged one; ``ARCHIVE_INVALID``, ``ARCHIVE_TOO_LARGE``; ``BUNDLE_NOT_FOUND``, ``UNAUTHENTICATED``,
        ``DEPENDENCY_MISSING``, ``SETTINGS_INVALID``; ``OUTPUT_NOT_WRITABLE``.
    """
    expected = parse_digest(digest)
    out = out.absolute()
    try:
        with _alone(out):
            _recover(out)
            present = _present(out, expected, replace)
            if present is not None:
                return FetchedBundle(out, present.name, expected, was_there=True)
            name = _fetch(uri, expected, out)
    except OSError as error:
        raise SurroundingsError(
            Reason.OUTPUT_NOT_WRITABLE, f"{out} cannot be written: {error.strerror or error}; name a folder inside a volume"
        ) from error
    return FetchedBundle(out, name, expected, was_there=False)


def parse_digest(text: str) -> str:
    """Return the 64 lower-case hexadecimal digits of a SHA-256.

    Raises
    ------
    SettingsError
        ``SETTINGS_INVALID``.
    """
    match = _DIGEST.fullmatch(text.strip())
    if match is None:
        raise SettingsError(
            Reason.SETTINGS_INVALID,
            f"digest {text!r}: 64 hexadecimal digits are required, as 'nodogram bundle show' prints them",
        )
    return match["hex"].lower()


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Wait for whoever fetches into the same folder; a lock ends with its process, however that ends."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with (out.parent / f".{out.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _present(out: Path, expected: str, replace: bool) -> BundleManifest | None:
    """Return the manifest of what is there if it is what is wanted, ``None`` if the place is free or may be taken."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        manifest = read_manifest(out)
        _check_identity(manifest, expected, str(out))
        check_files(out, manifest)
    except BundleError as error:
        if replace:
            return None
        raise BundleError(error.reason, f"{out} is taken: {error.message}; name another folder, or --replace it") from error
    return manifest


def _fetch(uri: str, expected: str, out: Path) -> str:
    """Bring the bundle in beside its place, verify it, and move it there. Return its name."""
    staging = out.with_name(f".{out.name}.fetching")
    try:
        # Left by a process that was killed: nobody else is here.
        _clear(staging)
        staging.mkdir()
        folder = _receive(open_source(uri), expected, uri, staging)
        manifest = read_manifest(folder)
        _check_identity(manifest, expected, uri)
        check_files(folder, manifest)
        _put(folder, out)
    finally:
        _clear(staging)
    return manifest.name


def _put(folder: Path, out: Path) -> None:
    former = _former(out)
    if out.exists():
        out.rename(former)
    try:
        folder.rename(out)
    finally:
        _recover(out)


def _recover(out: Path) -> None:
    """Leave one bundle: the new one where it has arrived, else the former one, whatever interrupted the exchange."""
    former = _former(out)
    if former.exists() and not out.exists():
        former.rename(out)
    _clear(former)


def _former(out: Path) -> Path:
    return out.with_name(f".{out.name}.former")


def _receive(source: BundleSource, expected: str, uri: str, staging: Path) -> Path:
    if source.is_archive:
        with io.BufferedReader(source.open("")) as stream:
            return unpack_bundle(stream, staging)
    folder = staging / "bundle"
    folder.mkdir()
    _copy(source, MANIFEST, folder)
    # The manifest says what belongs to the bundle, so that no listing is needed and another bundle is refused at once.
    manifest = read_manifest(folder)
    _check_identity(manifest, expected, uri)
    for name in sorted(manifest.files):
        _copy(source, name, folder)
    return folder


def _copy(source: BundleSource, name: str, folder: Path) -> None:
    inside = safe_name(name)
    if inside is None:
        raise BundleError(Reason.BUNDLE_MANIFEST_INVALID, f"{MANIFEST} lists {name!r}, which lies outside the bundle")
    path = folder / inside
    path.parent.mkdir(parents=True, exist_ok=True)
    with source.open(name) as stream, path.open("xb") as target:
        while chunk := stream.read(_CHUNK_BYTES):
            target.write(chunk)


def _check_identity(manifest: BundleManifest, expected: str, where: str) -> None:
    if manifest.digest != expected:
        raise BundleError(
            Reason.BUNDLE_DIGEST_MISMATCH, f"{where} holds bundle {manifest.digest[:12]}…, {expected[:12]}… was asked for"
        )


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
