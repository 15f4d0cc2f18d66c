"""Office files with faults that Office ignores are read, with the metadata that they state."""

import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import Any

import docx
import openpyxl
import pptx
import pytest

from agentkit.knowledge.loaders.files import parse

Change = Callable[[dict[str, str]], None]
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
CORE = "http://schemas.openxmlformats.org/package/2006/relationships/metadata/core-properties"


def _word() -> Any:
    file = docx.Document()
    file.add_paragraph("The limit is 42 bar.")
    file.sections[0].header.paragraphs[0].text = "Pump manual"
    return file


def _slides() -> Any:
    file = pptx.Presentation()
    slide = file.slides.add_slide(file.slide_layouts[1])
    slide.placeholders[1].text = "The limit is 42 bar."
    return file


def _workbook() -> Any:
    file = openpyxl.Workbook()
    for row in (["Part", "Limit"], ["Pump", 42]):
        file.active.append(row)
    file.active["B2"].number_format = '0" bar"'
    return file


MAKERS: dict[str, Callable[[], Any]] = {"docx": _word, "pptx": _slides, "xlsx": _workbook}


def _changed(file: Any, change: Change) -> bytes:
    """A file whose parts, as Latin-1 text by name, were changed."""
    saved, written = BytesIO(), BytesIO()
    file.save(saved)
    with zipfile.ZipFile(saved) as archive:
        parts = {name: archive.read(name).decode("latin-1") for name in archive.namelist()}
    change(parts)
    with zipfile.ZipFile(written, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text.encode("latin-1"))
    return written.getvalue()


def _replace(part: str, old: str, new: str) -> Change:
    def change(parts: dict[str, str]) -> None:
        assert old in parts[part]
        parts[part] = parts[part].replace(old, new, 1)

    return change


def _relate(part: str, kind: str, target: str) -> Change:
    new = f'<Relationship Id="rId99" Type="{kind}" Target="{target}"/></Relationships>'
    return _replace(part, "</Relationships>", new)


def _remove(part: str) -> Change:
    return lambda parts: parts.__delitem__(part)


def _rename(old: str, new: str) -> Change:
    def change(parts: dict[str, str]) -> None:
        for name in [name for name in parts if old in name]:
            parts[name.replace(old, new)] = parts.pop(name)

    return change


WORD, SLIDE = "word/_rels/document.xml.rels", "ppt/slides/_rels/slide1.xml.rels"


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("docx", _relate(WORD, f"{OFFICE}/image", "media/image9.png")),
        ("docx", _relate(WORD, f"{OFFICE}/image", "../NULL")),
        ("docx", _relate(WORD, f"{OFFICE}/hyperlink", "#_top")),
        ("docx", _remove("word/header1.xml")),
        ("docx", _remove("word/styles.xml")),
        ("docx", _remove("word/numbering.xml")),
        ("docx", _relate("_rels/.rels", CORE, "docProps/core.xml")),
        ("docx", _rename("/", "\\")),
        ("docx", _rename("[Content_Types]", "[content_types]")),
        ("docx", _replace("[Content_Types].xml", 'Extension="jpeg"', 'Extension="odd"')),
        ("docx", _replace("[Content_Types].xml", "document.main+xml", "document.other+xml")),
        ("pptx", _relate(SLIDE, f"{OFFICE}/image", "NULL")),
        ("pptx", _remove("docProps/core.xml")),
        ("xlsx", _remove("xl/theme/theme1.xml")),
        ("xlsx", _rename("/worksheets/sheet", "/worksheets/Sheet")),
        ("xlsx", _replace("docProps/core.xml", "<dc:creator", "<")),
        ("xlsx", _replace("xl/styles.xml", "<fill>", "<fill/><fill>")),
        ("xlsx", _replace("xl/styles.xml", '<family val="2"/>', '<family val="34"/>')),
        ("xlsx", _replace("xl/styles.xml", '<cellStyle name="Normal"', "<cellStyle")),
        ("xlsx", _replace("xl/styles.xml", "<numFmt ", '<numFmt numFmtId="190"/><numFmt ')),
        ("xlsx", _replace("xl/workbook.xml", 'calcId="', 'calcMode="always" calcId="x')),
        ("xlsx", _replace("xl/workbook.xml", 'visibility="visible"', 'visibility="yes"')),
    ],
)
def test_a_fault_beside_the_text_does_not_refuse_the_file(kind: str, change: Change) -> None:
    assert "42 bar" in parse(_changed(MAKERS[kind](), change), f"a.{kind}").document.text


