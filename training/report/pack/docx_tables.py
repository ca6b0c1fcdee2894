"""Tables as journals print them: three rules, headings repeated on every page, numbers aligned at the right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from docx.document import Document as DocumentObject
from docx.enum.table import WD_TABLE_ALIGNMENT
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Mm, Pt
from docx.table import Table, _Cell, _Row

from training.report.pack.docx_document import BODY_PT, SMALL_PT, Orientation, text_width_mm
from training.report.tables import ReportTable, TableRow

# Eighths of a point.
OUTER_RULE, INNER_RULE = 12, 6
# Of the width that columns may take which cannot be broken over lines.
RIGID_SHARE = 0.9
INTERVAL = re.compile(r"^(-?[\d.e+]+) (\(.+(?:–| to ).+\))$")
MINUS = re.compile(r"(?<![\w.])-(?=\d)")
# Width of a character of Times beside its height: digits have 0.5, bold letters a little more.
CHARACTER_WIDTH = 0.53
# Margins of a cell, left and right.
PADDING_MM = 4.0
MM_PER_PT = 25.4 / 72


@dataclass(frozen=True)
class Layout:
    """How a table is set.

    Attributes
    ----------
    folded
        Whether an interval stands on a line of its own.
    """

    orientation: Orientation
    size_pt: float
    folded: bool
    widths_mm: tuple[float, ...]


def layout_of(table: ReportTable) -> Layout:
    """Set a table upright if it fits, first in the size of the text, then in a smaller one; else lying."""
    upright = (_layout(table, "portrait", BODY_PT, folded=False), _layout(table, "portrait", SMALL_PT, folded=True))
    fitting = (layout for layout, share in upright if share <= RIGID_SHARE)
    return next(fitting, _layout(table, "landscape", SMALL_PT, folded=True)[0])


def _layout(table: ReportTable, orientation: Orientation, size_pt: float, *, folded: bool) -> tuple[Layout, float]:
    """Return a layout, and the share of the width that its numbers and longest words take."""
    columns = table.columns[table.group_columns :]
    rows = [row.cells for row in printed_lines(table) if len(row.cells) == len(columns)]
    least, wanted = _needs_mm(columns, rows, size_pt, folded)
    # A sentence may be broken over lines; a number may not.
    rigid = [low if name in table.text_columns else w for w, low, name in zip(wanted, least, columns, strict=True)]
    total = text_width_mm(orientation)
    return Layout(orientation, size_pt, folded, _shared(rigid, wanted, total)), sum(rigid) / total


def add_report_table(document: DocumentObject, table: ReportTable) -> Table:
    """Add a table of the report; leading columns that name a group become a line of their own above it."""
    layout = layout_of(table)
    columns = table.columns[table.group_columns :]
    return _add(
        document,
        columns,
        printed_lines(table),
        text_columns=[name in table.text_columns for name in columns],
        widths_mm=layout.widths_mm,
        size=layout.size_pt,
        folded=layout.folded,
    )


def add_text_table(
    document: DocumentObject, columns: Sequence[str], rows: Sequence[Sequence[str]], widths_mm: Sequence[float]
) -> Table:
    """Add a table of sentences, such as a checklist; a row of a single cell is a heading across all columns."""
    lines = [TableRow(tuple(row)) for row in rows]
    return _add(
        document,
        columns,
        lines,
        text_columns=[True] * len(columns),
        widths_mm=widths_mm,
        size=SMALL_PT,
        folded=False,
    )


def printed_lines(table: ReportTable) -> list[TableRow]:
    """Return the lines of a table as printed: a line of one cell where a group begins, levels without their heading."""
    lines: list[TableRow] = []
    group: tuple[str, ...] = ()
    for row in table.rows:
        named, cells = row.cells[: table.group_columns], row.cells[table.group_columns :]
        if named != group:
            lines.append(TableRow((table.group_format.format(*named),), "heading"))
            group = named
        if row.kind == "level":
            cells = ("", *cells[1:])
        lines.append(TableRow(cells, row.kind))
    return lines


def column_widths_mm(
    columns: Sequence[str], rows: Sequence[Sequence[str]], total_mm: float, size_pt: float, *, folded: bool
) -> tuple[float, ...]:
    """Share the width among columns: none narrower than its longest word, the rest by what they hold.

    Parameters
    ----------
    folded
        Whether intervals stand on a line of their own.
    """
    return _shared(*_needs_mm(columns, rows, size_pt, folded), total_mm)


def _needs_mm(
    columns: Sequence[str], rows: Sequence[Sequence[str]], size_pt: float, folded: bool
) -> tuple[list[float], list[float]]:
    """Return for each column the width of its longest word, and that of its longest line."""
    per_character = CHARACTER_WIDTH * size_pt * MM_PER_PT
    least, wanted = [], []
    for position, heading in enumerate(columns):
        lines = [line for row in rows for line in (_folded(row[position]) if folded else row[position]).split("\n")]
        longest = max((len(line) for line in lines), default=0)
        word = max((len(word) for text in (heading, *lines) for word in re.split(r"[\s_–-]", text)), default=1)
        least.append(word * per_character + PADDING_MM)
        wanted.append(max(longest, word, len(heading) / 2) * per_character + PADDING_MM)
    return least, wanted


def _shared(least: Sequence[float], wanted: Sequence[float], total_mm: float) -> tuple[float, ...]:
    if sum(wanted) <= total_mm:
        return tuple(width * total_mm / sum(wanted) for width in wanted)
    spare, excess = total_mm - sum(least), [w - low for w, low in zip(wanted, least, strict=True)]
    if spare <= 0 or sum(excess) <= 0:
        return tuple(low * total_mm / sum(least) for low in least)
    return tuple(low + spare * more / sum(excess) for low, more in zip(least, excess, strict=True))


def _add(
    document: DocumentObject,
    columns: Sequence[str],
    lines: Sequence[TableRow],
    *,
    text_columns: Sequence[bool],
    widths_mm: Sequence[float],
    size: float,
    folded: bool,
) -> Table:
    table: Table = document.add_table(rows=1 + len(lines), cols=len(columns))
    table.alignment = WD_TABLE_ALIGNMENT.LEFT
    table.autofit = False
    for column, width in zip(table.columns, widths_mm, strict=True):
        column.width = Mm(width)
    header, *body = table.rows
    for cell, text, left, width in zip(header.cells, columns, text_columns, widths_mm, strict=True):
        _write(cell, text, size=size, bold=True, right=not left)
        cell.width = Mm(width)
    _mark_header(header)
    for row, line in zip(body, lines, strict=True):
        _keep_whole(row)
        if len(line.cells) == 1 < len(columns):
            _write(row.cells[0].merge(row.cells[-1]), line.cells[0], size=size, italic=True, right=False)
            continue
        for position, (cell, text) in enumerate(zip(row.cells, line.cells, strict=True)):
            printed = _minus(_folded(text) if folded else text)
            _write(
                cell,
                printed,
                size=size,
                bold=line.kind == "chosen" or (line.kind == "heading" and position == 0),
                right=not text_columns[position],
            )
            cell.width = Mm(widths_mm[position])
    _rule(header, "top", OUTER_RULE)
    _rule(header, "bottom", INNER_RULE)
    if body:
        _rule(body[-1], "bottom", OUTER_RULE)
    return table


def _folded(text: str) -> str:
    found = INTERVAL.match(text)
    return f"{found[1]}\n{found[2]}" if found else text


def _minus(text: str) -> str:
    """Return the text of a number with minus signs where hyphens stood for them."""
    return MINUS.sub("−", text) if text.startswith(("-", "(-")) or INTERVAL.match(text.replace("\n", " ")) else text


def _write(cell: _Cell, text: str, *, size: float, right: bool, bold: bool = False, italic: bool = False) -> None:
    paragraph = cell.paragraphs[0]
    paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT if right else WD_ALIGN_PARAGRAPH.LEFT
    paragraph.paragraph_format.space_after = Pt(0)
    run = paragraph.add_run(text)
    run.font.size, run.bold, run.italic = Pt(size), bold or None, italic or None


def _rule(row: _Row, edge: str, size: int) -> None:
    for cell in row.cells:
        properties = cell._tc.get_or_add_tcPr()
        borders = properties.find(qn("w:tcBorders"))
        if borders is None:
            borders = OxmlElement("w:tcBorders")
            properties.append(borders)
        line = OxmlElement(f"w:{edge}")
        for name, value in (("val", "single"), ("sz", str(size)), ("space", "0"), ("color", "000000")):
            line.set(qn(f"w:{name}"), value)
        borders.append(line)


def _mark_header(row: _Row) -> None:
    row._tr.get_or_add_trPr().append(OxmlElement("w:tblHeader"))
    _keep_whole(row)


def _keep_whole(row: _Row) -> None:
    """Do not break a row over two pages."""
    row._tr.get_or_add_trPr().insert(0, OxmlElement("w:cantSplit"))
