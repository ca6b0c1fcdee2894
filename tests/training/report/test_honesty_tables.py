"""Tables of refits: every number beside what kind of number it is, nothing hidden."""

from __future__ import annotations

import pytest
from example_honesty import APPARENT, HELD_OUT, MODELS, example_honesty

from training.evidence.honesty_result import HonestyEvidence, RefitCount
from training.report import formatting
from training.report.honesty_tables import COLUMNS, honesty_table, honesty_tables, optimism_table
from training.report.tables import ReportTable


@pytest.fixture(scope="module")
def evidence() -> HonestyEvidence:
    return example_honesty()


def lines(table: ReportTable, check: str) -> list[tuple[str, ...]]:
    return [row.cells for row in table.rows if row.cells[0] == check]


def test_every_table_is_square_and_says_what_the_refits_did(evidence: HonestyEvidence) -> None:
    tables = honesty_tables(evidence)
    assert [t.stem for t in tables] == [
        "honesty",
        "optimism",
        "selection_frequency",
        "classifier_frequency",
        "leave_one_center_out",
    ]
    for table in tables:
        assert all(len(row.cells) == len(table.columns) for row in table.rows), table.stem
        assert evidence.network_note in table.title


def test_apparent_comes_first_and_is_marked(evidence: HonestyEvidence) -> None:
    table = honesty_table(evidence)
    assert [row.kind for row in table.rows[:3]] == ["apparent"] * 3
    for cells, model in zip(lines(table, "Apparent (optimistic)"), MODELS, strict=True):
        assert cells[2].startswith(f"{APPARENT[model]:.3f} (")
    for cells, model in zip(lines(table, "Out of fold"), MODELS, strict=True):
        assert cells[2].startswith(f"{HELD_OUT[model]:.3f} (")


def test_a_refit_that_failed_is_printed_with_its_reason(evidence: HonestyEvidence) -> None:
    cells = lines(honesty_table(evidence), "Corrected for optimism (bootstrap)")[0]
    assert cells[COLUMNS.index("Refits")] == "30 of 31 (1 ×: too few patients of a class)"


def test_percentiles_are_no_confidence_interval(evidence: HonestyEvidence) -> None:
    table = honesty_table(evidence)
    for check in ("Corrected for optimism (bootstrap)", "Permuted outcomes (nothing to find)", "Noise instead of features"):
        for cells in lines(table, check):
            assert "(" not in cells[2].replace("(mean)", "")
    corrected = next(c for c in evidence.optimism.models[2].corrected if c.measure == "auc")
    assert corrected.apparent is not None
    assert corrected.optimism.high is not None
    spread = lines(table, "Corrected for optimism (bootstrap)")[2][3]
    assert spread.startswith(formatting.number(corrected.apparent - corrected.optimism.high))


def test_null_prints_observed_and_p(evidence: HonestyEvidence) -> None:
    pooled, within = lines(honesty_table(evidence), "Permuted outcomes (nothing to find)")
    assert pooled[5].startswith("out of fold: observed 0.750, p ")
    assert within[5].startswith("within folds: observed 0.740, p ")


def test_optimism_table_has_each_measure_of_each_model(evidence: HonestyEvidence) -> None:
    table = optimism_table(evidence)
    assert len(table.rows) == 9
    slope = table.rows[2].cells
    assert slope[6] == formatting.number(evidence.optimism.models[0].out_of_bag_slope)
    assert slope[9] == ""


def test_what_was_not_done_says_why(evidence: HonestyEvidence) -> None:
    nothing = RefitCount(requested=0, fitted=0)
    off = "switched off in the recipe ([honesty] permutations = 0)"
    without = evidence.model_copy(
        update={
            "permutation": evidence.permutation.model_copy(
                update={"count": nothing, "reason": off, "pooled": None, "within_folds": None}
            ),
            "centres": evidence.centres.model_copy(update={"count": nothing, "reason": "one", "rows": (), "summary": None}),
        }
    )
    (cells,) = lines(honesty_table(without), "Permuted outcomes (nothing to find)")
    assert cells[2] == formatting.UNDEFINED
    assert cells[5] == off
    assert "leave_one_center_out" not in [t.stem for t in honesty_tables(without)]


def test_frequencies_are_counts_with_their_total(evidence: HonestyEvidence) -> None:
    features = next(t for t in honesty_tables(evidence) if t.stem == "selection_frequency")
    first = evidence.selection.features[0]
    assert features.rows[0].cells[1] == f"{first.resamples} of 30 ({100 * first.resamples / 30:.0f}%)"
    assert "25 of 1409 at least once" in features.title
    assert [row.kind for row in features.rows[:5]] == ["chosen"] * 4 + ["plain"]
