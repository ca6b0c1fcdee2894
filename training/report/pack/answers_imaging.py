"""What a run can say about images, outlines and features."""

from __future__ import annotations

from collections.abc import Mapping

from training.evidence.agreement import AgreementReport, feature_kind
from training.report import formatting
from training.report.pack import methods_imaging, methods_modeling, methods_statistics
from training.report.pack.answers_study import METHODS
from training.report.pack.checklist import Answer, AnswerFunction
from training.report.pack.facts import PackFacts
from training.report.pack.wording import counted, listed, number, percent

SETTINGS = "bundle/bundle.json, settings"
AGREEMENT_TABLES = ("agreement_features_by_kind", "agreement_selected_features", "agreement_score_and_outlines")
NO_RADIOMICS = "The model has no radiomic features."


def data_preparation(facts: PackFacts) -> Answer:
    """Tell preparation and the checks a case must pass."""
    return Answer(
        "partly",
        " ".join(methods_imaging.preprocessing(facts))
        + " Every image and outline was checked for geometry, missing slices, units and overlap, and refused with a coded "
        "reason where it failed; alike for all patients.",
        METHODS,
    )


def acquisition(facts: PackFacts) -> Answer:
    """Give the range of acquisitions among development patients."""
    seen = facts.manifest.acquisition
    parts = [
        f"slice spacing {number(seen.slice_spacing_mm[0])} to {number(seen.slice_spacing_mm[1])} mm",
        f"pixel spacing {number(round(seen.pixel_spacing_mm[0], 3))} to {number(round(seen.pixel_spacing_mm[1], 3))} mm",
        *([] if seen.kvp is None else [f"tube voltage {number(seen.kvp[0])} to {number(seen.kvp[1])} kV"]),
        *([f"manufacturers {listed(seen.manufacturers)}"] if seen.manufacturers else []),
        *([f"kernels {listed(seen.convolution_kernels)}"] if seen.convolution_kernels else []),
    ]
    recorded = "" if seen.manufacturers else " Scanner and kernel are not recorded in the files."
    return Answer("partly", f"Development patients: {'; '.join(parts)}.{recorded}", facts.where(tables=("acquisition",)))


def segmentation(facts: PackFacts) -> Answer:
    """Say what the software knows of the outlines: it was given them."""
    low, high = facts.manifest.acquisition.region_volume_cm3
    return Answer(
        "partly",
        f"The software was given one three-dimensional outline a patient and drew none itself; tumors of development patients "
        f"measured {number(round(low, 2))} to {number(round(high, 2))} cm³.",
    )


def automatic_segmentation(_facts: PackFacts) -> Answer:
    """Say that the software segments nothing."""
    return Answer(
        "not_applicable",
        "The software draws no outlines. If an automatic tool drew those of the cohort, this item applies and the authors must "
        "evaluate the tool against experts.",
    )


def preprocessing(facts: PackFacts) -> Answer:
    """Tell how images were prepared."""
    return Answer("answered", " ".join(methods_imaging.preprocessing(facts)), SETTINGS)


def resampling(facts: PackFacts) -> Answer:
    """Tell the resampling."""
    if not facts.recipe.radiomics.enabled:
        return Answer("not_applicable", "Nothing was resampled, as the model has no radiomic features.")
    imaging = facts.recipe.imaging
    if imaging.spacing_mm is None:
        return Answer("answered", "None: the voxel spacing of the scanner was kept.", SETTINGS)
    z, y, x = (number(v) for v in imaging.spacing_mm)
    return Answer(
        "answered",
        f"To {x} × {y} × {z} mm (x, y, z): images by {methods_imaging.INTERPOLATION[imaging.image_interpolation]}, outlines by "
        f"{imaging.mask_interpolation} interpolation.",
        SETTINGS,
    )


def discretization(facts: PackFacts) -> Answer:
    """Tell the discretization."""
    if not facts.recipe.radiomics.enabled:
        return Answer("not_applicable", NO_RADIOMICS)
    return Answer("answered", methods_imaging.discretization(facts), SETTINGS)


def image_types(facts: PackFacts) -> Answer:
    """Name image types and filters."""
    if not facts.recipe.radiomics.enabled:
        return Answer("not_applicable", NO_RADIOMICS)
    kinds = methods_imaging.image_types(facts.recipe.radiomics)
    return Answer("answered", f"{counted(facts.image_count, 'image')}: {listed(kinds)}.", SETTINGS)


def extraction(facts: PackFacts) -> Answer:
    """Tell software, definitions and dimensions of extraction."""
    parts = [*methods_imaging.radiomics(facts), *methods_imaging.network(facts)]
    return Answer("answered", " ".join(parts), METHODS)


def extraction_software(facts: PackFacts) -> Answer:
    """Name software and definitions of the radiomic features."""
    if not facts.recipe.radiomics.enabled:
        return Answer("not_applicable", NO_RADIOMICS)
    return Answer("answered", next(methods_imaging.radiomics(facts)), "bundle/radiomics.json; report/pack/session.docx")


def extraction_parameters(_facts: PackFacts) -> Answer:
    """Say where every parameter of extraction stands."""
    return Answer(
        "answered",
        "Every parameter of preparation, features and network is in the recipe and in the bundle; parameters that are not "
        "named there were left at their defaults.",
        f"run.json, recipe; {SETTINGS}; bundle/radiomics.json",
    )


def feature_classes(facts: PackFacts) -> Answer:
    """Count features by class."""
    if not facts.recipe.radiomics.enabled:
        return Answer("not_applicable", NO_RADIOMICS)
    classes = listed(methods_imaging.class_counts(facts.recipe.radiomics))
    return Answer("answered", f"On each image: {classes}; shape once.", "bundle/radiomics.json")


