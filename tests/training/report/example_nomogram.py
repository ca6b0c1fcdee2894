"""The nomogram that belongs to the example results, and the points they print."""

from __future__ import annotations

from nodogram.nomogram import SCORE, Nomogram, NomogramTerm


def example_nomogram() -> Nomogram:
    """Return a nomogram with the DLR score and two clinical findings."""
    return Nomogram(
        intercept=-1.8421,
        terms=(
            NomogramTerm(predictor=SCORE, label="DLR score", kind="continuous", coefficient=0.8713, low=-3.0, high=3.0),
            NomogramTerm(
                predictor="ct_reported_lnm",
                label="Lymph nodes on CT report",
                kind="categorical",
                levels=("no", "yes"),
                level_coefficients=(0.0, 1.5594),
            ),
            NomogramTerm(
                predictor="tumour_site",
                label="Primary tumor site",
                kind="categorical",
                levels=("glottic", "supraglottic"),
                level_coefficients=(0.0, 2.3812),
            ),
        ),
    )


def score_only_nomogram() -> Nomogram:
    """Return a nomogram without clinical findings."""
    full = example_nomogram()
    return full.model_copy(update={"terms": full.terms[:1]})


def constant_nomogram() -> Nomogram:
    """Return a nomogram in which no predictor has any effect."""
    score = example_nomogram().terms[0].model_copy(update={"coefficient": 0.0})
    return Nomogram(intercept=-0.37, terms=(score,))
