"""Whether the patients are like those the bundle was developed on, as far as a bundle says what these were like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from nodogram.bundle import ModelBundle, PredictorReference
from nodogram.nomogram import SCORE
from nodogram.settings import Settings
from nodogram.stability import Bins, chance_stability, population_stability
from training.external.disclosure import safe_quantiles, withheld
from training.external.prediction import AcquisitionValues, StoredPrediction

FEW = "fewer than five patients for each bin"
WITHHELD = "a count of fewer than five patients, which the index would give away"
CONSTANT = "it did not vary in development"
# As in drift monitoring: the least for which the χ² approximation serves.
_PATIENTS_PER_BIN = 5


class Quantiles(Settings):
    """10th percentile, median, 90th percentile."""

    low: float
    median: float
    high: float


class LevelMix(Settings):
    """One level of a categorical predictor.

    Attributes
    ----------
    count, share
        Here; ``None`` if there are too few to be told.
    """

    level: str
    development_share: float
    count: int | None
    share: float | None


class PredictorMix(Settings):
    """One predictor of the nomogram, in development and here.

    Attributes
    ----------
    count
        Patients of whom it is known.
    development, here
        Of a number; ``here`` is ``None`` of so few patients that quantiles would be their own values.
    central_share
        Share of patients between the 10th and 90th percentile of development, where 0.8 is expected.
    out_of_range_count
        Patients beyond the nomogram's axis; ``None`` for 1 to 4.
    stability, stability_chance
        Population stability index, and what chance alone exceeds once in a hundred times.
    stability_reason
        Why there is none.
    """

    predictor: str
    label: str
    unit: str | None
    count: int
    levels: tuple[LevelMix, ...] = ()
    development: Quantiles | None = None
    here: Quantiles | None = None
    central_share: float | None = None
    out_of_range_count: int | None = 0
    stability: float | None = None
    stability_chance: float | None = None
    stability_reason: str | None = None


class AcquisitionMix(Settings):
    """One property of the images: range in development, and quantiles here where there are enough patients."""

    quantity: str
    unit: str
    development_low: float | None
    development_high: float | None
    count: int
    here: Quantiles | None


class NoteCount(Settings):
    """Patients with a quality note of one code."""

    code: str
    patient_count: int


class CaseMix(Settings):
    """All of it.

    Attributes
    ----------
    development_prevalence
        Share of development patients with the outcome.
    """

    development_prevalence: float
    prevalence: float
    predictors: tuple[PredictorMix, ...]
    acquisition: tuple[AcquisitionMix, ...]
    notes: tuple[NoteCount, ...]


def case_mix(bundle: ModelBundle, predictions: Sequence[StoredPrediction], prevalence: float) -> CaseMix:
    """Compare patients with the reference distributions of a bundle.

    Parameters
    ----------
    prevalence
        Share of these patients with the outcome.
    """
    training = bundle.manifest.training
    notes = Counter(code for p in predictions for code in p.notes)
    return CaseMix(
        development_prevalence=training.development_event_count / training.development_count,
        prevalence=prevalence,
        predictors=tuple(_predictor(bundle, row, predictions) for row in bundle.reference.predictors),
        acquisition=_acquisition(bundle, [p.acquisition for p in predictions]),
        notes=tuple(NoteCount(code=code, patient_count=count) for code, count in sorted(notes.items())),
    )


def _predictor(bundle: ModelBundle, reference: PredictorReference, predictions: Sequence[StoredPrediction]) -> PredictorMix:
    name = reference.predictor
    described = {p.name: p for p in bundle.manifest.predictors}
    values = _values(name, predictions)
    beyond = sum(v.predictor == name and v.out_of_range for p in predictions for v in p.values)
    bins = Bins.of(reference)
    counts = bins.counts(values)
    told = withheld(counts) if reference.levels else counts
    reason = _no_stability(bins, counts, told)
    mix = PredictorMix(
        predictor=name,
        label="DLR score" if name == SCORE else described[name].label,
        unit=None if name == SCORE else described[name].unit,
        count=len(values),
        out_of_range_count=withheld((beyond,))[0],
        stability=None if reason else population_stability(counts, bins.shares),
        stability_chance=None if reason else chance_stability(len(counts), sum(counts), _development_count(bundle)),
        stability_reason=reason,
    )
    if reference.levels:
        return mix.model_copy(update={"levels": _levels(reference, told, sum(counts))})
    numbers = np.array([float(v) for v in values])
    development = Quantiles(low=reference.deciles[0], median=reference.deciles[4], high=reference.deciles[8])
    here = safe_quantiles(numbers)
    central = (numbers >= development.low) & (numbers <= development.high)
    return mix.model_copy(
        update={
            "development": development,
            "here": None if here is None else Quantiles(low=here[0], median=here[1], high=here[2]),
            "central_share": float(central.mean()) if numbers.size else None,
        }
    )


def _values(name: str, predictions: Sequence[StoredPrediction]) -> list[float | str]:
    """Return what is known of one predictor; the score is known of everybody, also where the nomogram cannot be read."""
    if name == SCORE:
        return [p.dlr_value for p in predictions]
    return [v.value for p in predictions for v in p.values if v.predictor == name]


def _levels(reference: PredictorReference, told: Sequence[int | None], total: int) -> tuple[LevelMix, ...]:
    return tuple(
        LevelMix(level=level, development_share=share, count=count, share=None if count is None else count / max(total, 1))
        for level, share, count in zip(reference.levels, reference.shares, told, strict=True)
    )


def _no_stability(bins: Bins, counts: Sequence[int], told: Sequence[int | None]) -> str | None:
    if len(counts) < 2:
        return CONSTANT
    if sum(counts) < _PATIENTS_PER_BIN * len(counts):
        return FEW
    return WITHHELD if bins.levels and None in told else None


def _development_count(bundle: ModelBundle) -> int:
    return bundle.manifest.training.development_count


def _acquisition(bundle: ModelBundle, found: Sequence[AcquisitionValues]) -> tuple[AcquisitionMix, ...]:
    envelope = bundle.manifest.acquisition
    rows: tuple[tuple[str, str, tuple[float, float] | None, Callable[[AcquisitionValues], float | None]], ...] = (
        ("slice spacing", "mm", envelope.slice_spacing_mm, lambda a: a.slice_spacing_mm),
        ("pixel spacing", "mm", envelope.pixel_spacing_mm, lambda a: a.pixel_spacing_mm),
        ("region volume", "cm³", envelope.region_volume_cm3, lambda a: a.region_volume_cm3),
        ("tube voltage", "kV", envelope.kvp, lambda a: a.kvp),
    )
    table = []
    for quantity, unit, span, pick in rows:
        values = [value for a in found if (value := pick(a)) is not None]
        here = safe_quantiles(np.array(values, dtype=np.float64))
        table.append(
            AcquisitionMix(
                quantity=quantity,
                unit=unit,
                development_low=None if span is None else span[0],
                development_high=None if span is None else span[1],
                count=len(values),
                here=None if here is None else Quantiles(low=here[0], median=here[1], high=here[2]),
            )
        )
    return tuple(table)
