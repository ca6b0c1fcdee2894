"""What stands beneath a table: abbreviations, tests, and how its intervals were computed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from training.evidence.document import RunEvidence
from training.evidence.sample_result import Method
from training.report.tables import ReportTable
from training.results import RunResults

ABBREVIATIONS: Mapping[str, str] = {
    "AUC": "area under the receiver operating characteristic curve",
    "AUPRC": "area under the precision-recall curve",
    "CI": "confidence interval",
    "CT": "computed tomography",
    "DLR": "deep-learning radiomics",
    "E50": "median distance of the smooth calibration curve from the predictions",
    "E90": "90th percentile of that distance",
    "HU": "Hounsfield units",
    "ICC": "intraclass correlation coefficient",
    "ICI": "integrated calibration index, the mean of that distance",
    "IPA": "index of prediction accuracy, the scaled Brier score",
    "IQR": "interquartile range",
    "LASSO": "least absolute shrinkage and selection operator",
    "LNM": "lymph-node metastasis",
    "LR": "logistic regression",
    "MLP": "multilayer perceptron",
    "NPV": "negative predictive value",
    "OR": "odds ratio",
    "PPV": "positive predictive value",
    "RF": "random forest",
    "SD": "standard deviation",
    "SMD": "standardized mean difference",
    "SVM": "support vector machine",
    "p": "p-value, two-sided unless said otherwise",
}
TESTS: Mapping[str, str] = {
    "chi-squared": "chi-squared: without continuity correction",
    "χ²": "χ²: chi-squared test without continuity correction",
    "Fisher": "Fisher: exact test, where an expected count is below 5",
    "t": "t: Student's test",
    "Student t": "Student t: where Shapiro-Wilk finds both groups normal",
    "Mann-Whitney U": "Mann-Whitney U: where Shapiro-Wilk finds a group that is not",
}
SPREAD = re.compile(r"\d ± \d")
SHARE = re.compile(r"\d+ \(\d+\.\d ?%\)")


def footnotes(table: ReportTable, results: RunResults, evidence: RunEvidence) -> tuple[str, ...]:
    """Return the lines beneath a table; every abbreviation in it is spelled out."""
    special = _SPECIAL.get(table.stem)
    methods = evidence_methods(table.stem, evidence) if special is None else special(results)
    shown = abbreviations(table)
    spelled = "; ".join(f"{short}, {ABBREVIATIONS[short]}" for short in shown)
    return (*methods, *([f"Abbreviations: {spelled}."] if spelled else []), *_tests(table))


def abbreviations(table: ReportTable) -> tuple[str, ...]:
    """Return the known abbreviations in a table, in the order of the alphabet."""
    texts = (table.title, table.group_format, *table.columns, *(cell for row in table.rows for cell in row.cells))
    words = {word for text in texts for word in re.split(r"[^\w]+", text)}
    return tuple(short for short in ABBREVIATIONS if short in words)


def interval_methods(results: RunResults) -> str:
    """Say how the intervals of Tables 4 and 5 were computed."""
    scale = "on the logit scale" if results.recipe.evaluation.auc_interval == "delong_logit" else "on the plain scale"
    return (
        f"Intervals are 95% intervals: AUC by DeLong {scale}; accuracy, sensitivity, specificity, PPV and NPV by Wilson; "
        "calibration slope and intercept by Wald."
    )


def _baseline(results: RunResults) -> tuple[str, ...]:
    tables = (results.baseline_by_split, results.baseline_by_outcome)
    cells = [cell for table in tables for row in table.rows for cell in row.groups]
    shown = [
        *(["number (share)"] if any(SHARE.search(cell) for cell in cells) else []),
        *(["mean ± standard deviation"] if any(SPREAD.search(cell) for cell in cells) else []),
    ]
    return (f"Values are {' or '.join(shown)}.",) if shown else ()


def _odds_ratios(results: RunResults) -> tuple[str, ...]:
    screened = results.recipe.clinical.selected_on == "all" and results.recipe.clinical.screening != "none"
    sample = "all patients, test patients included" if screened else "development patients"
    return (f"Logistic regression on {sample}. Intervals are 95% intervals, by the method named in the last column.",)


def _performance(results: RunResults) -> tuple[str, ...]:
    return (
        interval_methods(results),
        "Apparent rows: on the patients the models were fitted on; optimistic. Out-of-fold rows: the same patients, each "
        "scored by models that had not seen them.",
        f"Threshold: {results.recipe.evaluation.threshold_rule.replace('_', ' ')} rule of the recipe, applied to each model's "
        f"{results.recipe.evaluation.threshold_from.replace('_', '-')} probabilities of development patients and then frozen.",
    )


def _selected(_results: RunResults) -> tuple[str, ...]:
    return (
        "Mean and standard deviation of development patients, by which a feature is standardized. Coefficients are those of "
        "the LASSO on the standardized scale. Deep features of different folds are different features and are not counted.",
    )


_SPECIAL: Mapping[str, Callable[[RunResults], Sequence[str]]] = {
    "table1_baseline_by_split": _baseline,
    "table2_baseline_by_outcome": _baseline,
    "table3_odds_ratios": _odds_ratios,
    "table4_models": _performance,
    "table5_nomogram": _performance,
    "selected_features": _selected,
}
# Measures of a sample that the table of discrimination and decisions does not hold.
_CALIBRATION = ("calibration slope and intercepts", "O:E", "Brier score, scaled Brier score", "calibration curve")
_UTILITY = ("net benefit, net interventions avoided", "per 100 patients")
_PREVALENCE = "PPV and NPV at other prevalences"


def evidence_methods(stem: str, evidence: RunEvidence) -> tuple[str, ...]:
    """Return how the numbers of a table of the evidence were computed, in sentences."""
    sample = next((m.evidence.methods for m in evidence.models), ())
    if stem.startswith("calibration_"):
        found = [m for m in sample if m.measure in _CALIBRATION]
    elif stem.startswith("discrimination_"):
        found = [m for m in sample if m.measure not in (*_CALIBRATION, *_UTILITY, _PREVALENCE)]
    elif stem.startswith("utility_"):
        found = [m for m in sample if m.measure == _UTILITY[1]]
    elif stem.startswith("predictive_values"):
        found = [m for m in sample if m.measure == _PREVALENCE]
    else:
        found = [*_other_methods(stem, evidence)]
    return tuple(f"{m.measure[:1].upper()}{m.measure[1:]}: {m.text.rstrip('.')}." for m in dict.fromkeys(found))


def _other_methods(stem: str, evidence: RunEvidence) -> Iterator[Method]:
    if stem.startswith("comparisons_"):
        yield from (m for family in evidence.comparisons for m in family.methods)
    elif stem.startswith("incremental_"):
        yield from (m for value in evidence.incremental for m in value.methods)
    elif stem.startswith("subgroup"):
        yield from (m for table in evidence.subgroups for m in table.methods)
    elif stem == "confounders":
        yield from evidence.confounders.methods
    elif stem in ("honesty", "optimism", "selection_frequency", "classifier_frequency", "leave_one_center_out"):
        yield from evidence.honesty.methods


def _tests(table: ReportTable) -> tuple[str, ...]:
    if "Test" not in table.columns:
        return ()
    position = table.columns.index("Test")
    used = dict.fromkeys(row.cells[position] for row in table.rows if row.cells[position] in TESTS)
    return (f"Tests: {'; '.join(TESTS[name] for name in used)}.",) if used else ()
