"""How a model is fitted: one complete TOML file, parsed once, every decision D1-D48 of the method a named key."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from nodogram.errors import Reason, SettingsError
from nodogram.settings import ImagingSettings, ModelSettings, NetworkSettings, RadiomicsSettings, Settings

SHIPPED = ("sound", "paper", "demo")

ClassifierName = Literal["LR", "SVM", "RF", "ExtraTrees", "XGBoost", "LightGBM", "MLP"]
Probability = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
# Zero switches a kind of refit off.
RefitTotal = Annotated[int, Field(ge=0, le=9_999)]


class SplitSettings(Settings):
    """Development and test (D4, D5): used where the cohort has no ``split`` column."""

    test_fraction: Annotated[float, Field(ge=0, lt=1)]
    folds: Annotated[int, Field(ge=2, le=20)]


class FinetuneSettings(Settings):
    """Fine-tuning of the backbone (D8, D9, D16, D18-D22).

    ``initial_weights`` is tried in order; the one really used is printed and stored. Entries are ``imagenet``
    (torchvision IMAGENET1K_V2, from the local cache or the network), ``none`` (random) or ``sha256:HEX@PATH`` (a file).
    """

    initial_weights: tuple[str, ...]
    frozen_through: Literal["none", "stem", "layer1", "layer2", "layer3", "layer4"]
    batch_norm_statistics: Literal["frozen", "batch"]
    optimizer: Literal["adam", "adamw"]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    batch_size: Count
    maximum_epochs: Annotated[int, Field(ge=0)]
    early_stopping_patience: Count
    validation_fraction: Annotated[float, Field(ge=0, lt=0.5)]
    horizontal_flip: bool
    vertical_flip: bool
    random_crop: bool
    intensity_jitter: Annotated[float, Field(ge=0, le=0.5)]


class SelectionSettings(Settings):
    """The paper's chain (D6, D7, D24-D26, D46): ICC, Z-score, univariate test, Spearman, LASSO."""

    icc_threshold: Annotated[float, Field(ge=0, le=1)]
    icc_bound: Literal["point", "lower_95"]
    univariate_test: Literal["student_t", "welch_t", "mann_whitney", "none"]
    univariate_alpha: Probability
    false_discovery_control: Literal["none", "benjamini_hochberg"]
    correlation_threshold: Annotated[float, Field(gt=0, le=1)]
    correlation_keeps: Literal["first", "smallest_p"]
    lasso: Literal["linear", "logistic"]
    lasso_rule: Literal["min", "one_se"]
    lasso_folds: Annotated[int, Field(ge=2, le=20)]
    maximum_features: Count | None = None


class ClassifierSettings(Settings):
    """The seven algorithms and how one is chosen (D3, D28-D30)."""

    names: tuple[ClassifierName, ...]
    inner_folds: Annotated[int, Field(ge=2, le=20)]
    choose_by: Literal["inner_cv", "inner_cv_one_se", "training_auc"]
    grid: Literal["published", "small"]


class FusionSettings(Settings):
    """How radiomics and deep features meet (D27).

    ``stacked``: one chain each, logits weighted by what they were worth out of fold (weights are not negative, so a source
    that ranks no better than chance gets none). ``decision``: one chain each, logits averaged. ``concat_selected``: selected
    radiomics plus all deep features, selected again. ``concat_all``: everything concatenated, then selected.
    """

    rule: Literal["stacked", "decision", "concat_selected", "concat_all"]


class ScoreSettings(Settings):
    """How the DLR score enters the nomogram (D10, D29, D33)."""

    source: Literal["out_of_fold", "apparent"]
    calibration: Literal["sigmoid", "none"]
    scale: Literal["logit", "probability"]


class ClinicalSettings(Settings):
    """Clinical model (D1, D2, D34): which candidates enter and how intervals are made."""

    selected_on: Literal["development", "all"]
    screening: Literal["none", "univariate_p"]
    screening_alpha: Probability
    interval: Literal["wald", "profile"]
    separation: Literal["firth", "stop"]