def feature_count(facts: PackFacts) -> Answer:
    """Count all features of a patient."""
    deep = "2,048 deep features" if facts.recipe.network.enabled else "no deep features"
    return Answer("answered", f"{counted(facts.radiomic_count, 'radiomic feature')} and {deep} a patient, from one CT series.")


def feature_scaling(facts: PackFacts) -> Answer:
    """Tell the standardization."""
    return Answer(
        "answered",
        "Each feature was standardized by mean and standard deviation of the patients a model was fitted on; patients held out "
        "were standardized by the same numbers. No harmonization between scanners.",
        facts.where(tables=("selected_features",), files=("bundle/dlr.json",)),
    )


def feature_selection(facts: PackFacts) -> Answer:
    """Tell the steps of selection with their cut-offs."""
    return Answer("answered", " ".join(methods_modeling.selection(facts)), facts.where(tables=("selection_counts",)))


def reliability(facts: PackFacts) -> Answer:
    """Tell the agreement of repeated outlines."""
    report = facts.evidence.agreement
    if report is None:
        return Answer("authors", "Agreement of repeated outlines was not examined.")
    text = f"{' '.join(methods_statistics.agreement(facts))} {_agreement_result(report)}"
    # Outlines perturbed at random (interchangeable repeats) stand in for a second reader; they are none.
    is_read = report.form != "ICC(1,1)"
    return Answer("answered" if is_read else "partly", text, facts.where(tables=AGREEMENT_TABLES))


def non_robust_features(facts: PackFacts) -> Answer:
    """Say whether features that are not robust were dropped."""
    text = methods_modeling.agreement_filter(facts)
    report = facts.evidence.agreement
    if report is not None:
        text += f" {_agreement_result(report)}"
    return Answer(
        "answered",
        text if facts.recipe.radiomics.enabled else NO_RADIOMICS,
        facts.where(tables=("selection_counts", *AGREEMENT_TABLES)),
        met=facts.was_filtered_by_agreement,
    )


def _agreement_result(report: AgreementReport) -> str:
    share = percent(report.reached_count / report.feature_count) if report.feature_count else "none"
    text = f"{report.reached_count:,} of {report.feature_count:,} features ({share}) agreed well enough."
    if report.score is not None and report.score.icc is not None:
        low, high = formatting.number(report.score.low), formatting.number(report.score.high)
        text += f" The final score agreed with {report.form} {formatting.number(report.score.icc)} (95% CI {low}–{high})."
    if report.outlines is not None:
        text += f" Median Dice coefficient of the outlines {formatting.number(report.outlines.dice.median)}."
    return text


def redundant_features(facts: PackFacts) -> Answer:
    """Say how redundant features were dropped."""
    settings = facts.recipe.selection
    return Answer(
        "answered",
        f"Univariate test, absolute Spearman correlation of at most {settings.correlation_threshold:g}, then LASSO; counts of "
        "each step are tabulated.",
        facts.where(tables=("selection_counts",)),
    )


def dimensionality(facts: PackFacts) -> Answer:
    """Compare patients with candidate parameters."""
    plan = facts.evidence.sample_size
    at_hand = plan.at_hand
    is_enough = at_hand is not None and at_hand.missing_patients == 0
    selected = len(facts.results.selected_features)
    return Answer(
        "answered" if is_enough else "partly",
        f"{counted(selected, 'image feature')} in the final score, {counted(plan.nomogram.candidates, 'candidate parameter')} "
        f"in the nomogram. {' '.join(plan.statements)}",
        facts.where(tables=("sample_size", "selected_features")),
    )


def end_to_end_robustness(_facts: PackFacts) -> Answer:
    """Say that no network predicts by itself."""
    return Answer("not_applicable", "No network predicts by itself: its features enter selection and a classifier as a table.")


def feature_statistics(facts: PackFacts) -> Answer:
    """Point at tables and figures of the selected features."""
    names = [f.name for f in facts.results.selected_features]
    radiomic = [n for n in names if n.startswith("radiomics.")]
    kinds = listed(list(dict.fromkeys(methods_imaging.CLASSES[feature_kind(n)[0]] for n in radiomic)))
    of_them = f", {len(radiomic)} of them radiomic ({kinds})" if radiomic else ""
    return Answer(
        "answered",
        f"{counted(len(names), 'feature')} in the final score{of_them}; with coefficient, mean, standard deviation, how often "
        "folds chose them, box plots and correlations.",
        facts.where(
            tables=("selected_features", "agreement_selected_features", "selection_frequency"),
            figures=("feature_boxes", "feature_correlation", "lasso"),
        ),
    )


def poor_input(_facts: PackFacts) -> Answer:
    """Say what the software does with poor or missing input."""
    return Answer(
        "answered",
        "A series or outline that fails a check of geometry, slices, units or size is refused with a coded reason; nothing is "
        "repaired. Values beyond those seen in development, and acquisitions outside their range, are noted with the "
        "prediction. Without a clinical predictor no probability of the nomogram is given; nothing is imputed.",
        "bundle/bundle.json, acquisition; bundle/reference.json",
    )


ANSWERS: Mapping[str, AnswerFunction] = {
    function.__name__: function
    for function in (
        data_preparation,
        acquisition,
        segmentation,
        automatic_segmentation,
        preprocessing,
        resampling,
        discretization,
        image_types,
        extraction,
        extraction_software,
        extraction_parameters,
        feature_classes,
        feature_count,
        feature_scaling,
        feature_selection,
        reliability,
        non_robust_features,
        redundant_features,
        dimensionality,
        end_to_end_robustness,
        feature_statistics,
        poor_input,
    )
}
