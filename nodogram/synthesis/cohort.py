"""A whole synthetic cohort on disk: images, outlines, ``cohort.csv`` and ``cohort.toml``; stoppable and resumable."""

from __future__ import annotations

import csv
import gzip
import io
import json
import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from nodogram.errors import Reason, SurroundingsError
from nodogram.imaging.volume_file import write_mask_file, write_volume_file
from nodogram.settings import canonical_json
from nodogram.synthesis.dicom_regions import ROI_NAME, write_rtstruct, write_seg
from nodogram.synthesis.dicom_writer import DicomIdentity, write_ct_series
from nodogram.synthesis.latents import PatientLatents, draw_latents, stratified_outcomes
from nodogram.synthesis.phantom import SyntheticPatient, synthesize_patient
from nodogram.synthesis.preset import COHORT_TOML, PREDICTOR_NAMES

ImageFormat = Literal["dicom", "nifti"]

TABLE = "cohort.csv"
DESCRIPTION = "cohort.toml"
PARAMETERS = "synthesis.json"
# Part of the parameters: a new value means that the same seed gives other patients.
SYNTHESIS_VERSION = 1

_PATIENTS = "patients"
_CT_FOLDER, _CT_FILE = "ct", "ct.nii.gz"
_DICOM_OUTLINE, _NIFTI_OUTLINE = "tumor.dcm", "tumor.nii.gz"
# Fast: the noise of a CT hardly compresses further, three times slower levels gain six percent.
_GZIP_LEVEL = 1


@dataclass(frozen=True)
class SynthesisParameters:
    """All that a synthetic cohort follows from; written beside it as ``synthesis.json``."""

    patient_count: int
    seed: int
    signal: float
    image_format: ImageFormat
    test_fraction: float
    matrix: int
    slice_count: int
    version: int = SYNTHESIS_VERSION

    def __post_init__(self) -> None:
        if self.patient_count < 1 or self.seed < 0:
            raise ValueError(f"{self.patient_count} patients, seed {self.seed}: at least 1 patient and a seed of 0 or more")
        if not 0 <= self.signal <= 1 or not 0 <= self.test_fraction < 1:
            raise ValueError(f"signal {self.signal}, test fraction {self.test_fraction}: 0 to 1 is required")
        if self.image_format not in ("dicom", "nifti"):
            raise ValueError(f"image format {self.image_format!r}: dicom or nifti is required")

    @property
    def content_key(self) -> str:
        """What one patient's images follow from; other content gets other DICOM UIDs."""
        return canonical_json(
            [self.version, self.seed, self.patient_count, self.signal, self.matrix, self.slice_count]
        ).decode()


@dataclass(frozen=True)
class PatientPlan:
    """What is decided about a patient before any voxel.

    Attributes
    ----------
    index
        From 1.
    outcome
        0 or 1.
    split
        ``development`` or ``test``.
    """

    index: int
    outcome: int
    split: str

    @property
    def patient_id(self) -> str:
        """Label of the patient."""
        return f"SYN-{self.index:04d}"


