"""Tables of the evidence: every number beside its interval, and where it comes from."""

from __future__ import annotations

import pytest
from example_evidence import example_evidence, least_evidence
from example_results import example_results

from training.evidence.document import RunEvidence
from training.report import formatting
from training.report.agreement_tables import agreement_counts_table, outline_agreement_table, selected_agreement_table
from training.report.evidence_tables import (
    measures_table,
    part_of,
    per_hundred_table,
    prevalence_table,
    sample_size_table,
)
from training.report.page_tables import evidence_tables
from training.report.tables import ReportTable


@pytest.fixture(scope="module")
def evidence() -> RunEvidence:
    return example_evidence()


def cell(table: ReportTable, label: str, column: str) -> str:
    """Return a cell by the label of its line, which stands right of the group."""
    (row,) = (row for row in table.rows if label in row.cells[: table.group_columns + 1])
    return row.cells[table.columns.index(column)]


def test_every_measure_stands_beside_its_interval(evidence: RunEvidence) -> None:
    found = evidence.of("nomogram", "test")
    assert found is not None
    assert found.discrimination is not None
    table = measures_table((("Test", found),), "measures", "Measures")
    assert cell(table, "AUC, DeLong", "Test") == formatting.interval(found.discrimination.auc_plain)
    assert cell(table, "AUC, stratified bootstrap", "Test") == formatting.interval(found.discrimination.auc_bootstrap)
    assert cell(table, "Positive likelihood ratio", "Test") == formatting.interval(found.decisions.positive_likelihood_ratio)
    assert cell(table, "Scaled Brier score (0 without information, 1 perfect)", "Test") == formatting.interval(
        found.calibration.scaled_brier
    )
    table_text = cell(table, "True positives / false negatives", "Test")
    assert table_text == f"{found.decisions.true_positive} / {found.decisions.false_negative}"
    assert cell(table, "Patients with the outcome", "Test") == "27 (38.0%)"


def test_a_part_keeps_its_lines_and_their_order(evidence: RunEvidence) -> None:
    found = evidence.of("nomogram", "test")
    assert found is not None
    whole = measures_table((("Test", found),), "measures", "Measures")
    part = part_of(whole, ("Calibration",), "calibration", "Calibration")
    assert part.stem == "calibration"
    assert {row.cells[0] for row in part.rows} == {"Calibration"}
    assert part.rows == tuple(row for row in whole.rows if row in part.rows)
    assert part.columns == whole.columns


def test_utility_speaks_of_necks_only_where_they_are_free_on_ct(evidence: RunEvidence) -> None:
    found = evidence.of("nomogram", "test")
    assert found is not None
    general = per_hundred_table((("Test", found),), "utility")
    negative = per_hundred_table((("Test", found),), "utility", node_negative=True)
    assert not [c for c in general.columns if "Neck" in c or "Metastases" in c]
    assert negative.columns[2:] == (
        "Neck dissections avoided (95% CI)",
        "of these, in patients without metastasis (95% CI)",
        "Metastases missed (95% CI)",
    )
    first = found.utility.per_hundred[0]
    assert general.rows[0].cells[2] == formatting.interval(first.avoided, 1)
    assert general.rows == negative.rows


def test_predictive_values_at_each_prevalence(evidence: RunEvidence) -> None:
    found = evidence.of("nomogram", "test")
    assert found is not None
    table = prevalence_table((("Test", found),), "prevalence")
    assert [row.cells[1] for row in table.rows] == ["10%", "20%", "30%", "50%"]


def test_sample_size_shows_each_criterion_and_what_there_is(evidence: RunEvidence) -> None:
    plan = evidence.sample_size
    table = sample_size_table(plan)
    numbers = [row.cells[1] for row in table.rows]
    need = plan.nomogram
    assert numbers[:3] == [f"{n:,}" for n in (need.shrinkage_patients, need.optimism_patients, need.risk_patients)]
    assert numbers[3].startswith(f"{max(need.shrinkage_patients, need.optimism_patients, need.risk_patients):,} (")
    assert numbers[4] == "164 (67 events)"
    assert numbers[5] == "9.6"


def test_agreement_is_counted_by_kind(evidence: RunEvidence) -> None:
    report = evidence.agreement
    assert report is not None
    table = agreement_counts_table(report)
    total = next(row for row in table.rows if row.kind == "chosen")
    assert total.cells[2:4] == (str(report.feature_count), str(report.reached_count))
    by_class = [row for row in table.rows if row.cells[0] == "By feature class" and row.kind == "plain"]
    assert sum(int(row.cells[3]) for row in by_class) == report.reached_count


def test_only_selected_features_are_listed_with_their_interval(evidence: RunEvidence) -> None:
    report = evidence.agreement
    assert report is not None
    chosen = {report.features[0].name, report.features[3].name, "radiomics.absent"}
    table = selected_agreement_table(report, chosen)
    assert [row.cells[0] for row in table.rows] == [report.features[0].name, report.features[3].name]
    first = report.features[0]
    assert table.rows[0].cells[1].startswith(f"{first.icc:.3f} (")
    assert table.rows[0].cells[2] == ("yes" if (first.low or 0) >= report.threshold else "no")


def test_outlines_and_score(evidence: RunEvidence) -> None:
    report = evidence.agreement
    assert report is not None
    assert report.outlines is not None
    assert report.score is not None
    assert report.score.limits is not None
    table = outline_agreement_table(report)
    assert cell(table, "Dice, median (quartiles)", "Value").startswith(f"{report.outlines.dice.median:.3f} (")
    limits = [row.cells[2] for row in table.rows if row.cells[1] == "95% limits of agreement"]
    assert limits[0] == f"{report.score.limits.lower:.3f} to {report.score.limits.upper:.3f}"
    assert len(limits) == 2
    assert outline_agreement_table(report.model_copy(update={"score": None, "outlines": None})).rows == ()


def test_every_table_of_the_page_has_rows_and_a_file_of_its_own(evidence: RunEvidence) -> None:
    for document in (evidence, least_evidence()):
        placed = evidence_tables(example_results(), document)
        assert all(p.table.rows for p in placed)
        stems = [p.table.stem for p in placed]
        assert len(stems) == len(set(stems))
        for p in placed:
            assert all(len(row.cells) == len(p.table.columns) for row in p.table.rows), p.table.stem


def test_the_nomogram_s_tables_are_open_and_the_others_folded(evidence: RunEvidence) -> None:
    placed = {p.table.stem: p for p in evidence_tables(example_results(), evidence)}
    assert not placed["discrimination_nomogram"].folded
    assert placed["discrimination_clinical"].folded
    columns = placed["calibration_nomogram"].table.columns
    assert columns[-1] == "Development, apparent (optimistic)"


def test_what_is_not_there_has_no_table() -> None:
    stems = {p.table.stem for p in evidence_tables(example_results(), least_evidence())}
    assert not [s for s in stems if s.startswith(("agreement", "comparisons", "subgroup"))]
    assert "utility_per_100_cn0_patients" not in stems
