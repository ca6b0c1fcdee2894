"""What each radiomic feature means, its code in the IBSI reference manual, and where the two differ.

Names are PyRadiomics', codes those of the Image Biomarker Standardisation Initiative: arXiv:1612.07003 for features,
families and aggregation, arXiv:2006.05470 for filters. A feature has no code where IBSI does not define it. Meanings
describe PyRadiomics' numbers and say where IBSI's are others; HU stands for the values of whatever image is described.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from nodogram.errors import FeatureError, Reason
from nodogram.radiomics.manifest import PREFIX, WAVELET_BANDS


@dataclass(frozen=True)
class FeatureDefinition:
    """One feature of PyRadiomics.

    Parameters
    ----------
    feature_class
        Class in PyRadiomics' spelling, such as ``glcm``.
    name
        Name in PyRadiomics' spelling, such as ``Idmn``.
    ibsi_code
        Four upper-case letters and digits, or ``None`` where IBSI has no such feature.
    meaning
        One line of plain English.
    unit
        Of the feature on the original image; ``1`` for counts, ratios and everything made of gray levels.

    Raises
    ------
    FeatureError
        ``FEATURE_UNKNOWN`` if the code is not of that form.
    """

    feature_class: str
    name: str
    ibsi_code: str | None
    meaning: str
    unit: str

    def __post_init__(self) -> None:
        if self.ibsi_code is not None and not re.fullmatch("[0-9A-Z]{4}", self.ibsi_code):
            raise FeatureError(
                Reason.FEATURE_UNKNOWN,
                f"{self.feature_class}_{self.name}: {self.ibsi_code!r} is not an IBSI code, four letters and digits",
            )


def definition(feature_class: str, name: str) -> FeatureDefinition:
    """Return the definition of a feature.

    Raises
    ------
    FeatureError
        ``FEATURE_UNKNOWN`` if PyRadiomics has no such feature, or only a deprecated one.
    """
    try:
        return _BY_NAME[feature_class, name]
    except KeyError:
        raise FeatureError(Reason.FEATURE_UNKNOWN, f"{feature_class}_{name} is no feature of PyRadiomics 3.0.1") from None


def describe(full_name: str) -> str:
    """Explain a feature by its full name, with or without ``radiomics.``: what it measures, in which image, how.

    Parameters
    ----------
    full_name
        Image, class and feature joined by underscores, such as ``radiomics.wavelet-LLH_glcm_Idmn``.

    Returns
    -------
    str
        Sentences in plain English with the IBSI codes of feature, family, aggregation and filter in brackets.

    Raises
    ------
    FeatureError
        ``FEATURE_UNKNOWN`` if image, class or feature is not known.
    """
    parts = full_name.removeprefix(PREFIX).split("_")
    if len(parts) != 3:
        raise FeatureError(Reason.FEATURE_UNKNOWN, f"{full_name!r} does not read image_class_feature")
    image, feature_class, name = parts
    feature = definition(feature_class, name)
    if feature_class == "shape" and image != "original":
        raise FeatureError(Reason.FEATURE_UNKNOWN, f"{full_name!r}: shape belongs to the region and only to the original image")
    code = "no IBSI code" if feature.ibsi_code is None else f"IBSI {feature.ibsi_code}"
    unit = "" if feature.unit == "1" else f", in {feature.unit}"
    if "HU" in unit and image != "original":
        unit += " of the filtered image"
    sentences = (f"{feature.meaning} [{code}]{unit}", _family(feature), f"Image: {_image_meaning(image)}")
    return ". ".join(sentences) + "."


def _family(feature: FeatureDefinition) -> str:
    if feature.feature_class == "firstorder" and feature.name in _OF_HISTOGRAM:
        return "Intensity histogram [IBSI ZVCW], after discretization"
    return _FAMILIES[feature.feature_class]


def _image_meaning(image: str) -> str:
    if image in _IMAGES:
        return _IMAGES[image]
    band = image.removeprefix("wavelet-")
    if band != image and band in WAVELET_BANDS:
        return f"band {band} of a stationary wavelet transform [IBSI 25BO], {_passes(band)}"
    log = re.fullmatch(r"log-sigma-(\d+)-(\d+)-mm-3D", image)
    if log:
        sigma_mm = float(f"{log[1]}.{log[2]}")
        return f"Laplacian of Gaussian [IBSI L6PA] with a sigma of {sigma_mm:g} mm, times sigma² in voxels: blobs of that size"
    raise FeatureError(Reason.FEATURE_UNKNOWN, f"{image!r} is no image type")


def _passes(band: str) -> str:
    """Say which axes of a band are smoothed and which differentiated; letters go with x, y, z."""
    axes = {letter: [axis for axis, each in zip("xyz", band, strict=True) if each == letter] for letter in "LH"}
    words = (("low-pass", axes["L"]), ("high-pass", axes["H"]))
    return ", ".join(f"{word} along {' and '.join(found)}" for word, found in words if found)


_OF_HISTOGRAM = ("Entropy", "Uniformity")

_FAMILIES: Mapping[str, str] = {
    "shape": "Morphology of the region [IBSI HCUG], in 3D",
    "firstorder": "Intensity statistics [IBSI UHIW], before discretization",
    "glcm": "Gray level co-occurrence matrix [IBSI LFYI] of neighboring voxels, mean over the directions in 3D [IBSI ITBB]",
    "gldm": "Gray level dependence matrix [IBSI REK0] of voxels and their equal neighbors, one matrix in 3D [IBSI KOBO]",
    "glrlm": "Gray level run length matrix [IBSI TP0I], mean over the directions in 3D [IBSI ITBB]",
    "glszm": "Gray level size zone matrix [IBSI 9SAK] of connected voxels, one matrix in 3D [IBSI KOBO]",
    "ngtdm": "Neighborhood gray tone difference matrix [IBSI IPET], one matrix in 3D [IBSI KOBO]",
}

_IMAGES: Mapping[str, str] = {
    "original": "the CT itself, unfiltered",
    "square": "squared values, scaled back to the image's range: spreads values far from 0, loses their sign",
    "squareroot": "square root of the size, sign kept, scaled back to the image's range: spreads values near 0",
    "logarithm": "logarithm of the size plus one, sign kept, scaled back to the image's range: spreads values near 0",
    "exponential": "exponential of the values, scaled back to the image's range: spreads the highest",
    "gradient": "magnitude of the gradient, change per mm: edges",
}

_Row = tuple[str, str, str | None, str, str]
"""Class, name, IBSI code, unit, meaning."""

# A run is a line of voxels of one gray level, a zone a connected set of them; the dependence of a voxel counts itself and
# the neighbors of its gray level. Whatever is counted, the gray levels are those after discretization, from 1.
_ROWS: tuple[_Row, ...] = (
    ("shape", "Elongation", "Q3CK", "1", "Second-longest axis over the longest: 1 round in section, 0 a line"),
    ("shape", "Flatness", "N17B", "1", "Shortest axis over the longest: 1 like a ball, 0 flat"),
    ("shape", "LeastAxisLength", "7J51", "mm", "Shortest axis of the equivalent ellipsoid; variance over N voxels, IBSI N - 1"),
    ("shape", "MajorAxisLength", "TDIC", "mm", "Longest axis of the equivalent ellipsoid; variance over N voxels, IBSI N - 1"),
    ("shape", "Maximum2DDiameterColumn", None, "mm", "Largest diameter in any coronal plane (x, z); not in IBSI"),
    ("shape", "Maximum2DDiameterRow", None, "mm", "Largest diameter in any sagittal plane (y, z); not in IBSI"),
    ("shape", "Maximum2DDiameterSlice", None, "mm", "Largest diameter in any axial plane (x, y); not in IBSI"),
    ("shape", "Maximum3DDiameter", "L0JK", "mm", "Largest distance between two points of the surface"),
    ("shape", "MeshVolume", "RNU0", "mm³", "Volume inside the triangulated surface"),
    ("shape", "MinorAxisLength", "P9VJ", "mm", "Second axis of the equivalent ellipsoid; variance over N voxels, IBSI N - 1"),
    ("shape", "Sphericity", "QCFX", "1", "Surface of the ball of equal volume over the surface: 1 a ball, less the rougher"),
    ("shape", "SurfaceArea", "C0JK", "mm²", "Area of the triangulated surface"),
    ("shape", "SurfaceVolumeRatio", "2PR5", "1/mm", "Surface area over volume: low if large and compact"),
    ("shape", "VoxelVolume", "YEKZ", "mm³", "Number of voxels times their volume; IBSI's approximate volume"),
    ("firstorder", "10Percentile", "QG58", "HU", "Value below which a tenth of the voxels lie"),
    ("firstorder", "90Percentile", "8DWT", "HU", "Value below which nine tenths of the voxels lie"),
    ("firstorder", "Energy", "N8CA", "HU²", "Sum of the squared values; grows with the number of voxels"),
    ("firstorder", "Entropy", "TLU2", "bit", "Disorder of the gray levels: 0 if all are equal"),
    ("firstorder", "InterquartileRange", "SALO", "HU", "Width of the middle half of the values"),
    ("firstorder", "Kurtosis", "IPH6", "1", "Weight of the tails, 3 if normally distributed; IBSI's is the excess, 3 less"),
    ("firstorder", "Maximum", "84IY", "HU", "Largest value"),
    ("firstorder", "MeanAbsoluteDeviation", "4FUA", "HU", "Mean distance of the values from their mean"),
    ("firstorder", "Mean", "Q4LE", "HU", "Mean value"),
    ("firstorder", "Median", "Y12H", "HU", "Middle value"),
    ("firstorder", "Minimum", "1GSF", "HU", "Smallest value"),
    ("firstorder", "Range", "2OJQ", "HU", "Largest less smallest value"),
    ("firstorder", "RobustMeanAbsoluteDeviation", "1128", "HU", "Mean distance from the mean, of the middle 80 % of values"),
    ("firstorder", "RootMeanSquared", "5ZWQ", "HU", "Square root of the mean squared value"),
    ("firstorder", "Skewness", "KE2A", "1", "Asymmetry of the values: positive with a long tail towards the bright"),
    ("firstorder", "TotalEnergy", None, "HU² mm³", "Energy times the volume of a voxel; not in IBSI"),
    ("firstorder", "Uniformity", "BJ5W", "1", "Sum of the squared shares of the gray levels: 1 if all are equal"),
    ("firstorder", "Variance", "ECT3", "HU²", "Mean squared distance of the values from their mean"),
    ("glcm", "Autocorrelation", "QWB0", "1", "Mean product of two neighbors' gray levels: high if bright lies next to bright"),
    ("glcm", "ClusterProminence", "AE86", "1", "Fourth central moment of two neighbors' sum: high with rare outlying pairs"),
    ("glcm", "ClusterShade", "7NFM", "1", "Third central moment of two neighbors' sum: positive with rare bright pairs"),
    ("glcm", "ClusterTendency", "DG8W", "1", "Variance of two neighbors' sum; equals IBSI's sum variance OEEB"),
    ("glcm", "Contrast", "ACUI", "1", "Mean squared difference of two neighbors: high with abrupt local change"),
    ("glcm", "Correlation", "NI2N", "1", "Linear correlation of two neighbors: 1 if one gives the other"),
    ("glcm", "DifferenceAverage", "TF7R", "1", "Mean absolute difference of two neighbors; equals IBSI's dissimilarity 8S9J"),
    ("glcm", "DifferenceEntropy", "NTRS", "bit", "Disorder of the differences of two neighbors"),
    ("glcm", "DifferenceVariance", "D3YU", "1", "Variance of the absolute difference of two neighbors"),
    ("glcm", "Id", "IB1Z", "1", "Inverse difference, mean of 1 / (1 + difference): 1 if all neighbors are equal"),
    ("glcm", "Idm", "WF0Z", "1", "Inverse difference moment, mean of 1 / (1 + squared difference): 1 if neighbors are equal"),
    ("glcm", "Idmn", "1QCO", "1", "Inverse difference moment with differences divided by the number of gray levels"),
    ("glcm", "Idn", "NDRX", "1", "Inverse difference with differences divided by the number of gray levels"),
    (
        "glcm",
        "Imc1",
        "R8DG",
        "1",
        "First information correlation of two neighbors: 0 if independent, -1 if one gives the other",
    ),
    ("glcm", "Imc2", "JN9H", "1", "Second information correlation of two neighbors: 0 if independent, towards 1 if dependent"),
    (
        "glcm",
        "InverseVariance",
        "E8JP",
        "1",
        "Sum of 1 / squared difference over unequal neighbors: high with many small steps",
    ),
    ("glcm", "JointAverage", "60VM", "1", "Mean gray level of all pairs"),
    (
        "glcm",
        "JointEnergy",
        "8ZQL",
        "1",
        "Sum of the squared shares of all pairs: high if few dominate; IBSI's angular second moment",
    ),
    ("glcm", "JointEntropy", "TU9B", "bit", "Disorder of the pairs of neighbors"),
    (
        "glcm",
        "MCC",
        None,
        "1",
        "Maximal correlation coefficient of two neighbors: 0 if independent, 1 if dependent; not in IBSI",
    ),
    ("glcm", "MaximumProbability", "GYBY", "1", "Share of the most frequent pair; IBSI's joint maximum"),
    ("glcm", "SumAverage", "ZGXS", "1", "Mean sum of two neighbors; twice JointAverage"),
    ("glcm", "SumEntropy", "P6QZ", "bit", "Disorder of the sums of two neighbors"),
    ("glcm", "SumSquares", "UR99", "1", "Variance of the gray level over all pairs; IBSI's joint variance"),
    ("gldm", "DependenceEntropy", "FCBV", "bit", "Disorder of gray level and dependence together"),
    ("gldm", "DependenceNonUniformity", "Z87G", "1", "High if dependences are alike; grows with the number of voxels"),
    ("gldm", "DependenceNonUniformityNormalized", "OKJI", "1", "High if dependences are alike, whatever the size"),
    ("gldm", "DependenceVariance", "DNX2", "1", "Variance of the dependence"),
    ("gldm", "GrayLevelNonUniformity", "FP8K", "1", "High if gray levels are alike; grows with the number of voxels"),
    ("gldm", "GrayLevelVariance", "1PFV", "1", "Variance of the gray level over the voxels"),
    ("gldm", "HighGrayLevelEmphasis", "OAE7", "1", "Mean squared gray level: high if bright"),
    ("gldm", "LargeDependenceEmphasis", "IMOQ", "1", "Mean squared dependence: high if homogeneous"),
    ("gldm", "LargeDependenceHighGrayLevelEmphasis", "9QMG", "1", "High if homogeneous parts are bright"),
    ("gldm", "LargeDependenceLowGrayLevelEmphasis", "NBZI", "1", "High if homogeneous parts are dark"),
    ("gldm", "LowGrayLevelEmphasis", "TL9H", "1", "Mean of 1 / squared gray level: high if dark"),
    ("gldm", "SmallDependenceEmphasis", "SODN", "1", "Mean of 1 / squared dependence: high if heterogeneous"),
    ("gldm", "SmallDependenceHighGrayLevelEmphasis", "JA6D", "1", "High if heterogeneous parts are bright"),
    ("gldm", "SmallDependenceLowGrayLevelEmphasis", "EQ3F", "1", "High if heterogeneous parts are dark"),
    ("glrlm", "GrayLevelNonUniformity", "R5YN", "1", "High if runs are of few gray levels; grows with their number"),
    ("glrlm", "GrayLevelNonUniformityNormalized", "OVBL", "1", "High if runs are of few gray levels, whatever the size"),
    ("glrlm", "GrayLevelVariance", "8CE5", "1", "Variance of the gray level over the runs"),
    ("glrlm", "HighGrayLevelRunEmphasis", "G3QZ", "1", "Mean squared gray level of the runs: high if bright"),
    ("glrlm", "LongRunEmphasis", "W4KF", "1", "Mean squared run length: high if the texture is coarse"),
    ("glrlm", "LongRunHighGrayLevelEmphasis", "3KUM", "1", "High if long runs are bright"),
    ("glrlm", "LongRunLowGrayLevelEmphasis", "IVPO", "1", "High if long runs are dark"),
    ("glrlm", "LowGrayLevelRunEmphasis", "V3SW", "1", "Mean of 1 / squared gray level of the runs: high if dark"),
    ("glrlm", "RunEntropy", "HJ9O", "bit", "Disorder of gray level and run length together"),
    ("glrlm", "RunLengthNonUniformity", "W92Y", "1", "High if runs are equally long; grows with their number"),
    ("glrlm", "RunLengthNonUniformityNormalized", "IC23", "1", "High if runs are equally long, whatever the size"),
    ("glrlm", "RunPercentage", "9ZK5", "1", "Number of runs over number of voxels: 1 if the texture is finest"),
    ("glrlm", "RunVariance", "SXLW", "1", "Variance of the run length"),
    ("glrlm", "ShortRunEmphasis", "22OV", "1", "Mean of 1 / squared run length: high if the texture is fine"),
    ("glrlm", "ShortRunHighGrayLevelEmphasis", "GD3A", "1", "High if short runs are bright"),
    ("glrlm", "ShortRunLowGrayLevelEmphasis", "HTZT", "1", "High if short runs are dark"),
    ("glszm", "GrayLevelNonUniformity", "JNSA", "1", "High if zones are of few gray levels; grows with their number"),
    ("glszm", "GrayLevelNonUniformityNormalized", "Y1RO", "1", "High if zones are of few gray levels, whatever their number"),
    ("glszm", "GrayLevelVariance", "BYLV", "1", "Variance of the gray level over the zones"),
    ("glszm", "HighGrayLevelZoneEmphasis", "5GN9", "1", "Mean squared gray level of the zones: high if bright"),
    (
        "glszm",
        "LargeAreaEmphasis",
        "48P8",
        "1",
        "Mean squared zone size: high if the texture is coarse; IBSI's large zone emphasis",
    ),
    ("glszm", "LargeAreaHighGrayLevelEmphasis", "J17V", "1", "High if large zones are bright"),
    ("glszm", "LargeAreaLowGrayLevelEmphasis", "YH51", "1", "High if large zones are dark"),
    ("glszm", "LowGrayLevelZoneEmphasis", "XMSY", "1", "Mean of 1 / squared gray level of the zones: high if dark"),
    ("glszm", "SizeZoneNonUniformity", "4JP3", "1", "High if zones are equally large; grows with their number"),
    ("glszm", "SizeZoneNonUniformityNormalized", "VB3A", "1", "High if zones are equally large, whatever their number"),
    ("glszm", "SmallAreaEmphasis", "5QRC", "1", "Mean of 1 / squared zone size: high if fine; IBSI's small zone emphasis"),
    ("glszm", "SmallAreaHighGrayLevelEmphasis", "HW1V", "1", "High if small zones are bright"),
    ("glszm", "SmallAreaLowGrayLevelEmphasis", "5RAI", "1", "High if small zones are dark"),
    ("glszm", "ZoneEntropy", "GU8N", "bit", "Disorder of gray level and zone size together"),
    ("glszm", "ZonePercentage", "P30P", "1", "Number of zones over number of voxels: 1 if the texture is finest"),
    ("glszm", "ZoneVariance", "3NSA", "1", "Variance of the zone size, in voxels"),
    ("ngtdm", "Busyness", "NQ30", "1", "Change from voxel to neighborhood against the spread of gray levels: high if restless"),
    ("ngtdm", "Coarseness", "QCDE", "1", "Inverse of the mean change from voxel to neighborhood: high if locally uniform"),
    ("ngtdm", "Complexity", "HDEZ", "1", "High with many and abrupt changes between far gray levels"),
    ("ngtdm", "Contrast", "65HE", "1", "Spread of the gray levels times the mean change from voxel to neighborhood"),
    (
        "ngtdm",
        "Strength",
        "1X9X",
        "1",
        "Spread of the gray levels against the change from voxel to neighborhood: high if distinct",
    ),
)

DEFINITIONS = tuple(FeatureDefinition(group, name, code, meaning, unit) for group, name, code, unit, meaning in _ROWS)
"""Every feature that PyRadiomics 3.0.1 offers in 3D and has not deprecated, class by class in its order."""

_BY_NAME: Mapping[tuple[str, str], FeatureDefinition] = {(each.feature_class, each.name): each for each in DEFINITIONS}
