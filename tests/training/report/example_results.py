"""A complete ``RunResults`` as a run would leave it: ROC curves of seeded scores, counts of a cohort of the paper's size."""

from __future__ import annotations

import numpy as np
from example_nomogram import example_nomogram
from numpy.typing import NDArray

from training.recipe import load_recipe
from training.results import (
    BaselineRow,
    BaselineTable,
    Estimate,
    FeatureSet,
    FinetuneCurve,
    FlowStep,
    LassoCurve,
    LassoPath,
    ModelPerformance,
    NomogramSummary,
    OddsRatio,
    PointsRow,
    ProbabilityRow,
    RunResults,
    Sample,
    SelectedFeature,
    SelectionCount,
)

ALGORITHMS = ("LR", "SVM", "RF", "ExtraTrees", "XGBoost", "LightGBM", "MLP")
# (sample, patients, events, how far apart the outcomes lie beside out-of-fold)
SAMPLES: tuple[tuple[Sample, int, int, float], ...] = (
    ("development_apparent", 164, 67, 0.9),
    ("development_out_of_fold", 164, 67, 0.0),
    ("test", 71, 27, 0.05),
)
STRENGTH: dict[FeatureSet, float] = {"clinical": 1.25, "radiomics": 0.9, "deep": 0.75, "dlr": 1.05, "nomogram": 1.5}


def example_results(title: str = "Larynx 2025, synthetic example") -> RunResults:
    """Return the results of a run of the recipe ``sound`` with radiomics, deep features and two clinical predictors."""
    rng = np.random.default_rng(7)
    recipe = load_recipe("sound")
    return RunResults(
        nodogram_version="0.1.0",
        created="2025-08-12T09:30:00+00:00",
        cohort_title=title,
        outcome_name="lymph-node metastasis",
        outcome_provenance="pathology",
        positive_label="pN+",
        recipe=recipe,
        recipe_digest="5a" * 32,
        bundle_digest="c0ffee" + "1d" * 29,
        initial_weights="random initialization (imagenet: not cached and no network)",
        device="cpu",
        warnings=(
            "The backbone was trained from random initialization (imagenet: not cached and no network).",
            "67 patients in the rarer outcome class for 7 candidate coefficients of the nomogram: fewer than 10 each; expect "
            "wide intervals and overfitting.",
            "7 patients or outlines could not be used; see the cohort flow.",
        ),
        flow=(
            FlowStep(label="Listed in the cohort table", count=242),
            FlowStep(label="Complete rows", count=239, excluded=(("CLINICAL_VALUE_INVALID", 1), ("OUTCOME_INVALID", 2))),
            FlowStep(label="Usable image and outline", count=235, excluded=(("MISSING_SLICES", 3), ("ROI_TOO_SMALL", 1))),
            FlowStep(label="Development", count=164),
            FlowStep(label="Test", count=71),
        ),
        baseline_by_split=_by_split(),
        baseline_by_outcome=_by_outcome(),
        odds_ratios=_odds_ratios(),
        models=_models(rng),
        selection_counts=tuple(
            SelectionCount(branch=branch, step=step, count_in=entering, count_out=leaving)
            for branch, counts in (("radiomics", (1316, 1012, 140, 61, 15)), ("deep", (2048, 2048, 230, 118, 12)))
            for step, entering, leaving in zip(
                ("ICC, lower 95% bound at least 0.75", "Mann-Whitney, p < 0.05", "correlation, |rho| at most 0.9", "LASSO"),
                counts[:-1],
                counts[1:],
                strict=True,
            )
        ),
        selected_features=_selected(rng),
        lasso_paths=tuple(_lasso_path(branch, rng) for branch in ("radiomics", "deep")),
        finetune_curves=tuple(_finetune(label, rng) for label in ("fold 1", "fold 2", "fold 3", "fold 4", "fold 5", "final")),
        nomogram=_nomogram_summary(),
        threshold=0.2314,
        threshold_rule="highest threshold with sensitivity of at least 0.90 on out-of-fold development probabilities",
        score_calibration=(0.6421, -0.1873),
        split_digest="0b" * 32,
        split_from_cohort=False,
        duration_s=4210.0,
        software=(
            ("SimpleITK", "2.5.7"),
            ("nodogram", "0.1.0"),
            ("numpy", "2.4.6"),
            ("pyradiomics", "3.0.1"),
            ("torch", "2.13.0"),
        ),
    )


