"""Cases to features, one patient at a time on every core: cached by content, resumable, one bad patient costs only itself."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from joblib import Parallel, delayed, parallel_config
from numpy.typing import NDArray

from nodogram.case import Acquisition
from nodogram.errors import NodogramError, Reason, SurroundingsError
from nodogram.features import FeatureTable, FeatureVector
from nodogram.imaging.load import load_case
from nodogram.imaging.prepare import prepare
from nodogram.radiomics.extract import extract
from nodogram.radiomics.manifest import feature_names
from nodogram.settings import ModelSettings, canonical_json
from training.atomic_file import PARTIAL, atomic_file

# Part of every cache key: a new value makes all earlier cached results unreadable.
CACHE_VERSION = 2
# What killed processes left half written is removed after this time, s; nobody writes one case for so long.
_ABANDONED_S = 86400.0


@dataclass(frozen=True)
class ExtractionTask:
    """One image with one outline.

    Attributes
    ----------
    label
        Row label of the result: the patient identifier.
    allow_border
        Take a region that reaches the border of the image, with a note, instead of refusing it.
    """

    label: str
    image: Path
    roi: Path
    roi_name: str | None
    allow_border: bool = False


@dataclass(frozen=True, eq=False)
class ExtractedCase:
    """Features and network crop of one case.

    Attributes
    ----------
    radiomics
        The features asked for; empty if radiomics is disabled.
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
    names: Sequence[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Iterator[ExtractedCase | ExtractionFailure]:
    """Extract every task, in completion order.

    At most two cases per process are on their way at any time, and results wait on disk, so memory does not grow with the
    cohort.

    Parameters
    ----------
    cache
        Folder of finished cases, one file each, named by the SHA-256 of the input bytes, settings and versions. It may be
        shared by runs at the same time.
    jobs
        Processes, of one thread each.
    names
        Radiomic features wanted; ``None`` for all of the settings.
    progress
        Called with the label of each finished task.

    Raises
    ------
    SurroundingsError
        ``OUTPUT_NOT_WRITABLE`` if the cache cannot be written, ``RUN_WORKER_KILLED`` if a process of the pool was.
    """
    _remove_abandoned(cache)
    wanted = None if names is None or tuple(names) == feature_names(settings.radiomics) else tuple(names)
    with parallel_config(backend="loky", inner_max_num_threads=1):
        runner = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
    try:
        for finished in runner(delayed(_ensure_extracted)(task, settings, cache, wanted) for task in tasks):
            if progress is not None:
                progress(finished.label)
            yield _result(finished)
    except BrokenProcessPool as error:
        raise SurroundingsError(
            Reason.RUN_WORKER_KILLED,
            f"one of {jobs} processes was killed, most often for want of memory; finished patients are kept: "
            "run the same command again, with fewer --jobs",
        ) from error


def extract_one(
    task: ExtractionTask, settings: ModelSettings, cache: Path, names: Sequence[str] | None = None
) -> ExtractedCase | ExtractionFailure:
    """Extract one task, or read it from the cache."""
    return _result(_ensure_extracted(task, settings, cache, names))


@dataclass(frozen=True)
class _Stored:
    """A finished case in the cache.

    Small on purpose: a process killed while it sends more than a pipe takes at once would leave the pool waiting for ever.
    """

    label: str
    path: Path


def _ensure_extracted(
    task: ExtractionTask, settings: ModelSettings, cache: Path, names: Sequence[str] | None
) -> _Stored | ExtractionFailure:
    try:
        path = cache / f"{cache_key(task, settings, names)}.npz"
        extracted = None if path.is_file() and _read(path, task.label) is not None else _extract(task, settings, names)
    except NodogramError as error:
        return ExtractionFailure(task.label, error.reason, error.message)
    if extracted is not None:
        _write(path, extracted)
    return _Stored(task.label, path)


def _result(finished: _Stored | ExtractionFailure) -> ExtractedCase | ExtractionFailure:
    if isinstance(finished, ExtractionFailure):
        return finished
    case = _read(finished.path, finished.label)
    if case is None:
        raise SurroundingsError(
            Reason.OUTPUT_NOT_WRITABLE,
            f"{finished.path} was written and cannot be read; is another program cleaning the folder?",
        )
    return case


def cache_key(task: ExtractionTask, settings: ModelSettings, names: Sequence[str] | None = None) -> str:
    """Return the SHA-256 over the bytes of image and outline, settings, features and the versions that shape the result."""
    digest = hashlib.sha256()
    versions = {name: metadata.version(name) for name in ("nodogram", "pyradiomics", "SimpleITK", "numpy", "PyWavelets")}
    digest.update(canonical_json([CACHE_VERSION, versions, settings.digest(), names, task.roi_name, task.allow_border]))
    for source in (task.image, task.roi):
        files = sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]
        digest.update(len(files).to_bytes(8))
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


def _extract(task: ExtractionTask, settings: ModelSettings, names: Sequence[str] | None) -> ExtractedCase:
    case = load_case(task.label, task.image, task.roi, roi_name=task.roi_name, allow_border=task.allow_border)
    prepared = prepare(case, settings)
    features = extract(prepared, settings, names) if settings.radiomics.enabled else FeatureVector((), np.empty(0))
    return ExtractedCase(
        label=task.label,
        radiomics=features,
        pixels=None if prepared.crop is None else prepared.crop.pixels,
        acquisition=Acquisition.of(case),
        notes=tuple((note.code.value, note.message) for note in prepared.notes),
    )


def _remove_abandoned(cache: Path) -> None:
    for partial in cache.glob(f"*{PARTIAL}"):
        try:
            if time.time() - partial.stat().st_mtime > _ABANDONED_S:
                partial.unlink()
        except OSError:
            continue  # another process was faster, or owns it


def _write(path: Path, case: ExtractedCase) -> None:
    header = {"names": case.radiomics.names, "acquisition": vars(case.acquisition), "notes": case.notes}
    with atomic_file(path) as stream:
        np.savez(
            stream,
            header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
            radiomics=case.radiomics.values,
            pixels=np.empty(0, np.float32) if case.pixels is None else case.pixels,
        )


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
