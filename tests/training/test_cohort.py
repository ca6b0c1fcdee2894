"""Every fault of a cohort table has its reason, and a sound table is read to the letter."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from nodogram.errors import CohortError, Reason
from nodogram.synthesis.cohort import write_cohort
from training.cohort import Cohort, CohortProblem, load_cohort, read_cohort
from training.cohort_table import problem

HEADER = "patient_id,image,roi,roi_name,outcome,ct_reported_lnm,age_years,note_ward"
ROWS = (
    "p1,ct1,roi1.dcm,tumor,0,no,61,east",
    "p2,ct2,roi2.dcm,,1,yes,55,",
    "p3,ct3,roi3.dcm,,1,no,70.5,west",
)
DEFINITION = """\
title = "Larynx, two centers"
intended_use = "Tests"

[outcome]
name = "lymph-node metastasis"
positive_label = "pN+"
provenance = "pathology"

[[predictors]]
name = "ct_reported_lnm"
label = "CT-reported LNM"
type = "categorical"
levels = ["no", "yes"]
reference = "no"
candidate = true

[[predictors]]
name = "age_years"
label = "Age"
type = "continuous"
unit = "years"
range = [18, 110]
candidate = false
"""


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    def write(rows: tuple[str, ...] = ROWS, header: str = HEADER, definition: str | None = DEFINITION) -> Path:
        for number in range(1, 5):
            (tmp_path / f"ct{number}").mkdir()
            (tmp_path / f"roi{number}.dcm").touch()
        (tmp_path / "cohort.csv").write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
        if definition is not None:
            (tmp_path / "cohort.toml").write_text(definition, encoding="utf-8")
        return tmp_path

    return write


def read(path: Path) -> tuple[Cohort | None, list[tuple[str | None, Reason, str]]]:
    cohort, problems = read_cohort(path)
    return cohort, [(p.patient_id, p.reason, p.severity) for p in problems]


def replaced(number: int, old: str, new: str) -> tuple[str, ...]:
    assert old in ROWS[number]
    return tuple(row.replace(old, new, 1) if index == number else row for index, row in enumerate(ROWS))


def test_sound_table(make: Callable[..., Path]) -> None:
    folder = make()
    cohort = load_cohort(folder)
    assert read_cohort(folder)[1] == ()
    assert [p.patient_id for p in cohort.patients] == ["p1", "p2", "p3"]
    first, second, third = cohort.patients
    assert (first.image, first.roi) == (folder / "ct1", folder / "roi1.dcm")
    assert (first.roi_name, second.roi_name) == ("tumor", None)
    assert [p.outcome for p in cohort.patients] == [0, 1, 1]
    assert third.clinical == {"ct_reported_lnm": "no", "age_years": 70.5}
    assert (first.roi_reader_b, first.roi_repeat, first.centre, first.split) == (None, None, None, None)


def test_definition(make: Callable[..., Path]) -> None:
    definition = load_cohort(make()).definition
    assert (definition.title, definition.slug) == ("Larynx, two centers", "larynx-two-centers")
    assert definition.outcome.provenance == "pathology"
    assert [p.name for p in definition.predictors] == ["ct_reported_lnm", "age_years"]
    assert [p.name for p in definition.candidates] == ["ct_reported_lnm"]
    assert "candidate" not in definition.candidates[0].model_dump()


def test_table_may_be_named_instead_of_the_folder(make: Callable[..., Path]) -> None:
    folder = make()
    assert load_cohort(folder / "cohort.csv") == load_cohort(folder)


def test_optional_columns(make: Callable[..., Path]) -> None:
    rows = tuple(f"{row},roi4.dcm,,north,{split}" for row, split in zip(ROWS, ("development", "test", "test"), strict=True))
    folder = make(rows, HEADER + ",roi_reader_b,roi_repeat,centre,split")
    cohort = load_cohort(folder)
    assert [p.split for p in cohort.patients] == ["development", "test", "test"]
    assert cohort.patients[0].roi_reader_b == folder / "roi4.dcm"
    assert (cohort.patients[0].roi_repeat, cohort.patients[0].centre) == (None, "north")


def test_no_predictor_is_legal(make: Callable[..., Path]) -> None:
    rows = tuple(",".join(row.split(",")[:5]) for row in ROWS)
    folder = make(rows, "patient_id,image,roi,roi_name,outcome", DEFINITION.split("[[predictors]]")[0])
    cohort = load_cohort(folder)
    assert cohort.definition.candidates == ()
    assert cohort.patients[0].clinical == {}


def test_byte_order_mark_blank_lines_and_spaces_are_accepted(make: Callable[..., Path]) -> None:
    folder = make()
    text = (folder / "cohort.csv").read_text(encoding="utf-8")
    (folder / "cohort.csv").write_text(
        "\ufeff" + text.replace("p2,", " p2 ,").replace("\np3", "\n\n,,,,,,,\np3"), encoding="utf-8"
    )
    assert [p.patient_id for p in load_cohort(folder).patients] == ["p1", "p2", "p3"]


@pytest.mark.parametrize(
    ("rows", "patient_id", "reason", "severity"),
    [
        (replaced(1, ",1,", ",2,"), "p2", Reason.OUTCOME_INVALID, "error"),
        (replaced(1, ",1,", ",,"), "p2", Reason.OUTCOME_INVALID, "error"),
        (replaced(0, "no", "maybe"), "p1", Reason.CLINICAL_VALUE_INVALID, "error"),
        (replaced(0, "61", "610"), "p1", Reason.CLINICAL_VALUE_INVALID, "error"),
        (replaced(0, "no", ""), "p1", Reason.CLINICAL_PREDICTOR_MISSING, "error"),
        (replaced(0, "61", ""), "p1", Reason.CLINICAL_PREDICTOR_MISSING, "warning"),
        (replaced(0, "ct1", "ct9"), "p1", Reason.FILE_NOT_FOUND, "error"),
        (replaced(0, "roi1.dcm", "roi9.dcm"), "p1", Reason.FILE_NOT_FOUND, "error"),
        (replaced(0, "ct1", "x" * 300), "p1", Reason.FILE_NOT_FOUND, "error"),
        (replaced(0, "ct1", "ct1\0"), "p1", Reason.FILE_NOT_FOUND, "error"),
        (replaced(0, "ct1", ""), "p1", Reason.COHORT_INVALID, "error"),
        (replaced(0, "p1", "../p1"), "line 2", Reason.COHORT_INVALID, "error"),
        (replaced(0, "p1", ""), "line 2", Reason.COHORT_INVALID, "error"),
        (replaced(0, "p1", "x" * 65), "line 2", Reason.COHORT_INVALID, "error"),
        (replaced(2, "west", "west,more"), "line 4", Reason.COHORT_INVALID, "error"),
        (replaced(2, ",west", ""), "line 4", Reason.COHORT_INVALID, "error"),
        (replaced(2, "ct3", "ct2"), "p3", Reason.PATIENT_DUPLICATE, "error"),
    ],
)
def test_fault_of_one_patient(
    make: Callable[..., Path], rows: tuple[str, ...], patient_id: str, reason: Reason, severity: str
) -> None:
    cohort, problems = read(make((*rows, "p4,ct4,roi4.dcm,,0,no,50,")))
    assert problems == [(patient_id, reason, severity)]
    assert cohort is not None
    excluded = 1 if severity == "error" else 0
    assert len(cohort.patients) == 4 - excluded
    assert patient_id not in [p.patient_id for p in cohort.patients] or not excluded


def test_duplicate_patient_loses_all_rows(make: Callable[..., Path]) -> None:
    cohort, problems = read(make((*ROWS, "p3,ct4,roi4.dcm,,0,no,50,")))
    assert problems == [("p3", Reason.PATIENT_DUPLICATE, "error")]
    assert cohort is not None
    assert [p.patient_id for p in cohort.patients] == ["p1", "p2"]


def test_every_problem_is_collected(make: Callable[..., Path]) -> None:
    _, problems = read(make(("p1,ct9,,,7,maybe,200,", *ROWS[1:])))
    assert problems == [
        (None, Reason.OUTCOME_INVALID, "error"),
        ("p1", Reason.FILE_NOT_FOUND, "error"),
        ("p1", Reason.COHORT_INVALID, "error"),
        ("p1", Reason.CLINICAL_VALUE_INVALID, "error"),
        ("p1", Reason.CLINICAL_VALUE_INVALID, "error"),
        ("p1", Reason.OUTCOME_INVALID, "error"),
    ]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (HEADER.replace("roi_name", "roi_label"), "the column roi_name is missing"),
        (HEADER.replace("ct_reported_lnm", "lnm"), "the column ct_reported_lnm is missing"),
        (HEADER.replace("note_ward", "ward"), "the column 'ward' is neither"),
        (HEADER.replace("note_ward", "age_years"), "the column age_years occurs 2 times"),
        (HEADER.replace(",", ";"), "the column patient_id is missing"),
        ("", "the column patient_id is missing"),
    ],
)
def test_fault_of_the_header(make: Callable[..., Path], header: str, message: str) -> None:
    cohort, problems = read_cohort(make(header=header))
    assert cohort is None
    assert {(p.patient_id, p.reason, p.severity) for p in problems} == {(None, Reason.COHORT_INVALID, "error")}
    assert any(p.message.startswith(message) for p in problems)


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (("development", "", "test"), (None, Reason.SPLIT_INVALID, "error")),
        (("development", "validation", "test"), ("p2", Reason.SPLIT_INVALID, "error")),
    ],
)
def test_fault_of_the_split(
    make: Callable[..., Path], splits: tuple[str, ...], expected: tuple[str | None, Reason, str]
) -> None:
    rows = tuple(f"{row},{split}" for row, split in zip(ROWS, splits, strict=True))
    _, problems = read(make(rows, HEADER + ",split"))
    assert problems == [expected]


def test_one_class_only(make: Callable[..., Path]) -> None:
    _, problems = read(make(ROWS[1:]))
    assert problems == [(None, Reason.OUTCOME_INVALID, "error")]


def test_no_row(make: Callable[..., Path]) -> None:
    cohort, problems = read(make(()))
    assert cohort is None
    assert problems == [(None, Reason.COHORT_TOO_SMALL, "error")]


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (DEFINITION.replace('"pathology"', '"rumor"'), "outcome.provenance"),
        (DEFINITION.replace("title =", "titel ="), "titel"),
        (DEFINITION.replace('"Larynx, two centers"', '""'), "title"),
        (DEFINITION.replace('reference = "no"', 'reference = "never"'), "reference 'never'"),
        (DEFINITION.replace('name = "age_years"', 'name = "outcome"'), "reserved"),
        (DEFINITION.replace('name = "age_years"', 'name = "note_age"'), "reserved"),
        (DEFINITION.replace('name = "age_years"', 'name = "ct_reported_lnm"'), "used twice"),
        (DEFINITION + "= 3", "is not TOML"),
    ],
)
def test_fault_of_the_definition(make: Callable[..., Path], definition: str, message: str) -> None:
    cohort, problems = read_cohort(make(definition=definition))
    assert cohort is None
    assert {(p.patient_id, p.reason) for p in problems} == {(None, Reason.COHORT_INVALID)}
    assert any(message in p.message for p in problems)


def test_missing_files(make: Callable[..., Path], tmp_path: Path) -> None:
    assert read(tmp_path / "nowhere") == (None, [(None, Reason.FILE_NOT_FOUND, "error")] * 2)
    assert read(make(definition=None)) == (None, [(None, Reason.FILE_NOT_FOUND, "error")])


def test_table_that_is_no_text(make: Callable[..., Path]) -> None:
    folder = make()
    (folder / "cohort.csv").write_bytes(b"PK\x03\x04\xff\xfe")
    assert read(folder) == (None, [(None, Reason.COHORT_INVALID, "error")])


def test_load_raises_the_first_error_and_their_number(make: Callable[..., Path]) -> None:
    folder = make((*replaced(0, "no", "maybe")[:1], ROWS[1].replace(",1,", ",2,"), ROWS[2], "p4,ct4,roi4.dcm,,0,no,50,"))
    with pytest.raises(CohortError, match=re.escape("p1: ct_reported_lnm is 'maybe'")) as caught:
        load_cohort(folder)
    assert caught.value.reason is Reason.CLINICAL_VALUE_INVALID
    assert "1 of 2 errors" in caught.value.message


def test_warnings_do_not_stop_loading(make: Callable[..., Path]) -> None:
    assert load_cohort(make(replaced(0, "61", ""))).patients[0].clinical == {"ct_reported_lnm": "no"}


def test_digest_follows_the_table_and_not_the_place(make: Callable[..., Path], tmp_path: Path) -> None:
    folder = make()
    cohort = load_cohort(folder)
    moved = tmp_path.with_name(tmp_path.name + "-moved")
    folder.rename(moved)
    assert load_cohort(moved).digest == cohort.digest
    (moved / "cohort.csv").write_text("\n".join((HEADER, *replaced(0, "61", "62"))), encoding="utf-8")
    assert load_cohort(moved).digest != cohort.digest


def test_every_reason_a_table_can_give_has_advice() -> None:
    reasons = [
        Reason.FILE_NOT_FOUND, Reason.COHORT_INVALID, Reason.COHORT_TOO_SMALL, Reason.PATIENT_DUPLICATE, Reason.OUTCOME_INVALID,
        Reason.SPLIT_INVALID, Reason.CLINICAL_PREDICTOR_MISSING, Reason.CLINICAL_VALUE_INVALID, Reason.UNREADABLE_FILE,
    ]  # fmt: skip
    for reason in reasons:
        made: CohortProblem = problem(None, reason, "x")
        assert made.advice, reason


def test_synthetic_cohort_is_sound(tmp_path: Path) -> None:
    write_cohort(tmp_path, patient_count=20, seed=3, signal=1.0, image_format="nifti", matrix=48, slice_count=20)
    cohort, problems = read_cohort(tmp_path)
    assert problems == ()
    assert cohort is not None
    assert sum(p.outcome for p in cohort.patients) == 8
    assert {p.split for p in cohort.patients} == {"development", "test"}
    assert [p.name for p in cohort.definition.predictors] == ["ct_reported_lnm", "tumour_site", "age_years", "sex", "t_stage"]
    assert [p.name for p in cohort.definition.candidates] == ["ct_reported_lnm", "tumour_site"]
    assert [p.reference for p in cohort.definition.predictors] == ["no", "glottic", None, "male", "T1-2"]
    assert set(cohort.patients[0].clinical) == {p.name for p in cohort.definition.predictors}
