"""Other engines on PyPI, each in an environment of its own: what they take for one image of one region, and their values."""

from __future__ import annotations

import csv
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.extraction.neck import WINDOW_HU, Scan, scans
from benchmarks.extraction.process import MIB, ROOT, FreshProcessError, forget_peak, peak_bytes, run_fresh, timed
from benchmarks.extraction.report import heading, progress, say, seconds, table
from benchmarks.extraction.work import BIN_WIDTH_HU, ORIGINAL_ONLY, Convention, Work, by_pyradiomics, load_case, load_images
from nodogram import __version__
from nodogram.imaging.prepare import prepare
from nodogram.radiomics.extract import extract
from nodogram.radiomics.manifest import feature_names
from nodogram.volume import bounding_box

PEERS: Mapping[str, str] = {"mirp": "2.7.0", "fastrad": "1.0.0"}
OWN: Mapping[str, str] = {
    "nodogram, pyradiomics": "nodogram",
    "nodogram, ibsi": "nodogram",
    "PyRadiomics": "pyradiomics",
}
TAGS = ROOT / "tests" / "golden" / "ibsi1_tags.csv"
TOLERANCE = 1e-6
MARGIN_VOXELS = 5
WHY: Mapping[str, str] = {
    "Kurtosis": "IBSI subtracts 3",
    "MajorAxisLength": "IBSI's covariance divides by N - 1, not N",
    "MinorAxisLength": "the same",
    "LeastAxisLength": "the same",
}
WHY_LEVELS = "levels are counted from the bound of the window, not from the lowest bin of the region"


@dataclass(frozen=True)
class PeerResult:
    """One engine on one image.

    Attributes
    ----------
    import_s, first_s, warm_s
        CPU seconds to import, of the first call, and the median of the next ones.
    peak_mib
        Most memory above what was held before the first call.
    values
        By the engine's own names.
    """

    version: str
    import_s: float
    first_s: float
    warm_s: float
    peak_mib: float
    values: dict[str, float]


def report_peers(folder: Path, size_cm3: int, repeats: int) -> None:
    heading("Other engines")
    results: dict[str, PeerResult] = {}
    left_out = []
    task = {"folder": str(folder), "size_cm3": size_cm3, "repeats": repeats}
    task |= {"bin_width_hu": BIN_WIDTH_HU, "window_hu": [float(bound) for bound in WINDOW_HU]}
    voxels = _write_region_image(folder, size_cm3)
    with progress() as shown:
        row = shown.add_task("engines", total=len(OWN) + len(PEERS))
        for name in (*OWN, *PEERS):
            shown.update(row, description=name)
            try:
                results[name] = _run(folder / "peers", name, task)
            except (FreshProcessError, subprocess.CalledProcessError) as error:
                said = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
                left_out.append(f"{name} {PEERS.get(name, '')} was left out: {said.strip().splitlines()[-1]}")
            shown.advance(row)
    say(
        f"One image, {' x '.join(map(str, voxels))} voxels of 1 mm around the region of {size_cm3} cm³, no filter: 107",
        "features in PyRadiomics and nodogram, and what corresponds elsewhere. CPU seconds, one thread; warm is the",
        f"median of {repeats} calls after the first.",
    )
    for line in left_out:
        say(line)
    _costs(results)
    _values(results)


def main() -> None:
    """Measure nodogram or PyRadiomics on the region's image."""
    task = json.load(sys.stdin)
    extraction = _own(task["engine"], _region_scan(Path(task["folder"])), task["size_cm3"])
    forget_peak()
    before = peak_bytes()
    values, first = timed(extraction)
    spent = [timed(extraction)[1] for _ in range(task["repeats"])]
    engine = OWN[task["engine"]]
    found = __version__ if engine == "nodogram" else version(engine)
    print(json.dumps(asdict(PeerResult(found, 0.0, first, statistics.median(spent), (peak_bytes() - before) / MIB, values))))


def _own(engine: str, scan: Scan, size_cm3: int) -> Callable[[], dict[str, float]]:
    if OWN[engine] == "pyradiomics":
        image, mask = load_images(scan, size_cm3)
        work = Work("pyradiomics", "whole", size_cm3, diagnostics=False)
        return lambda: by_pyradiomics(image, mask, work, ("Original",))
    convention: Convention = "ibsi" if engine.endswith("ibsi") else "pyradiomics"
    case, settings = load_case(scan, size_cm3), ORIGINAL_ONLY[convention]

    def by_nodogram() -> dict[str, float]:
        vector = extract(prepare(case, settings), settings)
        return dict(zip(vector.names, vector.values.tolist(), strict=True))

    return by_nodogram


def _region_scan(folder: Path) -> Scan:
    return Scan(folder, "peer", (1.0, 1.0, 1.0))


