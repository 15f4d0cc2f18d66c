"""Word, PowerPoint and Excel: the text with its headings, slides and rows, each at its place."""

import struct
import sys
from datetime import datetime
from io import BytesIO
from typing import Any

import docx
import openpyxl
import pptx
import pytest
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.opc.packuri import PackURI
from docx.opc.part import Part as FilePart
from docx.oxml import parse_xml
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from agentkit.documents import Document, page_of, part_of
from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.files import parse

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def _saved(file: Any) -> bytes:
    buffer = BytesIO()
    file.save(buffer)
    return buffer.getvalue()


def _texts(document: Document) -> list[str]:
    return [document.text[part.start : part.end] for part in document.parts]


def test_word_gives_headings_lists_and_tables_in_the_order_of_the_document() -> None:
    file = docx.Document()
    file.add_heading("年度报告", 0)
    file.add_heading("Prices", 1)
    file.add_paragraph("Before the table.")
    table = file.add_table(2, 2)
    for row, texts in zip(table.rows, [("Name", "Price"), ("Apple|Pear", "3.20")], strict=True):
        for cell, text in zip(row.cells, texts, strict=True):
            cell.text = text
    file.add_paragraph("first", style="List Bullet")
    file.add_paragraph("below", style="List Bullet 2")
    file.add_paragraph("one", style="List Number")
    file.add_paragraph("two", style="List Number")
    file.add_heading("Details", 2)
    file.add_paragraph("# no heading")
    document = parse(_saved(file), "a.docx").document
    assert document.text == (
        "# 年度报告\n\n# Prices\n\nBefore the table.\n\n"
        "| Name | Price |\n| --- | --- |\n| Apple\\|Pear | 3.20 |\n\n"
        "- first\n- below\n1. one\n2. two\n\n## Details\n\n\\# no heading"
    )
    assert document.title == "年度报告"
    assert document.format == "markdown"


def test_word_says_title_author_and_date() -> None:
    file = docx.Document()
    file.core_properties.title = "Plan"
    file.core_properties.author = "王芳"
    file.core_properties.modified = datetime(2025, 3, 1, 12)
    document = parse(_saved(file), "a.docx").document
    assert document.title == "Plan"
    assert document.metadata == {"title": "Plan", "author": "王芳", "date": "2025-03-01"}


def test_word_keeps_footnotes_insertions_and_content_controls_and_drops_deletions() -> None:
    file = docx.Document()
    notes = f'<w:footnotes {W}><w:footnote w:id="7"><w:p><w:r><w:t>See page 9.</w:t></w:r></w:p>'
    part = FilePart(
        PackURI("/word/footnotes.xml"),
        "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml",
        f"{notes}</w:footnote></w:footnotes>".encode(),
        file.part.package,
    )
    file.part.relate_to(part, RELATIONSHIP_TYPE.FOOTNOTES)
    body = (
        "<w:r><w:t>The price is </w:t></w:r><w:del><w:r><w:delText>3</w:delText></w:r></w:del>"
        '<w:ins><w:r><w:t>4</w:t></w:r></w:ins><w:r><w:footnoteReference w:id="7"/></w:r>'
    )
    control = f"<w:sdt {W}><w:sdtContent><w:p>{body}</w:p></w:sdtContent></w:sdt>"
    file.element.body.insert(0, parse_xml(control))
    text = parse(_saved(file), "a.docx").document.text
    assert text == "The price is 4[^1]\n\n[^1]: See page 9."


