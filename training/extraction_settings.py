"""What ``--settings``, ``--convention`` and ``--padding`` of an extraction mean together."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from nodogram.errors import Reason, SettingsError
from nodogram.radiomics.manifest import feature_names
from nodogram.radiomics.parameter_file import SUFFIXES, Parameters, read_parameter_file
from nodogram.settings import ModelSettings
from training.recipe import load_recipe

Convention = Literal["pyradiomics", "ibsi"]
Padding = Literal["pyradiomics", "full"]


def extraction_settings(source: str, convention: Convention | None, padding: Padding | None) -> Parameters:
    """Read settings and change what was asked for.

    Parameters
    ----------
    source
        Name of a recipe, a recipe (TOML), or a parameter file of PyRadiomics (YAML, JSON). A recipe's network is switched off.
    convention
        ``None`` keeps that of the settings. With another convention the outline is interpolated as that one wants it:
        ``nearest`` for ``pyradiomics``, ``linear`` for ``ibsi``, which also takes the whole image for its filters.
    padding
        ``None`` keeps that of the settings, as far as the convention has it.

    Raises
    ------
    SettingsError
        ``RECIPE_INVALID`` or ``SETTINGS_INVALID``.
    """
    parameters = _read(source)
    settings = parameters.settings
    imaging, radiomics = settings.imaging.model_dump(), settings.radiomics.model_dump()
    if convention is not None and convention != settings.radiomics.convention:
        radiomics["convention"] = convention
        imaging["mask_interpolation"] = "nearest" if convention == "pyradiomics" else "linear"
        radiomics["padding"] = "full" if convention == "ibsi" else radiomics["padding"]
    if padding is not None:
        radiomics["padding"] = padding
    network = {**settings.network.model_dump(), "enabled": False}
    try:
        changed = ModelSettings.model_validate({"imaging": imaging, "radiomics": radiomics, "network": network})
    except ValidationError as error:
        messages = "; ".join(str(e["msg"]).removeprefix("Value error, ") for e in error.errors())
        raise SettingsError(Reason.SETTINGS_INVALID, f"{source}: {messages}") from error
    return Parameters(changed, parameters.names)


def _read(source: str) -> Parameters:
    if source.lower().endswith(SUFFIXES):
        return read_parameter_file(Path(source))
    settings = load_recipe(source).model
    if not settings.radiomics.enabled:
        raise SettingsError(Reason.SETTINGS_INVALID, f"{source}: radiomics is disabled; there is nothing to extract")
    return Parameters(settings, feature_names(settings.radiomics))
