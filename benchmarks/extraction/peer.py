"""Features of one region by another engine: run by the interpreter of an environment that has that engine and not nodogram.

Reads a task from stdin, prints cost and values as JSON.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    task = json.load(sys.stdin)
    folder = Path(task["folder"])
    image, region = np.load(folder / "peer-image.npy"), np.load(folder / f"peer-region-{task['size_cm3']}.npy")
    start = _cpu_s()
    extract = _ENGINES[task["engine"]](image, region, task["bin_width_hu"], task["window_hu"])
    imported = _cpu_s()
    Path("/proc/self/clear_refs").write_text("5")  # the peak anew (Linux)
    before = _peak_mib()
    spent = []
    for _ in range(task["repeats"] + 1):
        begin = _cpu_s()
        values = extract()
        spent.append(_cpu_s() - begin)
    result = {
        "version": version(task["engine"]),
        "import_s": imported - start,
        "first_s": spent[0],
        "warm_s": sorted(spent[1:])[len(spent[1:]) // 2],
        "peak_mib": _peak_mib() - before,
        "values": values,
    }
    print(json.dumps(result))


def _mirp(image: Any, region: Any, bin_width_hu: float, window_hu: list[float]) -> Callable[[], dict[str, float]]:
    import mirp  # type: ignore[import-not-found, unused-ignore]

    logging.disable(logging.CRITICAL)
    options = {
        "image_modality": "ct",
        "by_slice": False,
        "write_features": False,
        "export_features": True,
        "base_feature_families": [
            "morphological",
            "statistics",
            "intensity_histogram",
            "glcm",
            "glrlm",
            "glszm",
            "ngtdm",
            "ngldm",
        ],
        "base_discretisation_method": "fixed_bin_size",
        "base_discretisation_bin_width": bin_width_hu,
        "resegmentation_intensity_range": [float(bound) for bound in window_hu],
        "glcm_spatial_method": "3d_average",
        "glrlm_spatial_method": "3d_average",
    }

    def extract() -> dict[str, float]:
        row = mirp.extract_features(image=image.astype(np.float64), mask=region.astype(int), **options)[0].iloc[0]
        prefixes = ("morph_", "stat_", "ih_", "cm_", "rlm_", "szm_", "ngt_", "ngl_")
        return {name: float(value) for name, value in row.items() if name.startswith(prefixes)}

    return extract


def _fastrad(image: Any, region: Any, bin_width_hu: float, _window_hu: list[float]) -> Callable[[], dict[str, float]]:
    import fastrad  # type: ignore[import-not-found, unused-ignore]
    import torch

    torch.set_num_threads(1)
    extractor = fastrad.FeatureExtractor(fastrad.FeatureSettings(bin_width=bin_width_hu, device="cpu"))

    def extract() -> dict[str, float]:
        volume = fastrad.MedicalImage(torch.from_numpy(image.astype(np.float32)))
        mask = fastrad.Mask(torch.from_numpy(region.astype(np.float32)))
        return {name: float(value) for name, value in extractor.extract(volume, mask).items()}

    return extract


_ENGINES: dict[str, Callable[[Any, Any, float, list[float]], Callable[[], dict[str, float]]]] = {
    "mirp": _mirp,
    "fastrad": _fastrad,
}


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
