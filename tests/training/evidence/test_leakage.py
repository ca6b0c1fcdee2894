"""Leakage report: counts and digests without names, keys that leak, duplicates that are really there."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nodogram.case import Acquisition
from nodogram.features import FeatureVector
from nodogram.settings import canonical_json
from training.cohort import Patient
from training.crossfit import FoldResult
from training.evidence.leakage import Duplicate, LeakageReport, find_duplicates, leakage_report
from training.extraction import ExtractedCase
from training.recipe import Recipe, load_recipe
from training.splits import Fold, Split

DEVELOPMENT, TEST = tuple(f"dev{i:02}" for i in range(12)), ("test0", "test1", "test2")
FOLDS = tuple(Fold(k, tuple(c for i, c in enumerate(DEVELOPMENT) if i % 3 != k), DEVELOPMENT[k::3]) for k in range(3))
SPLIT = Split(DEVELOPMENT, TEST, FOLDS, "5p117")
SOUND, PAPER = load_recipe("sound"), load_recipe("paper")


def fitted(fold: Fold) -> FoldResult:
    return FoldResult(
        index=fold.index,
        fit=fold.fit,
        held_out=fold.held_out,
        branches=("radiomics",),
        dlr_held_out=tuple((0.5,) for _ in fold.held_out),
        dlr_fit=tuple((0.5,) for _ in fold.fit),
        models=(),
        selections=(),
        finetune=None,
    )


RESULTS = tuple(fitted(fold) for fold in FOLDS)


def keys(report: LeakageReport) -> list[str]:
    return [choice.key for choice in report.choices]


def changed(recipe: Recipe, **sections: dict[str, object]) -> Recipe:
    document = recipe.model_dump(mode="json")
    for section, values in sections.items():
        document[section].update(values)
    return Recipe.model_validate(document)


def test_counts_and_digests_of_a_clean_run() -> None:
    report = leakage_report(SPLIT, RESULTS, SOUND, candidates=2)
    assert (report.development_patients, report.test_patients, report.overlap) == (12, 3, 0)
    assert report.held_out_once
    assert [(f.fitted_on, f.held_out, f.overlap) for f in report.folds] == [(8, 4, 0)] * 3
    expected = hashlib.sha256(canonical_json(sorted(FOLDS[1].held_out))).hexdigest()
    assert report.folds[1].held_out_digest == expected
    assert len({f.fitted_on_digest for f in report.folds} | {f.held_out_digest for f in report.folds}) == 6
    assert (report.choices, report.warnings) == ((), ())
    text = report.model_dump_json()
    assert LeakageReport.model_validate_json(text) == report
    assert not [c for c in (*DEVELOPMENT, *TEST) if c in text]


def test_a_fold_that_was_fitted_on_whom_it_held_out_is_seen() -> None:
    wrong = RESULTS[0].model_copy(update={"fit": (*RESULTS[0].fit, RESULTS[0].held_out[0])})
    report = leakage_report(SPLIT, (wrong, *RESULTS[1:]), SOUND)
    assert report.folds[0].overlap == 1
    assert any("not to be trusted" in warning for warning in report.warnings)
    tested = RESULTS[0].model_copy(update={"fit": (*RESULTS[0].fit, TEST[0])})
    assert leakage_report(SPLIT, (tested, *RESULTS[1:]), SOUND).folds[0].overlap == 1
    assert not leakage_report(SPLIT, RESULTS[1:], SOUND).held_out_once
    both = replace(SPLIT, test=(*TEST, DEVELOPMENT[0]))
    assert "1 patient in development and in test" in leakage_report(both, RESULTS, SOUND).warnings[0]


def test_keys_that_leak_by_choice_are_named() -> None:
    report = leakage_report(SPLIT, RESULTS, PAPER, candidates=2)
    assert keys(report) == [
        "clinical.selected_on",
        "clinical.screening",
        "score.source",
        "evaluation.threshold_from",
        "classifiers.choose_by",
    ]
    assert len(report.warnings) == 5
    assert "(clinical.selected_on = all)" in report.warnings[0]
    # Without clinical candidates nothing is screened.
    assert keys(leakage_report(SPLIT, RESULTS, PAPER)) == keys(report)[2:]


@pytest.mark.parametrize(
    ("section", "values", "key"),
    [
        ("score", {"source": "apparent"}, "score.source"),
        ("evaluation", {"threshold_from": "apparent"}, "evaluation.threshold_from"),
        ("classifiers", {"choose_by": "training_auc"}, "classifiers.choose_by"),
        ("clinical", {"screening": "univariate_p"}, "clinical.screening"),
    ],
)
def test_each_key_alone(section: str, values: dict[str, object], key: str) -> None:
    assert keys(leakage_report(SPLIT, RESULTS, changed(SOUND, **{section: values}), candidates=1)) == [key]


def test_screening_on_all_without_screening_does_nothing() -> None:
    assert not leakage_report(SPLIT, RESULTS, changed(SOUND, clinical={"selected_on": "all"}), candidates=1).choices


def test_every_learned_object_of_the_recipe_is_listed() -> None:
    names = [row.name for row in leakage_report(SPLIT, RESULTS, SOUND, second_outlines=10, candidates=2).learned]
    parts = ("network", "ICC", "feature selection", "classifiers", "weights", "nomogram", "threshold")
    assert [next(p for p in parts if p in name) for name in names] == list(parts)
    few = leakage_report(SPLIT, RESULTS, SOUND, second_outlines=9).learned
    assert not any("ICC" in row.name for row in few)
    blind = changed(SOUND, network={"enabled": False})
    assert not any("network" in row.name for row in leakage_report(SPLIT, RESULTS, blind).learned)
    screened = {row.name: row for row in leakage_report(SPLIT, RESULTS, PAPER, candidates=2).learned}
    assert screened["screening of the clinical findings"].final == "all patients, test patients included"
    assert "weights of the sources and calibration of the score" not in screened


def test_what_remains_is_said() -> None:
    assert any("known, small dependence" in text for text in leakage_report(SPLIT, RESULTS, SOUND).statements)
    assert not any("known, small dependence" in text for text in leakage_report(SPLIT, RESULTS, PAPER).statements)
    untested = leakage_report(replace(SPLIT, test=()), RESULTS, SOUND)
    assert "There are no test patients" in untested.statements[0]


def patient(case_id: str, image: str, roi: str) -> Patient:
    return Patient(case_id, Path(image), Path(roi), None, 0, {}, None, None, None, None)


def case(case_id: str, features: list[float], pixel: float) -> ExtractedCase:
    names = tuple(f"radiomics.f{i}" for i in range(len(features)))
    return ExtractedCase(
        label=case_id,
        radiomics=FeatureVector(names, np.array(features)),
        pixels=np.full((3, 2, 2), pixel, dtype=np.float32),
        acquisition=Acquisition(1.0, 0.5, 5.0, None, None, None),
        notes=(),
    )


def test_the_same_files_features_and_crops_are_found() -> None:
    patients = [
        patient("dev00", "/d/a", "/d/a.dcm"),
        patient("dev01", "/d/b", "/d/b.dcm"),
        patient("dev02", "/d/../d/a", "/d/c.dcm"),
        patient("test0", "/d/e", "/d/e.dcm"),
    ]
    cases = {
        "dev00": case("dev00", [1.0, 2.0], 0.1),
        "dev01": case("dev01", [1.0, 2.0 + 1e-15], 0.2),
        "dev02": case("dev02", [3.0, 2.0], 0.3),
        "test0": case("test0", [1.0, 2.0], 0.2),
    }
    assert find_duplicates(patients, cases) == (
        Duplicate("image file", ("dev00", "dev02")),
        Duplicate("radiomic features", ("dev00", "test0")),
        Duplicate("network crop", ("dev01", "test0")),
    )
    assert find_duplicates(patients[:2], {}) == ()


def test_empty_features_are_not_the_same() -> None:
    patients = [patient(c, f"/d/{c}", f"/d/{c}.dcm") for c in ("a", "b")]
    assert find_duplicates(patients, {c: case(c, [], float(c == "a")) for c in ("a", "b")}) == ()


def test_duplicates_across_split_and_folds_are_counted_and_warned_of() -> None:
    found = (
        Duplicate("radiomic features", ("dev00", "dev01", "test0")),
        Duplicate("image file", ("dev00", "dev03")),
        Duplicate("network crop", ("dev04", "dev05")),
    )
    report = leakage_report(SPLIT, RESULTS, SOUND, duplicates=found)
    checks = {c.what: (c.groups, c.patients, c.across_split, c.across_folds) for c in report.duplicates}
    assert checks == {
        "image file": (1, 2, 0, 0),  # both are held out in the first fold
        "outline file": (0, 0, 0, 0),
        "radiomic features": (1, 3, 2, 1),
        "network crop": (1, 2, 0, 1),
    }
    warnings = report.warnings
    assert len(warnings) == 3
    assert "They count twice" in warnings[0]
    assert "2 pairs of patients, one in development and one in test, with the same radiomic features" in warnings[1]
    assert "Out-of-fold figures may be optimistic" in warnings[2]
    assert "dev0" not in json.dumps(report.model_dump(mode="json"))
