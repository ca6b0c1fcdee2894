"""Tables of comparisons, of what a score adds, of subgroups, leakage and acquisition; and the forest plot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy.special import expit

from nodogram.case import Acquisition
from nodogram.clinical import ClinicalPredictor
from training.evidence.acquisition import acquisition_table as acquisition_document
from training.evidence.characteristics import Characteristic
from training.evidence.comparisons import ComparisonFamily, Contender, compare_models
from training.evidence.confounders import confounder_report
from training.evidence.incremental import BaseModel, IncrementalValue, incremental_value
from training.evidence.leakage import Duplicate, leakage_report
from training.evidence.sample_result import SampleSettings
from training.evidence.subgroup_result import SubgroupTable
from training.evidence.subgroups import subgroup_table as subgroup_document
from training.recipe import load_recipe
from training.report.comparison_tables import (
    comparison_sentences,
    comparisons_table,
    confounder_table,
    decisions_comparison_table,
    incremental_table,
    net_benefit_difference_table,
)
from training.report.leakage_tables import acquisition_table, choices_table, folds_table, learned_table
from training.report.style import figure_style, save_figure
from training.report.subgroup_figure import subgroup_caption, subgroup_figure
from training.report.subgroup_tables import gap_table, heterogeneity_table, subgroup_table
from training.report.tables import ReportTable
from training.splits import Split

REPORT = ClinicalPredictor(
    name="ct_reported_lnm", label="CT-reported LNM", type="categorical", levels=("no", "yes"), reference="no"
)
IDS = [f"p{i}" for i in range(180)]
RNG = np.random.default_rng(5)
HIDDEN = RNG.normal(size=180)
SEEN = RNG.random(180) < 0.4
LINEAR = -0.8 + 1.2 * HIDDEN + 1.1 * SEEN
OUTCOME = dict(zip(IDS, (RNG.random(180) < expit(LINEAR)).astype(int).tolist(), strict=True))


def scores(linear: np.ndarray) -> dict[str, float]:
    return dict(zip(IDS, expit(linear).tolist(), strict=True))


@pytest.fixture(scope="module")
def families() -> tuple[ComparisonFamily, ...]:
    nomogram = Contender("nomogram", "Nomogram", scores(LINEAR), 0.35)
    others = [
        Contender("clinical", "Clinical findings", scores(-0.8 + 1.1 * SEEN), 0.35),
        Contender("volume", "Tumor volume alone", scores(RNG.normal(size=180)), 0.35),
    ]
    return tuple(compare_models(sample, OUTCOME, nomogram, others) for sample in ("development_out_of_fold", "test"))


@pytest.fixture(scope="module")
def added() -> tuple[IncrementalValue, ...]:
    base = BaseModel("clinical", "Clinical findings", (REPORT,), scores(-0.8 + 1.1 * SEEN))
    none = BaseModel("clinical", "Clinical findings", (), {})
    return tuple(
        incremental_value(
            "test",
            OUTCOME,
            model,
            kept=(REPORT,),
            records={c: {"ct_reported_lnm": "yes" if seen else "no"} for c, seen in zip(IDS, SEEN, strict=True)},
            score=scores(HIDDEN),
            probability=scores(LINEAR),
            settings=SampleSettings(replicates=100),
        )
        for model in (base, none)
    )


@pytest.fixture(scope="module")
def subgroups() -> SubgroupTable:
    kinds = [
        Characteristic("site", "Tumor site", "as recorded", ("glottic", "supraglottic"), "glottic", {
            c: ("glottic", "supraglottic")[i % 2] for i, c in enumerate(IDS[:170])
        }),
        Characteristic(
            "manufacturer",
            "Scanner manufacturer, a name far too long to be printed in full",
            "as recorded",
            ("A manufacturer whose name would run into the next column", "B"),
            "B",
            {c: "B" if i > 5 else "A manufacturer whose name would run into the next column" for i, c in enumerate(IDS)},
        ),
    ]  # fmt: skip
    return subgroup_document("test", OUTCOME, scores(LINEAR), 0.35, kinds, node_negative=None)


def check(table: ReportTable, rows: int) -> None:
    assert len(table.rows) == rows
    assert {len(row.cells) for row in table.rows} == {len(table.columns)}
    assert set(table.text_columns) <= set(table.columns)
    assert "nan" not in table.to_csv().lower().replace("nano", "")
    assert "None" not in table.to_csv()


def test_comparisons_say_what_the_adjusted_p_allows(families: tuple[ComparisonFamily, ...]) -> None:
    table = comparisons_table(families)
    check(table, 4)
    found = families[0].auc[1]
    row = table.rows[1].cells
    assert row[1] == "Tumor volume alone"
    assert row[-1] == found.verdict
    assert found.adjusted_p is not None
    assert found.adjusted_p < 0.001
    assert row[-2] == "<0.001"
    sentences = comparison_sentences(families)
    assert len(sentences) == 4
    assert sentences[0].startswith("Development, out-of-fold. Nomogram vs Clinical findings: AUC 0.")
    check(decisions_comparison_table(families), 8)


def test_what_is_added_is_laid_out_and_what_is_not_is_explained(added: tuple[IncrementalValue, ...]) -> None:
    table = incremental_table(added)
    check(table, 7)
    cells = {row.cells[1]: row.cells[2] for row in table.rows[:6]}
    likelihood = added[0].likelihood
    assert likelihood is not None
    text = cells["Likelihood ratio χ² of what is added (DLR score), maximum likelihood"]
    assert text.startswith(f"{likelihood.statistic:.2f}, df 1, p ")
    assert table.rows[-1].cells[1:] == ("Not measured", added[1].reason)
    check(net_benefit_difference_table(added), 4)


def test_confounders_are_laid_out() -> None:
    acquisition = {c: Acquisition(1.0, 0.5, float(np.exp(h)), None, None, None) for c, h in zip(IDS, HIDDEN, strict=True)}
    table = confounder_table(confounder_report(scores(HIDDEN + RNG.normal(size=180)), acquisition))
    check(table, 3)
    assert table.rows[0].cells[0] == "Tumor volume"
    assert "the same for all patients" in table.rows[1].cells[1]


def test_subgroups_are_laid_out(subgroups: SubgroupTable) -> None:
    table = subgroup_table([subgroups])
    check(table, 5)
    assert table.rows[0].kind == "chosen"
    assert table.rows[0].cells[2:5] == ("All patients", "180", str(sum(OUTCOME.values())))
    assert table.rows[1].cells[1] == "Tumor site (10 not known)"
    assert table.rows[3].cells[5] == "–"
    check(gap_table([subgroups]), 2)
    check(heterogeneity_table([subgroups]), 2)
    assert "fewer than two levels" in heterogeneity_table([subgroups]).rows[1].cells[3]


def test_leakage_is_laid_out() -> None:
    split = Split(tuple(IDS[:170]), tuple(IDS[170:]), (), "ab" * 32)
    duplicates = [Duplicate("network crop", ("p0", "p175"))]
    report = leakage_report(split, (), load_recipe("paper"), duplicates=duplicates, candidates=1)
    assert folds_table(report).rows[0].cells == ("Development / test", "170", "10", "0", "abababababab", "")
    check(learned_table(report), len(report.learned))
    table = choices_table(report)
    check(table, 4 + 5)
    assert table.rows[3].cells == ("Patients with the same network crop", "2", "1 pairs across the split, 0 across folds")
    clean = choices_table(leakage_report(split, (), load_recipe("sound")))
    assert clean.rows[-1].cells == ("Keys of the recipe that leak", "none", "")


def test_acquisition_is_laid_out() -> None:
    groups = [("Development", [Acquisition(1.0, 0.5, 4.0, 120.0, "A", None)] * 3), ("Test", [])]
    table = acquisition_table(acquisition_document(groups))
    check(table, 9)
    assert table.columns[2:] == ("Development (n = 3)", "Test (n = 0)")
    assert table.rows[1].cells == ("Manufacturer", "A", "3 (100.0 %)", "0")
    assert table.rows[-1].cells[2:] == ("4.00 (4.00–4.00), 4.00–4.00", "–")


def texts(figure: Figure) -> list[str]:
    return [t.get_text() for axes in figure.axes for t in axes.texts]


def test_the_forest_plot_shows_every_level(subgroups: SubgroupTable) -> None:
    figure = subgroup_figure(subgroups)
    shown = texts(figure)
    for row in (subgroups.overall, *(r for c in subgroups.characteristics for r in c.rows)):
        assert str(row.patient_count) in shown
    assert "Tumor site" in shown
    assert "– too few patients" in shown
    assert "A manufacturer whose name would run…" in shown
    assert len(figure.axes[0].containers) == 4  # four levels and all patients, one without an AUC
    heterogeneity = subgroups.characteristics[0].heterogeneity
    assert heterogeneity is not None
    assert f"adjusted p = {heterogeneity.adjusted_p:.3f}" in shown
    caption = subgroup_caption(subgroups, "lymph-node metastasis")
    assert "exploratory" in caption


def test_no_text_of_the_forest_plot_is_clipped_or_crossed(subgroups: SubgroupTable) -> None:
    figure = subgroup_figure(subgroups)
    with figure_style():
        canvas = FigureCanvasAgg(figure)
        figure.draw(canvas.get_renderer())  # type: ignore[no-untyped-call]
        width, height = canvas.get_width_height()
        boxes = [(t.get_text(), t.get_window_extent()) for t in figure.findobj(Text) if isinstance(t, Text) and t.get_text()]
    for text, box in boxes:
        assert box.x0 > -1, text
        assert box.y0 > -1, text
        assert box.x1 < width + 1, text
        assert box.y1 < height + 1, text
    names = [(t, b) for t, b in boxes if t in texts(figure)]
    crossed = [
        (t, u) for i, (t, b) in enumerate(names) for u, c in names[:i] if b.shrunk(0.98, 0.7).overlaps(c.shrunk(0.98, 0.7))
    ]
    assert not crossed


def test_the_forest_plot_is_the_same_every_time(subgroups: SubgroupTable, tmp_path: Path) -> None:
    written = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        written.append(save_figure(subgroup_figure(subgroups), tmp_path / name / "forest")[0].read_bytes())
    assert written[0] == written[1]
