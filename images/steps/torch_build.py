"""Refuse a torch of the wrong kind before it is downloaded: CUDA libraries in a CPU image are several GB of nothing.

``torch_build.py VARIANT REPORT``: REPORT is what ``pip install --dry-run --report`` wrote.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

_CUDA = ("nvidia-", "cuda-", "triton")


def fault(variant: str, report: str) -> str | None:
    """Say what is wrong with the torch that pip would install, or ``None``."""
    torch = next(i["metadata"] for i in json.loads(report)["install"] if i["metadata"]["name"] == "torch")
    needs_cuda = any(r.startswith(_CUDA) for r in torch.get("requires_dist", ()))
    if variant == "cpu" and needs_cuda:
        return (
            f"torch {torch['version']} needs CUDA libraries, and VARIANT is cpu: let TORCH_INDEX name an index of CPU wheels, "
            "or find-links of pip a folder with one"
        )
    if variant == "cuda" and not needs_cuda:
        return f"torch {torch['version']} is a CPU build, and VARIANT is cuda"
    return None


if __name__ == "__main__":
    sys.exit(fault(sys.argv[1], Path(sys.argv[2]).read_text(encoding="utf-8")))
