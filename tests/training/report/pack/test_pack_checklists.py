"""Checklists: the published items, an answer for each, and nothing claimed that the run does not show."""

from __future__ import annotations

import inspect
import re
from collections import Counter

import pytest
from example_pack import example_facts, manifest_of, pack_evidence, pack_results

from training.evidence.sample_result import Measure
from training.model_names import TEST
from training.report.pack import answers_imaging, answers_modeling, answers_performance, answers_study
from training.report.pack.answers import ANSWERS
from training.report.pack.checklist import CHECKLISTS, Answer, ChecklistItem, FilledItem, fill, load_checklist
from training.report.pack.external import ExternalValidation
from training.report.pack.facts import PackFacts
from training.report.pack.metrics_score import category, metrics_score, score_lines

MODULES = (answers_study, answers_imaging, answers_modeling, answers_performance)
# Kocak et al. Insights Imaging 2024;15:8, Table 1: weights of items 1 to 30.
METRICS_WEIGHTS = (
    *(0.0368, 0.0735, 0.0919),
    *(0.0438, 0.0292, 0.0438, 0.0292),
    *(0.0337, 0.0225, 0.0112),
    *(0.0622, 0.0311, 0.0415),
    *(0.0200, 0.0200, 0.0300, 0.0200),
    *(0.0599, 0.0300),
    *(0.0352, 0.0234, 0.0176, 0.0117, 0.0293, 0.0176),
    *(0.0375, 0.0749),
    *(0.0075, 0.0075, 0.0075),
)
# Collins et al. BMJ 2024;385:e078378: items with more than one part.
TRIPOD_PARTS = {3: 3, 5: 2, 6: 3, 8: 3, 9: 3, 12: 7, 18: 6, 20: 3, 23: 2, 27: 3}
EXTERNAL = ExternalValidation(
    title="Another hospital",
    score="nomogram",
    patient_count=120,
    event_count=41,
    auc=Measure(value=0.71, low=0.61, high=0.80),
    slope=Measure(value=0.8, low=0.5, high=1.1),
    in_the_large=Measure(value=-0.2, low=-0.6, high=0.2),
    updates=(),
)


def filled(name: str, facts: PackFacts | None = None) -> dict[str, FilledItem]:
    return {e.item.number: e for e in fill(load_checklist(name), facts or example_facts(), ANSWERS)}


def test_tripod_ai_has_27_items_in_52_parts() -> None:
    numbers = [item.number for item in load_checklist("tripod_ai").items]
    parts = Counter(int(re.match(r"\d+", n)[0]) for n in numbers)  # type: ignore[index]
    assert len(numbers) == 52
    assert sorted(parts) == list(range(1, 28))
    assert {item: count for item, count in parts.items() if count > 1} == TRIPOD_PARTS
    applies = Counter(item.applies for item in load_checklist("tripod_ai").items)
    assert applies == {"D;E": 40, "D": 8, "E": 4}


def test_clear_has_58_items_of_which_two_are_not_essential() -> None:
    items = load_checklist("clear").items
    assert [item.number for item in items] == [str(i) for i in range(1, 59)]
    assert [item.number for item in items if not item.essential] == ["53", "58"]


def test_metrics_has_30_items_with_the_published_weights() -> None:
    items = load_checklist("metrics").items
    assert [item.number for item in items] == [str(i) for i in range(1, 31)]
    assert tuple(item.weight for item in items) == METRICS_WEIGHTS
    assert sum(METRICS_WEIGHTS) == pytest.approx(1.0, abs=1e-12)
    conditions = {item.number: item.condition for item in items if item.condition}
    assert conditions == {
        "8": "segmentation",
        "9": "automatic_segmentation",
        "10": "segmentation",
        "12": "hand_crafted",
        "14": "tabular",
        "15": "tabular",
        "16": "tabular",
        "17": "end_to_end",
    }


