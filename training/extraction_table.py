"""What ``nodogram extract`` is given: a cohort, or any table that says which image goes with which outline."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from nodogram.errors import CohortError, Reason
from training.cohort import TABLE
from training.extraction import ExtractionFailure, ExtractionTask

REQUIRED = ("patient_id", "image", "roi")
ROI_NAME = "roi_name"
# PyRadiomics' batch tables, whose spelling differs from script to script.
_BATCH: Mapping[str, str] = {"id": "patient_id", "image": "image", "mask": "roi", "label": ROI_NAME}
_LONGEST_ID = 128

Row = ExtractionTask | ExtractionFailure
"""One patient: what to extract, or why that cannot be said."""


def read_extraction_table(path: Path, *, allow_border: bool = False) -> tuple[Row, ...]:
    """Read who is to be extracted from what.

    Parameters
    ----------
    path
        Folder of a cohort, or a CSV file with the columns ``patient_id``, ``image``, ``roi`` and perhaps ``roi_name``, or those
        of a batch table of PyRadiomics, ``ID``, ``Image``, ``Mask`` and perhaps ``Label``, in any case of letters. Further
        columns are not looked at. Paths are relative to the table.
    allow_border
        Passed on to every task.

    Returns
    -------
    tuple of ExtractionTask or ExtractionFailure
        One per patient, in the order of the table; labels are unique. Whether files exist is found out by the extraction.

    Raises
    ------
    CohortError
        ``FILE_NOT_FOUND``, ``UNREADABLE_FILE`` or ``COHORT_INVALID`` if the table as a whole is unusable, ``COHORT_TOO_SMALL``
        if it has no rows.
    """
    table = path / TABLE if path.is_dir() else path
    header, lines = _read(table)
    column = _columns(header, table.name)
    counts = Counter(_cell(cells, column["patient_id"]) for _, cells in lines)
    rows: dict[str, Row] = {}
    for number, cells in lines:
        row = _row(number, cells, len(header), column, table.parent, allow_border)
        if counts[row.label] > 1:
            row = ExtractionFailure(
                row.label, Reason.PATIENT_DUPLICATE, f"{counts[row.label]} rows with this identifier; none of them is used"
            )
        rows.setdefault(row.label, row)
    if not rows:
        raise CohortError(Reason.COHORT_TOO_SMALL, f"{table.name} has no rows; at least 1 is required")
    return tuple(rows.values())


def _read(table: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except FileNotFoundError as error:
        raise CohortError(Reason.FILE_NOT_FOUND, f"there is no {table.name} at {table.parent}") from error
    except OSError as error:
        raise CohortError(Reason.UNREADABLE_FILE, f"{table.name} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CohortError(Reason.COHORT_INVALID, f"{table.name} is not UTF-8 text separated by commas: {error}") from error
    header = lines[0][1] if lines else []
    return header, [(number, cells) for number, cells in lines[1:] if any(cells)]


def _columns(header: Sequence[str], name: str) -> Mapping[str, int]:
    """Return the index of each column of ours; a table in our own spelling is never read as a batch table."""
    found = list(header)
    if any(column not in header for column in REQUIRED):
        found = [_BATCH.get(column.casefold(), "") for column in header]
    missing = [column for column in REQUIRED if column not in found]
    if missing:
        raise CohortError(
            Reason.COHORT_INVALID,
            f"{name} has the columns {', '.join(header) or 'none'}; required are {', '.join(REQUIRED)}, "
            "or ID, Image, Mask as in a batch table of PyRadiomics",
        )
    repeated = [column for column in (*REQUIRED, ROI_NAME) if found.count(column) > 1]
    if repeated:
        raise CohortError(Reason.COHORT_INVALID, f"{name} has the column {repeated[0]} {found.count(repeated[0])} times")
    return {column: found.index(column) for column in (*REQUIRED, ROI_NAME) if column in found}


def _row(
    number: int, cells: Sequence[str], width: int, column: Mapping[str, int], folder: Path, allow_border: bool
) -> ExtractionTask | ExtractionFailure:
    label = _cell(cells, column["patient_id"])
    wrong = ""
    if not 0 < len(label) <= _LONGEST_ID or not label.isprintable():
        wrong = f"patient_id {label[:_LONGEST_ID]!r}; 1 to {_LONGEST_ID} printable characters are required"
        label = f"line {number}"
    elif len(cells) != width:
        wrong = f"{len(cells)} cells; the header has {width}"
    else:
        empty = [name for name in ("image", "roi") if not cells[column[name]]]
        wrong = f"{' and '.join(empty)} empty; a path is required" if empty else ""
    if wrong:
        return ExtractionFailure(label, Reason.COHORT_INVALID, wrong)
    roi_name = cells[column[ROI_NAME]] if ROI_NAME in column else ""
    image, roi = folder / cells[column["image"]], folder / cells[column["roi"]]
    return ExtractionTask(label, image, roi, roi_name or None, allow_border)


def _cell(cells: Sequence[str], index: int) -> str:
    return cells[index] if index < len(cells) else ""
