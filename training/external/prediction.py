"""Every patient through the bundle, on every core; what is predicted is stored, so that a killed run goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import onnxruntime
from joblib import Parallel, delayed, parallel_config
from pydantic import ValidationError

from nodogram.bundle import ModelBundle, load_bundle
from nodogram.case import Acquisition, ClinicalRecord
from nodogram.errors import NodogramError, Reason, SurroundingsError
from nodogram.imaging.load import load_case
from nodogram.predict import Prediction, predict
from nodogram.settings import Settings, canonical_json
from training.atomic_file import write_atomically
from training.cohort import Patient
from training.extraction import ExtractionTask, cache_key

# Part of every key: a new value makes all earlier stored predictions unreadable.
STORE_VERSION = 1


class PredictedValue(Settings):
    """What one predictor of the nomogram was, and whether it lies beyond the axis."""

    predictor: str
    value: float | str
    out_of_range: bool


class AcquisitionValues(Settings):
    """What of an image is compared with the acquisition envelope; as :class:`nodogram.case.Acquisition`."""

    slice_spacing_mm: float
    pixel_spacing_mm: float
    region_volume_cm3: float
    kvp: float | None
    manufacturer: str | None
    convolution_kernel: str | None


class StoredPrediction(Settings):
    """One patient's prediction, without whose it is.

    Attributes
    ----------
    probability, linear_predictor, total_points
        Of the nomogram; ``None`` if a clinical finding is missing.
    dlr_probability, dlr_value
        The score by itself, and as it enters the nomogram.
    values
        What was known of each predictor.
    notes
        Codes of quality notes, each once, sorted.
    """

    probability: float | None
    linear_predictor: float | None
    total_points: float | None
    dlr_probability: float
    dlr_value: float
    values: tuple[PredictedValue, ...]
    notes: tuple[str, ...]
    acquisition: AcquisitionValues


@dataclass(frozen=True)
class Predicted:
    """A patient with the prediction."""

    patient: Patient
    prediction: StoredPrediction


@dataclass(frozen=True)
class Refused:
    """A patient who cannot be predicted, with the reason."""

    patient: Patient
    reason: Reason
    message: str


def predict_cohort(
    bundle: ModelBundle, patients: Sequence[Patient], store: Path, *, jobs: int, progress: Callable[[str], None]
) -> Iterator[Predicted | Refused]:
    """Predict every patient from the files, as a user would, in completion order.

    Parameters
    ----------
    store
        Folder of finished predictions, one file each, named by the SHA-256 of the input bytes, the clinical record, the bundle
        and the versions. They are read back instead of being computed again.
    jobs
        Processes, of one thread each.
    progress
        Called with a text once a patient is done.

    Raises
    ------
    SurroundingsError
        ``OUTPUT_NOT_WRITABLE`` if the store cannot be written, ``RUN_WORKER_KILLED`` if a process of the pool was.
    """
    with parallel_config(backend="loky", inner_max_num_threads=1):
        runner = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
    try:
        for found in runner(delayed(_predict_or_read)(bundle.folder, patient, store) for patient in patients):
            progress("")
            yield found
    except BrokenProcessPool as error:
        raise SurroundingsError(
            Reason.RUN_WORKER_KILLED,
            f"one of {jobs} processes was killed, most often for want of memory; finished patients are kept: "
            "run the same command again with --resume, with fewer --jobs",
        ) from error


def bundle_record(patient: Patient, bundle: ModelBundle) -> ClinicalRecord:
    """Return what is known of a patient and asked for by the bundle."""
    wanted = {p.name for p in bundle.manifest.predictors}
    return {name: value for name, value in patient.clinical.items() if name in wanted}


def prediction_key(patient: Patient, bundle: ModelBundle) -> str:
    """Return the SHA-256 (hex) over all that decides a prediction.

    Raises
    ------
    NodogramError
        ``FILE_NOT_FOUND`` if a file cannot be read.
    """
    task = ExtractionTask(patient.patient_id, patient.image, patient.roi, patient.roi_name)
    document = [
        STORE_VERSION,
        bundle.digest,
        onnxruntime.__version__,
        cache_key(task, bundle.manifest.settings),
        dict(bundle_record(patient, bundle)),
    ]
    return hashlib.sha256(canonical_json(document)).hexdigest()


@lru_cache(maxsize=2)
def _loaded(folder: Path) -> ModelBundle:
    return load_bundle(folder, threads=1)


def _predict_or_read(folder: Path, patient: Patient, store: Path) -> Predicted | Refused:
    bundle = _loaded(folder)
    try:
        path = store / f"{prediction_key(patient, bundle)}.json"
        stored = _read(path)
        if stored is not None:
            return Predicted(patient, stored)
        record = bundle_record(patient, bundle)
        case = load_case(patient.patient_id, patient.image, patient.roi, roi_name=patient.roi_name, clinical=record)
        made = _stored(predict(case, bundle), Acquisition.of(case), record)
    except NodogramError as error:
        return Refused(patient, error.reason, error.message)
    write_atomically(path, made.model_dump_json())
    return Predicted(patient, made)


def _stored(found: Prediction, acquisition: Acquisition, record: ClinicalRecord) -> StoredPrediction:
    reading = found.reading
    if reading is None:
        values = tuple(PredictedValue(predictor=name, value=value, out_of_range=False) for name, value in record.items())
    else:
        values = tuple(
            PredictedValue(predictor=c.predictor, value=c.value, out_of_range=c.out_of_range) for c in reading.contributions
        )
    return StoredPrediction(
        probability=found.probability,
        linear_predictor=None if reading is None else reading.linear_predictor,
        total_points=None if reading is None else reading.total_points,
        dlr_probability=found.dlr.probability,
        dlr_value=found.dlr.value,
        values=values,
        notes=tuple(sorted({note.code.value for note in found.notes})),
        acquisition=AcquisitionValues.model_validate(vars(acquisition)),
    )


def _read(path: Path) -> StoredPrediction | None:
    """Read a stored prediction; anything unreadable counts as absent and is computed again."""
    try:
        return StoredPrediction.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