def write_cohort(
    out: Path,
    *,
    patient_count: int,
    seed: int,
    signal: float,
    image_format: ImageFormat,
    test_fraction: float = 0.3,
    matrix: int = 512,
    slice_count: int = 60,
    jobs: int = 1,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write a cohort whose every byte follows from the arguments, whatever the number of processes.

    A patient is written beside its place and moved there when complete; calling again with the same arguments
    writes what is missing.

    Parameters
    ----------
    out
        Folder of the cohort.
    signal
        0 to 1, see :func:`nodogram.synthesis.phantom.synthesize_patient`.
    image_format
        ``dicom``: CT series with RTSTRUCT and SEG outlines in turn; ``nifti``: ``.nii.gz``.
    test_fraction
        Share of each class in the ``test`` split; 0 leaves the column out.
    matrix, slice_count
        Grid of every scan.
    jobs
        Processes, each of about 0.4 GB at full size; a script that asks for several guards its ``__main__``.
    progress
        Called with the identifier of each patient that is complete.

    Returns
    -------
    folder : Path
        ``out``.

    Raises
    ------
    SurroundingsError
        ``OUTPUT_NOT_WRITABLE`` if the folder holds something else or cannot be written.
    ValueError
        For arguments out of range.
    """
    parameters = SynthesisParameters(patient_count, seed, signal, image_format, test_fraction, matrix, slice_count)
    plans = plan_cohort(parameters)
    try:
        _claim(out, parameters)
        for patient_id in _write_patients(out, parameters, plans, jobs):
            if progress is not None:
                progress(patient_id)
        _write_atomically(out / DESCRIPTION, COHORT_TOML)
        _write_atomically(out / TABLE, _table(parameters, plans))
    except OSError as error:
        raise SurroundingsError(Reason.OUTPUT_NOT_WRITABLE, f"{out} cannot be written: {error.strerror or error}") from error
    return out


def plan_cohort(parameters: SynthesisParameters) -> tuple[PatientPlan, ...]:
    """Return outcome and split of every patient; both are stratified, so small cohorts have both classes."""
    # Patients draw from the streams 1, 2, ...; stream 0 is the cohort's.
    rng = np.random.default_rng([parameters.seed, 0])
    outcomes = stratified_outcomes(rng, parameters.patient_count)
    test: set[int] = set()
    for value in (0, 1):
        members = rng.permutation([i for i, outcome in enumerate(outcomes) if outcome == value])
        test.update(int(i) for i in members[: round(parameters.test_fraction * len(members))])
    return tuple(PatientPlan(i + 1, outcome, "test" if i in test else "development") for i, outcome in enumerate(outcomes))


def patient_rng(seed: int, index: int) -> np.random.Generator:
    """Return the generator of one patient, the same in whatever process and order."""
    return np.random.default_rng([seed, index])


def _claim(out: Path, parameters: SynthesisParameters) -> None:
    """Take a fresh folder, or one that was begun with the same parameters."""
    stored, wanted = out / PARAMETERS, json.dumps(asdict(parameters), indent=1) + "\n"
    if stored.is_file():
        if stored.read_text(encoding="utf-8") != wanted:
            raise SurroundingsError(
                Reason.OUTPUT_NOT_WRITABLE, f"{out} holds a cohort synthesized with other parameters; choose another folder"
            )
    elif (out / TABLE).exists() or (out / DESCRIPTION).exists():
        raise SurroundingsError(
            Reason.OUTPUT_NOT_WRITABLE, f"{out} holds a cohort that is not synthetic; choose another folder"
        )
    (out / _PATIENTS).mkdir(parents=True, exist_ok=True)
    _write_atomically(stored, wanted)


def _write_patients(out: Path, parameters: SynthesisParameters, plans: tuple[PatientPlan, ...], jobs: int) -> Iterator[str]:
    write = partial(_write_patient, out, parameters)
    if jobs == 1 or len(plans) == 1:
        yield from map(write, plans)
        return
    # Spawned, not forked: a fork of a process with running BLAS or OpenMP threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=min(jobs, len(plans)), mp_context=context) as pool:
        try:
            for future in as_completed([pool.submit(write, plan) for plan in plans]):
                yield future.result()
        finally:
            # After an error or an interruption nobody waits for patients that have not begun.
            pool.shutdown(cancel_futures=True)


def _write_patient(out: Path, parameters: SynthesisParameters, plan: PatientPlan) -> str:
    place = out / _PATIENTS / plan.patient_id
    if place.is_dir():
        return plan.patient_id
    draft = place.with_name(f".{place.name}.tmp")
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir()
    patient = synthesize_patient(
        patient_rng(parameters.seed, plan.index),
        signal=parameters.signal,
        matrix=parameters.matrix,
        slice_count=parameters.slice_count,
        outcome=plan.outcome,
    )
    if parameters.image_format == "dicom":
        _write_dicom(draft, patient, DicomIdentity(plan.patient_id, parameters.content_key), plan)
    else:
        _write_nifti(draft, patient)
    draft.rename(place)
    return plan.patient_id


def _write_dicom(folder: Path, patient: SyntheticPatient, identity: DicomIdentity, plan: PatientPlan) -> None:
    slices = write_ct_series(folder / _CT_FOLDER, patient, identity)
    write_region = write_rtstruct if plan.index % 2 else write_seg
    write_region(folder / _DICOM_OUTLINE, patient, identity, slices)


def _write_nifti(folder: Path, patient: SyntheticPatient) -> None:
    write_volume_file(folder / _CT_FILE.removesuffix(".gz"), patient.volume)
    write_mask_file(folder / _NIFTI_OUTLINE.removesuffix(".gz"), patient.mask)
    for name in (_CT_FILE, _NIFTI_OUTLINE):
        plain = folder / name.removesuffix(".gz")
        (folder / name).write_bytes(gzip.compress(plain.read_bytes(), _GZIP_LEVEL, mtime=0))
        plain.unlink()


def _table(parameters: SynthesisParameters, plans: tuple[PatientPlan, ...]) -> str:
    dicom = parameters.image_format == "dicom"
    image, outline = (_CT_FOLDER, _DICOM_OUTLINE) if dicom else (_CT_FILE, _NIFTI_OUTLINE)
    split = ("split",) if parameters.test_fraction > 0 else ()
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("patient_id", "image", "roi", "roi_name", "outcome", *PREDICTOR_NAMES, *split))
    for plan in plans:
        folder = f"{_PATIENTS}/{plan.patient_id}"
        clinical = _latents(parameters, plan).clinical
        findings = (f"{v:g}" if isinstance(v, float) else v for v in (clinical[name] for name in PREDICTOR_NAMES))
        row = (plan.patient_id, f"{folder}/{image}", f"{folder}/{outline}", ROI_NAME if dicom else "", plan.outcome)
        writer.writerow((*row, *findings, *(getattr(plan, name) for name in split)))
    return stream.getvalue()


def _latents(parameters: SynthesisParameters, plan: PatientPlan) -> PatientLatents:
    """Draw again what the phantom drew first."""
    return draw_latents(patient_rng(parameters.seed, plan.index), signal=parameters.signal, outcome=plan.outcome)


def _write_atomically(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
