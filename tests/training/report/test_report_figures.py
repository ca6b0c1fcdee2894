"""Figures: what they show, that they are the same every time, and that no name can break them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import matplotlib
import numpy as np
import pytest
from example_results import example_results, with_constant_score
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from training.report import figures, style
from training.report.model_rows import algorithm_rows, final_rows
from training.results import FinetuneCurve, LassoCurve, RunResults


@pytest.fixture(scope="module")
def results() -> RunResults:
    return example_results()


def legend_of(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def first_point(line: Line2D) -> tuple[float, float]:
    x, y = np.asarray(line.get_xydata(), dtype=np.float64)[0]
    return float(x), float(y)


def test_roc_panels_carry_their_sample_and_every_auc(results: RunResults) -> None:
    figure = figures.roc_figure(algorithm_rows(results.models, "dlr"))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["Development\napparent: optimistic", "Development\nout-of-fold", "Test\n"]
    for axes in figure.axes:
        assert len(legend_of(axes)) == 7
    chosen = next(m for m in results.models if (m.feature_set, m.classifier, m.sample) == ("dlr", "XGBoost", "test"))
    assert f"XGBoost*  {chosen.auc.value:.3f}" in legend_of(figure.axes[2])[4]


def test_only_the_apparent_panel_is_greyed(results: RunResults) -> None:
    figure = figures.roc_figure(final_rows(results.models))
    faces = [matplotlib.colors.to_hex(axes.get_facecolor()) for axes in figure.axes]
    assert faces == [style.PALE.lower(), "#ffffff", "#ffffff"]
    assert {line.get_alpha() for line in figure.axes[0].lines[1:]} == {0.4}


def test_the_dot_lies_at_the_frozen_threshold(results: RunResults) -> None:
    figure = figures.roc_figure(final_rows(results.models))
    nomogram = next(m for m in results.models if m.feature_set == "nomogram" and m.sample == "test")
    dot = figure.axes[2].lines[-1]
    assert nomogram.specificity.value is not None
    assert first_point(dot) == pytest.approx((1 - nomogram.specificity.value, nomogram.sensitivity.value))


def test_a_run_without_test_patients_has_no_test_panel(results: RunResults) -> None:
    figure = figures.roc_figure([m for m in final_rows(results.models) if m.sample != "test"])
    assert len(figure.axes) == 2


def test_honest_and_apparent_auc_of_each_model(results: RunResults) -> None:
    axes = figures.apparent_vs_honest_figure(results.models).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["Nomogram", "Deep-learning radiomics", "Deep features", "Radiomics", "Clinical findings"]
    assert legend_of(axes) == ["apparent: optimistic", "out-of-fold", "test"]
    assert len(axes.texts) == 15
    values = {f"{m.auc.value:.3f}" for m in final_rows(results.models)}
    assert {text.get_text() for text in axes.texts} == values


def test_lasso_marks_both_penalties_and_names_the_strongest(results: RunResults) -> None:
    path = results.lasso_paths[0]
    upper, lower = figures.lasso_figure(path).axes
    strongest = max(path.curves, key=lambda c: abs(c.coefficients[path.index_min]))
    assert legend_of(upper)[0] == figures.short_feature(strongest.name)
    assert len(legend_of(upper)) == figures.LASSO_NAMED_LIMIT
    marks = [first_point(line)[0] for line in lower.lines[-2:]]
    assert [10**x for x in marks] == pytest.approx([path.penalty[path.index_min], path.penalty[path.index_one_se]])


def test_finetuning_marks_the_epoch_kept(results: RunResults) -> None:
    curve = FinetuneCurve(label="final", train_loss=(0.7, 0.6, 0.5), validation_loss=(0.7, 0.65, 0.68), best_epoch=2)
    axes = figures.finetune_figure((curve,)).axes[0]
    assert axes.get_title(loc="left") == "final"
    assert first_point(axes.lines[-1]) == (2, 0.65)


@pytest.mark.parametrize(
    "curve",
    [
        FinetuneCurve(label="without validation", train_loss=(0.7, 0.6), validation_loss=(None, None), best_epoch=2),
        FinetuneCurve(label="no epoch", train_loss=(), validation_loss=(), best_epoch=0),
    ],
)
def test_short_finetunings_are_drawn(curve: FinetuneCurve, tmp_path: Path) -> None:
    style.save_figure(figures.finetune_figure((curve,)), tmp_path / "finetuning")


def test_flat_and_undefined_curves_are_drawn(results: RunResults, tmp_path: Path) -> None:
    flat = with_constant_score(results)
    style.save_figure(figures.roc_figure(final_rows(flat.models)), tmp_path / "roc")
    style.save_figure(figures.apparent_vs_honest_figure(flat.models), tmp_path / "honest")


def test_the_same_figure_gives_the_same_bytes(results: RunResults, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        style.save_figure(figures.roc_figure(final_rows(results.models)), folder / "roc")
    for suffix in ("svg", "png"):
        assert (first / f"roc.{suffix}").read_bytes() == (second / f"roc.{suffix}").read_bytes()


def test_drawing_leaves_no_global_state(results: RunResults, tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    style.save_figure(figures.roc_figure(final_rows(results.models)), tmp_path / "roc")
    assert dict(matplotlib.rcParams) == before


def test_a_name_is_no_formula_and_no_markup(results: RunResults, tmp_path: Path) -> None:
    path = results.lasso_paths[0]
    hostile = LassoCurve(name=r"radiomics.$\evil{$ --> <script>", coefficients=tuple(9.0 for _ in path.penalty))
    svg, _ = style.save_figure(figures.lasso_figure(path.model_copy(update={"curves": (hostile,)})), tmp_path / "lasso")
    element = ET.fromstring(svg.read_text(encoding="utf-8"))  # noqa: S314 - written a line above
    assert element.tag == "{http://www.w3.org/2000/svg}svg"
    assert "<script" not in style.inline_svg(svg.read_text(encoding="utf-8"), "lasso")


def test_inline_svg_has_identifiers_of_its_own() -> None:
    document = (
        '<?xml version="1.0"?>\n<!DOCTYPE svg>\n<svg><metadata><a href="http://x"/></metadata><defs><path id="m1"/></defs>'
        '<!-- text --><use xlink:href="#m1" clip-path="url(#p1)"/></svg>\n'
    )
    assert style.inline_svg(document, "roc") == (
        '<svg><defs><path id="roc-m1"/></defs><use xlink:href="#roc-m1" clip-path="url(#roc-p1)"/></svg>'
    )


def test_long_feature_names_keep_both_ends() -> None:
    name = "radiomics.log-sigma-3-0-mm-3D_glszm_SmallAreaLowGrayLevelEmphasisNormalized"
    short = figures.short_feature(name)
    assert len(short) <= 44
    assert short.startswith("log-sigma-3-0-mm-3D_")
    assert short.endswith("EmphasisNormalized")