def _write_region_image(folder: Path, size_cm3: int) -> tuple[int, ...]:
    whole, target = scans(folder)["1mm"], _region_scan(folder)
    region = whole.region(size_cm3)
    z, y, x = (slice(part.start - MARGIN_VOXELS, part.stop + MARGIN_VOXELS) for part in bounding_box(region))
    target.write("image", whole.image()[z, y, x])
    target.write(f"region-{size_cm3}", region[z, y, x])
    return region[z, y, x].shape


def _run(environments: Path, name: str, task: Mapping[str, object]) -> PeerResult:
    command, python = "benchmarks.extraction.peers", sys.executable
    if name in PEERS:
        command, python = str(Path(__file__).with_name("peer.py")), str(_environment(environments, name))
    return PeerResult(**run_fresh(command, {**task, "engine": name}, python))


def _environment(environments: Path, name: str) -> Path:
    """Return the interpreter of an environment with this engine, made if need be (fastrad brings a torch of gigabytes)."""
    folder = environments / f"{name}-{PEERS[name]}"
    python = folder / "bin" / "python"
    finished = folder / "installed"
    if not finished.is_file():
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", f"{name}=={PEERS[name]}"],
        ):
            subprocess.run(command, check=True, capture_output=True, text=True)
        finished.touch()
    return python


def _costs(results: Mapping[str, PeerResult]) -> None:
    ours = results["nodogram, pyradiomics"].warm_s if "nodogram, pyradiomics" in results else float("nan")
    table(
        ("engine", "version", "first call", "warm", "times nodogram", "peak above the image, MiB"),
        [
            (name, r.version, seconds(r.first_s), seconds(r.warm_s), f"{r.warm_s / ours:.1f}", f"{r.peak_mib:.0f}")
            for name, r in results.items()
        ],
    )


def _values(results: Mapping[str, PeerResult]) -> None:
    """Print how many values agree, and what differs and why."""
    rows, explained = [], []
    for theirs, own, renamed in (
        ("PyRadiomics", "nodogram, pyradiomics", dict),
        ("fastrad", "nodogram, pyradiomics", _by_pyradiomics_name),
        ("mirp", "nodogram, ibsi", _by_ibsi_tag),
        ("mirp", "nodogram, pyradiomics", _by_ibsi_tag),
    ):
        if theirs not in results or own not in results:
            continue
        ours, found = results[own].values, renamed(results[theirs].values)
        shared = [name for name in ours if name in found]
        differing = [name for name in shared if abs(ours[name] - found[name]) > TOLERANCE * abs(ours[name])]
        worst = max((abs(ours[name] - found[name]) / abs(ours[name]) for name in differing), default=0.0)
        rows.append((f"{theirs} against {own}", f"{len(shared)}", f"{len(shared) - len(differing)}", f"{worst:.2g}"))
        if differing:
            explained.append(f"{theirs} against {own}: {_why(differing)}.")
    table(("values", "compared", f"equal within {TOLERANCE:g}", "largest relative difference"), rows)
    for sentence in explained:
        say(sentence)
    say(
        "MIRP is matched by IBSI tag (features that IBSI does not define are left out) and was told what it does not do",
        "by itself: average over directions, re-segment to the window. fastrad has no filters and no resampling.",
    )


def _why(differing: list[str]) -> str:
    named = [name.removeprefix("radiomics.original_") for name in differing]
    known = [f"`{name}` ({WHY[short]})" for name in named if (short := name.split("_")[1]) in WHY]
    others = [f"`{name}`" for name in named if name.split("_")[1] not in WHY]
    if others:
        known.append(f"{', '.join(others)} ({WHY_LEVELS})")
    return "; ".join(known)


def _by_pyradiomics_name(values: Mapping[str, float]) -> dict[str, float]:
    """Turn ``shape:maximum_2d_diameter_slice`` into PyRadiomics' name."""
    plain = {re.sub(r"_|(?<=[19]0)th", "", name).lower(): value for name, value in values.items()}
    return {
        name: plain[key]
        for name in _original_names()
        if (key := name.removeprefix("radiomics.original_").replace("_", ":").lower()) in plain
    }


def _by_ibsi_tag(values: Mapping[str, float]) -> dict[str, float]:
    """Turn ``cm_energy_d1_3d_avg_fbs_w25.0`` into PyRadiomics' name, by the tag ``cm_energy_3D_avg``."""
    plain = {re.sub(r"_d1|_a0\.0|_fbs_w[\d.]+", "", name).lower(): value for name, value in values.items()}
    with TAGS.open(newline="") as file:
        return {
            f"radiomics.original_{row['class']}_{row['name']}": plain[row["tag"].lower()]
            for row in csv.DictReader(file)
            if row["tag"].lower() in plain
        }


def _original_names() -> tuple[str, ...]:
    return feature_names(ORIGINAL_ONLY["pyradiomics"].radiomics)


if __name__ == "__main__":
    main()
