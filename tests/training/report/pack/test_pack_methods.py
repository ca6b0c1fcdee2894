"""The methods section: English that says what was done, and changes with every key that changes what is done."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from example_pack import example_facts, pack_evidence, pack_results

from training.recipe import Recipe, load_recipe
from training.report.pack.facts import PackFacts
from training.report.pack.methods_text import methods_document, methods_markdown, methods_passages
from training.report.pack.wording import counted, estimate, listed, number, percent, sentence, spelled
from training.results import Estimate, SelectionCount

# Keys that say nothing of the method, or whose effect is told from what the run found instead of what it was asked.
NOT_TOLD = {
    "split.folds": "the folds really made are told",
    "evaluation.bootstrap_replicates": "the evidence says how many resamples it drew",
    "evaluation.anticipated_auc": "told from the plan of the evidence",
    "imaging.mask_interpolation": "the convention pyradiomics allows one only",
    "radiomics.convention": "changed together with padding and interpolation below",
    "radiomics.padding": "only PyRadiomics' own way has a choice",
    "radiomics.bin_count": "excludes bin_width_hu, which is changed below",
    "network.crop_margin_mm": "of the other crop rule",
    "finetune.initial_weights": "those really used are told",
    "clinical.screening_alpha": "nothing is screened",
    "clinical.selected_on": "nothing is screened",
    "score.calibration": "stacking needs it",
}
SECTIONS_OF_EVIDENCE = ("agreement", "honesty")
OTHER: dict[str, Any] = {
    "name": "other",
    "imaging.spacing_mm": (2.0, 1.0, 1.0),
    "imaging.hu_range": (-200.0, 300.0),
    "imaging.outlier_sigmas": 3.0,
    "imaging.mask_interpolation": "nearest",
    "radiomics.image_types": ("Original", "LoG"),
    "radiomics.log_sigma_mm": (1.0, 2.0),
    "radiomics.feature_classes": ("shape", "glcm"),
    "network.window_hu": (-100.0, 200.0),
    "network.resize_px": 288,
    "network.input_px": 200,
    "selection.maximum_features": 7,
    "classifiers.names": ("LR", "RF"),
}


def recipe_facts(recipe: Recipe, **changes: object) -> PackFacts:
    return example_facts(pack_results().model_copy(update={"recipe": recipe, **changes}))


def paper_facts() -> PackFacts:
    """Return the example as the recipe ``paper`` would have left it."""
    counts = (
        *(row for row in pack_results().selection_counts if row.branch == "radiomics" and row.step != "icc"),
        SelectionCount(branch="dlr", step="univariate", count_in=2058, count_out=300),
        SelectionCount(branch="dlr", step="lasso", count_in=300, count_out=12),
    )
    return recipe_facts(load_recipe("paper"), selection_counts=counts, score_weights=(("dlr", 1.0),))


def text_of(facts: PackFacts) -> str:
    return methods_markdown(facts)


def leaves(document: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def other_value(key: str, value: Any, section: str, recipe: Recipe) -> Any:
    """Return another legal value of a key."""
    if key in OTHER:
        return OTHER[key]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 0.5 if value else 0.1
    model: Any = getattr(recipe, section) if section else recipe
    annotation = type(model).model_fields[key.rpartition(".")[2]].annotation
    return next(choice for choice in annotation.__args__ if choice != value)


def changed(recipe: Recipe, key: str, value: Any) -> Recipe:
    section, _, leaf = key.rpartition(".")
    if not section:
        return recipe.model_copy(update={leaf: value})
    return recipe.model_copy(update={section: getattr(recipe, section).model_copy(update={leaf: value})})


SOUND = load_recipe("sound")
KEYS = [key for key, _ in leaves(SOUND.model_dump()) if key.partition(".")[0] not in SECTIONS_OF_EVIDENCE]


@pytest.mark.parametrize("key", [key for key in KEYS if key not in NOT_TOLD])
def test_every_key_of_consequence_changes_the_text(key: str) -> None:
    recipe = SOUND
    value = dict(leaves(SOUND.model_dump()))[key]
    new = changed(recipe, key, other_value(key, value, key.rpartition(".")[0], recipe))
    assert text_of(recipe_facts(new)) != text_of(recipe_facts(recipe))


def test_exceptions_are_keys_of_the_recipe() -> None:
    assert set(NOT_TOLD) <= set(KEYS)


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        ({"network.crop": "bbox_resize"}, {"network.crop_margin_mm": 9.0}),
        ({"clinical.screening": "univariate_p"}, {"clinical.screening_alpha": 0.2}),
        ({"clinical.screening": "univariate_p"}, {"clinical.selected_on": "all"}),
        ({"fusion.rule": "decision"}, {"score.calibration": "none"}),
        (
            {"radiomics.convention": "pyradiomics", "imaging.mask_interpolation": "nearest"},
            {"radiomics.padding": "pyradiomics"},
        ),
        ({}, {"radiomics.convention": "pyradiomics", "imaging.mask_interpolation": "nearest"}),
        ({"radiomics.bin_width_hu": None, "radiomics.bin_count": 32}, {"radiomics.bin_count": 64}),
        ({"network.crop": "bbox_resize"}, {"fusion.rule": "concat_all"}),
    ],
)
def test_keys_that_count_only_beside_others(base: dict[str, Any], changes: dict[str, Any]) -> None:
    recipe = SOUND
    for key, value in base.items():
        recipe = changed(recipe, key, value)
    new = recipe
    for key, value in changes.items():
        new = changed(new, key, value)
    assert text_of(recipe_facts(new)) != text_of(recipe_facts(recipe))


def sentences(facts: PackFacts) -> list[str]:
    return [s for passage in methods_passages(facts) for s in re.split(r"(?<=[a-z0-9)”’])\. (?=[A-Z“])", passage.text)]


@pytest.mark.parametrize("make", [lambda: recipe_facts(SOUND), paper_facts, lambda: recipe_facts(load_recipe("demo"))])
def test_prose_is_whole(make: Any) -> None:
    facts = make()
    text = text_of(facts)
    for broken in ("  ", " ,", " . ", " .\n", "..", ",,", "None", "nan", "{", "}", " ;", "( ", " )"):
        assert broken not in text.replace("…", ""), broken
    for passage in methods_passages(facts):
        assert passage.text[0].isupper() or passage.text[0] in "“1234567890"
        assert passage.text.endswith(".")
        assert passage.text.count("(") == passage.text.count(")")
        assert passage.text.count("“") == passage.text.count("”")
    for found in sentences(facts):
        assert found[0].isupper() or found[0] in "“1234567890", found


def test_sound_says_what_sound_does() -> None:
    text = text_of(recipe_facts(SOUND))
    for expected in (
        "235 had complete candidates, a usable CT and a usable outline",
        "164 for development (67 with the outcome) and 71 for testing (27 with the outcome)",
        "resampled to voxels of 1 × 1 × 1 mm (x, y, z) by trilinear interpolation",
        "excluded from all but shape features (range re-segmentation); nothing was clipped",
        "1,316 radiomic features were computed in three dimensions by the definitions of the Image Biomarker Standardisation",
        "computed on 14 images: the original image, the eight bands of a stationary wavelet decomposition (coif1)",
        "fixed bin width of 25 HU, counted from −125 HU on the original image",
        "a square of 80 mm about the middle of the outline, so that size is preserved",
        "up to layer3 were frozen and the rest was trained",
        "with AdamW (learning rate 10^−4, weight decay 10^−4) in batches of 16 for at most 20 epochs",
        "the lower end of the 95% interval of the ICC(2,1)",
        "the Mann-Whitney U test between the outcomes gave p < 0.05, not adjusted for their number",
        "LASSO (logistic regression with an L1 penalty, 50 penalties)",
        "The simplest algorithm whose cross-validated AUC was within one standard error of the largest",
        "It entered the nomogram as log odds. The nomogram was fitted to the out-of-fold scores of development patients.",
        "a sensitivity of at least 90% on out-of-fold probabilities",
        "It was fixed at 0.231 before test patients were scored",
        "AUC by DeLong on the logit scale",
    ):
        assert expected in text, expected
    assert "as in the publication" not in text


def test_paper_says_what_paper_does() -> None:
    text = text_of(paper_facts())
    for expected in (
        "clipped to −125 to 225 HU before resampling",
        "definitions and conventions of PyRadiomics 3.0.1",
        "Filters were given the whole image.",
        "the bounding box of the outline and a margin of 5 mm, stretched to a square, so that size is not preserved",
        "All layers were trained, with the batch-normalization statistics of each batch.",
        "vertical flips",
        "Student's t test",
        "the one that came first in the feature table",
        "LASSO (linear regression with an L1 penalty",
        "The algorithm with the largest AUC on the patients it was fitted on was chosen",
        "the selected ones and all deep features were then joined",
        "The score was not calibrated; resubstituted probabilities",
        "It entered the nomogram as probability. The nomogram was fitted to the resubstituted scores",
        "its apparent performance is inflated by that",
        "univariable logistic regression on all patients, test patients included",
        "Wald intervals",
        "the one with the largest Youden index on apparent probabilities",
        "AUC by DeLong on the plain scale",
    ):
        assert expected in text, expected
    assert "log odds were combined" not in text
    assert "The weights, as shares" not in text


def test_a_run_without_a_source_says_so() -> None:
    network = SOUND.network.model_copy(update={"enabled": False})
    text = text_of(recipe_facts(SOUND.model_copy(update={"network": network})))
    assert "No neural network was used." in text
    assert "The score rested on a single source of features, so that nothing was fused." in text
    assert "ResNet50" not in text
    radiomics = SOUND.radiomics.model_copy(update={"enabled": False})
    text = text_of(recipe_facts(SOUND.model_copy(update={"radiomics": radiomics})))
    assert "No radiomic features were computed." in text
    assert "ICC(2,1) (absolute agreement" not in text


def test_the_word_file_holds_the_same_sentences() -> None:
    facts = example_facts()
    paragraphs = [paragraph.text for paragraph in methods_document(facts).paragraphs]
    for passage in methods_passages(facts):
        assert passage.heading in paragraphs
        assert passage.text in paragraphs
        assert f"## {passage.heading}\n\n{passage.text}" in methods_markdown(facts)


def test_methods_of_the_evidence_are_told_once() -> None:
    text = text_of(example_facts())
    for method in pack_evidence().comparisons[0].methods:
        assert text.count(method.text.rstrip(".")) == 1


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (number(1e-4), "10^−4"),
        (number(0.00025), "2.5 × 10^−4"),
        (number(-125.0), "−125"),
        (number(0.05), "0.05"),
        (number(0.0), "0"),
        (percent(0.3), "30%"),
        (counted(1, "patient"), "1 patient"),
        (counted(2048, "feature"), "2,048 features"),
        (spelled(7), "seven"),
        (spelled(13), "13"),
        (listed(["a"]), "a"),
        (listed(["a", "b"]), "a and b"),
        (listed(["a", "b", "c"]), "a, b, and c"),
        (sentence("observed: by count"), "Observed: by count."),
        (estimate("slope", Estimate(value=-0.5, low=-1.0, high=0.25), 2), "slope −0.50 (95% CI −1.00 to 0.25)"),
        (estimate("AUC", Estimate(value=0.8, low=0.7, high=0.9)), "AUC 0.800 (95% CI 0.700–0.900)"),
        (estimate("AUC", Estimate(value=None)), "AUC not defined"),
    ],
)
def test_wording(shown: str, expected: str) -> None:
    assert shown == expected
