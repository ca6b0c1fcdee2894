"""Print the exact release of everything an image installs, one a line, before anything large is fetched.

``resolve.py VARIANT EXTRA ...``: VARIANT is ``cpu`` or ``cuda``, which takes ``EXTRA-gpu`` where there is one. What follows
``--`` is for ``uv pip compile``.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

VARIANTS = ("cpu", "cuda")
# Not NVIDIA's management library, which is a few kB and asked for by others.
_CUDA = re.compile(r"^(nvidia-(?!ml-py)|cuda-|triton)")
# XGBoost asks for it everywhere, loads it for training across several GPUs, and never on a CPU.
_NCCL = "nvidia-nccl-"


def extras(pyproject: Path, variant: str, wanted: Sequence[str]) -> list[str]:
    """Return the extras of a variant; an unknown variant or extra is a ``ValueError``."""
    if variant not in VARIANTS:
        raise ValueError(f"VARIANT is {variant!r}; one of {', '.join(VARIANTS)} is required")
    known = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise ValueError(f"{pyproject.name} has no extra {unknown[0]!r}; it has {', '.join(sorted(known))}")
    return [f"{extra}-gpu" if variant == "cuda" and f"{extra}-gpu" in known else extra for extra in wanted]


def for_variant(releases: Sequence[str], variant: str) -> list[str]:
    """Return what is installed of what was resolved.

    Raises
    ------
    ValueError
        If torch is of the wrong kind: CUDA libraries in a CPU image are several GB of nothing.
    """
    if variant == "cpu":
        releases = [release for release in releases if not release.startswith(_NCCL)]
    torch = next((release for release in releases if release.startswith("torch==")), None)
    cuda = [release for release in releases if _CUDA.match(release) and not release.startswith(_NCCL)]
    if torch and variant == "cpu" and cuda:
        raise ValueError(
            f"{torch} needs CUDA libraries ({cuda[0]} and {len(cuda) - 1} more), and VARIANT is cpu: let TORCH_BACKEND be cpu, "
            "or find-links of uv name a folder with a CPU build"
        )
    if torch and variant == "cuda" and not cuda:
        raise ValueError(f"{torch} is a CPU build, and VARIANT is cuda: let find-links of uv name no folder with one")
    return list(releases)


def _main() -> int:
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    variant, *wanted = arguments[:end]
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python", sys.executable]
    command += ["--constraints", "requirements/constraints.txt", *arguments[end + 1 :], "pyproject.toml"]
    command += [part for extra in extras(Path("pyproject.toml"), variant, wanted) for part in ("--extra", extra)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return done.returncode
    releases = [line for line in done.stdout.splitlines() if line and not line.startswith("#")]
    sys.stdout.write("\n".join(for_variant(releases, variant)) + "\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(_main())
    except ValueError as error:
        sys.exit(str(error))
