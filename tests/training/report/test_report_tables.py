"""Tables: cells as a journal would print them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from example_results import example_results, with_constant_score, without_clinical

from training.report import formatting
from training.report.model_rows import chosen_row, final_rows
from training.report.tables import make_tables, write_table_files
from training.results import Estimate, RunResults

NAMES = (
    "table1_baseline_by_split.csv",
    "table2_baseline_by_outcome.csv",
    "table3_odds_ratios.csv",
    "table4_models.csv",
    "table5_nomogram.csv",
    "selection_counts.csv",
    "selected_features.csv",
    "nomogram_points.csv",
)


@pytest.fixture(scope="module")
def results() -> RunResults:
    return example_results()


@pytest.fixture(scope="module")
def folder(results: RunResults, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "tables"
    assert tuple(path.name for path in write_table_files(make_tables(results).all, folder)) == NAMES
    return folder


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (1.4e-14, "<0.001"),
        (0.000999, "<0.001"),
        (0.001, "0.001"),
        (0.7164, "0.716"),
        (0.9995, ">0.999"),
        (1.0, ">0.999"),
        (None, "–"),
    ],
)
def test_p_values(p: float | None, text: str) -> None:
    assert formatting.p_value(p) == text


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.86049, 0.8065, 0.9154, "0.860 (0.806–0.915)"),
        (1.0, 1.0, 1.0, "1.000 (1.000–1.000)"),
        (-0.08, -0.47, 0.31, "-0.080 (-0.470 to 0.310)"),
        (0.5, None, None, "0.500"),
        (None, None, None, "–"),
        (123456.0, 12.5, 9.9e9, "1.23e+05 (12.500–9.9e+09)"),
    ],
)
def test_intervals(value: float | None, low: float | None, high: float | None, text: str) -> None:
    assert formatting.interval(Estimate(value=value, low=low, high=high)) == text


def test_numbers_have_no_negative_zero_and_no_nan() -> None:
    assert formatting.number(-0.0004) == "0.000"
    assert formatting.number(-0.0006) == "-0.001"
    assert formatting.number(float("nan")) == "–"


def test_durations() -> None:
    assert [formatting.duration(s) for s in (12.4, 300.0, 4210.0, 9000.0)] == ["12 s", "5 min", "70 min", "2.5 h"]


def test_table_1_has_the_paper_s_numbers(folder: Path) -> None:
    rows = read(folder / NAMES[0])
    assert rows[0] == {
        "Characteristic": "Age (years)",
        "Level": "",
        "Development (n = 164)": "63.45 ± 8.97",
        "Test (n = 71)": "62.45 ± 9.09",
        "Test": "t",
        "Statistic": "0.777",
        "p": "0.438",
        "SMD": "0.111",
    }
    heading, male, female = rows[1:4]
    assert (heading["Characteristic"], heading["p"], heading["Test (n = 71)"]) == ("Sex", "0.716", "")
    assert (male["Level"], male["Development (n = 164)"], male["p"]) == ("male", "133 (81.1%)", "")
    assert female["Test (n = 71)"] == "12 (16.9%)"


def test_table_2_prints_tiny_p_values_as_bounds(folder: Path) -> None:
    assert [(r["Statistic"], r["p"]) for r in read(folder / NAMES[1]) if not r["Level"]] == [
        ("59.178", "<0.001"),
        ("63.075", "<0.001"),
    ]


def test_table_3_prints_both_models_in_one_direction(folder: Path) -> None:
    nodes, age = read(folder / NAMES[2])
    assert nodes["Univariable OR (95% CI)"] == "9.401 (5.140–17.196)"
    assert nodes["Multivariable OR (95% CI)"] == "4.756 (2.449–9.237)"
    assert (age["Univariable p"], age["Multivariable OR (95% CI)"], age["Multivariable p"]) == ("0.394", "–", "–")


def test_table_4_has_every_algorithm_feature_set_and_sample(folder: Path, results: RunResults) -> None:
    rows = read(folder / NAMES[3])
    assert len(rows) == 7 * 3 * 3
    assert {r["Features"] for r in rows} == {"Radiomics", "Deep features", "Deep-learning radiomics"}
    assert {r["Sample"] for r in rows} == {"Development, apparent (optimistic)", "Development, out-of-fold", "Test"}
    assert sum("(chosen)" in r["Model"] for r in rows) == 9
    expected = next(m for m in results.models if (m.feature_set, m.classifier, m.sample) == ("dlr", "MLP", "test"))
    found = next(r for r in rows if (r["Features"], r["Model"], r["Sample"]) == ("Deep-learning radiomics", "MLP", "Test"))
    assert found["AUC (95% CI)"] == f"{expected.auc.value:.3f} ({expected.auc.low:.3f}–{expected.auc.high:.3f})"
    assert found["Calibration intercept (95% CI)"] == "-0.08 (-0.47 to 0.31)"
    assert (found["Patients"], found["Events"]) == ("71", "27")


def test_table_5_compares_the_nomogram_on_each_sample(folder: Path) -> None:
    rows = read(folder / NAMES[4])
    models = ["Clinical findings", "Radiomics", "Deep features", "Deep-learning radiomics", "Nomogram"]
    assert [r["Model"] for r in rows] == models * 3
    assert [r["Sample"] for r in rows[::5]] == ["Development, apparent (optimistic)", "Development, out-of-fold", "Test"]


def test_selection_and_points(folder: Path) -> None:
    counts = read(folder / NAMES[5])
    assert counts[0] == {
        "Branch": "radiomics",
        "Step": "ICC, lower 95% bound at least 0.75",
        "Features in": "1316",
        "Features out": "1012",
    }
    assert all(r["Chosen in folds"].endswith(" of 5") for r in read(folder / NAMES[6]))
    points = read(folder / NAMES[7])
    assert points[8] == {"Predictor": "Lymph nodes on CT report", "Value": "yes", "Points": "29.8", "Probability": ""}
    assert points[-1] == {"Predictor": "Total points", "Value": "", "Points": "127.3", "Probability": "0.900"}


def test_undefined_values_are_dashes_not_nan(results: RunResults) -> None:
    table = make_tables(with_constant_score(results)).final_models
    nomogram = table.rows[-1].cells
    assert nomogram[table.columns.index("PPV (95% CI)")] == "–"
    assert nomogram[table.columns.index("AUC (95% CI)")] == "–"
    assert not [c for row in table.rows for c in row.cells if "nan" in c.lower()]


def test_no_clinical_predictor_leaves_headers_only(results: RunResults, tmp_path: Path) -> None:
    write_table_files(make_tables(without_clinical(results)).all, tmp_path)
    assert read(tmp_path / NAMES[2]) == []
    assert (tmp_path / NAMES[0]).read_text(encoding="utf-8").startswith("Characteristic,Level,Development (n = 164)")


def test_a_cell_with_separators_is_quoted(results: RunResults, tmp_path: Path) -> None:
    odds = results.odds_ratios[0].model_copy(update={"predictor": 'Nodes, "large"\nor necrotic'})
    write_table_files(make_tables(results.model_copy(update={"odds_ratios": (odds,)})).all, tmp_path)
    assert read(tmp_path / NAMES[2])[0]["Predictor"] == 'Nodes, "large"\nor necrotic'


def test_a_fused_model_stands_for_its_feature_set(results: RunResults) -> None:
    chosen = chosen_row(results.models, "dlr", "test")
    assert chosen is not None
    assert chosen.classifier == "XGBoost"
    fused = chosen.model_copy(update={"classifier": None, "brier": 0.123})
    assert fused in final_rows((*results.models, fused))
    assert chosen not in final_rows((*results.models, fused))
