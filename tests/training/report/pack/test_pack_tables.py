"""Tables in Word: cell by cell what the CSV holds, in the layout of a journal, the same bytes every time."""

from __future__ import annotations

import csv
import io
import zipfile

import pytest
from docx import Document
from docx.document import Document as DocumentObject
from docx.enum.section import WD_ORIENT
from docx.oxml.ns import qn
from docx.table import Table
from example_pack import pack_evidence, pack_results

from training.report.pack.docx_document import document_bytes, text_width_mm
from training.report.pack.docx_tables import column_widths_mm, layout_of, printed_lines
from training.report.pack.footnotes import ABBREVIATIONS, abbreviations
from training.report.pack.numbered_tables import NumberedTable, numbered_tables, tables_document
from training.report.tables import ReportTable, TableRow, make_tables


@pytest.fixture(scope="module")
def numbered() -> tuple[NumberedTable, ...]:
    return numbered_tables(pack_results(), pack_evidence())


@pytest.fixture(scope="module")
def document(numbered: tuple[NumberedTable, ...]) -> DocumentObject:
    return Document(io.BytesIO(document_bytes(tables_document(pack_results(), numbered))))


def plain(text: str) -> str:
    """Undo what is typography: the line break before an interval and the minus sign."""
    return text.replace("\n", " ").replace("−", "-")


def shown_rows(table: Table) -> list[list[str]]:
    """Return the cells of a Word table; a row of one merged cell as a list of one."""
    rows = []
    for row in table.rows:
        cells = row.cells
        rows.append(
            [plain(cells[0].text)] if len({id(c._tc) for c in cells}) == 1 < len(cells) else [plain(c.text) for c in cells]
        )
    return rows


def expected_rows(table: ReportTable) -> list[list[str]]:
    """Return what the CSV of a table says, with groups as lines of their own and levels without their heading."""
    header, *body = list(csv.reader(io.StringIO(table.to_csv())))
    count, rows, group = table.group_columns, [header[table.group_columns :]], None
    for cells, row in zip(body, table.rows, strict=True):
        if count and cells[:count] != group:
            group = cells[:count]
            rows.append([table.group_format.format(*group)])
        own = cells[count:]
        rows.append(["", *own[1:]] if row.kind == "level" else own)
    return [[plain(cell) for cell in row] for row in rows]


def test_every_cell_is_the_cell_of_the_csv(document: DocumentObject, numbered: tuple[NumberedTable, ...]) -> None:
    assert len(document.tables) == len(numbered) >= 20
    for shown, item in zip(document.tables, numbered, strict=True):
        assert shown_rows(shown) == expected_rows(item.table), item.number


def test_the_manuscript_has_tables_1_to_5_and_the_supplement_the_rest(numbered: tuple[NumberedTable, ...]) -> None:
    numbers = [item.number for item in numbered]
    assert numbers[:6] == ["Table 1", "Table 2", "Table 3", "Table 4", "Table 5", "Table S1"]
    assert numbers[5:] == [f"Table S{i}" for i in range(1, len(numbers) - 4)]
    assert [item.table.stem for item in numbered[:5]] == [
        "table1_baseline_by_split",
        "table2_baseline_by_outcome",
        "table3_odds_ratios",
        "table4_models",
        "table5_nomogram",
    ]


def test_a_table_without_rows_is_left_out_and_the_others_keep_their_numbers() -> None:
    results = pack_results().model_copy(update={"odds_ratios": ()})
    numbers = [item.number for item in numbered_tables(results, pack_evidence())]
    assert numbers[:4] == ["Table 1", "Table 2", "Table 4", "Table 5"]


def borders(row: object, edge: str) -> set[str]:
    found = set()
    for cell in row.cells:  # type: ignore[attr-defined]
        line = cell._tc.tcPr.find(qn("w:tcBorders"))
        element = None if line is None else line.find(qn(f"w:{edge}"))
        found.add("none" if element is None else str(element.get(qn("w:sz"))))
    return found


def test_three_rules_and_no_other(document: DocumentObject) -> None:
    for table in document.tables:
        header, *body = table.rows
        assert borders(header, "top") == {"12"}
        assert borders(header, "bottom") == {"6"}
        assert borders(body[-1], "bottom") == {"12"}
        assert all(borders(row, edge) == {"none"} for row in body[:-1] for edge in ("top", "bottom", "left", "right"))
        assert table.style is None or table.style.name == "Normal Table"


def test_headings_repeat_and_rows_do_not_break(document: DocumentObject) -> None:
    for table in document.tables:
        header, *body = table.rows
        assert header._tr.trPr.find(qn("w:tblHeader")) is not None
        assert all(row._tr.trPr.find(qn("w:cantSplit")) is not None for row in table.rows)
        assert all(row._tr.trPr.find(qn("w:tblHeader")) is None for row in body)


