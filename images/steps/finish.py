"""Make an environment ready for a root file system that cannot be written: compiled once, without the packages' own tests.

``finish.py ENVIRONMENT``
"""

from __future__ import annotations

import compileall
import py_compile
import shutil
import sys
from pathlib import Path

# Test suites that are shipped beside the packages and imported by nobody.
_TESTED = ("matplotlib", "numpy", "pandas", "pyarrow", "scipy", "skimage", "sklearn", "statsmodels")
# Tools for other people's models, and pictures to try things on.
_SPARE = (
    *("onnxruntime/transformers", "onnxruntime/tools", "onnxruntime/quantization", "onnxruntime/datasets"),
    "matplotlib/mpl-data/sample_data",
    *("skimage/data/*.png", "skimage/data/*.jpg", "skimage/data/*.npz", "skimage/data/*.gif"),
)
# Sources of what is compiled. Not *.pyi: scikit-image reads its own to know what to import.
_SOURCES = ("*.c", "*.pyx", "*.pxd")


def finish(environment: Path) -> None:
    """Remove and compile; what cannot be compiled is for other Pythons, and is left to whoever imports it."""
    packages = next((environment / "lib").glob("python3*")) / "site-packages"
    for name in _TESTED:
        for folder in sorted((packages / name).rglob("tests")):
            shutil.rmtree(folder, ignore_errors=True)
    for pattern in _SPARE:
        for path in packages.glob(pattern):
            _remove(path)
    for pattern in _SOURCES:
        for path in packages.rglob(pattern):
            _remove(path)
    # Not by time: layers and registries are free to change that, and a stale file could never be rewritten.
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(packages, quiet=2, workers=0, invalidation_mode=mode)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


if __name__ == "__main__":
    finish(Path(sys.argv[1]))