@pytest.mark.parametrize("kind", MAKERS)
def test_metadata_that_a_file_does_not_state_is_not_invented(kind: str) -> None:
    content = _changed(MAKERS[kind](), _remove("docProps/core.xml"))
    document = parse(content, f"manual.{kind}").document
    assert document.title == "manual"
    assert not {"title", "author", "date"} & set(document.metadata)


def test_a_date_that_is_none_leaves_the_other_metadata() -> None:
    file = _word()
    file.core_properties.author = "Ada"
    change = _replace("docProps/core.xml", "2013-12-23T23:15:00Z", "yesterday")
    metadata = parse(_changed(file, change), "a.docx").document.metadata
    assert metadata["author"] == "Ada"


def test_a_date_that_a_cell_writes_as_text_of_its_type_is_a_date() -> None:
    cell = '<c r="A1" t="d"><v>2024-03-01T00:00:00</v></c>'
    text = '<c r="A1" t="inlineStr"><is><t>Part</t></is></c>'
    change = _replace("xl/worksheets/sheet1.xml", text, cell)
    assert parse(_changed(_workbook(), change), "a.xlsx").document.text.startswith(
        "2024-03-01 | Limit"
    )


def test_a_style_that_a_paragraph_lacks_leaves_headers_and_notes_readable() -> None:
    change = _replace("word/header1.xml", 'w:val="Header"', 'w:val="Unknown"')

    def without_numbering(parts: dict[str, str]) -> None:
        change(parts)
        del parts["word/numbering.xml"]
        parts["word/header1.xml"] = parts["word/header1.xml"].replace(
            "<w:pStyle", '<w:numPr><w:numId w:val="1"/></w:numPr><w:pStyle'
        )

    assert (
        "Page header: Pump manual"
        in parse(_changed(_word(), without_numbering), "a.docx").document.text
    )


def test_comments_and_text_boxes_of_a_sheet_stand_at_the_end_of_their_row() -> None:
    file = _workbook()
    file.active["B2"].comment = openpyxl.comments.Comment("Tested at 20 °C", "Ada")
    file.active["A9"].comment = openpyxl.comments.Comment("Below the table", "Ada")
    space = "http://schemas.openxmlformats.org/drawingml/2006/"

    def with_box(parts: dict[str, str]) -> None:
        parts["xl/drawings/drawing1.xml"] = (
            f'<x:wsDr xmlns:x="{space}spreadsheetDrawing" xmlns:a="{space}main"><x:twoCellAnchor>'
            "<x:from><x:col>3</x:col><x:row>0</x:row></x:from><x:sp><x:txBody><a:p><a:r><a:t>Read"
            "</a:t></a:r></a:p><a:p><a:r><a:t>me</a:t></a:r></a:p></x:txBody></x:sp>"
            "</x:twoCellAnchor></x:wsDr>"
        )
        _relate(
            "xl/worksheets/_rels/sheet1.xml.rels", f"{OFFICE}/drawing", "/xl/drawings/drawing1.xml"
        )(parts)

    document = parse(_changed(file, with_box), "a.xlsx").document
    rows = {part.name: document.text[part.start : part.end] for part in document.parts}
    assert rows == {
        "Sheet, 1": "Part | Limit | Read me",
        "Sheet, 2": "Pump | 42 bar | Comment on B2: Tested at 20 °C",
        "Sheet, 9": "Comment on A9: Below the table",
    }
    assert document.metadata["columns"] == {"Sheet": ["Part", "Limit"]}
