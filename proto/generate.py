"""Generate the Python stubs beside their source, or check that those there are what the source gives.

``python proto/generate.py`` writes, ``python proto/generate.py --check`` compares and changes nothing.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

SOURCE = "nodogram_api/v1/nomogram.proto"
_HERE = Path(__file__).parent


def generate(folder: Path) -> tuple[Path, ...]:
    """Write the stubs of :data:`SOURCE` below a folder and return them.

    Raises
    ------
    SystemExit
        If the compiler refuses the source; it has said why.
    """
    options = [f"-I{_HERE}", *(f"--{kind}_out={folder}" for kind in ("python", "pyi", "grpc_python"))]
    if protoc.main(["protoc", *options, SOURCE]) != 0:
        raise SystemExit(1)
    stem = (folder / SOURCE).with_suffix("")
    return tuple(stem.with_name(stem.name + suffix) for suffix in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py"))


def find_stale() -> list[str]:
    """Return the names of checked-in stubs that are not what the source gives, absent ones included."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = generate(Path(folder))
        there = [_HERE / path.relative_to(folder) for path in fresh]
        return [
            old.name for old, new in zip(there, fresh, strict=True) if not old.is_file() or old.read_bytes() != new.read_bytes()
        ]


if __name__ == "__main__":
    if "--check" not in sys.argv[1:]:
        generate(_HERE)
    elif stale := find_stale():
        sys.exit(f"{', '.join(stale)}: not what {SOURCE} gives; run 'make proto'")
