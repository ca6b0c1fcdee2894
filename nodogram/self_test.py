"""Known-answer cases: a bundle must compute here and now what it computed when it was made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nodogram.bundle import CASES, KnownAnswer, ModelBundle, Tolerances
from nodogram.errors import BundleError, Reason
from nodogram.imaging.load import load_case
from nodogram.predict import Prediction, predict

IMAGE = "image.nii.gz"
ROI = "roi.nii.gz"


@dataclass(frozen=True)
class KnownAnswerResult:
    """How far one known-answer case is off.

    Attributes
    ----------
    probability_difference
        Largest absolute difference of DLR and nomogram probability.
    radiomics_difference
        Largest relative difference of a radiomic feature.
    """

    name: str
    probability_difference: float
    radiomics_difference: float


def known_answer(name: str, prediction: Prediction, clinical: dict[str, str | float]) -> KnownAnswer:
    """Record a prediction as the expected output of a case."""
    features = dict(zip(prediction.features.names, (float(v) for v in prediction.features.values), strict=True))
    return KnownAnswer(
        name=name,
        clinical=clinical,
        features=features,
        dlr_probability=prediction.dlr.probability,
        probability=prediction.probability,
    )


def reproduce(bundle: ModelBundle) -> Iterator[KnownAnswerResult]:
    """Predict every known-answer case through the full path and compare.

    Raises
    ------
    BundleError
        ``BUNDLE_KNOWN_ANSWER_FAILED`` with the case and both figures, or if there is no case at all.
    """
    if not bundle.known_answers:
        raise BundleError(Reason.BUNDLE_KNOWN_ANSWER_FAILED, "the bundle has no known-answer case; at least one is required")
    for expected in bundle.known_answers:
        image, roi = known_files(bundle, expected)
        case = load_case(expected.name, image, roi, clinical=expected.clinical)
        yield compare(expected, predict(case, bundle), bundle.manifest.tolerances)


def known_files(bundle: ModelBundle, answer: KnownAnswer) -> tuple[Path, Path]:
    """Return image and outline of a known-answer case."""
    folder = bundle.folder / CASES / answer.name
    return folder / IMAGE, folder / ROI


def compare(expected: KnownAnswer, found: Prediction, limits: Tolerances) -> KnownAnswerResult:
    """Compare one prediction with what it was when the bundle was made.

    Raises
    ------
    BundleError
        ``BUNDLE_KNOWN_ANSWER_FAILED`` with the case and both figures.
    """
    result = _differences(expected, found)
    if result.probability_difference > limits.probability or result.radiomics_difference > limits.radiomics_relative:
        raise BundleError(
            Reason.BUNDLE_KNOWN_ANSWER_FAILED,
            f"{expected.name}: probability off by {result.probability_difference:.2g} (allowed {limits.probability:.2g}), "
            f"radiomics off by {result.radiomics_difference:.2g} relative (allowed {limits.radiomics_relative:.2g})",
        )
    return result


def predict_known(bundle: ModelBundle, folder: Path, clinical: dict[str, str | float]) -> Prediction:
    """Predict the case stored in one folder of ``cases/``."""
    return predict(load_case(folder.name, folder / IMAGE, folder / ROI, clinical=clinical), bundle)


def _differences(expected: KnownAnswer, found: Prediction) -> KnownAnswerResult:
    differences = [abs(found.dlr.probability - expected.dlr_probability)]
    if (found.probability is None) != (expected.probability is None):
        differences.append(1.0)
    elif found.probability is not None and expected.probability is not None:
        differences.append(abs(found.probability - expected.probability))
    radiomics = [
        abs(value - expected.features[name]) / max(abs(expected.features[name]), 1e-12)
        for name, value in zip(found.features.names, found.features.values, strict=True)
        if name.startswith("radiomics.")
    ]
    return KnownAnswerResult(expected.name, max(differences), float(max(radiomics, default=0.0)))
