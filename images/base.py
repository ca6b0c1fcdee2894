"""A stand-in for python:3.11-slim, made of Debian's own packages where no container registry can be reached."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from images.podman import Podman, PodmanError

SUITE = "bookworm"
BASE = "localhost/nodogram/python:3.11-bookworm"
_PACKAGES = ("ca-certificates", "python3", "python3-venv", "usr-is-merged")
# As in the official image: no manuals, no translations; the C headers of Python, but no compiler.
_HEADERS = "libpython3.11-dev"
_HOOK = f"""
set -e
chroot "$1" sh -c 'cd /tmp && apt-get download -qq {_HEADERS} && dpkg-deb -x {_HEADERS}_*.deb headers && apt-get clean'
cp -r "$1"/tmp/headers/usr/include "$1"/usr/
rm -rf "$1"/usr/share/man/* "$1"/usr/share/locale/* "$1"/usr/share/doc/*
rm -rf "$1"/tmp/* "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/usr/lib/python3.11/EXTERNALLY-MANAGED
for name in python python3 python3.11; do ln -s /usr/bin/python3.11 "$1"/usr/local/bin/$name; done
"""
_OPTIONS = (
    "--variant=minbase",
    f"--include={','.join(_PACKAGES)}",
    '--aptopt=APT::Install-Recommends "false"',
    "--dpkgopt=force-unsafe-io",
    # /usr merged from the beginning, which saves usrmerge, with all of Perl.
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
    f"--customize-hook={_HOOK}",
)
_DOCKERFILE = """FROM scratch
ADD rootfs.tar /
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
CMD ["python3"]
"""


def build_base(podman: Podman) -> str:
    """Build the stand-in unless it is there, made of the same recipe, and return its name.

    Raises
    ------
    PodmanError
        If mmdebstrap is not installed or fails.
    """
    recipe = hashlib.sha256(repr((SUITE, _OPTIONS, _DOCKERFILE)).encode()).hexdigest()[:12]
    label = f"recipe={recipe}"
    if podman("images", "--quiet", "--filter", f"label={label}", "--filter", f"reference={BASE}").stdout.strip():
        return BASE
    if shutil.which("mmdebstrap") is None:
        raise PodmanError("mmdebstrap is not installed: apt-get install mmdebstrap (Debian), or name a base image with --base")
    with tempfile.TemporaryDirectory(prefix="nodogram-base-") as scratch:
        folder = Path(scratch)
        _root_file_system(folder / "rootfs.tar")
        (folder / "Dockerfile").write_text(_DOCKERFILE, encoding="utf-8")
        podman("build", "--pull=never", "--network=none", "--format=docker", f"--label={label}", "--tag", BASE, str(folder))
    return BASE


def _root_file_system(path: Path) -> None:
    command = ["mmdebstrap", *_OPTIONS, SUITE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PodmanError(f"mmdebstrap exited {done.returncode}: {done.stderr.strip()[-2000:]}")