class AgreementSettings(Settings):
    """Where no second outline was drawn (D46): how many development patients' outlines are perturbed at random, how often."""

    perturbed_patients: Annotated[int, Field(ge=0)]
    perturbed_outlines: Annotated[int, Field(ge=2, le=100)]


class EvaluationSettings(Settings):
    """Threshold, intervals and the AUC expected before the run, for the sample size (D32, D36-D38)."""

    threshold_rule: Literal["youden", "sensitivity_at_least"]
    minimum_sensitivity: Annotated[float, Field(gt=0, le=1)]
    threshold_from: Literal["out_of_fold", "apparent"]
    auc_interval: Literal["delong_logit", "delong"]
    bootstrap_replicates: Annotated[int, Field(ge=0, le=100_000)]
    anticipated_auc: Annotated[float, Field(gt=0.5, lt=1)]


class HonestySettings(Settings):
    """Refits of the whole procedure that show how much of a performance is fitting (D5, D8, D10).

    Attributes
    ----------
    network
        ``refit`` fine-tunes the network again in every refit. ``initial`` takes the features of the network before any
        fine-tuning, which have seen no outcome; all refits then judge the chain on these features, and say so.
    bootstrap_resamples
        Of the development patients: optimism, .632+ estimate, frequency of selection.
    repeats
        Of the cross-fitting, each with folds of its own.
    permutations
        Cross-fittings with permuted outcomes; the smallest p is 1 / (1 + permutations).
    noise_runs
        Cross-fittings on noise instead of features.
    leave_one_centre_out
        Also fit without each center in turn, where development patients come from several.
    """

    network: Literal["refit", "initial"]
    bootstrap_resamples: RefitTotal
    repeats: RefitTotal
    permutations: RefitTotal
    noise_runs: RefitTotal
    leave_one_centre_out: bool


class Recipe(Settings):
    """One complete recipe.

    Attributes
    ----------
    name
        Printed on every report.
    seed
        The only source of randomness of a run.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    imaging: ImagingSettings
    radiomics: RadiomicsSettings
    network: NetworkSettings
    split: SplitSettings
    finetune: FinetuneSettings
    selection: SelectionSettings
    classifiers: ClassifierSettings
    fusion: FusionSettings
    score: ScoreSettings
    clinical: ClinicalSettings
    evaluation: EvaluationSettings
    agreement: AgreementSettings
    honesty: HonestySettings

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if not self.classifiers.names:
            raise ValueError("classifiers.names: at least one algorithm is required")
        if self.fusion.rule == "stacked" and self.score.calibration == "none":
            raise ValueError("fusion.rule = 'stacked' fits weights and calibration together: calibration cannot be none")
        if not self.finetune.initial_weights:
            raise ValueError("finetune.initial_weights: name at least one source, such as 'none'")
        return self

    @property
    def model(self) -> ModelSettings:
        """The part of the recipe that travels in the bundle."""
        return ModelSettings(imaging=self.imaging, radiomics=self.radiomics, network=self.network)


def load_recipe(name_or_path: str) -> Recipe:
    """Read a shipped recipe by name or any recipe by path.

    Raises
    ------
    SettingsError
        ``RECIPE_INVALID`` with every wrong key, what was found and what is allowed.
    """
    if name_or_path in SHIPPED:
        text = resources.files("training").joinpath("recipes", f"{name_or_path}.toml").read_text(encoding="utf-8")
    else:
        path = Path(name_or_path)
        if not path.is_file():
            raise SettingsError(
                Reason.RECIPE_INVALID, f"{name_or_path!r} is neither a file nor one of the recipes {', '.join(SHIPPED)}"
            )
        text = path.read_text(encoding="utf-8")
    try:
        return Recipe.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(Reason.RECIPE_INVALID, f"{name_or_path} is not TOML: {error}") from error
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']} (found {e['input']!r})" for e in error.errors()]
        raise SettingsError(Reason.RECIPE_INVALID, f"{name_or_path}: " + "; ".join(lines)) from error
