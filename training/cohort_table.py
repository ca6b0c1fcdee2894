"""The rows of ``cohort.csv``: each cell checked, each problem kept, no row repaired."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from nodogram.clinical import is_missing
from nodogram.errors import CohortError, Reason
from training.cohort_advice import advice_for
from training.cohort_definition import NOTE_PREFIX, OPTIONAL_COLUMNS, REQUIRED_COLUMNS, CohortDefinition

SplitRole = Literal["development", "test"]
Severity = Literal["error", "warning"]

# Becomes a file name and a label in every table.
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PATH_COLUMNS = ("image", "roi", "roi_reader_b", "roi_repeat")


@dataclass(frozen=True)
class Patient:
    """One row.

    Attributes
    ----------
    image, roi
        CT and tumor outline.
    roi_name
        Region to take from the outline file; ``None`` if it holds just one.
    outcome
        0 or 1.
    clinical
        Checked values by predictor name; predictors that are no candidates may be absent.
    roi_reader_b, roi_repeat
        Second outlines by another and by the same reader.
    """

    patient_id: str
    image: Path
    roi: Path
    roi_name: str | None
    outcome: int
    clinical: Mapping[str, str | float]
    roi_reader_b: Path | None
    roi_repeat: Path | None
    centre: str | None
    split: SplitRole | None


@dataclass(frozen=True)
class CohortProblem:
    """One thing wrong with the table.

    Attributes
    ----------
    patient_id
        Whose row; ``line N`` where the row has no usable identifier; ``None`` for the table as a whole.
    message
        What was found and what is required.
    advice
        What to do.
    severity
        A patient with an error is left out of the cohort; a table with one cannot be trained on.
    """

    patient_id: str | None
    reason: Reason
    message: str
    advice: str
    severity: Severity


@dataclass(frozen=True)
class _Row:
    """One line of the table; ``label`` is its patient, or its line where the identifier is unusable."""

    label: str
    cells: Mapping[str, str]


def read_table(path: Path, definition: CohortDefinition) -> tuple[tuple[Patient, ...], tuple[CohortProblem, ...]]:
    """Read the table.

    Returns
    -------
    patients : tuple of Patient
        Rows without an error.
    problems : tuple of CohortProblem
        Problems of the table first, then by row.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            lines = [(reader.line_num, cells) for cells in reader]
    except OSError as error:
        return (), (problem(None, Reason.UNREADABLE_FILE, f"{path.name} cannot be read: {error.strerror}"),)
    except (UnicodeDecodeError, csv.Error) as error:
        return (), (problem(None, Reason.COHORT_INVALID, f"{path.name} is not UTF-8 text separated by commas: {error}"),)
    header = [name.strip() for name in lines[0][1]] if lines else []
    wrong = _check_header(header, definition)
    if wrong:
        return (), wrong
    rows, found = _rows(header, lines[1:])
    patients, problems = [], list(found)
    for row in rows:
        patient, own = _patient(row, path.parent, definition)
        problems.extend(own)
        if patient is not None:
            patients.append(patient)
    shared = _shared_images(patients)
    problems.extend(shared)
    excluded = {p.patient_id for p in shared}
    kept = tuple(p for p in patients if p.patient_id not in excluded)
    return kept, (*_check_whole(rows, kept, "split" in header), *problems)


def problem(patient_id: str | None, reason: Reason, message: str, severity: Severity = "error") -> CohortProblem:
    """Return a problem with the advice that belongs to its reason."""
    return CohortProblem(patient_id, reason, message, advice_for(reason), severity)


def _check_header(header: Sequence[str], definition: CohortDefinition) -> tuple[CohortProblem, ...]:
    predictors = [p.name for p in definition.predictors]
    known = {*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS, *predictors}
    messages = [f"the column {name} is missing" for name in (*REQUIRED_COLUMNS, *predictors) if name not in header]
    messages += [
        f"the column {name!r} is neither part of the table nor a predictor of cohort.toml; columns for your own use begin with "
        f"{NOTE_PREFIX}"
        for name in header
        if name not in known and not name.startswith(NOTE_PREFIX)
    ]
    messages += [f"the column {name} occurs {n} times" for name, n in Counter(header).items() if n > 1]
    return tuple(problem(None, Reason.COHORT_INVALID, message) for message in messages)


