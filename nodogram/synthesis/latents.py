"""What decides a synthetic patient, and how strongly each part of it knows the outcome.

The outcome comes first. Every other quantity is drawn given the outcome and independently of the others, except the T
stage, which is read off the tumor size. The ideal observer is therefore a sum of log likelihood ratios, and the areas
under the ROC curves have closed forms that the tests check. At ``signal`` 0 both classes share every distribution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

Side = Literal["left", "right"]

PREVALENCE = 0.4
# Distances between the class means at full signal, in standard deviations within a class.
HETEROGENEITY_SHIFT = 2.2
SIZE_SHIFT = 0.9
# (without, with) the outcome at full signal. Odds ratios of 6.4 and 2.9 give the clinical model an AUC of 0.77.
CT_REPORTED_LNM_SHARES = (0.24, 0.67)
SUPRAGLOTTIC_SHARES = (0.42, 0.68)

_MALE_SHARE = 0.85
_ADVANCED_STAGE_THRESHOLD = 0.25
_STAGE_NOISE = 0.6


@dataclass(frozen=True)
class PatientLatents:
    """All that is drawn before the first voxel.

    Attributes
    ----------
    outcome
        0 or 1.
    heterogeneity
        Texture of the tumor, standard deviations; the contrast of the texture grows with it.
    log_size
        Tumor size, standard deviations of the logarithm of the volume.
    ct_reported_lnm
        ``no`` or ``yes``; an enlarged node is drawn for ``yes``.
    tumor_site
        ``glottic`` or ``supraglottic``; decides the level of the tumor.
    age_years
        35 to 90, never related to the outcome.
    sex
        ``male`` or ``female``, never related to the outcome.
    t_stage
        ``T1-2`` or ``T3-4``, related to the outcome through the size alone.
    side
        Side of the tumor.
    """

    outcome: int
    heterogeneity: float
    log_size: float
    ct_reported_lnm: str
    tumor_site: str
    age_years: float
    sex: str
    t_stage: str
    side: Side

    @property
    def clinical(self) -> dict[str, str | float]:
        """The clinical record in the names of the laryngeal preset."""
        return {
            "ct_reported_lnm": self.ct_reported_lnm,
            "tumour_site": self.tumor_site,
            "age_years": self.age_years,
            "sex": self.sex,
            "t_stage": self.t_stage,
        }

    def clinical_log_odds(self, signal: float) -> float:
        """Return the log odds of the outcome for someone who knows the candidate clinical findings only."""
        return (
            math.log(PREVALENCE / (1 - PREVALENCE))
            + _binary_evidence(self.ct_reported_lnm == "yes", CT_REPORTED_LNM_SHARES, signal)
            + _binary_evidence(self.tumor_site == "supraglottic", SUPRAGLOTTIC_SHARES, signal)
        )

    def log_odds(self, signal: float) -> float:
        """Return the log odds of the outcome for the ideal observer, who knows everything but the outcome."""
        return (
            self.clinical_log_odds(signal)
            + _normal_evidence(self.heterogeneity, HETEROGENEITY_SHIFT, signal)
            + _normal_evidence(self.log_size, SIZE_SHIFT, signal)
        )


def draw_latents(rng: np.random.Generator, *, signal: float, outcome: int | None = None) -> PatientLatents:
    """Draw one patient without drawing a voxel.

    Parameters
    ----------
    signal
        0 (the outcome is an independent coin) to 1.
    outcome
        0 or 1 to draw a patient of that class; ``None`` to draw the class with the prevalence of 0.4.

    Raises
    ------
    ValueError
        If ``signal`` is outside [0, 1] or ``outcome`` is neither 0, 1 nor ``None``.
    """
    if not 0 <= signal <= 1:
        raise ValueError(f"signal is {signal}; 0 to 1 is required")
    if outcome not in (None, 0, 1):
        raise ValueError(f"outcome is {outcome}; 0, 1 or None is required")
    # Drawn even where it is given, so that both ways consume the stream alike.
    coin = int(rng.random() < PREVALENCE)
    drawn = coin if outcome is None else outcome
    heterogeneity = _mean(drawn, HETEROGENEITY_SHIFT, signal) + rng.standard_normal()
    log_size = _mean(drawn, SIZE_SHIFT, signal) + rng.standard_normal()
    reported = rng.random() < _share(drawn, CT_REPORTED_LNM_SHARES, signal)
    supraglottic = rng.random() < _share(drawn, SUPRAGLOTTIC_SHARES, signal)
    advanced = log_size + _STAGE_NOISE * rng.standard_normal() > _ADVANCED_STAGE_THRESHOLD
    return PatientLatents(
        outcome=drawn,
        heterogeneity=float(heterogeneity),
        log_size=float(log_size),
        ct_reported_lnm="yes" if reported else "no",
        tumor_site="supraglottic" if supraglottic else "glottic",
        age_years=float(np.clip(np.round(rng.normal(62, 9)), 35, 90)),
        sex="male" if rng.random() < _MALE_SHARE else "female",
        t_stage="T3-4" if advanced else "T1-2",
        side="left" if rng.random() < 0.5 else "right",
    )


def stratified_outcomes(rng: np.random.Generator, count: int) -> tuple[int, ...]:
    """Return ``count`` outcomes in random order, 40 % of them 1, both classes present from two patients on."""
    events = min(max(round(PREVALENCE * count), 1), count - 1) if count > 1 else 0
    return tuple(int(value) for value in rng.permutation(np.arange(count) < events))


def _mean(outcome: int, shift: float, signal: float) -> float:
    return signal * shift * (outcome - PREVALENCE)


def _share(outcome: int, shares: tuple[float, float], signal: float) -> float:
    overall = (1 - PREVALENCE) * shares[0] + PREVALENCE * shares[1]
    return (1 - signal) * overall + signal * shares[outcome]


def _normal_evidence(value: float, shift: float, signal: float) -> float:
    low, high = _mean(0, shift, signal), _mean(1, shift, signal)
    return (high - low) * (value - (high + low) / 2)


def _binary_evidence(present: bool, shares: tuple[float, float], signal: float) -> float:
    low, high = _share(0, shares, signal), _share(1, shares, signal)
    return math.log(high / low) if present else math.log((1 - high) / (1 - low))