def performance(
    feature_set: FeatureSet,
    classifier: str | None,
    sample: Sample,
    outcome: NDArray[np.int64],
    score: NDArray[np.float64],
    *,
    chosen: bool,
) -> ModelPerformance:
    """Measure one score (n,) against an outcome (n,) of zeros and ones."""
    order = np.argsort(-score, kind="stable")
    distinct = np.append(np.nonzero(np.diff(score[order]))[0], outcome.size - 1)
    true = np.cumsum(outcome[order])[distinct] / outcome.sum()
    false = np.cumsum(1 - outcome[order])[distinct] / (outcome.size - outcome.sum())
    true, false = np.append(0.0, true), np.append(0.0, false)
    auc = float(np.trapezoid(true, false))
    probability = 1 / (1 + np.exp(-score))
    threshold = float(np.quantile(probability[outcome == 1], 0.12))
    called = probability >= threshold
    tp, fn, fp, tn = (int(np.sum((called == c) & (outcome == o))) for c, o in ((1, 1), (0, 1), (1, 0), (0, 0)))
    return ModelPerformance(
        feature_set=feature_set,
        classifier=classifier,
        chosen=chosen,
        sample=sample,
        patient_count=outcome.size,
        event_count=int(outcome.sum()),
        threshold=threshold,
        auc=_wald(auc, np.sqrt(auc * (1 - auc) / min(outcome.sum(), outcome.size - outcome.sum()) / 1.5)),
        accuracy=_proportion(tp + tn, outcome.size),
        sensitivity=_proportion(tp, tp + fn),
        specificity=_proportion(tn, tn + fp),
        ppv=_proportion(tp, tp + fp),
        npv=_proportion(tn, tn + fn),
        brier=float(np.mean((probability - outcome) ** 2)),
        calibration_slope=Estimate(value=0.93, low=0.61, high=1.25),
        calibration_intercept=Estimate(value=-0.08, low=-0.47, high=0.31),
        false_positive_rate=tuple(float(v) for v in false),
        true_positive_rate=tuple(float(v) for v in true),
    )


def without_deep(results: RunResults) -> RunResults:
    """Return the run as one without the network would leave it."""
    return results.model_copy(
        update={
            "models": tuple(m for m in results.models if m.feature_set != "deep"),
            "lasso_paths": results.lasso_paths[:1],
            "selection_counts": tuple(c for c in results.selection_counts if c.branch == "radiomics"),
            "selected_features": tuple(f for f in results.selected_features if f.branch == "radiomics"),
            "finetune_curves": (),
            "initial_weights": "no network",
        }
    )


def without_clinical(results: RunResults) -> RunResults:
    """Return the run as a cohort without clinical predictors would leave it."""
    empty = results.baseline_by_split.model_copy(update={"rows": ()})
    return results.model_copy(
        update={
            "models": tuple(m for m in results.models if m.feature_set != "clinical"),
            "odds_ratios": (),
            "baseline_by_split": empty,
            "baseline_by_outcome": empty,
            "nomogram": results.nomogram.model_copy(update={"coefficients": results.nomogram.coefficients[:2]}),
        }
    )


def with_constant_score(results: RunResults) -> RunResults:
    """Return the run as pure noise would leave it: no feature, a flat score, nothing defined that needs a positive call."""
    undefined = Estimate(value=None)
    flat = {
        "auc": Estimate(value=0.5, low=0.5, high=0.5),
        "ppv": undefined,
        "sensitivity": Estimate(value=0.0, low=0.0, high=0.05),
        "calibration_slope": undefined,
        "calibration_intercept": undefined,
        "false_positive_rate": (0.0, 1.0),
        "true_positive_rate": (0.0, 1.0),
    }
    one_class = {"auc": undefined, "false_positive_rate": (), "true_positive_rate": ()}
    models = tuple(
        m.model_copy(update=flat | (one_class if m.sample == "test" else {})) if m.feature_set != "clinical" else m
        for m in results.models
    )
    return results.model_copy(
        update={
            "models": models,
            "warnings": ("Out of fold, the DLR score ranked no better than chance: it is constant.",),
            "selected_features": (),
            "lasso_paths": (),
            "score_calibration": (0.0, -0.37),
        }
    )


