"""Curves of the evidence: what is drawn is what was measured."""

from __future__ import annotations

import numpy as np
import pytest
from example_evidence import example_evidence, least_evidence
from example_results import example_results
from matplotlib.axes import Axes

from training.evidence.document import RunEvidence
from training.evidence.sample import sample_evidence
from training.evidence.sample_result import SampleSettings
from training.report.evidence_figures import (
    Panels,
    calibration_figure,
    decision_figure,
    precision_recall_figure,
)
from training.report.evidence_plan import evidence_plans, honest_panels


@pytest.fixture(scope="module")
def evidence() -> RunEvidence:
    return example_evidence()


@pytest.fixture(scope="module")
def panels(evidence: RunEvidence) -> Panels:
    return honest_panels(evidence)


def line(axes: Axes, label: str) -> np.ndarray:
    (found,) = (drawn for drawn in axes.lines if drawn.get_label() == label)
    return np.asarray(found.get_xydata(), dtype=np.float64)


def test_the_apparent_sample_is_no_panel(panels: Panels) -> None:
    assert [label for label, _ in panels] == ["Development, out-of-fold", "Test"]


def test_the_calibration_curve_and_its_groups(panels: Panels) -> None:
    axes = calibration_figure(panels).axes
    for place, (label, measured) in enumerate(panels):
        found = measured.calibration
        assert axes[place].get_title() == "" and axes[place].get_title(loc="left") == label  # noqa: PT018
        assert found.curve is not None
        curve = line(axes[place], "smooth curve (lowess)")
        np.testing.assert_allclose(curve, np.column_stack((found.curve_predicted, found.curve.value)))
        (text,) = (t.get_text() for t in axes[place].texts)
        assert f"slope {found.slope.value:.2f} (" in text


def test_decision_curves_stand_beside_those_of_the_clinical_findings(evidence: RunEvidence, panels: Panels) -> None:
    clinical = evidence.of("clinical", "test")
    assert clinical is not None
    figure = decision_figure(panels, {"Test": clinical.utility})
    upper_oof, upper_test, lower_oof, lower_test = figure.axes
    expected = np.column_stack((clinical.utility.threshold, clinical.utility.net_benefit.value))
    np.testing.assert_allclose(line(upper_test, "clinical findings alone"), expected)
    assert "clinical findings alone" not in [drawn.get_label() for drawn in upper_oof.lines]
    nomogram = panels[1][1].utility
    np.testing.assert_allclose(line(upper_test, "nomogram, 95% band")[:, 1], nomogram.net_benefit.value)
    drawn = [np.asarray(found.get_ydata()) for found in lower_test.lines]
    assert any(len(y) == len(nomogram.threshold) and np.allclose(y, nomogram.interventions_avoided.value) for y in drawn)
    assert len(lower_oof.lines) == len(lower_test.lines) - 1


def test_precision_over_recall_with_the_prevalence(panels: Panels) -> None:
    for axes, (_, measured) in zip(precision_recall_figure(panels).axes, panels, strict=True):
        found = measured.discrimination
        assert found is not None
        np.testing.assert_allclose(line(axes, "nomogram"), np.column_stack((found.recall, found.precision)))
        assert line(axes, "prevalence")[0, 1] == pytest.approx(measured.prevalence)


def test_one_outcome_only_is_drawn_without_curves() -> None:
    alone = sample_evidence(np.ones(8, dtype=np.int64), np.linspace(0.1, 0.8, 8), 0.5, settings=SampleSettings(replicates=10))
    for draw in (calibration_figure, decision_figure, precision_recall_figure):
        assert draw((("Test", alone),)).axes


def test_every_figure_has_words_and_a_name_of_its_own(evidence: RunEvidence) -> None:
    plans = list(evidence_plans(example_results(), evidence))
    stems = [plan.stem for plan in plans]
    assert len(stems) == len(set(stems))
    assert {plan.section for plan in plans} >= {
        "discrimination",
        "calibration",
        "utility",
        "honesty",
        "subgroups",
        "explanation",
    }
    for plan in plans:
        assert len(plan.title) > 5, plan.stem
        assert len(plan.caption) > 60, plan.stem


def test_what_was_not_done_is_not_drawn() -> None:
    sections = {plan.section for plan in evidence_plans(example_results(), least_evidence())}
    assert not {"subgroups", "honesty"} & sections
