"""Build the images from this tree, with the way to packages that pip on this machine is told to go."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from images.podman import Podman, PodmanError
from nodogram import __version__

Role = Literal["serve", "train"]
Variant = Literal["cpu", "cuda"]
ROLES: tuple[Role, ...] = ("serve", "train")
ROOT = Path(__file__).parents[1]
# Of pip's settings, those that say where packages come from.
_PIP_SETTINGS = ("index-url", "extra-index-url", "find-links", "trusted-host", "cert", "proxy", "default-timeout")
_CERTIFICATES = Path("/etc/ssl/certs")


@dataclass(frozen=True)
class BuiltImage:
    """An image and what it took.

    Attributes
    ----------
    size_bytes
        Uncompressed, base included.
    build_s
        Time of this build, s; little if most of it was there.
    """

    name: str
    size_bytes: int
    build_s: float


def build_image(podman: Podman, role: Role, base: str, folder: Path, variant: Variant = "cpu") -> BuiltImage:
    """Build one image.

    Parameters
    ----------
    base
        Image to start from.
    folder
        For files that live as long as the build.

    Raises
    ------
    PodmanError
        With the end of what the build said.
    """
    name = f"localhost/nodogram/{role}:{__version__}-{variant}"
    pip = _pip_settings()
    arguments = {"BASE": base, "VARIANT": variant, "VERSION": __version__, **_revision()}
    if role == "train" and variant == "cpu" and "find-links" in pip:
        arguments["TORCH_INDEX"] = ""
    # HEALTHCHECK exists in Docker's format only.
    command = ["build", "--pull=never", "--network=host", "--format=docker", "--tag", name]
    command += [part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")]
    command += [*_mounts(pip, folder), "--file", str(ROOT / f"Dockerfile.{role}"), str(ROOT)]
    started = time.monotonic()
    podman(*command)
    return BuiltImage(name, int(podman.inspect("image", name)["Size"]), time.monotonic() - started)


def _revision() -> Mapping[str, str]:
    """Return commit and its time; a tree that is no checkout has neither."""
    log = ["git", "-C", str(ROOT), "log", "-1", "--format=%H %cd", "--date=format:%Y-%m-%dT%H:%M:%SZ"]
    done = subprocess.run(log, capture_output=True, text=True, check=False, env={**os.environ, "TZ": "UTC0"})
    revision, _, created = done.stdout.strip().partition(" ")
    return {"REVISION": revision, "CREATED": created} if created else {}


def _pip_settings() -> dict[str, list[str]]:
    """Return what pip would use here, environment included; places that are folders of this machine among it."""
    listing = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    if listing.returncode:
        raise PodmanError(f"pip config list exited {listing.returncode}: {listing.stderr.strip()[-500:]}")
    settings: dict[str, list[str]] = {}
    for line in listing.stdout.splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2]
        if name in _PIP_SETTINGS:
            known = settings.setdefault(name, [])
            known += [v for v in " ".join(shlex.split(value)).split() if v not in known and not v.startswith("file:")]
    return {name: values for name, values in settings.items() if values}


def _mounts(pip: Mapping[str, Sequence[str]], folder: Path) -> list[str]:
    """Return options that lend these settings, and the folders they name, to a build; nothing of them stays in the image."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pip.conf"
    path.write_text("[global]\n" + "".join(f"{k} = {' '.join(v)}\n" for k, v in pip.items()), encoding="utf-8")
    folders = [Path(value) for value in pip.get("find-links", ()) if Path(value).is_dir()]
    if _CERTIFICATES.is_dir() and "cert" in pip:
        folders.append(_CERTIFICATES)
    options = [f"--volume={path}:/etc/pip.conf:ro"]
    return options + [f"--volume={found}:{found}:ro" for found in folders]
