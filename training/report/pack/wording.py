"""Numbers and lists in running text."""

from __future__ import annotations

from collections.abc import Sequence

from training.report import formatting
from training.report.formatting import Bounded

ALGORITHMS = {
    "LR": "logistic regression",
    "SVM": "support vector machine",
    "RF": "random forest",
    "ExtraTrees": "extremely randomized trees",
    "XGBoost": "XGBoost",
    "LightGBM": "LightGBM",
    "MLP": "multilayer perceptron",
}
ZERO_TO_TWELVE = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)


def listed(parts: Sequence[str], joint: str = "and") -> str:
    """Join parts as a sentence does."""
    if len(parts) < 3:
        return f" {joint} ".join(parts)
    return f"{', '.join(parts[:-1])}, {joint} {parts[-1]}"


def counted(count: int, noun: str) -> str:
    """Return a number of things, with thousands separated."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def spelled(count: int) -> str:
    """Return a number as text writes it: in letters up to twelve."""
    return ZERO_TO_TWELVE[count] if 0 <= count < len(ZERO_TO_TWELVE) else f"{count:,}"


def percent(share: float) -> str:
    """Return a share as a percentage."""
    return f"{100 * share:.3g}%"


def hu_range(bounds: tuple[float, float]) -> str:
    """Return a range of attenuation."""
    return f"{number(bounds[0])} to {number(bounds[1])} HU"


def number(value: float) -> str:
    """Return a number as text writes it, with a minus sign."""
    return f"{value:g}".replace("-", "−") if abs(value) >= 1e-3 or value == 0 else _power(value)


def estimate(name: str, value: Bounded | None, decimals: int = 3) -> str:
    """Return an estimate with its 95% interval, such as ``AUC 0.84 (95% CI 0.78–0.90)``."""
    if value is None or value.value is None:
        return f"{name} not defined"
    text = f"{name} {_signed(value.value, decimals)}"
    if value.low is None or value.high is None:
        return text
    joint = " to " if min(value.low, value.high) < 0 else "–"
    return f"{text} (95% CI {_signed(value.low, decimals)}{joint}{_signed(value.high, decimals)})"


def sentence(text: str) -> str:
    """Return a text as a sentence: a capital at its beginning, a full stop at its end."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _signed(value: float, decimals: int) -> str:
    return formatting.number(value, decimals).replace("-", "−")


def _power(value: float) -> str:
    digits, _, exponent = f"{value:.3e}".partition("e")
    mantissa = digits.rstrip("0").rstrip(".")
    power = f"10^{int(exponent)}".replace("-", "−")
    return power if mantissa == "1" else f"{mantissa} × {power}".replace("-", "−")