def _models(rng: np.random.Generator) -> tuple[ModelPerformance, ...]:
    rows = []
    latent = {sample: rng.normal(size=patients) for sample, patients, _, _ in SAMPLES}
    latent["development_apparent"] = latent["development_out_of_fold"]
    for feature_set, strength in STRENGTH.items():
        compared = feature_set in ("radiomics", "deep", "dlr")
        for place, classifier in enumerate(ALGORITHMS if compared else (None,)):
            for sample, patients, events, optimism in SAMPLES:
                outcome = np.repeat(np.array([1, 0], dtype=np.int64), (events, patients - events))
                gain = strength + optimism * (0.0 if feature_set == "clinical" else 1.0) + 0.06 * np.cos(3.0 * place)
                noise = 0.8 * latent[sample] + 0.6 * rng.normal(size=patients)
                score = gain * (outcome - 0.45) + noise
                if feature_set == "clinical":
                    score = np.round(score * 0.7)
                rows.append(
                    performance(feature_set, classifier, sample, outcome, score, chosen=classifier in (None, "XGBoost"))
                )
    return tuple(rows)


def _wald(value: float, error: float) -> Estimate:
    return Estimate(value=value, low=max(0.0, value - 1.96 * error), high=min(1.0, value + 1.96 * error))


def _proportion(part: int, whole: int) -> Estimate:
    return (
        Estimate(value=None) if whole == 0 else _wald(part / whole, float(np.sqrt(part / whole * (1 - part / whole) / whole)))
    )


def _heading(name: str, test: str, statistic: float, p: float, difference: float) -> BaselineRow:
    return BaselineRow(
        characteristic=name,
        level=None,
        groups=("", ""),
        test=test,
        statistic=statistic,
        p_value=p,
        standardized_mean_difference=difference,
    )


def _level(name: str, level: str, *groups: str) -> BaselineRow:
    return BaselineRow(characteristic=name, level=level, groups=groups)


def _by_split() -> BaselineTable:
    """Table 1 of Liang et al., Front Oncol 2025;15:1573687."""
    age = BaselineRow(
        characteristic="Age (years)",
        level=None,
        groups=("63.45 ± 8.97", "62.45 ± 9.09"),
        test="t",
        statistic=0.777,
        p_value=0.438,
        standardized_mean_difference=0.111,
    )
    rows = (
        age,
        _heading("Sex", "χ²", 0.133, 0.716, 0.052),
        _level("Sex", "male", "133 (81.1%)", "59 (83.1%)"),
        _level("Sex", "female", "31 (18.9%)", "12 (16.9%)"),
        _heading("Lymph nodes on CT report", "χ²", 0.521, 0.470, 0.103),
        _level("Lymph nodes on CT report", "metastasis", "73 (44.5%)", "28 (39.4%)"),
        _level("Lymph nodes on CT report", "no metastasis", "91 (55.5%)", "43 (60.6%)"),
    )
    return BaselineTable(title="Patients by split", group_names=("Development (n = 164)", "Test (n = 71)"), rows=rows)


def _by_outcome() -> BaselineTable:
    """Table 2 of the same paper."""
    rows = (
        _heading("Lymph nodes on CT report", "χ²", 59.178, 1.4e-14, 1.114),
        _level("Lymph nodes on CT report", "metastasis", "69 (73.4%)", "32 (22.7%)"),
        _level("Lymph nodes on CT report", "no metastasis", "25 (26.6%)", "109 (77.3%)"),
        _heading("Primary tumor site", "χ²", 63.075, 2.0e-15, 1.263),
        _level("Primary tumor site", "glottic", "6 (6.4%)", "81 (57.4%)"),
        _level("Primary tumor site", "supraglottic", "88 (93.6%)", "60 (42.6%)"),
    )
    return BaselineTable(title="Patients by outcome", group_names=("pN+ (n = 94)", "pN0 (n = 141)"), rows=rows)