def test_every_item_has_an_answer_and_every_answer_an_item() -> None:
    wanted = {item.answer for name in CHECKLISTS for item in load_checklist(name).items}
    assert wanted == set(ANSWERS)
    public = {
        name
        for module in MODULES
        for name, found in inspect.getmembers(module, inspect.isfunction)
        if found.__module__ == module.__name__
        and not name.startswith("_")
        and inspect.signature(found).return_annotation == "Answer"
    }
    assert public == set(ANSWERS)
    assert sum(len(module.ANSWERS) for module in MODULES) == len(ANSWERS)


@pytest.mark.parametrize("name", CHECKLISTS)
def test_no_item_is_left_blank(name: str) -> None:
    for entry in filled(name).values():
        if entry.answer.status in ("partly", "authors"):
            assert len(entry.supply) > 20, entry.item.number
        else:
            assert entry.supply == ""
        if entry.answer.status != "authors":
            assert entry.answer.text.endswith((".", "!")), (entry.item.number, entry.answer.text[-40:])
        assert "  " not in entry.answer.text
        assert "None" not in entry.answer.text


@pytest.mark.parametrize("name", CHECKLISTS)
def test_tables_named_in_a_form_exist(name: str) -> None:
    facts = example_facts()
    numbers = set((facts.table_numbers or {}).values())
    named = {part for e in filled(name, facts).values() for part in re.findall(r"Table S?\d+", e.answer.shown)}
    assert named
    assert named <= numbers


def test_stems_named_by_answers_are_those_of_tables_and_figures() -> None:
    """A misspelt stem would silently show nothing."""
    known = set(example_facts().table_numbers or {})
    source = "".join(inspect.getsource(module) for module in MODULES)
    found = {stem for block in re.findall(r"tables=\(([^)]*)\)", source) for stem in re.findall(r'"([a-z0-9_]+)"', block)}
    lists = re.findall(r"^[A-Z]+_TABLES = \(([^)]*)\)", source, re.MULTILINE)
    found |= {stem for block in lists for stem in re.findall(r'"([a-z0-9_]+)"', block)}
    assert len(found) > 15
    assert found <= known


def test_answers_hold_the_numbers_of_the_run() -> None:
    performance = filled("tripod_ai")["23a"].answer.text
    row = example_facts().chosen("nomogram", TEST)
    assert row is not None
    assert (
        f"Test (71 patients, 27 events): AUC {row.auc.value:.3f} (95% CI {row.auc.low:.3f}–{row.auc.high:.3f})" in performance
    )
    assert performance.index("out-of-fold") < performance.index("apparent")
    assert "369 patients" in filled("clear")["9"].answer.text
    assert "1,316 radiomic features and 2,048 deep features" in filled("clear")["27"].answer.text
    assert "MISSING_SLICES (3)" in filled("tripod_ai")["11"].answer.text
    assert "slice spacing 0.625 to 1.25 mm" in filled("metrics")["6"].answer.text


def test_external_validation_is_claimed_only_if_there_was_one() -> None:
    without = [filled(name) for name in CHECKLISTS]
    assert without[2]["27"].answer.status == "authors"
    assert without[1]["38"].answer.status == "partly"
    assert "Not tested externally" in without[1]["38"].answer.text
    assert without[0]["12f"].answer.status == "not_applicable"
    facts = PackFacts(**{**vars(example_facts()), "external": EXTERNAL})
    found = filled("metrics", facts)["27"].answer
    assert found.status == "answered"
    assert "120 patients, 41 with the outcome; nomogram: AUC 0.710 (95% CI 0.610–0.800)" in found.text
    assert "external validation" in filled("tripod_ai", facts)["1"].answer.text
    assert "external validation" not in without[0]["1"].answer.text


def test_what_was_not_done_is_not_scored() -> None:
    counts = tuple(row for row in pack_results().selection_counts if row.step != "icc")
    results = pack_results().model_copy(update={"selection_counts": counts})
    entry = filled("metrics", example_facts(results))["14"]
    assert (entry.answer.status, entry.answer.met) == ("answered", False)
    assert "there were fewer, and none was dropped" in entry.answer.text


