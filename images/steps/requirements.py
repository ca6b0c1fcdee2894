"""Print what an image installs: the dependencies of the project and of some of its extras, one a line.

``requirements.py VARIANT EXTRA ...``: VARIANT is ``cpu`` or ``cuda``, which takes ``EXTRA-gpu`` where there is one. So that
packages can be installed, and kept as a layer, before the first source file is copied.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

VARIANTS = ("cpu", "cuda")


def requirements(pyproject: Path, variant: str, extras: Sequence[str]) -> list[str]:
    """Return the requirements, sorted; an unknown variant or extra is a ``ValueError``."""
    if variant not in VARIANTS:
        raise ValueError(f"VARIANT is {variant!r}; one of {', '.join(VARIANTS)} is required")
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    optional: dict[str, list[str]] = project["optional-dependencies"]
    unknown = sorted(set(extras) - set(optional))
    if unknown:
        raise ValueError(f"{pyproject.name} has no extra {unknown[0]!r}; it has {', '.join(sorted(optional))}")
    gpu = {extra: f"{extra}-gpu" for extra in extras if variant == "cuda" and f"{extra}-gpu" in optional}
    return sorted({*project["dependencies"], *(r for extra in extras for r in optional[gpu.get(extra, extra)])})


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(Path("pyproject.toml"), sys.argv[1], sys.argv[2:])) + "\n")