def _deck() -> bytes:
    file = pptx.Presentation()
    first = file.slides.add_slide(file.slide_layouts[1])
    first.shapes.title.text = "第一页"
    first.placeholders[1].text = "Point a\nPoint b"
    first.notes_slide.notes_text_frame.text = "Say hello."
    second = file.slides.add_slide(file.slide_layouts[6])
    for text, left, top in [("right", 5, 1), ("low", 1, 5), ("left", 1, 1.02)]:
        box = second.shapes.add_textbox(Inches(left), Inches(top), Inches(1), Inches(1))
        box.text_frame.text = text
    group = second.shapes.add_group_shape()
    box = group.shapes.add_textbox(Inches(1), Inches(4), Inches(1), Inches(1))
    box.text_frame.text = "in a group"
    size = (Inches(1), Inches(2), Inches(3), Inches(1))
    table = second.shapes.add_table(2, 2, *size).table
    for at, text in enumerate(["Name", "Price", "Apple", "3.20"]):
        table.cell(at // 2, at % 2).text = text
    data = CategoryChartData()
    data.categories = ["East", "West"]
    data.add_series("Q1", (1.5, 2))
    third = file.slides.add_slide(file.slide_layouts[6])
    third.shapes.add_chart(XL_CHART_TYPE.BAR_CLUSTERED, *size, data)
    file.slides.add_slide(file.slide_layouts[6])
    return _saved(file)


def test_each_slide_is_a_part_in_reading_order_with_its_notes() -> None:
    loaded = parse(_deck(), "a.pptx")
    document = loaded.document
    assert [(part.kind, part.name) for part in document.parts] == [("slide", n) for n in "1234"]
    assert _texts(document) == [
        "## 第一页\n\n- Point a\n- Point b\n\nNotes: Say hello.",
        "left\n\nright\n\n| Name | Price |\n| --- | --- |\n| Apple | 3.20 |\n\nin a group\n\nlow",
        "|  | Q1 |\n| --- | --- |\n| East | 1.5 |\n| West | 2 |",
        "",
    ]
    at = document.text.index("Apple")
    assert page_of(document.parts, at, at + 5) == 2
    assert document.title == "第一页"
    assert loaded.warnings == ("no text on slide 4: pictures?",)


def test_each_row_is_a_part_named_as_excel_shows_it() -> None:
    file = openpyxl.Workbook()
    sheet = file.active
    sheet.title = "价格"
    sheet.append(["Name", "Date", "Share", "Count"])
    sheet.append(["苹果\n红", datetime(2025, 3, 1), 0.125, 3])
    sheet["C2"].number_format = "0.0%"
    sheet.append([])
    sheet.append(["Pear", None, None, 0.1 + 0.2])
    other = file.create_sheet("Times, all")
    other["B3"] = True
    other["C3"] = datetime(2025, 3, 1, 12, 30)
    document = parse(_saved(file), "a.xlsx").document
    assert [part.name for part in document.parts] == [
        "价格, 1",
        "价格, 2",
        "价格, 4",
        "Times, all, 3",
    ]
    assert _texts(document) == [
        "Name | Date | Share | Count",
        "苹果 红 | 2025-03-01 | 12.5% | 3",
        "Pear |  |  | 0.3",
        " | TRUE | 2025-03-01 12:30:00",
    ]
    assert document.format == "rows"
    assert document.metadata["columns"] == {"价格": ["Name", "Date", "Share", "Count"]}
    at = document.text.index("Pear")
    assert part_of(document.parts, 0, at + 1) == "价格, rows 1-4"


def test_formulas_that_were_never_calculated_are_named() -> None:
    file = openpyxl.Workbook()
    file.active.append([1, 2])
    file.active.append(["Total", "=A1+B1"])
    loaded = parse(_saved(file), "a.xlsx")
    assert _texts(loaded.document) == ["1 | 2", "Total"]
    assert loaded.warnings == (
        "Sheet: formulas without a saved value in 1 row from 2 on. Open it in Excel and save it",
    )


@pytest.mark.parametrize("library", ["docx", "pptx", "openpyxl"])
def test_a_missing_library_is_named_with_the_extra_that_brings_it(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"docx": docx.Document, "pptx": pptx.Presentation, "openpyxl": openpyxl.Workbook}
    suffix = "xlsx" if library == "openpyxl" else library
    content = _saved(made[library]())
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(KnowledgeError, match=r'needs pip install "agentkit-rag\[office\]"'):
        parse(content, f"a.{suffix}")


def _compound(*streams: str) -> bytes:
    """A file of the container that old Office files, and encrypted new ones, stand in."""
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + struct.pack("<20xHH", 0x3E, 3)
    return head.ljust(512, b"\0") + b"".join(name.encode("utf-16-le") for name in streams)


@pytest.mark.parametrize("suffix", ["docx", "pptx", "xlsx"])
def test_encrypted_and_old_files_are_distinguished(suffix: str) -> None:
    with pytest.raises(KnowledgeError, match="encrypted: save it without a password"):
        parse(_compound("EncryptionInfo", "EncryptedPackage"), f"a.{suffix}")
    with pytest.raises(KnowledgeError, match=f"old format: save it as .{suffix}"):
        parse(_compound("WordDocument"), f"a.{suffix}")
    with pytest.raises(KnowledgeError, match=f"old format: save it as .{suffix}"):
        parse(_compound("WordDocument"), f"a.{suffix[:-1]}")


@pytest.mark.parametrize(
    ("suffix", "make"),
    [("docx", docx.Document), ("pptx", pptx.Presentation), ("xlsx", openpyxl.Workbook)],
)
def test_truncated_files_and_files_of_another_kind_are_damaged(suffix: str, make: Any) -> None:
    content = _saved(make())
    other = _saved(docx.Document() if suffix != "docx" else openpyxl.Workbook())
    for broken in (content[: len(content) // 2], other, b"", b"PK\x03\x04"):
        with pytest.raises(KnowledgeError, match=rf"^a\.{suffix}: damaged: open it in"):
            parse(broken, f"a.{suffix}")
