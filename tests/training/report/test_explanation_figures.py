"""Explanation figures: what they show, that nothing is clipped, and that they are the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from example_explanation import DEEP_NAMES, LONG_NAMES, example_explanation
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.text import Text

from training.evidence.activation_maps import KINDS
from training.evidence.explanation import Explanation, contribution_shares
from training.report.activation_figure import STRONGEST_OVERLAY, activation_figure, overlay, sheet_caption
from training.report.explanation_figures import (
    BEESWARM_FEATURES,
    attribution_figure,
    boxes_figure,
    contribution_figure,
    correlation_figure,
    explanation_figures,
    readable_feature,
    swarm_offsets,
)
from training.report.style import figure_style, save_figure

OUTCOME = "lymph-node metastasis"


@pytest.fixture(scope="module")
def explanation() -> Explanation:
    return example_explanation()


@pytest.fixture(scope="module")
def drawn(explanation: Explanation) -> dict[str, Figure]:
    return {f.stem: f.figure for f in explanation_figures(explanation, OUTCOME)}


def tick_labels(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_every_figure_is_planned_with_words(explanation: Explanation) -> None:
    plans = list(explanation_figures(explanation, OUTCOME))
    assert [p.stem for p in plans] == ["contribution_share", "shap", "feature_boxes", "feature_correlation", "activation_maps"]
    for plan in plans:
        assert plan.title
        assert len(plan.caption) > 80


def test_a_document_without_pictures_has_no_sheet_and_draws_the_rest(explanation: Explanation) -> None:
    sent = explanation.without_pictures()
    assert [p.stem for p in explanation_figures(sent, OUTCOME)][-1] == "feature_correlation"
    assert sent.activation is not None
    with pytest.raises(ValueError, match="pictures of this sheet were removed"):
        activation_figure(sent.activation, OUTCOME)


@pytest.mark.parametrize("stem", ["contribution_share", "shap", "feature_boxes", "feature_correlation", "activation_maps"])
def test_no_text_is_clipped(drawn: dict[str, Figure], stem: str) -> None:
    figure = drawn[stem]
    with figure_style():
        canvas = FigureCanvasAgg(figure)
        figure.draw(canvas.get_renderer())  # type: ignore[no-untyped-call]
        width, height = canvas.get_width_height()
        for text in figure.findobj(Text):
            if isinstance(text, Text) and text.get_text() and text.get_visible():
                extent = text.get_window_extent()
                inside = extent.x0 > -1 and extent.y0 > -1 and extent.x1 < width + 1 and extent.y1 < height + 1
                # Ticks beyond the axis are made but not drawn.
                assert inside or text.get_text().replace("−", "-").strip("-%").replace(".", "").isdigit(), text.get_text()


def test_the_same_explanation_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        for plan in explanation_figures(example_explanation(), OUTCOME):
            save_figure(plan.figure, folder / plan.stem)
    names = sorted(path.name for path in first.iterdir())
    assert len(names) == 10
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_share_bars_are_the_shares_and_print_them(explanation: Explanation) -> None:
    axes = contribution_figure(explanation.contribution).axes[0]
    rows = list(reversed(explanation.contribution.predictors))
    widths = [patch.get_width() for patch in axes.patches]  # type: ignore[attr-defined]
    expected = [share for row in rows for share in (row.absolute_share, row.variance_share)]
    assert widths == pytest.approx(expected)
    assert texts(axes)[-2].startswith(f"{100 * (rows[-1].absolute_share or 0):.1f}%")
    assert any(text.startswith("−") for text in texts(axes)), "the predictor that works against the others"


def test_undefined_shares_are_drawn_as_such() -> None:
    shares = contribution_shares(np.zeros((3, 2)), [("a", "A"), ("b", "B")], points_per_log_odds=0.0)
    assert texts(contribution_figure(shares).axes[0])[0].startswith("–")


def test_the_strongest_features_come_first_and_the_rest_is_one_bar(explanation: Explanation) -> None:
    figure = attribution_figure(explanation.attributions)
    first = explanation.attributions[0]
    labels = tick_labels(figure.axes[0])
    assert labels[0] == readable_feature(first.features[0].name)
    assert labels[-1] == f"{len(first.features) - BEESWARM_FEATURES} other features together"
    assert figure.axes[0].get_xlabel() == "Mean |SHAP| (probability)"
    assert figure.axes[2].get_xlabel() == "Mean |SHAP| (log odds)"
    points = np.asarray(figure.axes[1].collections[0].get_offsets())
    np.testing.assert_allclose(np.sort(points[:, 0]), np.sort(first.features[0].shap))


def test_a_swarm_stays_in_its_row_and_sets_equal_values_apart(explanation: Explanation) -> None:
    feature = explanation.attributions[0].features[0].model_copy(update={"shap": (0.2,) * 3 + (0.9,), "value": (0.0,) * 4})
    assert swarm_offsets(feature, 1.0) == pytest.approx([0.0, 0.07, -0.07, 0.0])
    crowded = feature.model_copy(update={"shap": (0.2,) * 99, "value": (0.0,) * 99})
    assert np.abs(swarm_offsets(crowded, 1.0)).max() == pytest.approx(0.36)


def test_boxes_have_a_panel_for_each_sample(explanation: Explanation) -> None:
    figure = boxes_figure(explanation.boxes, OUTCOME)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Development: selected on these", "Test: not seen"]
    assert [axes.get_title(loc="right") for axes in figure.axes] == ["97 + 67", "44 + 27"]
    assert tick_labels(figure.axes[0]) == [readable_feature(n) for n in LONG_NAMES + DEEP_NAMES]
    (alone,) = boxes_figure([b for b in explanation.boxes if b.sample == "development"], OUTCOME).axes
    assert alone.get_title(loc="left") == "Development: selected on these"


def test_few_correlations_are_printed_and_undefined_ones_too(explanation: Explanation) -> None:
    matrix = explanation.correlation
    assert matrix is not None
    assert not correlation_figure(matrix).axes[0].texts
    small = matrix.model_copy(update={"names": ("deep.0000", "deep.0001"), "rho": ((1.0, -0.304), (-0.304, None))})
    assert texts(correlation_figure(small).axes[0]) == ["1.00", "−0.30", "−0.30", "–"]


def test_the_sheet_has_a_row_for_each_kind_and_says_what_is_known(explanation: Explanation) -> None:
    sheet = explanation.activation
    assert sheet is not None
    figure = activation_figure(sheet, OUTCOME)
    words = [text for axes in figure.axes for text in texts(axes)]
    for kind, count in zip(KINDS, sheet.counts, strict=True):
        assert f"{kind.capitalize()}s\n{count} of 71" in words
    assert "none" in words
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]
    assert titles[0] == f"network 0.900, nomogram 0.50; with {OUTCOME}"
    assert sum("without" in title for title in titles) == 3
    assert "71 test patients, whom the network had not seen" in sheet_caption(sheet, OUTCOME)
    apparent = sheet.model_copy(update={"sample": "development, apparent"})
    assert "optimistic" in sheet_caption(apparent, OUTCOME)


def test_the_layer_is_interpolated_between_centers_and_clear_without_evidence() -> None:
    layer = overlay(np.array([[0.0, 1.0]]), (2, 8), Normalize(0.0, 1.0))
    assert layer.shape == (2, 8, 4)
    # Centers of the two halves lie at columns 1.5 and 5.5: linear in between, constant beyond.
    expected = np.array([0.0, 0.0, 0.125, 0.375, 0.625, 0.875, 1.0, 1.0])
    np.testing.assert_allclose(layer[0, :, 3] / STRONGEST_OVERLAY, np.minimum(2 * expected, 1), atol=1 / 127)


def test_a_map_without_evidence_leaves_the_picture(explanation: Explanation) -> None:
    sheet = explanation.activation
    assert sheet is not None
    case = sheet.cases[0].model_copy(update={"evidence": ((-1.0, -2.0), (-3.0, -1.0))})
    activation_figure(sheet.model_copy(update={"cases": (case,)}), OUTCOME)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("radiomics.original_glcm_Correlation", "GLCM correlation"),
        ("radiomics.wavelet-LLH_glcm_ClusterShade", "GLCM cluster shade, wavelet LLH"),
        (
            "radiomics.log-sigma-3-0-mm-3D_glszm_SmallAreaLowGrayLevelEmphasis",
            "GLSZM small area low gray level\nemphasis, LoG 3 mm",
        ),
        ("radiomics.log-sigma-0-5-mm-3D_glcm_Imc1", "GLCM IMC 1, LoG 0.5 mm"),
        ("radiomics.original_glcm_MCC", "GLCM MCC"),
        ("radiomics.original_glcm_Idmn", "GLCM IDMN"),
        ("radiomics.original_shape_Maximum2DDiameterSlice", "Shape maximum 2D diameter slice"),
        ("radiomics.squareroot_firstorder_90Percentile", "First-order 90th percentile,\nsquare root"),
        ("radiomics.original_glrlm_RunLengthNonUniformity", "GLRLM run length non-uniformity"),
        ("deep.0042", "Deep 0042"),
        ("radiomics.of_another$make$", "of_another$make$"),
    ],
)
def test_names_become_words(name: str, expected: str) -> None:
    assert readable_feature(name) == expected


def test_names_stay_apart() -> None:
    from nodogram.radiomics.manifest import build_manifest
    from training.recipe import load_recipe

    names = build_manifest(load_recipe("sound").model).names
    assert len({readable_feature(name) for name in names}) == len(names) > 1000
