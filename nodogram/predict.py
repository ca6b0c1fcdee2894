"""The only inference path: a case and a bundle in, a prediction out; command line, server and evaluation all call it.

A prediction is measured, embedded and concluded. The server does the three in different places (processes for cases, one
batching session for the network), everyone else one after the other in :func:`predict`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nodogram.bundle import AcquisitionEnvelope, ModelBundle
from nodogram.case import Acquisition, Case, ClinicalRecord, NoteCode, QualityNote
from nodogram.clinical import check_record
from nodogram.deep.embed import DEEP_FEATURE_NAMES, in_channels
from nodogram.dlr import DlrScore
from nodogram.errors import BundleError, Reason, SurroundingsError
from nodogram.features import FeatureVector
from nodogram.imaging.crop import center_crop
from nodogram.imaging.prepare import prepare
from nodogram.nomogram import SCORE, NomogramReading
from nodogram.radiomics.extract import extract
from nodogram.settings import ModelSettings


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answer for one case.

    Attributes
    ----------
    probability
        Probability of the outcome, 0 to 1; ``None`` if a clinical predictor is missing, because nothing is guessed.
    reading
        Points, linear predictor and contributions of the nomogram; ``None`` as above. Its parts sum to the whole.
    dlr
        The deep-learning radiomics score by itself.
    threshold
        Decision threshold frozen in the bundle.
    features
        The features the score was made of.
    stage_s
        Seconds by stage.
    """

    case_id: str
    outcome: str
    probability: float | None
    reading: NomogramReading | None
    dlr: DlrScore
    threshold: float
    notes: tuple[QualityNote, ...]
    features: FeatureVector
    bundle_digest: str
    stage_s: dict[str, float] = field(default_factory=dict)

    @property
    def is_positive(self) -> bool | None:
        """Whether the probability reaches the threshold; ``None`` without a probability."""
        return None if self.probability is None else self.probability >= self.threshold


@dataclass(frozen=True, eq=False)
class Measurement:
    """What a model wants to know of a case, without the model: enough for a process that only measures.

    Attributes
    ----------
    settings
        Preparation and radiomics.
    radiomics
        Names of the radiomic features of the score; may be empty.
    needs_pixels
        Whether the network looks at the case.
    """

    settings: ModelSettings
    radiomics: tuple[str, ...]
    needs_pixels: bool

    @classmethod
    def of(cls, bundle: ModelBundle) -> Measurement:
        """Return what a bundle wants to know."""
        return cls(bundle.manifest.settings, bundle.dlr.required_names("radiomics."), bundle.dlr.needs_backbone)


@dataclass(frozen=True, eq=False)
class MeasuredCase:
    """Everything the prediction needs of a case; small enough to travel between processes.

    Attributes
    ----------
    radiomics
        The features asked for.
    pixels
        float32 (input_px, input_px) in [0, 1], the gray picture all three channels of the network see, or ``None`` if the
        network is not asked.
    stage_s
        Seconds by stage.
    """

    case_id: str
    radiomics: FeatureVector
    pixels: NDArray[np.float32] | None
    clinical: ClinicalRecord
    acquisition: Acquisition
    notes: tuple[QualityNote, ...]
    stage_s: dict[str, float]


def predict(case: Case, bundle: ModelBundle) -> Prediction:
    """Predict one case.

    Parameters
    ----------
    case
        Image, outline and clinical record. A record without every predictor gives the DLR score alone.
    bundle
        A verified bundle.

    Raises
    ------
    NodogramError
        With the reason why this case cannot be predicted.
    """
    measured = measure(case, Measurement.of(bundle))
    start = time.perf_counter()
    deep = None
    if measured.pixels is not None and bundle.backbone is not None:
        deep = bundle.backbone.embed(in_channels(measured.pixels[None])).features[0]
    measured.stage_s["backbone"] = time.perf_counter() - start
    return conclude(measured, deep, bundle)


def measure(case: Case, wanted: Measurement, *, deadline_s: float = math.inf) -> MeasuredCase:
    """Prepare a case and measure what a model wants: everything before the network and the fusion.

    Parameters
    ----------
    wanted
        Of the model.
    deadline_s
        Value of ``time.monotonic()`` after which the work is given up, s.

    Raises
    ------
    NodogramError
        With the reason why this case cannot be predicted, or ``DEADLINE_EXCEEDED``.
    """
    clock = _Clock()
    with clock.stage("prepare"):
        prepared = prepare(case, wanted.settings)
    if time.monotonic() > deadline_s:
        raise SurroundingsError(Reason.DEADLINE_EXCEEDED, "the time allowed ended during the preparation of the image")
    radiomics = FeatureVector((), np.empty(0))
    with clock.stage("radiomics"):
        if wanted.radiomics:
            radiomics = extract(prepared, wanted.settings, wanted.radiomics, deadline_s=deadline_s)
    pixels = None
    if wanted.needs_pixels and prepared.crop is not None:
        pixels = np.ascontiguousarray(center_crop(prepared.crop.pixels, wanted.settings.network.input_px)[0])
    return MeasuredCase(
        case_id=case.case_id,
        radiomics=radiomics,
        pixels=pixels,
        clinical=case.clinical,
        acquisition=Acquisition.of(case),
        notes=prepared.notes,
        stage_s=clock.seconds,
    )


