"""Cases to features, one patient at a time on every core: cached by content, resumable, one bad patient costs only itself."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from nodogram.case import Case
from nodogram.errors import NodogramError, Reason
from nodogram.features import FeatureTable, FeatureVector
from nodogram.imaging.load import load_case
from nodogram.imaging.prepare import prepare
from nodogram.radiomics.extract import extract
from nodogram.settings import ModelSettings, canonical_json

# Part of every cache key: a new value makes all earlier cached results unreadable.
CACHE_VERSION = 1


@dataclass(frozen=True)
class Acquisition:
    """What the acquisition envelope is made of; lengths in mm, volume in cm³, voltage in kV."""

    slice_spacing_mm: float
    pixel_spacing_mm: float
    region_volume_cm3: float
    kvp: float | None
    manufacturer: str | None
    convolution_kernel: str | None


@dataclass(frozen=True)
class ExtractionTask:
    """One image with one outline.

    Attributes
    ----------
    label
        Row label of the result: the patient identifier.
    """

    label: str
    image: Path
    roi: Path
    roi_name: str | None


@dataclass(frozen=True, eq=False)
class ExtractedCase:
    """Features and network crop of one case.

    Attributes
    ----------
    radiomics
        All features of the manifest; empty if radiomics is disabled.
    pixels
        float32 (3, resize_px, resize_px) in [0, 1], or ``None`` if the network is disabled.
    notes
        ``(code, message)`` of what was remarked while reading.
    """

    label: str
    radiomics: FeatureVector
    pixels: NDArray[np.float32] | None
    acquisition: Acquisition
    notes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ExtractionFailure:
    """A case that could not be used, with its reason."""

    label: str
    reason: Reason
    message: str


def extract_all(
    tasks: Sequence[ExtractionTask],
    settings: ModelSettings,
    cache: Path,
    *,
    jobs: int,
    progress: Callable[[str], None] | None = None,
) -> Iterator[ExtractedCase | ExtractionFailure]:
    """Extract every task, in completion order.

    Parameters
    ----------
    cache
        Folder of finished cases, one file each, named by the SHA-256 of the input bytes, settings and versions.
    jobs
        Processes.
    progress
        Called with the label of each finished task.
    """
    cache.mkdir(parents=True, exist_ok=True)
    runner = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
    for result in runner(delayed(extract_one)(task, settings, cache) for task in tasks):
        if progress is not None:
            progress(result.label)
        yield result


def extract_one(task: ExtractionTask, settings: ModelSettings, cache: Path) -> ExtractedCase | ExtractionFailure:
    """Extract one task, or read it from the cache."""
    try:
        path = cache / f"{cache_key(task, settings)}.npz"
        if path.is_file():
            cached = _read(path, task.label)
            if cached is not None:
                return cached
        extracted = _extract(task, settings)
    except NodogramError as error:
        return ExtractionFailure(task.label, error.reason, error.message)
    _write(path, extracted)
    return extracted


def cache_key(task: ExtractionTask, settings: ModelSettings) -> str:
    """Return the SHA-256 over the bytes of image and outline, the settings and the versions that shape the result."""
    digest = hashlib.sha256()
    versions = {name: metadata.version(name) for name in ("nodogram", "pyradiomics", "SimpleITK", "numpy", "PyWavelets")}
    digest.update(canonical_json([CACHE_VERSION, versions, settings.digest(), task.roi_name]))
    for source in (task.image, task.roi):
        files = sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]
        for file in files:
            try:
                with file.open("rb") as stream:
                    digest.update(hashlib.file_digest(stream, "sha256").digest())
            except OSError as error:
                raise NodogramError(Reason.FILE_NOT_FOUND, f"{file.name} cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def feature_table(cases: Sequence[ExtractedCase]) -> FeatureTable:
    """Stack the radiomic features of cases."""
    return FeatureTable.from_vectors([c.label for c in cases], [c.radiomics for c in cases])


def _extract(task: ExtractionTask, settings: ModelSettings) -> ExtractedCase:
    case = load_case(task.label, task.image, task.roi, roi_name=task.roi_name)
    prepared = prepare(case, settings)
    features = extract(prepared, settings) if settings.radiomics.enabled else FeatureVector((), np.empty(0))
    return ExtractedCase(
        label=task.label,
        radiomics=features,
        pixels=None if prepared.crop is None else prepared.crop.pixels,
        acquisition=_acquisition(case),
        notes=tuple((note.code.value, note.message) for note in prepared.notes),
    )


def _acquisition(case: Case) -> Acquisition:
    spacing = case.volume.geometry.spacing_mm
    return Acquisition(
        slice_spacing_mm=spacing[0],
        pixel_spacing_mm=spacing[1],
        region_volume_cm3=case.mask.volume_cm3,
        kvp=case.source.kvp,
        manufacturer=case.source.manufacturer,
        convolution_kernel=case.source.convolution_kernel,
    )


def _write(path: Path, case: ExtractedCase) -> None:
    """Write atomically: a killed process leaves either no file or a whole one."""
    header = {"names": case.radiomics.names, "acquisition": vars(case.acquisition), "notes": case.notes}
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(descriptor, "wb") as stream:
        np.savez(
            stream,
            header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
            radiomics=case.radiomics.values,
            pixels=np.empty(0, np.float32) if case.pixels is None else case.pixels,
        )
        stream.flush()
        os.fsync(stream.fileno())
    Path(temporary).replace(path)


def _read(path: Path, label: str) -> ExtractedCase | None:
    """Read a cached case; anything unreadable counts as absent and is computed again."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            header = json.loads(stored["header"].tobytes())
            pixels = stored["pixels"]
            return ExtractedCase(
                label=label,
                radiomics=FeatureVector(tuple(header["names"]), stored["radiomics"]),
                pixels=pixels if pixels.size else None,
                acquisition=Acquisition(**header["acquisition"]),
                notes=tuple((code, message) for code, message in header["notes"]),
            )
    except (OSError, ValueError, KeyError, TypeError, BadZipFile, NodogramError):
        return None