def test_wide_tables_lie_and_stay_within_the_page(document: DocumentObject, numbered: tuple[NumberedTable, ...]) -> None:
    assert len(document.sections) == len(numbered)
    orientations = set()
    for section, table, item in zip(document.sections, document.tables, numbered, strict=True):
        lying = section.orientation == WD_ORIENT.LANDSCAPE
        orientations.add(lying)
        assert lying == (layout_of(item.table).orientation == "landscape")
        assert section.page_width is not None
        assert section.page_height is not None
        assert (section.page_width > section.page_height) == lying
        width = sum(column.width.mm for column in table.columns)
        assert width <= text_width_mm(layout_of(item.table).orientation) + 1, item.number
    assert orientations == {True, False}


def test_fonts_are_times_throughout(document: DocumentObject) -> None:
    for name in ("Normal", "Heading 1", "Heading 2", "Title"):
        fonts = document.styles[name].element.rPr.rFonts
        assert fonts.get(qn("w:ascii")) == "Times New Roman"
        assert fonts.get(qn("w:asciiTheme")) is None
    sizes = {
        run.font.size.pt for t in document.tables for row in t.rows for c in row.cells for p in c.paragraphs for run in p.runs
    }
    assert sizes == {8.0, 10.0}


def test_two_writes_are_the_same_bytes_and_hold_no_moment(numbered: tuple[NumberedTable, ...]) -> None:
    first, second = (document_bytes(tables_document(pack_results(), numbered)) for _ in range(2))
    assert first == second
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        properties = archive.read("docProps/core.xml").decode()
    assert properties.count("2025-08-12T09:30:00Z") == 2
    assert "python-docx" not in properties


def test_every_abbreviation_of_a_table_is_spelled_out(document: DocumentObject, numbered: tuple[NumberedTable, ...]) -> None:
    text = "\n".join(paragraph.text for paragraph in document.paragraphs)
    for item in numbered:
        assert f"{item.number}. {item.table.title}" in text
        line = " ".join(item.footnotes)
        for short in abbreviations(item.table):
            assert f"{short}, {ABBREVIATIONS[short]}" in line, (item.number, short)
    assert "AUC" in abbreviations(make_tables(pack_results()).final_models)


def test_footnotes_name_tests_and_interval_methods(numbered: tuple[NumberedTable, ...]) -> None:
    notes = {item.table.stem: " ".join(item.footnotes) for item in numbered}
    assert "chi-squared test without continuity correction" in notes["table1_baseline_by_split"]
    assert "Values are number (share) or mean ± standard deviation." in notes["table1_baseline_by_split"]
    assert "AUC by DeLong on the logit scale" in notes["table5_nomogram"]
    assert "by Wilson" in notes["table4_models"]
    assert "Holm" in notes["comparisons_auc"]
    assert "lowess" in notes["calibration_nomogram"]
    assert "lowess" not in notes["discrimination_nomogram"]
    plain_scale = pack_results().recipe.evaluation.model_copy(update={"auc_interval": "delong"})
    recipe = pack_results().recipe.model_copy(update={"evaluation": plain_scale})
    changed = numbered_tables(pack_results().model_copy(update={"recipe": recipe}), pack_evidence())
    assert "AUC by DeLong on the plain scale" in " ".join(changed[4].footnotes)


def test_a_group_is_named_once_and_levels_stand_under_their_heading() -> None:
    table = ReportTable(
        "stem",
        "Title",
        ("Sample", "Patients", "Model", "AUC (95% CI)"),
        (
            TableRow(("Test", "71", "A", "0.8 (0.7–0.9)")),
            TableRow(("Test", "71", "B", "0.7 (0.6–0.8)"), "level"),
            TableRow(("Other", "5", "A", "–")),
        ),
        group_columns=2,
        group_format="{} · {} patients",
    )
    assert [row.cells for row in printed_lines(table)] == [
        ("Test · 71 patients",),
        ("A", "0.8 (0.7–0.9)"),
        ("", "0.7 (0.6–0.8)"),
        ("Other · 5 patients",),
        ("A", "–"),
    ]


def test_widths_fill_the_page_and_follow_what_columns_hold() -> None:
    widths = column_widths_mm(("A", "B"), [("x", "a sentence of a good many words " * 8)], 100.0, 10.0, folded=False)
    assert sum(widths) == pytest.approx(100.0)
    assert widths[1] > 5 * widths[0]
    alike = column_widths_mm(("A", "B"), [("x", "y")], 100.0, 10.0, folded=False)
    assert alike == pytest.approx((50.0, 50.0))
    # An interval that stands on a line of its own leaves more room for the column beside it.
    row = ("0.843 (0.786–0.901)", "a sentence of a good many words " * 4)
    folded, whole = (column_widths_mm(("A", "B"), [row], 100.0, 8.0, folded=folded) for folded in (True, False))
    assert folded[0] < whole[0]