def conclude(measured: MeasuredCase, deep: NDArray[np.float64] | None, bundle: ModelBundle) -> Prediction:
    """Fuse what was measured into score, nomogram and notes.

    Parameters
    ----------
    measured
        By :func:`measure` for this bundle.
    deep
        float64 (2048,), what the backbone makes of the pixels; ``None`` if the score needs none.
    bundle
        The model.

    Raises
    ------
    NodogramError
        ``BUNDLE_FILE_MISSING`` if the score needs deep features and there are none; reasons of the clinical record.
    """
    clock = _Clock(measured.stage_s)
    with clock.stage("fuse"):
        vectors = [measured.radiomics]
        names = bundle.dlr.required_names("deep.")
        if names:
            if deep is None:
                raise BundleError(Reason.BUNDLE_FILE_MISSING, "the score needs deep features but the bundle has no backbone")
            vectors.append(FeatureVector(DEEP_FEATURE_NAMES, deep).select(names))
        features = FeatureVector.concatenate(vectors)
        dlr = bundle.dlr.score(features)
        notes = [*measured.notes, *_envelope_notes(measured.acquisition, bundle.manifest.acquisition)]
        reading = _read_nomogram(measured.clinical, bundle, dlr, notes)
    return Prediction(
        case_id=measured.case_id,
        outcome=bundle.manifest.outcome.name,
        probability=None if reading is None else reading.probability,
        reading=reading,
        dlr=dlr,
        threshold=bundle.manifest.thresholds[0].value,
        notes=tuple(notes),
        features=features,
        bundle_digest=bundle.digest,
        stage_s=clock.seconds,
    )


def _read_nomogram(
    clinical: ClinicalRecord, bundle: ModelBundle, dlr: DlrScore, notes: list[QualityNote]
) -> NomogramReading | None:
    predictors = bundle.manifest.predictors
    missing = check_record(predictors, clinical)
    if missing:
        text = f"no value for {', '.join(missing)}: the DLR score is given without a nomogram probability"
        notes.append(QualityNote(NoteCode.CLINICAL_PREDICTOR_MISSING, text))
        return None
    values: dict[str, float | str] = {p.name: p.parse(clinical[p.name]) for p in predictors}
    reading = bundle.nomogram.read({SCORE: dlr.value, **values})
    notes.extend(
        QualityNote(NoteCode.OUT_OF_RANGE, f"{c.label} {c.value} lies outside the development range")
        for c in reading.contributions
        if c.out_of_range
    )
    return reading


def _envelope_notes(found: Acquisition, envelope: AcquisitionEnvelope) -> list[QualityNote]:
    """Compare the acquisition with what the model was developed on; 5 % slack for rounding of headers."""
    measured = [
        ("slice spacing", found.slice_spacing_mm, envelope.slice_spacing_mm, "mm"),
        ("pixel spacing", found.pixel_spacing_mm, envelope.pixel_spacing_mm, "mm"),
        ("region volume", found.region_volume_cm3, envelope.region_volume_cm3, "cm³"),
    ]
    if envelope.kvp and found.kvp is not None:
        measured.append(("tube voltage", found.kvp, envelope.kvp, "kV"))
    notes = [
        QualityNote(
            NoteCode.OUTSIDE_ACQUISITION_ENVELOPE, f"{what} {value:.3g} {unit}; development saw {low:.3g} to {high:.3g} {unit}"
        )
        for what, value, (low, high), unit in measured
        if not low * 0.95 <= value <= high * 1.05
    ]
    for what, value, seen in (
        ("manufacturer", found.manufacturer, envelope.manufacturers),
        ("convolution kernel", found.convolution_kernel, envelope.convolution_kernels),
    ):
        if value and seen and value not in seen:
            notes.append(
                QualityNote(NoteCode.OUTSIDE_ACQUISITION_ENVELOPE, f"{what} {value}; development saw {', '.join(seen)}")
            )
    return notes


class _Clock:
    def __init__(self, seconds: dict[str, float] | None = None) -> None:
        self.seconds = dict(seconds or {})

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