def _odds_ratios() -> tuple[OddsRatio, ...]:
    """Table 3 of the same paper in the conventional direction."""
    return (
        OddsRatio(
            predictor="Lymph nodes on CT report",
            comparison="metastasis vs no metastasis",
            univariable=Estimate(value=9.401, low=5.140, high=17.196),
            univariable_p=3e-13,
            multivariable=Estimate(value=4.756, low=2.449, high=9.237),
            multivariable_p=4e-6,
            method="maximum likelihood",
        ),
        OddsRatio(
            predictor="Age",
            comparison="per year",
            univariable=Estimate(value=0.987, low=0.959, high=1.017),
            univariable_p=0.394,
            multivariable=None,
            multivariable_p=None,
            method="maximum likelihood",
        ),
    )


def _selected(rng: np.random.Generator) -> tuple[SelectedFeature, ...]:
    names = (
        "radiomics.original_shape_Sphericity",
        "radiomics.wavelet-LLH_glcm_ClusterShade",
        "radiomics.log-sigma-3-0-mm-3D_glszm_SmallAreaLowGrayLevelEmphasis",
        "radiomics.wavelet-HHL_gldm_LargeDependenceHighGrayLevelEmphasis",
        "deep.f0017",
        "deep.f1204",
    )
    return tuple(
        SelectedFeature(
            branch=name.split(".")[0],
            name=name,
            coefficient=float(rng.normal(0, 0.2)),
            mean=float(rng.normal(3, 2)),
            standard_deviation=float(rng.uniform(0.1, 2)),
            fold_count=int(rng.integers(0, 6)),
            folds=5,
        )
        for name in names
    )


def _lasso_path(branch: str, rng: np.random.Generator) -> LassoPath:
    penalty = np.geomspace(0.3, 0.003, 60)
    strength = rng.normal(0, 0.35, 80) * (rng.uniform(size=80) ** 3)
    start = rng.uniform(0.004, 0.25, 80)
    shrunk = strength[:, None] * np.clip(np.log(start[:, None] / penalty) / 2, 0, None)
    loss = 1.18 + 0.05 * (np.log10(penalty) + 1.5) ** 2
    return LassoPath(
        branch=branch,
        penalty=tuple(float(v) for v in penalty),
        cv_loss=tuple(float(v) for v in loss),
        cv_standard_error=tuple(0.03 for _ in penalty),
        index_min=int(np.argmin(loss)),
        index_one_se=int(np.nonzero(loss <= loss.min() + 0.03)[0][0]),
        curves=tuple(
            LassoCurve(name=f"{branch}.wavelet-LLH_glcm_Feature{i:02d}", coefficients=tuple(float(v) for v in row))
            for i, row in enumerate(shrunk)
        ),
    )


def _finetune(label: str, rng: np.random.Generator) -> FinetuneCurve:
    epochs = np.arange(1, 13)
    held_out = 0.62 + 0.004 * (epochs - 6) ** 2 + 0.01 * rng.normal(size=epochs.size)
    return FinetuneCurve(
        label=label,
        train_loss=tuple(float(v) for v in 0.7 * np.exp(-0.09 * epochs)),
        validation_loss=tuple(float(v) for v in held_out),
        best_epoch=int(np.argmin(held_out)) + 1,
    )


def _nomogram_summary() -> NomogramSummary:
    nomogram = example_nomogram()
    return NomogramSummary(
        formula=nomogram.formula(),
        coefficients=(
            ("intercept", -1.8421),
            ("score", 0.8713),
            ("clinical.ct_reported_lnm[yes]", 1.5594),
            ("clinical.tumour_site[supraglottic]", 2.3812),
        ),
        method="Firth's penalized likelihood",
        points=tuple(
            PointsRow(
                predictor=row.label, value=f"{row.value:g}" if isinstance(row.value, float) else row.value, points=row.points
            )
            for row in nomogram.points_table(6)
        ),
        probabilities=tuple(
            ProbabilityRow(total_points=nomogram.points_at(p), probability=p) for p in (0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9)
        ),
    )
