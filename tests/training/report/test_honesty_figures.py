"""Figures of refits: what they show, and that every one has words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from example_honesty import example_honesty
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from training.evidence.honesty_result import HonestyEvidence
from training.report.honesty_figures import FEATURES_SHOWN, honesty_captions, honesty_figures
from training.report.style import save_figure

STEMS = ["permutation_null", "optimism", "selection_frequency", "leave_one_center_out"]


@pytest.fixture(scope="module")
def evidence() -> HonestyEvidence:
    return example_honesty()


@pytest.fixture(scope="module")
def drawn(evidence: HonestyEvidence) -> dict[str, Figure]:
    return honesty_figures(evidence)


def test_every_figure_has_words_and_says_what_the_refits_did(evidence: HonestyEvidence, drawn: dict[str, Figure]) -> None:
    assert list(drawn) == STEMS
    captions = honesty_captions(evidence)
    for stem in drawn:
        assert captions[stem].endswith(evidence.network_note)
        assert 20 < len(captions[stem].partition(". ")[0]) < 90, "the first sentence is the title"


def test_bars_of_the_null_add_up_to_the_permutations(evidence: HonestyEvidence, drawn: dict[str, Figure]) -> None:
    pooled, within = drawn["permutation_null"].axes
    for axes, test in ((pooled, evidence.permutation.pooled), (within, evidence.permutation.within_folds)):
        assert test is not None
        assert sum(p.get_height() for p in axes.patches if isinstance(p, Rectangle)) == 99
        observed = [line.get_xdata()[0] for line in axes.lines]  # type: ignore[index]
        assert test.observed in observed


def test_every_resample_is_a_dot(evidence: HonestyEvidence, drawn: dict[str, Figure]) -> None:
    for axes, model in zip(drawn["optimism"].axes, evidence.optimism.models, strict=True):
        auc = model.corrected[0]
        dots = next(line for line in axes.lines if len(np.asarray(line.get_xdata())) == 30)
        assert np.asarray(dots.get_xdata()).tolist() == list(auc.in_resample)
        assert np.asarray(dots.get_ydata()).tolist() == list(auc.on_original)
        low, high = axes.get_xlim()
        assert low < min(auc.in_resample + auc.on_original)
        assert high >= 1


def test_bars_of_selection_are_shares(evidence: HonestyEvidence, drawn: dict[str, Figure]) -> None:
    left, right = drawn["selection_frequency"].axes
    shares = [p.get_width() for p in left.patches if isinstance(p, Rectangle)]
    assert shares == pytest.approx([f.resamples / 30 for f in evidence.selection.features[:FEATURES_SHOWN]])
    labels = [label.get_text() for label in right.get_yticklabels()]
    assert labels == ["Radiomics", "LR", "SVM", "RF", "Deep features", "LR", "SVM", "RF"]


def test_forest_holds_every_interval(evidence: HonestyEvidence, drawn: dict[str, Figure]) -> None:
    (axes,) = drawn["leave_one_center_out"].axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "Hospital 1  (n = 20, 8 events)"
    assert labels[-1] == "Mean (random effects)"
    ends = {tuple(np.asarray(line.get_xdata()).tolist()) for line in axes.lines}
    for row in evidence.centres.rows:
        assert (row.auc.low, row.auc.high) in ends
    assert (0.5, 0.91) in ends


def test_what_there_is_nothing_of_is_not_drawn(evidence: HonestyEvidence) -> None:
    bare = evidence.model_copy(
        update={
            "optimism": evidence.optimism.model_copy(update={"models": ()}),
            "permutation": evidence.permutation.model_copy(update={"pooled": None, "within_folds": None}),
            "centres": evidence.centres.model_copy(update={"rows": ()}),
        }
    )
    assert list(honesty_figures(bare)) == ["selection_frequency"]


def test_figures_are_the_same_bytes_every_time(evidence: HonestyEvidence, tmp_path: Path) -> None:
    for stem in STEMS:
        first = save_figure(honesty_figures(evidence)[stem], tmp_path / stem)[0].read_bytes()
        assert save_figure(honesty_figures(evidence)[stem], tmp_path / stem)[0].read_bytes() == first
