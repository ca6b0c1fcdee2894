"""Methods, first half: how images became features, told from the recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from nodogram.radiomics.manifest import feature_names
from nodogram.settings import RadiomicsSettings
from training.evidence.agreement import feature_kind
from training.recipe import FinetuneSettings
from training.report.pack.facts import PackFacts
from training.report.pack.wording import counted, hu_range, listed, number, percent

CLASSES = {
    "shape": "shape",
    "firstorder": "first-order statistics",
    "glcm": "gray level co-occurrence matrix",
    "gldm": "gray level dependence matrix",
    "glrlm": "gray level run length matrix",
    "glszm": "gray level size zone matrix",
    "ngtdm": "neighboring gray tone difference matrix",
}
INTERPOLATION = {"linear": "trilinear interpolation", "bspline": "cubic B-spline interpolation"}
FILTERS = {
    "Original": "the original image",
    "Square": "its square",
    "SquareRoot": "its square root",
    "Logarithm": "its logarithm",
    "Exponential": "its exponential",
    "Gradient": "its gradient magnitude",
}


def preprocessing(facts: PackFacts) -> Iterator[str]:
    """Yield how CT and outline were prepared for radiomics."""
    recipe = facts.recipe
    imaging, convention = recipe.imaging, recipe.radiomics.convention
    if not recipe.radiomics.enabled:
        yield "Images were not resampled, because the model has no radiomic features."
        return
    clips = imaging.hu_range is not None and imaging.hu_range_applied == "clip_before_resampling"
    if clips and imaging.hu_range is not None:
        yield (
            f"Attenuation was clipped to {hu_range(imaging.hu_range)} before resampling, so that values beyond were set to "
            "the bounds."
        )
    if imaging.spacing_mm is None:
        yield "The voxel spacing of the scanner was kept."
    else:
        z, y, x = (number(size) for size in imaging.spacing_mm)
        grid = (
            "on a grid that shares its center with the image" if convention == "ibsi" else "on the grid PyRadiomics constructs"
        )
        outline = (
            "nearest-neighbor interpolation"
            if imaging.mask_interpolation == "nearest"
            else "linear interpolation, keeping voxels at least half inside"
        )
        yield (
            f"CT images were resampled to voxels of {x} × {y} × {z} mm (x, y, z) by "
            f"{INTERPOLATION[imaging.image_interpolation]}, and outlines by {outline}, {grid}."
        )
    if convention == "ibsi":
        yield "Attenuation was then rounded to whole Hounsfield units."
    if imaging.hu_range is not None and not clips:
        yield (
            f"Voxels of the outline outside {hu_range(imaging.hu_range)} were excluded from all but shape features (range "
            "re-segmentation); nothing was clipped."
        )
    if imaging.hu_range is None:
        yield "The range of attenuation was not restricted."
    if imaging.outlier_sigmas is not None:
        yield (
            f"Voxels further than {number(imaging.outlier_sigmas)} standard deviations from the mean of the region were "
            "excluded as well."
        )
    yield "No denoising, no normalization of intensities and no harmonization between scanners was applied."


def radiomics(facts: PackFacts) -> Iterator[str]:
    """Yield which radiomic features were computed, and by whose definitions."""
    settings = facts.recipe.radiomics
    if not settings.enabled:
        yield "No radiomic features were computed."
        return
    versions = dict(facts.results.software)
    own, pyradiomics = facts.results.nodogram_version, versions.get("pyradiomics", "3.0.1")
    definitions = (
        f"by the definitions of the Image Biomarker Standardisation Initiative (IBSI), with nodogram {own} on top of "
        f"PyRadiomics {pyradiomics}"
        if settings.convention == "ibsi"
        else f"with the definitions and conventions of PyRadiomics {pyradiomics}, as implemented in nodogram {own}"
    )
    yield (
        f"For each patient {counted(facts.radiomic_count, 'radiomic feature')} were computed in three dimensions {definitions}."
    )
    yield f"Feature classes were {listed(class_counts(settings))}; shape was taken once, from the outline."
    yield f"The other classes were computed on {counted(facts.image_count, 'image')}: {listed(image_types(settings))}."
    if settings.convention == "pyradiomics":
        given = (
            "the whole image" if settings.padding == "full" else "the bounding box of the region and five voxels on each side"
        )
        yield f"Filters were given {given}."
    yield discretization(facts)
    yield f"Regions of fewer than {counted(settings.minimum_voxel_count, 'voxel')} were refused."
    yield "All settings not named here were left at their defaults; the complete settings are in the bundle (bundle.json)."


def class_counts(settings: RadiomicsSettings) -> list[str]:
    """Return feature classes with the number of features each has on one image."""
    names = feature_names(settings)
    first = {feature_kind(n)[1] for n in names if feature_kind(n)[0] != "shape"}
    one = min(first) if first else ""
    counts = Counter(feature_kind(n)[0] for n in names if feature_kind(n)[1] == one or feature_kind(n)[0] == "shape")
    return [f"{CLASSES[name]} ({counts[name]})" for name in settings.feature_classes]


def image_types(settings: RadiomicsSettings) -> list[str]:
    """Return the image types in words, with the parameters of each filter."""
    parts = []
    for kind in settings.image_types:
        if kind == "Wavelet":
            parts.append(f"the eight bands of a stationary wavelet decomposition ({settings.wavelet})")
        elif kind == "LoG":
            sigmas = listed([number(sigma) for sigma in settings.log_sigma_mm])
            parts.append(f"the Laplacian of Gaussian with a standard deviation of {sigmas} mm")
        else:
            parts.append(FILTERS[kind])
    return parts


def discretization(facts: PackFacts) -> str:
    """Return how gray levels were made."""
    settings, imaging = facts.recipe.radiomics, facts.recipe.imaging
    if settings.bin_count is not None:
        return f"Intensities were discretized to {settings.bin_count} bins of equal width between the extremes of each region."
    text = f"Intensities were discretized with a fixed bin width of {number(settings.bin_width_hu or 0)} HU"
    if settings.convention == "ibsi" and imaging.hu_range is not None:
        return f"{text}, counted from {number(imaging.hu_range[0])} HU on the original image and aligned at zero elsewhere."
    return f"{text}, aligned at zero."


def network(facts: PackFacts) -> Iterator[str]:
    """Yield what the network saw and how it was trained."""
    settings, finetune = facts.recipe.network, facts.recipe.finetune
    if not settings.enabled:
        yield "No neural network was used."
        return
    low, high = settings.window_hu
    if settings.crop == "fixed_mm":
        cut = f"a square of {number(settings.crop_size_mm)} mm about the middle of the outline, so that size is preserved"
    else:
        cut = (
            f"the bounding box of the outline and a margin of {number(settings.crop_margin_mm)} mm, stretched to a square, so "
            "that size is not preserved"
        )
    yield f"From the scanner's own images the axial slice with the largest area of the tumor was taken and cut to {cut}."
    yield (
        f"Attenuation from {hu_range((low, high))} was mapped linearly to 0 to 1, values beyond were clipped, and the picture "
        f"was scaled to {settings.resize_px} × {settings.resize_px} pixels, repeated in three channels, and normalized with "
        "the ImageNet means and standard deviations inside the network."
    )
    yield f"A ResNet50 with a single output in place of its classification layer started from {facts.results.initial_weights}."
    if finetune.maximum_epochs == 0:
        yield "It was not trained further."
    else:
        yield from _training(facts)
    view = f"the central {settings.input_px} × {settings.input_px} pixels were used, without any random change"
    yield f"To compute features {view}; the 2,048 values of its pooling layer are the deep features."


def _training(facts: PackFacts) -> Iterator[str]:
    finetune = facts.recipe.finetune
    yield trained_layers(finetune)
    if facts.results.initial_weights.startswith("random"):
        yield "Batch-normalization statistics of the random start were estimated on the training images."
    optimizer = "AdamW" if finetune.optimizer == "adamw" else "Adam"
    yield (
        f"Training minimized the binary cross-entropy, without class weights, with {optimizer} (learning rate "
        f"{number(finetune.learning_rate)}, weight decay {number(finetune.weight_decay)}) in batches of {finetune.batch_size} "
        f"for at most {counted(finetune.maximum_epochs, 'epoch')}."
    )
    kept = next((f" (epoch {c.best_epoch} in the final fit)" for c in facts.results.finetune_curves if c.label == "final"), "")
    if finetune.validation_fraction > 0:
        yield (
            f"A share of {percent(finetune.validation_fraction)} of each outcome among the patients fitted on was held back "
            f"for early stopping after {counted(finetune.early_stopping_patience, 'epoch')} without a lower loss; the weights "
            f"of the best epoch were kept{kept}."
        )
    else:
        yield f"No patients were held back for early stopping; the weights of the last epoch were kept{kept}."
    yield augmentation(facts.recipe.network.input_px, finetune)


def trained_layers(finetune: FinetuneSettings) -> str:
    """Return which layers were trained, and where batch normalization took its statistics from."""
    if finetune.frozen_through == "layer4":
        return "All convolutional layers were frozen with their batch-normalization statistics; only the output was trained."
    trained = {
        "none": "All layers were trained",
        "stem": "The first convolution was frozen and all later layers were trained",
    }.get(
        finetune.frozen_through,
        f"The first convolution and the residual stages up to {finetune.frozen_through} were frozen and the rest was trained",
    )
    if finetune.batch_norm_statistics == "frozen":
        return f"{trained}, all with the batch-normalization statistics they started with."
    return f"{trained}, with the batch-normalization statistics of each batch."


def augmentation(input_px: int, finetune: FinetuneSettings) -> str:
    """Return which random changes training images underwent."""
    changes = [
        *([f"random crops of {input_px} × {input_px} pixels"] if finetune.random_crop else []),
        *(["horizontal flips"] if finetune.horizontal_flip else []),
        *(["vertical flips"] if finetune.vertical_flip else []),
        *(
            [f"changes of gain and offset of up to {percent(finetune.intensity_jitter)}"]
            if finetune.intensity_jitter > 0
            else []
        ),
    ]
    if not changes:
        return "Training images were not augmented."
    return f"Training images were augmented by {listed(changes)}, drawn anew in every epoch."
