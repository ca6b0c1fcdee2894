"""The paper's own counts reproduce its own tables, to the printed digits."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from nodogram.stats.classification import Confusion, confusion
from nodogram.stats.hypothesis_tests import compare_categorical, student_t_from_summary
from training.logistic import LogisticFit, fit_logistic

PAPER = json.loads((Path(__file__).parents[1] / "golden" / "paper_tables.json").read_text(encoding="utf-8"))


def printed_p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def expand(cells: list[tuple[tuple[float, ...], int, int]]) -> tuple[np.ndarray, np.ndarray]:
    rows = [(x, y) for x, y, n in cells for _ in range(n)]
    return np.array([x for x, _ in rows], dtype=float), np.array([y for _, y in rows], dtype=np.int64)


def wald(design: np.ndarray, names: tuple[str, ...], outcome: np.ndarray) -> LogisticFit:
    return fit_logistic(design, names, outcome, interval="wald", separation="stop")


@pytest.mark.parametrize("table", ["table1", "table2"])
def test_chi_squared_of_tables_1_and_2(table: str) -> None:
    for row in PAPER[table]:
        result = compare_categorical(np.array(row["counts"]))
        assert result.name == "chi-squared"
        assert result.statistic is not None
        assert f"{result.statistic:.3f}" == f"{row['chi2']:.3f}", row["name"]
        assert printed_p(result.p) == row["p"], row["name"]


@pytest.mark.parametrize("table", ["table1_age", "table2_age"])
def test_age_of_tables_1_and_2(table: str) -> None:
    """The printed t and p lie among those of every mean and SD that rounds to the printed ones."""
    row = PAPER[table]
    offsets = itertools.product((-0.00499, 0.00499), (-0.00499, 0.00499), (-0.000499, 0.000499), (-0.000499, 0.000499))
    results = [
        student_t_from_summary(
            row["mean"][0] + m1, row["sd"][0] + s1, row["count"][0], row["mean"][1] + m2, row["sd"][1] + s2, row["count"][1]
        )
        for m1, m2, s1, s2 in offsets
    ]
    statistics = [abs(r.statistic) for r in results if r.statistic is not None]
    assert len(statistics) == 16
    assert min(statistics) < row["t"] < max(statistics)
    assert min(r.p for r in results) < float(row["p"]) < max(r.p for r in results)
    assert max(statistics) - min(statistics) < 0.02


@pytest.mark.parametrize("row", PAPER["table3_univariable"], ids=lambda row: row["name"])
def test_univariable_odds_ratios_of_table_3(row: dict) -> None:
    """Age is left out: its odds ratio needs the ages of single patients, which the paper does not print."""
    (a, b), (c, d) = row["exposed"], row["unexposed"]
    design, outcome = expand([((1.0,), 1, a), ((1.0,), 0, b), ((0.0,), 1, c), ((0.0,), 0, d)])
    fit = wald(design, (row["name"],), outcome)
    assert [f"{v:.3f}" for v in (fit.odds_ratio[0], fit.low[0], fit.high[0])] == [f"{v:.3f}" for v in (row["or"], *row["ci"])]
    assert printed_p(fit.p_value[0]) == row["p"]


def multivariable_cells() -> list[tuple[tuple[float, ...], int, int]]:
    """Cells (CT, site) by outcome from the margins of Table 2 and the number exposed to both."""
    cells: list[tuple[tuple[float, ...], int, int]] = []
    margins = {1: (69, 88, 94), 0: (32, 60, 141)}
    for outcome, both in zip((1, 0), PAPER["table3_multivariable"]["both_exposed"], strict=True):
        ct, site, total = margins[outcome]
        cells += [
            ((1.0, 1.0), outcome, both),
            ((1.0, 0.0), outcome, ct - both),
            ((0.0, 1.0), outcome, site - both),
            ((0.0, 0.0), outcome, total - ct - site + both),
        ]
    return cells


@pytest.mark.parametrize(("coding", "flip"), [("references_flipped_back", False), ("printed", True)])
def test_multivariable_odds_ratios_of_table_3(coding: str, flip: bool) -> None:
    design, outcome = expand(multivariable_cells())
    names = ("ct_reported_lnm", "tumour_site")
    fit = wald(1 - design if flip else design, names, outcome)
    for i, name in enumerate(names):
        printed = PAPER["table3_multivariable"][coding][name]
        assert [f"{v:.3f}" for v in (fit.odds_ratio[i], fit.low[i], fit.high[i])] == [f"{v:.3f}" for v in printed]
        assert printed_p(fit.p_value[i]) == "<0.001"


@pytest.mark.parametrize("row", PAPER["confusion"], ids=lambda row: f"{row[0]}-{row[1]}")
def test_every_row_of_tables_4_and_5_is_one_confusion_matrix(row: list) -> None:
    sample, _, *printed = row
    events, others = PAPER["classes"][sample]
    true_positive, true_negative = round(printed[1] * events), round(printed[2] * others)
    table = Confusion(true_positive, events - true_positive, others - true_negative, true_negative)
    computed = [p.value for p in (table.accuracy, table.sensitivity, table.specificity, table.ppv, table.npv)]
    # Half a unit of the last printed digit, ends included: one cell, 59/80 = 0.7375, is printed as 0.737.
    assert computed == pytest.approx(printed, abs=0.0005 + 1e-9)


def test_the_nomogram_row_of_table_5_uses_the_whole_chain() -> None:
    """Counts 66, 1, 29, 68 of the training set, through probabilities and a threshold."""
    outcome = np.repeat([1, 1, 0, 0], [66, 1, 29, 68])
    table = confusion(outcome, np.repeat([0.8, 0.1, 0.8, 0.1], [66, 1, 29, 68]), 0.5)
    values = [p.value for p in (table.accuracy, table.sensitivity, table.specificity, table.ppv, table.npv)]
    assert [f"{v:.3f}" for v in values] == ["0.817", "0.985", "0.701", "0.695", "0.986"]
    assert table.no_information_rate == pytest.approx(97 / 164)
