"""Paired comparisons: the numbers, the adjustment, what is said and when, and that nobody else says it."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from nodogram.stats.discrimination import compare_aucs_paired
from training.evidence.comparisons import (
    NO_OTHER_MODEL,
    NO_VARIANCE,
    AdjustedComparison,
    ComparisonFamily,
    Contender,
    compare_models,
)
from training.evidence.sample import NO_EVENT, ONE_OUTCOME, SINGLE_PATIENT
from training.evidence.sample_result import Measure

ROOT = Path(__file__).parents[3]
WORD = "significant"


def contenders(n: int = 160, seed: int = 0) -> tuple[dict[str, int], list[Contender]]:
    """Patients with a strong model, three weaker ones, and one of noise."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=n)
    outcome = (rng.random(n) < expit(1.6 * truth - 0.3)).astype(int)
    ids = [f"p{i}" for i in range(n)]
    found = []
    for name, noise in (("nomogram", 0.3), ("clinical", 1.2), ("radiomics", 0.9), ("dlr", 0.5), ("volume", 30.0)):
        values = expit(1.3 * (truth + rng.normal(0, noise, n)) / np.sqrt(1 + noise**2))
        found.append(Contender(name, name.capitalize(), dict(zip(ids, values.tolist(), strict=True)), 0.4))
    return dict(zip(ids, outcome.tolist(), strict=True)), found


def arrays(outcome: dict[str, int], contender: Contender) -> tuple[np.ndarray, np.ndarray]:
    labels = np.array([outcome[c] for c in contender.probability])
    return labels, np.array(list(contender.probability.values()))


def comparison(adjusted: float | None, size: int = 4, alpha: float = 0.05) -> AdjustedComparison:
    return AdjustedComparison(
        measure="AUC",
        first="Nomogram",
        second="Clinical findings",
        first_value=0.83,
        second_value=0.78,
        difference=Measure(value=0.05, low=0.01, high=0.09),
        test="paired DeLong",
        p=None if adjusted is None else adjusted / size,
        adjusted_p=adjusted,
        family_size=size,
        alpha=alpha,
        reason="nothing was drawn" if adjusted is None else None,
    )


def test_differences_and_p_are_those_of_the_tests() -> None:
    outcome, (nomogram, *others) = contenders()
    family = compare_models("test", outcome, nomogram, others)
    assert (family.patient_count, family.event_count) == (160, sum(outcome.values()))
    raw = []
    for found, other in zip(family.auc, others, strict=True):
        labels, own = arrays(outcome, nomogram)
        expected = compare_aucs_paired(labels, own, arrays(outcome, other)[1])
        assert (found.difference.value, found.difference.low, found.difference.high) == pytest.approx(
            (expected.difference, expected.low, expected.high)
        )
        assert found.first_value is not None
        assert found.second_value is not None
        assert found.difference.value == pytest.approx(found.first_value - found.second_value)
        raw.append(expected.p)
    assert [found.p for found in family.auc] == pytest.approx(raw)
    assert [found.adjusted_p for found in family.auc] == pytest.approx(multipletests(raw, method="holm")[1])
    assert {found.family_size for found in family.auc} == {4}


def test_decisions_are_compared_among_those_they_are_about() -> None:
    outcome, (nomogram, other, *_) = contenders(seed=3)
    family = compare_models("development_out_of_fold", outcome, nomogram, [other])
    labels, own = arrays(outcome, nomogram)
    theirs = arrays(outcome, other)[1]
    for found, right, wrong in (
        (family.sensitivity[0], (own >= 0.4)[labels == 1], (theirs >= 0.4)[labels == 1]),
        (family.specificity[0], (own < 0.4)[labels == 0], (theirs < 0.4)[labels == 0]),
    ):
        table = [[(right & wrong).sum(), (right & ~wrong).sum()], [(~right & wrong).sum(), (~right & ~wrong).sum()]]
        assert found.p == found.adjusted_p == pytest.approx(mcnemar(table, exact=True).pvalue)
        assert (found.first_value, found.second_value) == pytest.approx((right.mean(), wrong.mean()))


def test_noise_is_told_from_signal_and_equals_are_not() -> None:
    outcome, (nomogram, *others) = contenders(300)
    twin = Contender("twin", "Twin", nomogram.probability, 0.4)
    family = compare_models("test", outcome, nomogram, [others[-1], twin])
    assert WORD in family.auc[0].verdict
    assert family.auc[1].p == 1.0
    assert family.auc[1].verdict.startswith("not shown to differ")
    assert family.auc[1].difference == Measure(value=0.0, reason=NO_VARIANCE_OF_TWINS)


NO_VARIANCE_OF_TWINS = "its variance is zero in these patients"


def test_families_of_noise_hold_a_false_finding_as_seldom_as_promised() -> None:
    """Five models of noise: without adjustment about one family in six would hold a finding."""
    rng = np.random.default_rng(2)
    ids = [f"p{i}" for i in range(60)]
    outcome = {c: int(i < 25) for i, c in enumerate(ids)}
    raw = adjusted = 0
    for _ in range(120):
        models = [Contender(str(k), str(k), dict(zip(ids, rng.random(60).tolist(), strict=True)), 0.5) for k in range(5)]
        found = compare_models("test", outcome, models[0], models[1:]).auc
        raw += any(f.p is not None and f.p < 0.05 for f in found)
        adjusted += any(WORD in f.verdict for f in found)
    assert adjusted <= 12  # 6 expected at most
    assert raw > 1.5 * adjusted


