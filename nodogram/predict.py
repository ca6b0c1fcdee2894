"""The only inference path: a case and a bundle in, a prediction out; command line, server and evaluation all call it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from nodogram.bundle import ModelBundle
from nodogram.case import Case, NoteCode, QualityNote
from nodogram.clinical import encode_record, missing_predictors
from nodogram.deep.embed import DEEP_FEATURE_NAMES
from nodogram.dlr import DlrScore
from nodogram.errors import BundleError, Reason
from nodogram.features import FeatureVector
from nodogram.imaging.crop import center_crop
from nodogram.imaging.prepare import PreparedCase, prepare
from nodogram.nomogram import SCORE, NomogramReading
from nodogram.radiomics.extract import extract


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
    clock = _Clock()
    with clock.stage("prepare"):
        prepared = prepare(case, bundle.manifest.settings)
    with clock.stage("radiomics"):
        vectors = [_radiomics(prepared, bundle)]
    with clock.stage("backbone"):
        vectors.append(_deep(prepared, bundle))
    with clock.stage("fuse"):
        features = FeatureVector.concatenate(vectors)
        dlr = bundle.dlr.score(features)
        notes = list(prepared.notes) + _envelope_notes(case, bundle)
        reading = _read_nomogram(case, bundle, dlr, notes)
    return Prediction(
        case_id=case.case_id,
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


def _radiomics(prepared: PreparedCase, bundle: ModelBundle) -> FeatureVector:
    names = bundle.dlr.required_names("radiomics.")
    if not names:
        return FeatureVector((), ())  # type: ignore[arg-type]
    return extract(prepared, bundle.manifest.settings, names)


def _deep(prepared: PreparedCase, bundle: ModelBundle) -> FeatureVector:
    names = bundle.dlr.required_names("deep.")
    if not names:
        return FeatureVector((), ())  # type: ignore[arg-type]
    if bundle.backbone is None or prepared.crop is None:
        raise BundleError(Reason.BUNDLE_FILE_MISSING, "the score needs deep features but the bundle has no backbone")
    pixels = center_crop(prepared.crop.pixels, bundle.manifest.settings.network.input_px)[None]
    values = bundle.backbone.embed(pixels).features[0]
    return FeatureVector(DEEP_FEATURE_NAMES, values).select(names)


def _read_nomogram(case: Case, bundle: ModelBundle, dlr: DlrScore, notes: list[QualityNote]) -> NomogramReading | None:
    predictors = bundle.manifest.predictors
    missing = missing_predictors(predictors, case.clinical)
    if missing:
        text = f"no value for {', '.join(missing)}: the DLR score is given without a nomogram probability"
        notes.append(QualityNote(NoteCode.CLINICAL_PREDICTOR_MISSING, text))
        return None
    encode_record(predictors, case.clinical)  # refuses unknown keys and impossible values
    values: dict[str, float | str] = {p.name: p.parse(case.clinical[p.name]) for p in predictors}
    reading = bundle.nomogram.read({SCORE: dlr.value, **values})
    notes.extend(
        QualityNote(NoteCode.OUT_OF_RANGE, f"{c.label} {c.value} lies outside the development range")
        for c in reading.contributions
        if c.out_of_range
    )
    return reading


def _envelope_notes(case: Case, bundle: ModelBundle) -> list[QualityNote]:
    """Compare the acquisition with what the model was developed on; 5 % slack for rounding of headers."""
    envelope = bundle.manifest.acquisition
    spacing = case.volume.geometry.spacing_mm
    measured = [
        ("slice spacing", spacing[0], envelope.slice_spacing_mm, "mm"),
        ("pixel spacing", spacing[1], envelope.pixel_spacing_mm, "mm"),
        ("region volume", case.mask.volume_cm3, envelope.region_volume_cm3, "cm³"),
    ]
    if envelope.kvp and case.source.kvp is not None:
        measured.append(("tube voltage", case.source.kvp, envelope.kvp, "kV"))
    notes = [
        QualityNote(
            NoteCode.OUTSIDE_ACQUISITION_ENVELOPE, f"{what} {value:.3g} {unit}; development saw {low:.3g} to {high:.3g} {unit}"
        )
        for what, value, (low, high), unit in measured
        if not low * 0.95 <= value <= high * 1.05
    ]
    for what, value, seen in (
        ("manufacturer", case.source.manufacturer, envelope.manufacturers),
        ("convolution kernel", case.source.convolution_kernel, envelope.convolution_kernels),
    ):
        if value and seen and value not in seen:
            notes.append(
                QualityNote(NoteCode.OUTSIDE_ACQUISITION_ENVELOPE, f"{what} {value}; development saw {', '.join(seen)}")
            )
    return notes


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
