"""Where the backbone starts from: sources tried in order, digests checked, the one really used always named."""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import re
import tempfile
import threading
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from queue import Empty, SimpleQueue
from typing import Literal
from urllib.parse import urlsplit

import torch

from nodogram.errors import Reason, SettingsError

# torchvision ResNet50_Weights.IMAGENET1K_V2; by torch.hub's convention the name ends in the first digits of the SHA-256.
IMAGENET_URL = "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"

_FILE_SOURCE = re.compile(r"sha256:(?P<digest>[0-9a-fA-F]{64})@(?P<path>.+)")
_NAME_DIGEST = re.compile(r"-(?P<prefix>[0-9a-f]{8,64})\.")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class InitialWeights:
    """The starting point of the backbone.

    Attributes
    ----------
    kind
        ``imagenet``, ``file`` or ``none`` (random, seeded by the fit).
    description
        One line for reports, with the sources that were tried in vain; holds no path but the file's own name.
    sha256
        SHA-256 (hex) of the weight file, ``None`` for random weights.
    path
        The weight file: a state dictionary with torchvision's ResNet50 names.
    """

    kind: Literal["imagenet", "none", "file"]
    description: str
    sha256: str | None
    path: Path | None


class _UnavailableError(Exception):
    """A source that cannot be had here; the next one is tried."""


def resolve_initial_weights(
    sources: Sequence[str], *, imagenet_url: str = IMAGENET_URL, timeout_s: float = 4.0
) -> InitialWeights:
    """Return the first source that can be had.

    Parameters
    ----------
    sources
        Tried in order: ``imagenet`` (torch.hub's cache, else the network), ``sha256:HEX@PATH`` (a local file, relative to
        the working directory), ``none`` (random).
    imagenet_url
        Where the ImageNet weights are fetched; the file name must end in the first digits of its SHA-256.
    timeout_s
        Longest wait for the connection, and for each piece of the download, s.

    Raises
    ------
    SettingsError
        ``SETTINGS_INVALID`` for an unknown source, ``WEIGHTS_DIGEST_MISMATCH`` for a file that is not the one named, or
        ``WEIGHTS_UNAVAILABLE`` if nothing could be had.
    """
    for source in sources:
        if source not in ("imagenet", "none") and _FILE_SOURCE.fullmatch(source) is None:
            raise SettingsError(
                Reason.SETTINGS_INVALID, f"initial weights {source!r}: use 'imagenet', 'none' or 'sha256:HEX@PATH' (64 digits)"
            )
    failures: list[str] = []
    for source in sources:
        try:
            if source == "none":
                return InitialWeights("none", _described("random initialization", failures), None, None)
            if source == "imagenet":
                return _imagenet(imagenet_url, timeout_s, failures)
            return _local_file(source, failures)
        except _UnavailableError as failure:
            failures.append(str(failure))
    tried = "; ".join(failures) or "no source was named"
    raise SettingsError(
        Reason.WEIGHTS_UNAVAILABLE,
        f"no initial weights could be had: {tried}. List 'none' as the last source to start at random",
    )


def read_weights(initial: InitialWeights) -> dict[str, torch.Tensor]:
    """Return the tensors of a weight file after checking its digest once more.

    Raises
    ------
    SettingsError
        ``WEIGHTS_UNAVAILABLE`` if the file is gone, ``WEIGHTS_DIGEST_MISMATCH`` if it changed, or ``UNREADABLE_FILE`` if
        it is not a state dictionary that loads without executing code.
    """
    if initial.path is None:
        raise ValueError("random initial weights have no file")
    try:
        content = initial.path.read_bytes()
    except OSError as error:
        raise SettingsError(Reason.WEIGHTS_UNAVAILABLE, f"weight file {initial.path}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != initial.sha256:
        raise SettingsError(Reason.WEIGHTS_DIGEST_MISMATCH, f"weight file {initial.path} changed since it was checked")
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise SettingsError(
            Reason.UNREADABLE_FILE, f"weight file {initial.path} is not a plain PyTorch state dictionary"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(k, str) and torch.is_tensor(v) for k, v in state.items()):
        raise SettingsError(Reason.UNREADABLE_FILE, f"weight file {initial.path} holds something else than named tensors")
    return dict(state)


def _described(text: str, failures: Sequence[str]) -> str:
    return f"{text} ({'; '.join(failures)})" if failures else text


def _local_file(source: str, failures: Sequence[str]) -> InitialWeights:
    match = _FILE_SOURCE.fullmatch(source)
    if match is None:
        raise ValueError(source)
    path, expected = Path(match["path"]), match["digest"].lower()
    try:
        found = _file_digest(path)
    except OSError as error:
        raise _UnavailableError(f"weight file {path.name}: {error.strerror}") from error
    if found != expected:
        raise SettingsError(
            Reason.WEIGHTS_DIGEST_MISMATCH, f"weight file {path} has SHA-256 {found}; the recipe requires {expected}"
        )
    return InitialWeights("file", _described(f"{path.name}, SHA-256 {found}", failures), found, path)


def _imagenet(url: str, timeout_s: float, failures: Sequence[str]) -> InitialWeights:
    name = Path(urlsplit(url).path).name
    match = _NAME_DIGEST.search(name)
    if match is None:
        raise ValueError(f"{url}: the file name carries no digest")
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        try:
            _download(url, path, match["prefix"], timeout_s)
        except (OSError, http.client.HTTPException) as error:
            cause = getattr(error, "strerror", None) or getattr(error, "reason", None) or type(error).__name__
            raise _UnavailableError(f"ImageNet weights could not be fetched: {cause}") from error
    found = _file_digest(path)
    if not found.startswith(match["prefix"]):
        raise SettingsError(
            Reason.WEIGHTS_DIGEST_MISMATCH,
            f"cached weight file {path} has SHA-256 {found}; it must begin with {match['prefix']}",
        )
    return InitialWeights("imagenet", _described(f"ImageNet (torchvision {name}), SHA-256 {found}", failures), found, path)


def _download(url: str, path: Path, prefix: str, timeout_s: float) -> None:
    with _opened(url, timeout_s) as response:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            digest = hashlib.sha256()
            with os.fdopen(descriptor, "wb") as stream:
                while chunk := response.read(_CHUNK):
                    digest.update(chunk)
                    stream.write(chunk)
            if not digest.hexdigest().startswith(prefix):
                raise OSError(f"what was sent is not the file named {path.name}")
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)


def _opened(url: str, timeout_s: float) -> http.client.HTTPResponse:
    """Open a URL within the time given. Name resolution ignores every timeout, so it waits in a thread of its own."""
    answer: SimpleQueue[http.client.HTTPResponse | Exception] = SimpleQueue()

    def attempt() -> None:
        try:
            answer.put(urllib.request.urlopen(url, timeout=timeout_s))  # noqa: S310 (the caller's constant, not input)
        except (OSError, http.client.HTTPException) as error:
            answer.put(error)

    threading.Thread(target=attempt, daemon=True).start()
    try:
        opened = answer.get(timeout=timeout_s)
    except Empty:
        raise TimeoutError(f"no answer within {timeout_s:g} s") from None
    if isinstance(opened, Exception):
        raise opened
    return opened


def _file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