def _rows(header: Sequence[str], lines: Sequence[tuple[int, list[str]]]) -> tuple[tuple[_Row, ...], tuple[CohortProblem, ...]]:
    """Return the rows with a usable identifier, each once, and the problems of the others."""
    rows, problems = [], []
    for number, cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        values = dict(zip(header, (cell.strip() for cell in cells), strict=False))
        patient_id = values.get("patient_id", "")
        line = f"line {number}"
        if len(cells) != len(header):
            problems.append(problem(line, Reason.COHORT_INVALID, f"{len(cells)} cells; the header has {len(header)}"))
        elif _SAFE_ID.fullmatch(patient_id) is None:
            message = (
                f"patient_id {patient_id!r}; 1 to 64 letters, digits, '-', '_' and '.', beginning with one of the first two"
            )
            problems.append(problem(line, Reason.COHORT_INVALID, message))
        else:
            rows.append(_Row(patient_id, values))
    counts = Counter(row.label for row in rows)
    for patient_id, count in counts.items():
        if count > 1:
            problems.append(problem(patient_id, Reason.PATIENT_DUPLICATE, f"{count} rows; none of them is used"))
    return tuple(row for row in rows if counts[row.label] == 1), tuple(problems)


def _patient(row: _Row, folder: Path, definition: CohortDefinition) -> tuple[Patient | None, tuple[CohortProblem, ...]]:
    paths, problems = _paths(row, folder)
    clinical, found = _clinical(row, definition)
    problems += found
    if row.cells["outcome"] not in ("0", "1"):
        problems.append(problem(row.label, Reason.OUTCOME_INVALID, f"outcome is {row.cells['outcome']!r}; 0 or 1 is required"))
    split = row.cells.get("split", "")
    if split and split not in get_args(SplitRole):
        problems.append(problem(row.label, Reason.SPLIT_INVALID, f"split is {split!r}; development or test is required"))
    if any(p.severity == "error" for p in problems):
        return None, tuple(problems)
    patient = Patient(
        patient_id=row.label,
        image=paths["image"],
        roi=paths["roi"],
        roi_name=row.cells["roi_name"] or None,
        outcome=int(row.cells["outcome"]),
        clinical=clinical,
        roi_reader_b=paths.get("roi_reader_b"),
        roi_repeat=paths.get("roi_repeat"),
        centre=row.cells.get("centre") or None,
        split=cast(SplitRole, split) if split else None,
    )
    return patient, tuple(problems)


def _paths(row: _Row, folder: Path) -> tuple[dict[str, Path], list[CohortProblem]]:
    paths, problems = {}, []
    for column in _PATH_COLUMNS:
        cell = row.cells.get(column, "")
        if cell and _exists(folder / cell):
            paths[column] = folder / cell
        elif cell:
            problems.append(problem(row.label, Reason.FILE_NOT_FOUND, f"{column} {cell} does not exist"))
        elif column in REQUIRED_COLUMNS:
            problems.append(problem(row.label, Reason.COHORT_INVALID, f"{column} is empty; a path is required"))
    return paths, problems


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # A name longer than the file system allows, or a folder that may not be searched: nothing to be read there.
        return False


def _clinical(row: _Row, definition: CohortDefinition) -> tuple[dict[str, str | float], list[CohortProblem]]:
    values, problems = {}, []
    for predictor in definition.predictors:
        cell = row.cells[predictor.name]
        if is_missing(cell):
            message = f"no value for {predictor.name}" + ("" if predictor.candidate else ", which is described only")
            severity: Severity = "error" if predictor.candidate else "warning"
            problems.append(problem(row.label, Reason.CLINICAL_PREDICTOR_MISSING, message, severity))
            continue
        try:
            values[predictor.name] = predictor.parse(cell)
        except CohortError as error:
            problems.append(problem(row.label, error.reason, error.message))
    return values, problems


def _shared_images(patients: Sequence[Patient]) -> list[CohortProblem]:
    """Find patients with the same image: one person in two rows, and perhaps on both sides of the split."""
    owners: dict[Path, str] = {}
    problems = []
    for patient in patients:
        image = patient.image.resolve()
        if image in owners:
            message = f"has the same image as {owners[image]}; a patient is one row"
            problems.append(problem(patient.patient_id, Reason.PATIENT_DUPLICATE, message))
        owners.setdefault(image, patient.patient_id)
    return problems


def _check_whole(rows: Sequence[_Row], patients: Sequence[Patient], split_given: bool) -> tuple[CohortProblem, ...]:
    problems = []
    if not patients:
        problems.append(
            problem(None, Reason.COHORT_TOO_SMALL, f"{len(rows)} rows, none of them usable; at least 1 is required")
        )
    elif len({p.outcome for p in patients}) == 1:
        message = f"all {len(patients)} usable patients have the outcome {patients[0].outcome}; both outcomes are required"
        problems.append(problem(None, Reason.OUTCOME_INVALID, message))
    empty = sum(not row.cells["split"] for row in rows) if split_given else 0
    if 0 < empty < len(rows):
        message = f"split is empty in {empty} of {len(rows)} rows; it is given for all patients or for none"
        problems.append(problem(None, Reason.SPLIT_INVALID, message))
    return tuple(problems)
