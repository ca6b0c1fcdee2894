"""How many patients a prediction model of a binary outcome needs: to be developed, and to be validated elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, log_expit, logit
from scipy.stats import norm

# As printed in the published formulas; the exact quantile would move a rounded-up count now and then.
Z_95 = 1.96
# Distance from the mean at which a normal density is worth nothing, and the step between: the rule of trapezoids converges
# faster than any power of the step for such functions.
REACH_SD = 9.0
STEP_SD = 0.005


@dataclass(frozen=True)
class DevelopmentSize:
    """Smallest number of patients by criterion, for a model that estimates all its candidate parameters.

    Attributes
    ----------
    shrinkage_patients
        Criterion 1: predictor effects need to be shrunk by no more than 1 - ``shrinkage``.
    optimism_patients
        Criterion 2: apparent and adjusted Nagelkerke R² differ by no more than ``optimism``.
    risk_patients
        Criterion 3: the overall risk is known to within ``margin``.
    cox_snell, nagelkerke
        R² that was anticipated, on both scales.
    """

    parameters: int
    prevalence: float
    cox_snell: float
    nagelkerke: float
    shrinkage: float
    optimism: float
    margin: float
    shrinkage_patients: int
    optimism_patients: int
    risk_patients: int

    @property
    def patients(self) -> int:
        """Patients that meet all three criteria."""
        return max(self.shrinkage_patients, self.optimism_patients, self.risk_patients)

    @property
    def events(self) -> int:
        """Patients with the outcome among them, rounded up."""
        return math.ceil(self.patients * self.prevalence)

    @property
    def events_per_parameter(self) -> float:
        """Events per candidate parameter at that size."""
        return self.patients * self.prevalence / self.parameters


@dataclass(frozen=True)
class ValidationSize:
    """Smallest number of patients by measure, for a 95 % interval no wider than wanted when a finished model is validated.

    Attributes
    ----------
    ratio_patients
        For observed over expected events.
    slope_patients
        For the calibration slope.
    auc_patients
        For the C statistic (AUC).
    """

    prevalence: float
    auc: float
    ratio_width: float
    slope_width: float
    auc_width: float
    ratio_patients: int
    slope_patients: int
    auc_patients: int

    @property
    def patients(self) -> int:
        """Patients that meet all three."""
        return max(self.ratio_patients, self.slope_patients, self.auc_patients)

    @property
    def events(self) -> int:
        """Patients with the outcome among them, rounded up."""
        return math.ceil(self.patients * self.prevalence)


def largest_cox_snell(prevalence: float) -> float:
    """Return the largest Cox-Snell R² a model of an outcome of this prevalence (0 to 1, exclusive) can have."""
    _inside("prevalence", prevalence, 0.0, 1.0)
    return -math.expm1(2 * _null_log_likelihood(prevalence))


def cox_snell_from_auc(auc: float, prevalence: float) -> float:
    """Return the Cox-Snell R² of a calibrated model with this AUC, its linear predictor normal in both outcomes.

    Riley's published route simulates a million patients; the expectation that they approximate is integrated here instead,
    so that the same question always has the same answer.

    Parameters
    ----------
    auc
        0.5 to 1, exclusive.
    prevalence
        0 to 1, exclusive.

    References
    ----------
    Riley, Van Calster, Collins 2021, doi:10.1002/sim.8806.
    """
    _inside("auc", auc, 0.5, 1.0)
    _inside("prevalence", prevalence, 0.0, 1.0)
    means, spread, nodes, weights = _binormal(auc, prevalence)
    gained = prevalence * weights @ log_expit(means[1] + spread * nodes)
    gained += (1 - prevalence) * weights @ log_expit(-(means[0] + spread * nodes))
    return float(-math.expm1(-2 * (gained - _null_log_likelihood(prevalence))))


def development_size(
    *,
    parameters: int,
    prevalence: float,
    cox_snell: float,
    shrinkage: float = 0.9,
    optimism: float = 0.05,
    margin: float = 0.05,
) -> DevelopmentSize:
    """Return the smallest number of patients to develop a logistic model with.

    Parameters
    ----------
    parameters
        Candidate parameters: every coefficient that could have been estimated, whether or not it is kept in the end.
    prevalence
        Share with the outcome, 0 to 1, exclusive.
    cox_snell
        Cox-Snell R² that can be expected of the model on new patients, above 0 and below what the prevalence allows.
    shrinkage, optimism, margin
        What the criteria ask for; see :class:`DevelopmentSize`.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    References
    ----------
    Riley et al. 2019, doi:10.1002/sim.7992. Riley et al. 2020, doi:10.1136/bmj.m441.
    """
    if parameters < 1:
        raise ValueError(f"{parameters} parameters; at least 1 is required")
    _inside("prevalence", prevalence, 0.0, 1.0)
    largest = largest_cox_snell(prevalence)
    _inside("Cox-Snell R²", cox_snell, 0.0, largest)
    _inside("shrinkage", shrinkage, cox_snell, 1.0)
    _inside("optimism", optimism, 0.0, 1.0)
    _inside("margin", margin, 0.0, 1.0)
    return DevelopmentSize(
        parameters=parameters,
        prevalence=prevalence,
        cox_snell=cox_snell,
        nagelkerke=cox_snell / largest,
        shrinkage=shrinkage,
        optimism=optimism,
        margin=margin,
        shrinkage_patients=math.ceil(parameters / _parameters_per_patient(cox_snell, shrinkage)),
        optimism_patients=math.ceil(
            parameters / _parameters_per_patient(cox_snell, cox_snell / (cox_snell + optimism * largest))
        ),
        risk_patients=math.ceil((Z_95 / margin) ** 2 * prevalence * (1 - prevalence)),
    )


def expected_shrinkage(*, patients: int, parameters: int, cox_snell: float) -> float:
    """Return the factor, ``cox_snell`` to 1, by which the effects of a model fitted to so many patients must be shrunk.

    Parameters
    ----------
    patients, parameters
        At least 1 each.
    cox_snell
        Cox-Snell R² expected on new patients, 0 to 1, exclusive.

    References
    ----------
    Van Houwelingen, Le Cessie 1990, doi:10.1002/sim.4780091109, as rearranged by Riley et al. 2019, doi:10.1002/sim.7992.
    """
    if min(patients, parameters) < 1:
        raise ValueError(f"{patients} patients and {parameters} parameters; at least 1 of each is required")
    _inside("Cox-Snell R²", cox_snell, 0.0, 1.0)
    low, high = math.nextafter(cox_snell, 1.0), math.nextafter(1.0, 0.0)

    def excess(shrinkage: float) -> float:
        return patients * _parameters_per_patient(cox_snell, shrinkage) - parameters

    if excess(low) <= 0:
        return cox_snell
    return high if excess(high) >= 0 else float(brentq(excess, low, high, xtol=1e-12))


def affordable_parameters(
    *, patients: int, prevalence: float, cox_snell: float, shrinkage: float = 0.9, optimism: float = 0.05
) -> int:
    """Return how many candidate parameters so many patients allow by criteria 1 and 2; 0 if not even one.

    Parameters
    ----------
    patients
        At least 1.
    prevalence, cox_snell, shrinkage, optimism
        See :func:`development_size`.
    """
    one = development_size(parameters=1, prevalence=prevalence, cox_snell=cox_snell, shrinkage=shrinkage, optimism=optimism)
    by_optimism = one.cox_snell / (one.cox_snell + optimism * largest_cox_snell(prevalence))
    # Rounding must not take away a parameter that the patients just allow.
    return min(math.floor(patients * _parameters_per_patient(cox_snell, s) + 1e-9) for s in (shrinkage, by_optimism))


def validation_size(
    *,
    prevalence: float,
    auc: float,
    ratio_width: float = 0.2,
    slope_width: float = 0.2,
    auc_width: float = 0.1,
    linear_predictor: tuple[float, float] | None = None,
) -> ValidationSize:
    """Return the smallest number of patients to validate a well calibrated model with.

    Parameters
    ----------
    prevalence
        0 to 1, exclusive.
    auc
        0.5 to 1, exclusive.
    ratio_width, slope_width, auc_width
        Full widths of the 95 % intervals of observed/expected, calibration slope and AUC.
    linear_predictor
        Mean and SD of a normal linear predictor among all patients, log odds; ``None`` takes the one that is normal in both
        outcomes, with this AUC and prevalence.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    References
    ----------
    Riley et al. 2021, doi:10.1002/sim.9025. Standard error of the AUC: Newcombe 2006, doi:10.1002/sim.2324.
    """
    _inside("prevalence", prevalence, 0.0, 1.0)
    _inside("auc", auc, 0.5, 1.0)
    for width in (ratio_width, slope_width, auc_width):
        _inside("interval width", width, 0.0, math.inf)
    ratio_error = math.asinh(ratio_width / 2) / Z_95
    slope_error = slope_width / (2 * Z_95)
    return ValidationSize(
        prevalence=prevalence,
        auc=auc,
        ratio_width=ratio_width,
        slope_width=slope_width,
        auc_width=auc_width,
        ratio_patients=math.ceil((1 - prevalence) / (prevalence * ratio_error**2)),
        slope_patients=math.ceil(_slope_variance(prevalence, auc, linear_predictor) / slope_error**2),
        auc_patients=_smallest_for_auc(prevalence, auc, auc_width),
    )


def _parameters_per_patient(cox_snell: float, shrinkage: float) -> float:
    """Return how many parameters one patient allows at this shrinkage."""
    return (shrinkage - 1) * math.log1p(-cox_snell / shrinkage)


def _null_log_likelihood(prevalence: float) -> float:
    """Return the log likelihood per patient of predicting the prevalence for everyone."""
    return prevalence * math.log(prevalence) + (1 - prevalence) * math.log1p(-prevalence)


Grid = tuple[tuple[float, float], float, NDArray[np.float64], NDArray[np.float64]]


def _binormal(auc: float, prevalence: float) -> Grid:
    """Return means (without, with the outcome) and SD of a calibrated linear predictor, and a standard normal grid."""
    apart = math.sqrt(2) * float(norm.ppf(auc))
    # Two normal groups of one variance: the log odds are linear in the score, so this line is calibrated as it stands.
    middle = float(logit(prevalence))
    nodes, weights = _standard_normal()
    return (middle - apart**2 / 2, middle + apart**2 / 2), apart, nodes, weights


def _standard_normal() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes = np.arange(-REACH_SD, REACH_SD + STEP_SD / 2, STEP_SD)
    return nodes, norm.pdf(nodes) * STEP_SD


def _slope_variance(prevalence: float, auc: float, linear_predictor: tuple[float, float] | None) -> float:
    """Return the variance of the calibration slope of one patient: from the expected information of slope and intercept."""
    if linear_predictor is None:
        means, spread, nodes, weights = _binormal(auc, prevalence)
        linear = np.concatenate([means[0] + spread * nodes, means[1] + spread * nodes])
        weight = np.concatenate([(1 - prevalence) * weights, prevalence * weights])
    else:
        mean, sd = linear_predictor
        _inside("SD of the linear predictor", sd, 0.0, math.inf)
        nodes, weight = _standard_normal()
        linear = mean + sd * nodes
    information = weight * expit(linear) * expit(-linear)
    zeroth, first, second = (float(information @ linear**power) for power in (0, 1, 2))
    return zeroth / (zeroth * second - first**2)


def _smallest_for_auc(prevalence: float, auc: float, width: float) -> int:
    """Return the smallest n whose interval is no wider; the width falls with n."""
    high = 2
    while _auc_width(high, prevalence, auc) > width:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _auc_width(middle, prevalence, auc) > width else (low, middle)
    return high


def _auc_width(n: int, prevalence: float, auc: float) -> float:
    half = n / 2 - 1
    factor = 1 + half * (1 - auc) / (2 - auc) + half * auc / (1 + auc)
    return 2 * Z_95 * math.sqrt(auc * (1 - auc) * factor / (n**2 * prevalence * (1 - prevalence)))


def _inside(name: str, value: float, low: float, high: float) -> None:
    if not low < value < high:
        raise ValueError(f"{name} is {value:g}; a number above {low:g} and below {high:g} is required")
