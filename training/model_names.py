"""Feature sets and samples of patients, in the order of tables, and what readers call them."""

from __future__ import annotations

from training.results import FeatureSet, Sample

FEATURE_SETS: tuple[FeatureSet, ...] = ("clinical", "radiomics", "deep", "dlr", "nomogram")
SAMPLES: tuple[Sample, ...] = ("development_apparent", "development_out_of_fold", "test")
APPARENT: Sample = "development_apparent"
OUT_OF_FOLD: Sample = "development_out_of_fold"
TEST: Sample = "test"


def feature_set_label(feature_set: FeatureSet) -> str:
    """Return the name of a feature set in tables."""
    match feature_set:
        case "clinical":
            return "Clinical findings"
        case "radiomics":
            return "Radiomics"
        case "deep":
            return "Deep features"
        case "dlr":
            return "Deep-learning radiomics"
        case "nomogram":
            return "Nomogram"


def short_label(feature_set: FeatureSet) -> str:
    """Return the name of a feature set where a figure has little room."""
    return "DLR" if feature_set == "dlr" else feature_set_label(feature_set).split(" ")[0]


def sample_label(sample: Sample) -> str:
    """Return the name of a sample; an apparent one is never without its warning."""
    match sample:
        case "development_apparent":
            return "Development, apparent (optimistic)"
        case "development_out_of_fold":
            return "Development, out-of-fold"
        case "test":
            return "Test"
