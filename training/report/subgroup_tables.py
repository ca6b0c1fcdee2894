"""Tables of subgroups: the nomogram in kinds of patients, gaps between them, and whether they differ beyond chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from training.evidence.subgroup_result import SubgroupCharacteristic, SubgroupRow, SubgroupTable
from training.model_names import sample_label
from training.report import formatting
from training.report.tables import ReportTable, RowKind, TableRow


def subgroup_table(tables: Sequence[SubgroupTable]) -> ReportTable:
    """Lay out every level of every characteristic, all patients first."""
    rows: list[TableRow] = []
    for table in tables:
        rows.append(_row(table, "", table.overall, "chosen"))
        rows.extend(_row(table, named(c), row, "plain") for c in table.characteristics for row in c.rows)
    return ReportTable(
        "subgroups",
        "The nomogram in subgroups (exploratory)",
        (
            "Sample",
            "Characteristic",
            "Level",
            "Patients",
            "Events",
            "AUC (95% CI)",
            "Sensitivity (95% CI)",
            "Specificity (95% CI)",
            "Observed : expected (95% CI)",
            "Calibration in the large (95% CI)",
        ),
        tuple(rows),
        group_columns=1,
        text_columns=("Characteristic", "Level"),
    )


def named(characteristic: SubgroupCharacteristic) -> str:
    """Return the name of a characteristic with how many patients it is not known of."""
    missing = f" ({characteristic.missing_count} not known)" if characteristic.missing_count else ""
    return f"{characteristic.label}{missing}"


def _row(table: SubgroupTable, characteristic: str, row: SubgroupRow, kind: RowKind) -> TableRow:
    measures = (row.auc, row.sensitivity, row.specificity)
    return TableRow(
        (
            f"{sample_label(table.sample)} · threshold {formatting.number(table.threshold)}",
            characteristic,
            row.level,
            str(row.patient_count),
            str(row.event_count),
            *(formatting.interval(measure) for measure in measures),
            formatting.interval(row.observed_to_expected, 2),
            formatting.interval(row.in_the_large, 2),
        ),
        kind,
    )


def gap_table(tables: Sequence[SubgroupTable]) -> ReportTable:
    """Lay out by how much sensitivity and specificity of a level are above those of the reference level."""
    return ReportTable(
        "subgroup_gaps",
        "Equal opportunity: sensitivity and specificity of a level minus those of the reference level",
        ("Sample", "Characteristic", "Level", "Reference", "Sensitivity gap (95% CI)", "Specificity gap (95% CI)"),
        tuple(_gaps(tables)),
        group_columns=1,
        text_columns=("Characteristic", "Level", "Reference"),
    )


def _gaps(tables: Sequence[SubgroupTable]) -> Iterator[TableRow]:
    for table in tables:
        for characteristic in table.characteristics:
            for gap in characteristic.gaps:
                gaps = (formatting.interval(measure) for measure in (gap.sensitivity, gap.specificity))
                yield TableRow((sample_label(table.sample), characteristic.label, gap.level, gap.reference, *gaps))


def heterogeneity_table(tables: Sequence[SubgroupTable]) -> ReportTable:
    """Lay out whether AUCs differ between levels by more than chance, and how the levels were made."""
    return ReportTable(
        "subgroup_heterogeneity",
        "Do AUCs differ between the levels of a characteristic?",
        ("Sample", "Characteristic", "Levels", "Cochran's Q", "df", "I²", "p", "Adjusted p"),
        tuple(
            TableRow((sample_label(table.sample), c.label, c.rule, *_tested(c)))
            for table in tables
            for c in table.characteristics
        ),
        group_columns=1,
        text_columns=("Characteristic", "Levels"),
    )


def _tested(characteristic: SubgroupCharacteristic) -> tuple[str, ...]:
    found = characteristic.heterogeneity
    if found is None:
        return (f"{formatting.UNDEFINED} ({characteristic.heterogeneity_reason})", *(formatting.UNDEFINED for _ in range(4)))
    return (
        formatting.number(found.statistic, 2),
        str(found.degrees_of_freedom),
        f"{100 * found.i_squared:.0f}%",
        formatting.p_value(found.p),
        formatting.p_value(found.adjusted_p),
    )
