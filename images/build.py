"""Build an image from this tree, with the way to packages that pip on this machine is told to go."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from images.podman import Podman
from images.sources import pip_configuration, pip_sources, uv_configuration
from nodogram import __version__

Role = Literal["serve", "train"]
Variant = Literal["cpu", "cuda"]
ROLES: tuple[Role, ...] = ("serve", "train")
ROOT = Path(__file__).parents[1]
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


def build_image(
    podman: Podman,
    role: Role,
    base: str,
    folder: Path,
    variant: Variant = "cpu",
    *,
    said: Callable[[str], None] = lambda _line: None,
) -> BuiltImage:
    """Build an image. Both begin with the same steps: whichever comes second finds them done.

    Parameters
    ----------
    base
        Image to start from.
    folder
        For files that live as long as the build.
    said
        Is given every line of the build.

    Raises
    ------
    PodmanError
        With the end of what a build that failed said.
    """
    sources = pip_sources()
    started, name = time.monotonic(), f"localhost/nodogram/{role}:{__version__}-{variant}"
    command = _command(role, base, variant, sources)
    podman.watch(*command, *_mounts(sources, folder), f"--tag={name}", str(ROOT), said=said)
    return BuiltImage(name, int(podman.inspect("image", name)["Size"]), time.monotonic() - started)


def _command(role: Role, base: str, variant: Variant, sources: Mapping[str, Sequence[str]]) -> list[str]:
    arguments = {"BASE": base, "VARIANT": variant, "VERSION": __version__, **_revision()}
    if role == "train" and variant == "cpu" and "find-links" in sources:
        arguments["TORCH_BACKEND"] = ""
    # HEALTHCHECK exists in Docker's format only.
    command = ["build", "--pull=never", "--network=host", "--format=docker", f"--file={ROOT / f'Dockerfile.{role}'}"]
    return command + [part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")]


def _revision() -> Mapping[str, str]:
    """Return commit and its time; a tree that is no checkout has neither."""
    log = ["git", "-C", str(ROOT), "log", "-1", "--format=%H %cd", "--date=format:%Y-%m-%dT%H:%M:%SZ"]
    done = subprocess.run(log, capture_output=True, text=True, check=False, env={**os.environ, "TZ": "UTC0"})
    revision, _, created = done.stdout.strip().partition(" ")
    return {"REVISION": revision, "CREATED": created} if created else {}


def _mounts(sources: Mapping[str, Sequence[str]], folder: Path) -> list[str]:
    """Return options that lend these settings, and the folders they name, to a build; nothing of them stays in the image."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"/etc/pip.conf": pip_configuration(sources), "/etc/uv/uv.toml": uv_configuration(sources)}
    options = []
    for place, text in files.items():
        path = folder / Path(place).name
        path.write_text(text, encoding="utf-8")
        options.append(f"--volume={path}:{place}:ro")
    folders = [Path(value) for value in sources.get("find-links", ()) if Path(value).is_dir()]
    if _CERTIFICATES.is_dir() and "cert" in sources:
        folders.append(_CERTIFICATES)
    return options + [f"--volume={found}:{found}:ro" for found in folders]
