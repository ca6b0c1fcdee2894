"""An ``Explanation`` with long names, a predictor that works against the others, and a kind of case nobody belongs to."""

from __future__ import annotations

import numpy as np

from nodogram.features import FeatureTable
from training.evidence.activation_maps import KINDS, ActivationCase, ActivationSheet, Kind, encode_picture
from training.evidence.attribution import BranchAttribution, FeatureAttribution
from training.evidence.explanation import (
    Explanation,
    FeatureBoxes,
    FeatureSample,
    box,
    contribution_shares,
    correlation_matrix,
)

LONG_NAMES = (
    "radiomics.wavelet-LLH_glcm_ClusterShade",
    "radiomics.log-sigma-3-0-mm-3D_glszm_SmallAreaLowGrayLevelEmphasis",
    "radiomics.wavelet-HHL_gldm_LargeDependenceHighGrayLevelEmphasis",
    "radiomics.original_shape_Maximum2DDiameterSlice",
    "radiomics.original_firstorder_10Percentile",
    "radiomics.squareroot_firstorder_RobustMeanAbsoluteDeviation",
    "radiomics.log-sigma-1-0-mm-3D_glcm_Imc1",
    "radiomics.wavelet-LLL_glrlm_LongRunLowGrayLevelEmphasis",
    "radiomics.gradient_ngtdm_Coarseness",
    "radiomics.original_glcm_MCC",
    "radiomics.original_shape_SurfaceVolumeRatio",
    "radiomics.wavelet-LHL_glszm_SizeZoneNonUniformityNormalized",
    "radiomics.exponential_firstorder_Kurtosis",
    "radiomics.original_glcm_Idmn",
)
DEEP_NAMES = tuple(f"deep.{17 * j:04d}" for j in range(4))


def example_explanation() -> Explanation:
    """Return what a run of a forest on radiomics and a network on deep features would leave."""
    rng = np.random.default_rng(11)
    contributions = rng.normal(size=(164, 4)) * (1.2, 0.7, 0.3, 0.2)
    contributions[:, 3] -= 0.15 * contributions[:, 0]
    predictors = [
        ("dlr_score", "DLR score"),
        ("ct_reported_lnm", "Lymph nodes reported as suspicious on contrast-enhanced CT"),
        ("tumour_site", "Tumor site"),
        ("age", "Age"),
    ]
    return Explanation(
        contribution=contribution_shares(contributions, predictors, points_per_log_odds=12.0),
        attributions=(_branch("radiomics", "RF", LONG_NAMES, rng), _branch("deep", "MLP", DEEP_NAMES, rng)),
        boxes=_boxes(rng),
        correlation=correlation_matrix(
            FeatureTable(
                tuple(str(i) for i in range(60)),
                LONG_NAMES + DEEP_NAMES,
                rng.normal(size=(60, 18)) @ (np.eye(18) + 0.3 * rng.normal(size=(18, 18))),
            )
        ),
        activation=_sheet(rng),
    )


def _branch(branch: str, classifier: str, names: tuple[str, ...], rng: np.random.Generator) -> BranchAttribution:
    features = []
    for j, name in enumerate(names):
        value = rng.normal(size=164)
        shap = np.tanh(value) * (-1) ** j / (j + 2) + 0.02 * rng.normal(size=164)
        order = np.argsort(shap)
        features.append(
            FeatureAttribution(
                name=name,
                mean_absolute=float(np.abs(shap).mean()),
                shap=tuple(shap[order].tolist()),
                value=tuple(value[order].tolist()),
            )
        )
    return BranchAttribution(
        branch=branch,
        classifier=classifier,
        weight=0.5,
        method="tree" if classifier == "RF" else "exact",
        unit="probability" if classifier == "RF" else "log odds",
        base_value=0.4,
        background_count=100,
        explained_count=164,
        additivity_gap=1e-9,
        features=tuple(sorted(features, key=lambda f: -f.mean_absolute)),
    )


def _boxes(rng: np.random.Generator) -> tuple[FeatureBoxes, ...]:
    samples: tuple[tuple[FeatureSample, int, int, float], ...] = (("development", 97, 67, 0.8), ("test", 44, 27, 0.3))
    return tuple(
        FeatureBoxes(
            branch=name.split(".")[0],
            name=name,
            sample=sample,
            without_outcome=box(rng.normal(size=without)),
            with_outcome=box(rng.normal(size=events) + shift),
        )
        for sample, without, events, shift in samples
        for name in LONG_NAMES + DEEP_NAMES
    )


def _sheet(rng: np.random.Generator) -> ActivationSheet:
    shown: dict[Kind, int] = {"true positive": 2, "false positive": 1, "true negative": 2, "false negative": 0}
    return ActivationSheet(
        sample="test",
        patient_count=71,
        threshold=0.41,
        bias=0.0,
        counts=(24, 1, 46, 0),
        cases=tuple(_case(kind, rng) for kind in KINDS for _ in range(shown[kind])),
    )


def _case(kind: Kind, rng: np.random.Generator) -> ActivationCase:
    evidence = rng.normal(size=(7, 7)) + (0.4 if kind.endswith("positive") else -0.4)
    return ActivationCase(
        kind=kind,
        outcome=int(kind in ("true positive", "false negative")),
        probability=0.9 if kind.endswith("positive") else 0.1,
        nomogram_probability=0.5,
        evidence=tuple(tuple(float(v) for v in row) for row in evidence),
        picture=encode_picture(rng.random((56, 56), dtype=np.float32)),
    )
