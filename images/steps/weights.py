"""Fetch initial weights into an image, only with their digest: never at run time, never unseen.

``weights.py URL SHA256 FOLDER`` writes ``FOLDER/resnet50.pth``, which a recipe names as ``sha256:HEX@/weights/resnet50.pth``,
and the same under the name by which ``imagenet`` is looked for. With an empty URL the folder stays empty, to be mounted over.
"""

from __future__ import annotations

import hashlib
import re
import sys
import urllib.request
from pathlib import Path

_CHUNK_BYTES = 2**20


def fetch_weights(url: str, sha256: str, folder: Path) -> str | None:
    """Fetch and check; say what is wrong, or ``None``."""
    folder.mkdir(parents=True, exist_ok=True)
    if not url:
        return None if not sha256 else "WEIGHTS_SHA256 is given without WEIGHTS_URL"
    if re.fullmatch("[0-9a-f]{64}", sha256) is None:
        return "WEIGHTS_URL needs WEIGHTS_SHA256, 64 lower-case hexadecimal digits"
    path, digest = folder / "resnet50.pth", hashlib.sha256()
    with urllib.request.urlopen(url, timeout=60) as response, path.open("wb") as target:  # noqa: S310 - the builder's choice
        while chunk := response.read(_CHUNK_BYTES):
            digest.update(chunk)
            target.write(chunk)
    if digest.hexdigest() != sha256:
        path.unlink()
        return f"{url} has SHA-256 {digest.hexdigest()}; {sha256} is required"
    # torchvision's names end in the first digits of the digest; torch.hub looks below hub/checkpoints of TORCH_HOME.
    link = folder / "hub" / "checkpoints" / f"resnet50-{sha256[:8]}.pth"
    link.parent.mkdir(parents=True)
    link.symlink_to("../../resnet50.pth")
    return None


if __name__ == "__main__":
    sys.exit(fetch_weights(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
