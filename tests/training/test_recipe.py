from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from nodogram.errors import Reason, SettingsError
from training.recipe import SHIPPED, load_recipe

RECIPES = Path(__file__).parents[2] / "training" / "recipes"


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_are_complete_files(name: str) -> None:
    recipe = load_recipe(name)
    document = tomllib.loads((RECIPES / f"{name}.toml").read_text(encoding="utf-8"))
    written = {f"{s}.{k}" for s, v in document.items() if isinstance(v, dict) for k in v}
    known = {f"{s}.{k}" for s, v in recipe.model_dump(exclude_none=True).items() if isinstance(v, dict) for k in v}
    assert written == known, "a key left to its default hides a decision"


def test_recipes_differ_where_the_method_differs() -> None:
    sound, paper = load_recipe("sound"), load_recipe("paper")
    assert (sound.score.source, paper.score.source) == ("out_of_fold", "apparent")
    assert (sound.clinical.selected_on, paper.clinical.selected_on) == ("development", "all")
    assert sound.model.digest() != paper.model.digest()
    assert (sound.honesty.network, paper.honesty.network) == ("initial", "initial")


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("folds = 5", "folds = 1", "split.folds"),
        ("folds = 5", "fold = 5", "split.fold"),
        ("crop_size_mm = 80.0", "crop_size_mm = -1", "network.crop_size_mm"),
        ("input_px = 224", "input_px = 512", "network"),
        ("hu_range = [-125.0, 225.0]", "hu_range = [225.0, -125.0]", "imaging"),
        ("[split]", "[split", "not TOML"),
        ("permutations = 49", "permutations = -1", "honesty.permutations"),
        ('network = "initial"', 'network = "frozen"', "honesty.network"),
    ],
)
def test_wrong_recipe_names_the_key(tmp_path: Path, old: str, new: str, where: str) -> None:
    text = (RECIPES / "sound.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SettingsError, match=where) as caught:
        load_recipe(str(path))
    assert caught.value.reason is Reason.RECIPE_INVALID


def test_unknown_recipe_lists_the_shipped_ones() -> None:
    with pytest.raises(SettingsError, match="sound, paper, demo"):
        load_recipe("sounds")
