"""The cohort: ``cohort.csv`` and ``cohort.toml`` parsed once, every problem of the table found in one reading."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from nodogram.errors import CohortError, Reason
from nodogram.settings import canonical_json
from training.cohort_definition import CohortDefinition, CohortPredictor, OutcomeDefinition
from training.cohort_table import CohortProblem, Patient, Severity, SplitRole, problem, read_table

__all__ = [
    "Cohort",
    "CohortDefinition",
    "CohortPredictor",
    "CohortProblem",
    "OutcomeDefinition",
    "Patient",
    "Severity",
    "SplitRole",
    "load_cohort",
    "problem",
    "read_cohort",
]

TABLE = "cohort.csv"
DESCRIPTION = "cohort.toml"


@dataclass(frozen=True)
class Cohort:
    """Usable patients and what their columns mean.

    Attributes
    ----------
    patients
        In the order of the table.
    folder
        What relative paths of the table are relative to.
    """

    definition: CohortDefinition
    patients: tuple[Patient, ...]
    folder: Path

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of definition and table; where the cohort lies and what its images hold do not enter."""
        rows = [
            [None if v is None else self._relative(v) if isinstance(v, Path) else v for v in vars(p).values()]
            for p in self.patients
        ]
        document = {"definition": self.definition.model_dump(mode="json"), "patients": rows}
        return hashlib.sha256(canonical_json(document)).hexdigest()

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else path.as_posix()


def read_cohort(path: Path) -> tuple[Cohort | None, tuple[CohortProblem, ...]]:
    """Read a cohort and everything that is wrong with its table.

    Parameters
    ----------
    path
        Folder of the cohort, or its table; ``cohort.toml`` lies beside the table.

    Returns
    -------
    cohort : Cohort or None
        The patients without an error; ``None`` if there is none or the table cannot be read at all.
    problems : tuple of CohortProblem
        Problems of the table first, then by row.
    """
    table = path if path.is_file() or path.suffix == ".csv" else path / TABLE
    description = table.with_name(DESCRIPTION)
    problems = [
        problem(None, Reason.FILE_NOT_FOUND, f"there is no {p.name} at {p.parent}")
        for p in (table, description)
        if not p.is_file()
    ]
    if problems:
        return None, tuple(problems)
    definition, wrong = _read_definition(description)
    if definition is None:
        return None, wrong
    patients, found = read_table(table, definition)
    cohort = Cohort(definition, patients, table.parent) if patients else None
    return cohort, found


def load_cohort(path: Path) -> Cohort:
    """Read a cohort whose table must be without errors.

    Parameters
    ----------
    path
        Folder of the cohort, or its table.

    Raises
    ------
    CohortError
        With the reason and message of the first error, and their number.
    """
    cohort, problems = read_cohort(path)
    errors = [p for p in problems if p.severity == "error"]
    if cohort is None or errors:
        first = errors[0]
        where = "" if first.patient_id is None else f"{first.patient_id}: "
        more = f" (1 of {len(errors)} errors; 'nodogram cohort check' lists them all)" if len(errors) > 1 else ""
        raise CohortError(first.reason, f"{where}{first.message}{more}")
    return cohort


def _read_definition(path: Path) -> tuple[CohortDefinition | None, tuple[CohortProblem, ...]]:
    try:
        return CohortDefinition.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))), ()
    except OSError as error:
        return None, (problem(None, Reason.UNREADABLE_FILE, f"{path.name} cannot be read: {error.strerror}"),)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return None, (problem(None, Reason.COHORT_INVALID, f"{path.name} is not TOML: {error}"),)
    except ValidationError as error:
        return None, tuple(
            problem(
                None,
                Reason.COHORT_INVALID,
                f"{path.name}, {'.'.join(str(part) for part in e['loc']) or 'top level'}: {e['msg']}",
            )
            for e in error.errors()
        )