def test_without_test_patients_nothing_is_said_to_be_tested() -> None:
    results = pack_results().model_copy(update={"models": tuple(m for m in pack_results().models if m.sample != TEST)})
    models = tuple(m for m in pack_evidence().models if m.sample != TEST)
    facts = example_facts(results, pack_evidence().model_copy(update={"models": models}))
    facts = PackFacts(**{**vars(facts), "manifest": manifest_of(results, test_count=0)})
    metrics = filled("metrics", facts)
    assert (metrics["26"].answer.status, metrics["26"].answer.met) == ("answered", False)
    assert not metrics["18"].answer.met
    assert filled("tripod_ai", facts)["20c"].answer.status == "not_applicable"
    assert "no patients were set aside" in filled("clear", facts)["38"].answer.text


def test_the_word_is_printed_by_the_adjusted_comparison_alone() -> None:
    verdicts = [row.verdict for family in pack_evidence().comparisons for row in family.all]
    for name in CHECKLISTS:
        for entry in filled(name).values():
            text = entry.answer.text
            for verdict in verdicts:
                text = text.replace(verdict, "")
            assert "significan" not in text, (name, entry.item.number)
            assert "significan" not in entry.item.ask + entry.item.supply


def test_a_clinical_outcome_counts_as_no_reference_standard() -> None:
    results = pack_results().model_copy(update={"outcome_provenance": "clinical"})
    entry = filled("metrics", example_facts(results))["3"]
    assert not entry.answer.met
    assert "clinical assessment" in entry.answer.text


def item(number: str, weight: float, answer: Answer) -> FilledItem:
    return FilledItem(ChecklistItem(number=number, section="s", ask="a", answer="k", weight=weight), answer)


def test_metrics_score_by_hand() -> None:
    entries = (
        item("1", 0.4, Answer("answered", "done")),
        item("2", 0.1, Answer("answered", "not done", met=False)),
        item("3", 0.2, Answer("partly", "half")),
        item("4", 0.1, Answer("partly", "half, and against it", met=False)),
        item("5", 0.2, Answer("not_applicable", "no")),
    )
    score = metrics_score(entries)
    assert score.applicable == pytest.approx(0.8)
    assert (score.lowest, score.highest) == pytest.approx((50.0, 75.0))
    assert (score.earned_items, score.open_items, score.lost_items, score.excluded_items) == (
        ("1",),
        ("3",),
        ("2", "4"),
        ("5",),
    )
    assert (
        "0.4000 / 0.8000 = 50.0% (moderate), at most (0.4000 + 0.2000) / 0.8000 = 75.0% (good)"
        in score_lines(score, hand_crafted=True)[-1]
    )


@pytest.mark.parametrize(
    ("percent", "name"),
    [(0, "very low"), (19.99, "very low"), (20, "low"), (40, "moderate"), (60, "good"), (80, "excellent"), (100, "excellent")],
)
def test_categories(percent: float, name: str) -> None:
    assert category(percent) == name


def test_the_score_of_the_example_adds_up_from_its_items() -> None:
    entries = tuple(filled("metrics").values())
    score = metrics_score(entries)
    groups = (score.earned_items, score.open_items, score.lost_items, score.excluded_items)
    assert sorted(int(n) for group in groups for n in group) == list(range(1, 31))
    assert score.excluded_items == ("9", "17")
    assert score.applicable == pytest.approx(1 - 0.0225 - 0.0200)
    assert score.earned == pytest.approx(sum(METRICS_WEIGHTS[int(n) - 1] for n in score.earned_items))
    assert {"11", "12", "13", "14", "15", "18", "20", "21", "22", "26"} <= set(score.earned_items)
    assert {"2", "5", "7", "10", "27", "28", "29", "30"} <= set(score.open_items)