def test_words_of_a_comparison() -> None:
    assert comparison(0.02).sentence == (
        "Nomogram vs Clinical findings: AUC 0.830 vs 0.780, difference 0.050 (0.010–0.090), adjusted p = 0.020: significant at "
        "the 5 % level after Holm's correction for 4 comparisons."
    )
    assert comparison(0.06).verdict == "not shown to differ after Holm's correction for 4 comparisons"
    assert comparison(0.0004, 1).sentence.endswith(
        "adjusted p <0.001: significant at the 5 % level after Holm's correction for 1 comparison."
    )
    assert comparison(None).sentence.endswith("difference 0.050 (0.010–0.090): not tested, because nothing was drawn.")


@given(st.one_of(st.none(), st.floats(0, 1)), st.integers(1, 9), st.sampled_from([0.01, 0.05]))
def test_the_word_is_said_if_and_only_if_the_adjusted_p_is_small(adjusted: float | None, size: int, alpha: float) -> None:
    assert (WORD in comparison(adjusted, size, alpha).verdict) == (adjusted is not None and adjusted < alpha)


@pytest.mark.parametrize(
    "change",
    [{"adjusted_p": None}, {"p": None}, {"adjusted_p": 0.001}, {"reason": "both"}, {"family_size": 0}],
)
def test_a_comparison_without_an_adjusted_p_cannot_be_made(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="p"):
        AdjustedComparison.model_validate({**comparison(0.02).model_dump(), **change})


def test_what_cannot_be_tested_says_why_and_is_no_part_of_the_family() -> None:
    ids = ["a", "b", "c", "d"]
    perfect, constant, other = (
        Contender(name, name, dict(zip(ids, values, strict=True)), 0.5)
        for name, values in (("perfect", (0.1, 0.2, 0.8, 0.9)), ("constant", (0.4,) * 4), ("other", (0.1, 0.6, 0.5, 0.9)))
    )
    family = compare_models("test", dict(zip(ids, (0, 0, 1, 1), strict=True)), perfect, [constant, other])
    assert (family.auc[0].p, family.auc[0].reason, family.auc[0].difference.value) == (None, NO_VARIANCE, 0.5)
    assert family.auc[0].family_size == family.auc[1].family_size == 1
    assert family.auc[1].p == family.auc[1].adjusted_p

    nobody = compare_models("test", dict.fromkeys(ids, 0), perfect, [other])
    assert (nobody.auc[0].reason, nobody.sensitivity[0].reason) == (ONE_OUTCOME, NO_EVENT)
    assert nobody.specificity[0].p == 1.0
    single = compare_models("test", {"a": 0, "b": 0, "c": 0, "d": 1}, perfect, [other])
    assert (single.auc[0].reason, single.auc[0].difference.reason) == (SINGLE_PATIENT, SINGLE_PATIENT)

    alone = compare_models("test", dict.fromkeys(ids, 0), perfect, [])
    assert (alone.all, alone.reason) == ((), NO_OTHER_MODEL)


def test_the_apparent_sample_and_other_patients_are_refused() -> None:
    outcome, (nomogram, other, *_) = contenders(30)
    with pytest.raises(ValueError, match="never on those they were fitted on"):
        compare_models("development_apparent", outcome, nomogram, [other])
    fewer = Contender("fewer", "Fewer", dict(list(other.probability.items())[1:]), 0.4)
    with pytest.raises(ValueError, match="fewer has others"):
        compare_models("test", outcome, nomogram, [fewer])


def test_the_order_of_patients_does_not_matter_and_the_document_survives() -> None:
    outcome, (nomogram, other, *_) = contenders(50)
    turned = Contender(other.name, other.label, dict(reversed(list(other.probability.items()))), 0.4)
    family = compare_models("test", outcome, nomogram, [other])
    assert compare_models("test", outcome, nomogram, [turned]) == family
    text = family.model_dump_json()
    assert ComparisonFamily.model_validate_json(text) == family
    assert "NaN" not in text
    assert WORD not in json.loads(text)["auc"][0]


def literals(path: Path) -> Iterator[str]:
    """All string literals of a module but its docstrings and those of ``AdjustedComparison.verdict``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
            skipped |= set(ast.walk(node.body[0]))
        if isinstance(node, ast.ClassDef) and node.name == "AdjustedComparison":
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and member.name == "verdict":
                    skipped |= set(ast.walk(member))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in skipped:
            yield node.value


def test_nothing_else_can_print_the_word() -> None:
    """Neither a string of the program nor a template; a table or a page can have it from the adjusted comparison alone."""
    modules = [p for package in ("nodogram", "training", "serving") for p in (ROOT / package).rglob("*.py")]
    assert len(modules) > 100
    offenders = [p for p in modules if any(WORD in text.lower() for text in literals(p))]
    templates = [p for package in ("nodogram", "training", "serving") for p in (ROOT / package).rglob("*.j2")]
    assert templates
    comment = re.compile(r"\{#.*?#\}", re.DOTALL)
    offenders += [p for p in templates if WORD in comment.sub("", p.read_text(encoding="utf-8")).lower()]
    assert not offenders


def test_the_guard_itself_finds_what_it_is_to_find(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        '"""Not significant."""\n\n\ndef f(p: float) -> str:\n    """Significant."""\n    return f"{p} is significant"\n'
    )
    assert [text for text in literals(module) if WORD in text] == [" is significant"]
