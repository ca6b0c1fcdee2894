"""Which features a model's settings stand for, in which order, and with which PyRadiomics they may be computed."""

from __future__ import annotations

from importlib.metadata import version

import radiomics
from pydantic import model_validator

from nodogram.errors import BundleError, Reason
from nodogram.settings import ModelSettings, RadiomicsSettings, Settings

PREFIX = "radiomics."

# PyRadiomics' order of the eight stationary wavelet bands, axes x, y, z from left to right.
WAVELET_BANDS = ("LLH", "LHL", "LHH", "HLL", "HLH", "HHL", "HHH", "LLL")


class FeatureManifest(Settings):
    """What a bundle keeps about its radiomics: names alone do not say how the numbers came about.

    Attributes
    ----------
    pyradiomics_version
        Exact version; values have changed between versions of PyRadiomics.
    settings_digest
        Digest of the :class:`ModelSettings` the features belong to.
    names
        All features in the order of extraction.
    """

    pyradiomics_version: str
    settings_digest: str
    names: tuple[str, ...]

    @model_validator(mode="after")
    def _consistent(self) -> FeatureManifest:
        if len(set(self.names)) != len(self.names):
            raise ValueError("names: each feature once")
        foreign = [name for name in self.names if not name.startswith(PREFIX)]
        if foreign:
            raise ValueError(f"names: {foreign[0]!r} does not start with {PREFIX!r}")
        return self


def build_manifest(settings: ModelSettings) -> FeatureManifest:
    """Return the manifest of these settings and the PyRadiomics installed here."""
    return FeatureManifest(
        pyradiomics_version=version("pyradiomics"),
        settings_digest=settings.digest(),
        names=feature_names(settings.radiomics),
    )


def check_pyradiomics_version(expected: str) -> None:
    """Refuse to compute features with another PyRadiomics than the model was fitted with.

    Raises
    ------
    BundleError
        ``BUNDLE_SOFTWARE_MISMATCH`` naming both versions.
    """
    found = version("pyradiomics")
    if found != expected:
        raise BundleError(
            Reason.BUNDLE_SOFTWARE_MISMATCH,
            f"PyRadiomics {found} is installed; this model needs {expected}, as feature values differ between versions",
        )


def feature_names(settings: RadiomicsSettings) -> tuple[str, ...]:
    """Return every feature of the settings in order: ``radiomics.`` and PyRadiomics' own name; none if disabled.

    Shape comes first and once, as it belongs to the region and to no image type; then each image type in the order of the
    settings, each class in the order of the settings, each feature in PyRadiomics' order, deprecated ones left out.
    """
    if not settings.enabled:
        return ()
    shape = tuple(f"{PREFIX}original_shape_{name}" for name in _class_features("shape") if "shape" in settings.feature_classes)
    return shape + tuple(
        f"{PREFIX}{image}_{feature_class}_{name}"
        for image in image_names(settings)
        for feature_class in settings.feature_classes
        if feature_class != "shape"
        for name in _class_features(feature_class)
    )


def image_names(settings: RadiomicsSettings) -> tuple[str, ...]:
    """Return PyRadiomics' names of the filtered images, such as ``wavelet-LLH``, in the order of the settings."""
    names: list[str] = []
    for image_type in settings.image_types:
        if image_type == "Wavelet":
            names += [f"wavelet-{band}" for band in WAVELET_BANDS]
        elif image_type == "LoG":
            names += [log_image_name(sigma_mm) for sigma_mm in settings.log_sigma_mm]
        else:
            names.append(image_type.lower())
    return tuple(names)


def log_image_name(sigma_mm: float) -> str:
    """Return PyRadiomics' name of the Laplacian of Gaussian of this standard deviation, mm."""
    return f"log-sigma-{str(float(sigma_mm)).replace('.', '-')}-mm-3D"


def _class_features(feature_class: str) -> tuple[str, ...]:
    features = radiomics.getFeatureClasses()[feature_class].getFeatureNames()
    return tuple(name for name, deprecated in features.items() if not deprecated)
