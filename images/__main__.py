"""``python -m images``: build the images and say how large they are."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from images.base import build_base
from images.build import ROLES, BuiltImage, Role, build_image
from images.podman import STORE, prepare_podman

_STEP = re.compile(r"(\[\d+/\d+\] )?STEP \d+/\d+: ")
_WIDTH = 100


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
        with Console(stderr=True).status("base: made of Debian's packages, unless it is there") as status:
            base = options.base or build_base(podman)
            built = [
                build_image(podman, role, base, options.store, options.variant, said=_Step(role, status))
                for role in dict.fromkeys(options.role or ROLES)
            ]
        for image in built:
            sys.stdout.write(f"{_line(image)}\n")
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


@dataclass(frozen=True)
class _Step:
    """Shows which step a build is at."""

    role: Role
    status: Status

    def __call__(self, line: str) -> None:
        """Take a line of the build."""
        if _STEP.match(line):
            self.status.update(escape(f"{self.role}: {line[:_WIDTH]}"))


def _line(image: BuiltImage) -> str:
    return f"{image.name}: {image.size_bytes / 1e6:.0f} MB, built in {image.build_s:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
