"""``python -m images``: build the images and say how large they are."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from images.base import build_base
from images.build import ROLES, BuiltImage, build_image
from images.podman import STORE, PodmanError, prepare_podman


def main() -> int:
    """Build what is asked for; exit 1 if a build fails."""
    parser = argparse.ArgumentParser(prog="python -m images", description=__doc__)
    parser.add_argument("--role", action="append", choices=ROLES, help="which image; both by default")
    parser.add_argument("--base", help="image to start from; by default one made of Debian's packages")
    parser.add_argument("--variant", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--store", type=Path, default=STORE, help="folder of podman's images (%(default)s)")
    options = parser.parse_args()
    try:
        podman = prepare_podman(options.store)
        base = options.base or build_base(podman)
        for role in options.role or ROLES:
            sys.stdout.write(f"{_line(build_image(podman, role, base, options.store, options.variant))}\n")
    except PodmanError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _line(image: BuiltImage) -> str:
    return f"{image.name}: {image.size_bytes / 1e6:.0f} MB, built in {image.build_s:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
