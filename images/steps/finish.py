"""Make an environment ready for a root file system that cannot be written: compiled once, without what nobody runs.

``finish.py ENVIRONMENT [PACKAGE ...]``: only these packages, where they were added to an environment that is ready.
"""

from __future__ import annotations

import compileall
import py_compile
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

_TESTED = ("matplotlib", "networkx", "numpy", "pandas", "pyarrow", "scipy", "skimage", "sklearn", "statsmodels", "sympy")
_SPARE = (
    # Test suites that are shipped beside the packages and imported by nobody.
    *(f"{name}/**/tests" for name in _TESTED),
    *("torch/test", "onnx/backend/test"),
    *(f"torch/bin/{name}" for name in ("*Test", "test_*", "*.pt*", "protoc*")),
    # Headers to build extensions with.
    *("torch/include", "pyarrow/include"),
    # Tools for other people's models, and pictures to try things on.
    *(f"onnxruntime/{name}" for name in ("transformers", "tools", "quantization", "datasets")),
    "matplotlib/mpl-data/sample_data",
    *(f"skimage/data/*.{suffix}" for suffix in ("png", "jpg", "npz", "gif")),
    # Sources of what is compiled. Not *.pyi: scikit-image reads its own to know what to import.
    *(f"**/*.{suffix}" for suffix in ("c", "pyx", "pxd")),
)


def finish(environment: Path, names: Sequence[str] = ()) -> None:
    """Remove and compile; what cannot be compiled is for other Pythons, and is left to whoever imports it."""
    packages = next((environment / "lib").glob("python3*")) / "site-packages"
    if not names:
        _remove_spare(packages)
    # Not by time: layers and registries are free to change that, and a stale file could never be rewritten.
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    for folder in [packages / name for name in names] or [packages]:
        compileall.compile_dir(folder, quiet=2, workers=0, invalidation_mode=mode)


def _remove_spare(packages: Path) -> None:
    for path in [found for pattern in _SPARE for found in packages.glob(pattern)]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            # It may have gone with a folder.
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    finish(Path(sys.argv[1]), sys.argv[2:])
