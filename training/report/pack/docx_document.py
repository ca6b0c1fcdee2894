"""Word documents in the look of a manuscript, with the same bytes for the same content."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from docx import Document
from docx.document import Document as DocumentObject
from docx.enum.section import WD_ORIENT, WD_SECTION
from docx.oxml.ns import qn
from docx.section import Section
from docx.shared import Mm, Pt, RGBColor
from docx.styles.style import ParagraphStyle
from docx.text.paragraph import Paragraph

from training.atomic_file import atomic_file

FONT = "Times New Roman"
BODY_PT = 10.0
SMALL_PT = 8.0
PAGE_MM = (210.0, 297.0)
MARGIN_MM = 20.0
# The earliest moment a ZIP archive can name.
ZIP_MOMENT = (1980, 1, 1, 0, 0, 0)
THEME_FONTS = ("w:asciiTheme", "w:hAnsiTheme", "w:eastAsiaTheme", "w:cstheme")
HEADINGS = {"Title": 14.0, "Heading 1": 12.0, "Heading 2": 10.0}

Orientation = Literal["portrait", "landscape"]


def new_document(title: str, created: str) -> DocumentObject:
    """Return an empty document on A4.

    Parameters
    ----------
    created
        Moment the run was made, ISO 8601: stands in the properties instead of the moment of writing.
    """
    document = Document()
    for name, size in (("Normal", BODY_PT), *HEADINGS.items()):
        _set_font(document, name, size)
    moment = datetime.fromisoformat(created).astimezone(UTC).replace(tzinfo=None)
    properties = document.core_properties
    properties.title, properties.author, properties.last_modified_by = title, "", ""
    properties.comments, properties.revision = "", 1
    properties.created = properties.modified = moment
    set_page(document.sections[0], "portrait")
    return document


def set_page(section: Section, orientation: Orientation) -> None:
    """Lay a section out on A4 with equal margins."""
    short, long = (Mm(size) for size in PAGE_MM)
    section.orientation = WD_ORIENT.PORTRAIT if orientation == "portrait" else WD_ORIENT.LANDSCAPE
    section.page_width, section.page_height = (short, long) if orientation == "portrait" else (long, short)
    section.left_margin = section.right_margin = section.top_margin = section.bottom_margin = Mm(MARGIN_MM)


def new_page(document: DocumentObject, orientation: Orientation) -> None:
    """Begin a page of this orientation."""
    set_page(document.add_section(WD_SECTION.NEW_PAGE), orientation)


def text_width_mm(orientation: Orientation) -> float:
    """Return the width between the margins, mm."""
    return PAGE_MM[orientation == "landscape"] - 2 * MARGIN_MM


def add_text(document: DocumentObject, text: str, *, size: float = BODY_PT, space_after: float = 6.0) -> Paragraph:
    """Add a paragraph; what stands between double asterisks is set bold."""
    paragraph = document.add_paragraph()
    paragraph.paragraph_format.space_after = Pt(space_after)
    for position, part in enumerate(text.split("**")):
        if part:
            run = paragraph.add_run(part)
            run.font.size, run.bold = Pt(size), bool(position % 2)
    return paragraph


def add_heading(document: DocumentObject, text: str, level: int = 1) -> None:
    """Add a heading; level 0 is the title of the document."""
    heading = document.add_heading(text, level)
    heading.paragraph_format.keep_with_next = True


def add_list(document: DocumentObject, lines: Iterable[str], *, size: float = BODY_PT) -> None:
    """Add a bulleted list."""
    for line in lines:
        paragraph = document.add_paragraph(style="List Bullet")
        paragraph.paragraph_format.space_after = Pt(2)
        paragraph.add_run(line).font.size = Pt(size)


def save_document(document: DocumentObject, path: Path) -> Path:
    """Write the document whole or not at all, and return its file."""
    with atomic_file(path) as stream:
        stream.write(document_bytes(document))
    return path


def document_bytes(document: DocumentObject) -> bytes:
    """Return the file of a document; equal documents give equal bytes, as no moment of writing enters."""
    written, fixed = io.BytesIO(), io.BytesIO()
    document.save(written)
    with zipfile.ZipFile(written) as source, zipfile.ZipFile(fixed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            part = zipfile.ZipInfo(name, ZIP_MOMENT)
            part.compress_type = zipfile.ZIP_DEFLATED
            part.create_system = 3  # else the platform's own code would stand there
            target.writestr(part, source.read(name))
    return fixed.getvalue()


def _set_font(document: DocumentObject, name: str, size: float) -> None:
    style = document.styles[name]
    if not isinstance(style, ParagraphStyle):
        raise TypeError(f"{name} is no paragraph style")
    style.font.name, style.font.size = FONT, Pt(size)
    style.font.color.rgb = RGBColor(0, 0, 0)
    fonts = style.element.get_or_add_rPr().get_or_add_rFonts()
    fonts.set(qn("w:eastAsia"), FONT)
    fonts.set(qn("w:cs"), FONT)
    for attribute in THEME_FONTS:
        # A font of the theme would win over the one that is named.
        fonts.attrib.pop(qn(attribute), None)
