"""What a challenger must show: one complete TOML file, written before anybody sees a figure, parsed once."""

from __future__ import annotations

import hashlib
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from nodogram.errors import Reason, SettingsError
from nodogram.settings import Settings, canonical_json

SHIPPED = ("default",)

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(gt=0, lt=1)]
Margin = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=2)]
Window = tuple[float, float]

_Any = BeforeValidator(lambda value: None if value == "any" else value)
_None = BeforeValidator(lambda value: None if value == "none" else value)


class DiscriminationRule(Settings):
    """Non-inferiority of the AUC.

    Attributes
    ----------
    margin
        Loss of AUC that would be accepted: the lower bound of the difference must lie above its negative.
    """

    margin: Margin


class CalibrationRule(Settings):
    """Windows of calibration slope and calibration in the large.

    Attributes
    ----------
    judged_by
        ``estimate``, or ``interval``: all of it must lie inside.
    """

    slope: Window
    intercept: Window
    judged_by: Literal["estimate", "interval"]

    @model_validator(mode="after")
    def _rising(self) -> CalibrationRule:
        if not (self.slope[0] < self.slope[1] and self.intercept[0] < self.intercept[1]):
            raise ValueError("slope and intercept: the lower end of a window must be below the upper")
        return self


class NetBenefitRule(Settings):
    """Non-inferiority of the net benefit at the probability at which a decision is taken."""

    threshold: Share
    margin: Margin


class DeclaredSubgroup(Settings):
    """Patients by one column of the cohort table: those with a level, or from ``low`` (included) to ``high`` (excluded)."""

    name: Annotated[str, Field(min_length=1, max_length=80)]
    column: str
    level: str | None = None
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _one_way(self) -> DeclaredSubgroup:
        if (self.level is None) == (self.low is None and self.high is None):
            raise ValueError(f"{self.name}: give a level, or low and high or one of them")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"{self.name}: low must be below high")
        return self


class SubgroupRule(Settings):
    """How far a declared subgroup may fall.

    Attributes
    ----------
    minimum_events
        Patients with, and patients without the outcome, that a subgroup needs to be judged.
    judged_by
        ``floor``: AUC of at least ``floor``; ``champion``: AUC at most ``margin`` below the champion's.
    """

    minimum_events: Count
    judged_by: Literal["floor", "champion"]
    floor: Share
    margin: Margin
    declared: tuple[DeclaredSubgroup, ...]

    @model_validator(mode="after")
    def _names_once(self) -> SubgroupRule:
        names = [s.name for s in self.declared]
        if len(set(names)) != len(names):
            raise ValueError("declared: each name once")
        return self


class ApprovalRule(Settings):
    """Whether a person confirms a promotion.

    Attributes
    ----------
    key
        Fingerprint of that person's key, SHA-256 of its 32 bytes; in a plan ``"none"`` where nobody is asked.
    """

    required: bool
    key: Annotated[Sha256 | None, _None]

    @model_validator(mode="after")
    def _somebody(self) -> ApprovalRule:
        if self.required != (self.key is not None):
            raise ValueError("key: name a key exactly where approval is required")
        return self


class GatePlan(Settings):
    """The plan of a gate.

    Attributes
    ----------
    level
        Coverage of every interval, two-sided.
    cohort_digest
        Of the only cohort that may be judged on; ``None``, in a plan ``"any"``, takes every one.
    minimum_events
        Patients with, and patients without the outcome.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    version: Annotated[int, Field(ge=1)]
    level: Annotated[float, Field(ge=0.5, lt=1)]
    replicates: Annotated[int, Field(ge=100, le=1_000_000)]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    cohort_digest: Annotated[Sha256 | None, _Any]
    minimum_patients: Count
    minimum_events: Count
    discrimination: DiscriminationRule
    calibration: CalibrationRule
    net_benefit: NetBenefitRule
    subgroups: SubgroupRule
    approval: ApprovalRule

    def digest(self) -> str:
        """Return the SHA-256 (hex) of the canonical JSON of this plan."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json"))).hexdigest()


def load_plan(name_or_path: str) -> GatePlan:
    """Read a shipped plan by name or any plan by path.

    Raises
    ------
    SettingsError
        ``SETTINGS_INVALID`` with every wrong key, what was found and what is allowed.
    """
    if name_or_path in SHIPPED:
        text = resources.files("training").joinpath("gate", "plans", f"{name_or_path}.toml").read_text(encoding="utf-8")
    else:
        text = _text(Path(name_or_path))
    try:
        return GatePlan.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(Reason.SETTINGS_INVALID, f"{name_or_path} is not TOML: {error}") from error
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']} (found {e['input']!r})" for e in error.errors()]
        raise SettingsError(Reason.SETTINGS_INVALID, f"{name_or_path}: " + "; ".join(lines)) from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            Reason.SETTINGS_INVALID, f"{path} is neither a file of text nor one of the plans {', '.join(SHIPPED)}"
        ) from error
