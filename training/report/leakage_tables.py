"""Tables of who saw whom, and of how the images were acquired."""

from __future__ import annotations

from training.evidence.acquisition import AcquisitionTable, Quantity
from training.evidence.leakage import LeakageReport
from training.report import formatting
from training.report.tables import ReportTable, RowKind, TableRow

DIGEST_LENGTH = 12


def folds_table(report: LeakageReport) -> ReportTable:
    """Lay out how many patients each fold was fitted on and how many it held out."""
    rows = tuple(
        TableRow(
            (
                f"Fold {fold.index + 1}",
                str(fold.fitted_on),
                str(fold.held_out),
                str(fold.overlap),
                fold.fitted_on_digest[:DIGEST_LENGTH],
                fold.held_out_digest[:DIGEST_LENGTH],
            )
        )
        for fold in report.folds
    )
    split = TableRow(
        (
            "Development / test",
            str(report.development_patients),
            str(report.test_patients),
            str(report.overlap),
            report.split_digest[:DIGEST_LENGTH],
            "",
        ),
        "chosen",
    )
    return ReportTable(
        "leakage_folds",
        "Who was fitted on and who was held out",
        ("Part", "Fitted on", "Held out", "In both", "Digest, fitted on", "Digest, held out"),
        (split, *rows),
        text_columns=("Part", "Digest, fitted on", "Digest, held out"),
    )


def learned_table(report: LeakageReport) -> ReportTable:
    """Lay out what each learned object was learned from."""
    columns = ("What was learned", "For the bundle, from", "For out-of-fold figures, from", "What keeps others out")
    rows = tuple(TableRow((row.name, row.final, row.out_of_fold, row.enforced)) for row in report.learned)
    return ReportTable("leakage_learned", "Who saw whom", columns, rows, text_columns=columns)


def choices_table(report: LeakageReport) -> ReportTable:
    """Lay out checks for duplicates and keys of the recipe that leak."""
    checks = [
        TableRow(
            (
                f"Patients with the same {check.what}",
                str(check.patients),
                f"{check.across_split} pairs across the split, {check.across_folds} across folds",
            )
        )
        for check in report.duplicates
    ]
    choices = [TableRow((f"{choice.key} = {choice.value}", "by recipe", choice.text)) for choice in report.choices]
    none = [] if choices else [TableRow(("Keys of the recipe that leak", "none", ""))]
    columns = ("Check", "Found", "Meaning")
    return ReportTable("leakage_checks", "What could have leaked", columns, (*checks, *none, *choices), text_columns=columns)


def acquisition_table(table: AcquisitionTable) -> ReportTable:
    """Lay out scanners as counts and geometry as median, quartiles and range."""
    rows: list[TableRow] = []
    for row in table.categories:
        if not rows or rows[-1].cells[0] != row.label:
            rows.append(TableRow((row.label, "", *("" for _ in table.group_names)), "heading"))
        kind: RowKind = "level"
        shares = (_share(n, total) for n, total in zip(row.counts, table.patient_counts, strict=True))
        rows.append(TableRow((row.label, row.value, *shares), kind))
    for quantity in table.quantities:
        label = f"{quantity.label}, {quantity.unit}: median (quartiles), range"
        rows.append(TableRow((label, "", *(_quantity(found) for found in quantity.groups))))
    names = (f"{name} (n = {n})" for name, n in zip(table.group_names, table.patient_counts, strict=True))
    return ReportTable(
        "acquisition",
        "Image acquisition",
        ("Characteristic", "Value", *names),
        tuple(rows),
        text_columns=("Characteristic", "Value"),
    )


def _share(count: int, total: int) -> str:
    return f"{count} ({100 * count / total:.1f} %)" if total else "0"


def _quantity(found: Quantity) -> str:
    if found.median is None or found.minimum is None or found.maximum is None:
        return formatting.UNDEFINED
    quartiles = f"{formatting.number(found.lower_quartile, 2)}–{formatting.number(found.upper_quartile, 2)}"
    extent = f"{formatting.number(found.minimum, 2)}–{formatting.number(found.maximum, 2)}"
    return f"{formatting.number(found.median, 2)} ({quartiles}), {extent}"
