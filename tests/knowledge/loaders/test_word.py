"""Word files as Word shows them: numbers, formulas, raised characters, merged cells, charts."""

import re
import zipfile
from io import BytesIO
from typing import Any

import docx
import pytest
from docx.opc.packuri import PackURI
from docx.opc.part import Part as FilePart
from docx.oxml import parse_xml

from agentkit.knowledge.loaders.files import Loaded, parse

NAMESPACES = (
    'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
    'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" '
    'xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart" '
    'xmlns:w14="http://schemas.microsoft.com/office/word/2010/wordml"'
)
CHART = (
    f"<c:chartSpace {NAMESPACES}><c:chart><c:title><c:tx><c:strRef><c:strCache>"
    '<c:pt idx="0"><c:v>Sales</c:v>'
    "</c:pt></c:strCache></c:strRef></c:tx></c:title><c:plotArea><c:barChart><c:ser><c:tx><c:v>Q1"
    '</c:v></c:tx><c:cat><c:strRef><c:strCache><c:pt idx="0"><c:v>East</c:v></c:pt></c:strCache>'
    '</c:strRef></c:cat><c:val><c:numRef><c:numCache><c:pt idx="0"><c:v>1.5</c:v></c:pt>'
    "</c:numCache></c:numRef></c:val></c:ser></c:barChart></c:plotArea></c:chart></c:chartSpace>"
)


def _bytes(file: Any) -> bytes:
    buffer = BytesIO()
    file.save(buffer)
    return buffer.getvalue()


def _loaded(*blocks: str) -> Loaded:
    file = docx.Document()
    for at, block in enumerate(blocks):
        file.element.body.insert(at, parse_xml(block.replace(">", f" {NAMESPACES}>", 1)))
    return parse(_bytes(file), "a.docx")


def _text(inner: str) -> str:
    return _loaded(f"<w:p>{inner}</w:p>").document.text


def _run(text: str, properties: str = "") -> str:
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


SUPER, SUB = '<w:vertAlign w:val="superscript"/>', '<w:vertAlign w:val="subscript"/>'


@pytest.mark.parametrize(
    ("inner", "text"),
    [
        (_run("10") + _run("6", SUPER) + _run(" cells"), "10^6 cells"),
        (_run("10") + _run("1", SUPER) + _run("2", SUPER), "10^12"),
        (_run("10") + _run("6", SUPER) + _run(" ", SUPER) + _run("m"), "10^6 m"),
        (_run("x") + _run("6", '<w:position w:val="12"/>'), "x^6"),
        (_run("H") + _run("2", SUB) + _run("O"), "H_2O"),
        (_run("9 EUR ", "<w:strike/>") + _run("8 EUR"), "8 EUR"),
        (_run("9 ", "<w:dstrike/>") + _run("8"), "8"),
        (_run("9 ", '<w:strike w:val="0"/>') + _run("8"), "9 8"),
        (_run("secret ", "<w:vanish/>") + _run("open"), "open"),
        ('<w:r><w:sym w:font="Symbol" w:char="F061"/></w:r>' + _run(" = 5"), "α = 5"),
        ('<w:r><w:sym w:font="Wingdings" w:char="F0FC"/></w:r>' + _run(" paid"), "✓ paid"),
        (
            "<w:r><w:ruby><w:rt><w:r><w:t>かんじ</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>漢字</w:t>"
            "</w:r></w:rubyBase></w:ruby></w:r>",
            "漢字(かんじ)",
        ),
        (
            '<w:sdt><w:sdtPr><w14:checkbox><w14:checked w14:val="1"/></w14:checkbox></w:sdtPr>'
            f"<w:sdtContent>{_run('☒')}</w:sdtContent></w:sdt>{_run(' paid')}",
            "[x] paid",
        ),
        (
            '<w:r><w:fldChar w:fldCharType="begin"><w:ffData><w:checkBox><w:default w:val="0"/>'
            f"</w:checkBox></w:ffData></w:fldChar></w:r>{_run(' open')}",
            "[ ] open",
        ),
        (
            '<w:r><w:fldChar w:fldCharType="begin"><w:ffData><w:ddList><w:result w:val="1"/>'
            '<w:listEntry w:val="no"/><w:listEntry w:val="yes"/></w:ddList></w:ffData></w:fldChar>'
            f"</w:r>{_run(' indeed')}",
            "yes indeed",
        ),
        (
            f"{_run('Take ')}<m:oMath><m:f><m:num><m:r><m:t>1</m:t></m:r></m:num><m:den><m:r>"
            f"<m:t>2</m:t></m:r></m:den></m:f></m:oMath>{_run(' a day')}",
            r"Take $\frac{1}{2}$ a day",
        ),
    ],
)
def test_what_plain_text_lacks_is_written(inner: str, text: str) -> None:
    assert _text(inner) == text


def test_a_style_raises_strikes_and_hides() -> None:
    file = docx.Document()
    for name, properties in [("Power", SUPER), ("Old", "<w:strike/>")]:
        file.styles.element.append(
            parse_xml(
                f'<w:style {NAMESPACES} w:type="character" w:styleId="{name}">'
                f'<w:name w:val="{name}"/><w:rPr>{properties}</w:rPr></w:style>'
            )
        )
    runs = (
        _run("10") + _run("6", '<w:rStyle w:val="Power"/>') + _run(" 9", '<w:rStyle w:val="Old"/>')
    )
    file.element.body.insert(0, parse_xml(f"<w:p {NAMESPACES}>{runs}</w:p>"))
    assert parse(_bytes(file), "a.docx").document.text == "10^6"


LEVELS = "".join(
    f'<w:lvl w:ilvl="{depth}"><w:start w:val="1"/><w:numFmt w:val="{kind}"/>'
    f'<w:lvlText w:val="{text}"/></w:lvl>'
    for depth, (kind, text) in enumerate(
        [("decimal", "%1"), ("decimal", "%1.%2"), ("lowerLetter", "(%3)"), ("upperRoman", "%4.")]
    )
)


def _numbered(*items: tuple[int, int, str], style: str = "") -> str:
    """The text of numbered paragraphs: (list, depth, text). List 2 begins the first one anew."""
    file = docx.Document()
    root = file.part.numbering_part.element
    numbering = [
        f'<w:abstractNum {NAMESPACES} w:abstractNumId="90">{LEVELS}</w:abstractNum>',
        f'<w:num {NAMESPACES} w:numId="91"><w:abstractNumId w:val="90"/></w:num>',
        f'<w:num {NAMESPACES} w:numId="92"><w:abstractNumId w:val="90"/><w:lvlOverride w:ilvl="0">'
        '<w:startOverride w:val="5"/></w:lvlOverride></w:num>',
    ]
    for element in numbering:
        root.append(parse_xml(element))
    for at, (number, depth, text) in enumerate(items):
        properties = (
            f'<w:pPr>{style}<w:numPr><w:ilvl w:val="{depth}"/><w:numId w:val="9{number}"/>'
            "</w:numPr></w:pPr>"
        )
        paragraph = f"<w:p {NAMESPACES}>{properties}{_run(text)}</w:p>"
        file.element.body.insert(at, parse_xml(paragraph))
    return parse(_bytes(file), "a.docx").document.text


def test_items_have_the_numbers_and_letters_that_word_shows() -> None:
    text = _numbered(
        (1, 0, "Scope"), (1, 0, "Rules"), (1, 1, "Limits"), (1, 2, "one"), (1, 2, "two"),
        (1, 1, "Costs"), (1, 2, "three"), (1, 3, "roman"), (2, 0, "anew"),
    )  # fmt: skip
    assert [line.strip() for line in text.splitlines()] == [
        "- 1 Scope", "- 2 Rules", "- 2.1 Limits", "- (a) one", "- (b) two", "- 2.2 Costs",
        "- (a) three", "- I. roman", "- 5 anew",
    ]  # fmt: skip


def test_a_numbered_heading_has_its_number() -> None:
    style = '<w:outlineLvl w:val="1"/>'
    text = _numbered((1, 0, "Rules"), (1, 1, "Limits"), style=style)
    assert text == "## 1 Rules\n\n## 1.1 Limits"


def _cell(text: str, properties: str = "") -> str:
    return f"<w:tc><w:tcPr>{properties}</w:tcPr><w:p>{_run(text)}</w:p></w:tc>"


def _row(*cells: str, properties: str = "") -> str:
    return f"<w:tr><w:trPr>{properties}</w:trPr>{''.join(cells)}</w:tr>"


TWO, DOWN, AGAIN = '<w:gridSpan w:val="2"/>', '<w:vMerge w:val="restart"/>', "<w:vMerge/>"


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        (
            [_row(_cell("A"), _cell("B")), _row(_cell("x", DOWN), _cell("1")),
             _row(_cell("", AGAIN), _cell("2"))],
            ["| A | B |", "| x | 1 |", "| x | 2 |"],
        ),
        (
            [_row(_cell("Plant", DOWN), _cell("2023", TWO)),
             _row(_cell("", AGAIN), _cell("Q1"), _cell("Q2")),
             _row(_cell("Ulm"), _cell("1"), _cell("2"))],
            ["| Plant | 2023 Q1 | 2023 Q2 |", "| Ulm | 1 | 2 |"],
        ),
        (
            [_row(_cell("Title", TWO)), _row(_cell("A"), _cell("B")),
             _row(_cell("1"), _cell("2"))],
            ["Title", "| A | B |", "| 1 | 2 |"],
        ),
        (
            [_row(_cell("A"), _cell("B")), _row(_cell("1"), _cell("2"), properties="<w:del/>"),
             _row(_cell("3"), _cell("4"))],
            ["| A | B |", "| 3 | 4 |"],
        ),
        (
            [_row(_cell("A"), _cell("B")),
             _row(_cell("4"), properties='<w:gridBefore w:val="1"/>'),
             _row(_cell("5"), _cell("6"))],
            ["| A | B |", "|  | 4 |", "| 5 | 6 |"],
        ),
    ],
)  # fmt: skip
def test_each_row_of_a_table_holds_its_merged_values(rows: list[str], lines: list[str]) -> None:
    text = _loaded(f"<w:tbl>{''.join(rows)}</w:tbl>").document.text
    assert [line for line in text.splitlines() if line and "---" not in line] == lines


def test_page_headers_and_footers_come_once_and_without_page_numbers() -> None:
    file = docx.Document()
    file.add_heading("Contract", 1)
    file.add_section()
    for section in file.sections:
        section.header.is_linked_to_previous = section.footer.is_linked_to_previous = False
        section.header.paragraphs[0].text = "ACME, confidential"
        section.footer.paragraphs[0].text = "3"
    text = parse(_bytes(file), "a.docx").document.text
    assert text == "Page header: ACME, confidential\n\n# Contract"


@pytest.mark.parametrize(
    ("chart", "text", "warnings"),
    [
        (CHART, "Before\n\nSales\n\n|  | Q1 |\n| --- | --- |\n| East | 1.5 |", ()),
        ("<broken", "Before", ("a chart that cannot be read was left out",)),
    ],
)
def test_a_chart_is_its_data_and_a_broken_one_costs_itself_only(
    chart: str, text: str, warnings: tuple[str, ...]
) -> None:
    file = docx.Document()
    kind = "application/vnd.openxmlformats-officedocument.drawingml.chart+xml"
    part = FilePart(PackURI("/word/charts/chart1.xml"), kind, chart.encode(), file.part.package)
    relation = file.part.relate_to(part, "http://example.org/chart")
    drawing = f'<w:r><w:drawing><c:chart r:id="{relation}"/></w:drawing></w:r>'
    paragraph = f"<w:p {NAMESPACES}>{_run('Before')}{drawing}</w:p>"
    file.element.body.insert(0, parse_xml(paragraph))
    loaded = parse(_bytes(file), "a.docx")
    assert (loaded.document.text, loaded.warnings) == (text, warnings)


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        ("docx", "vnd.openxmlformats-officedocument.wordprocessingml.template.main+xml"),
        ("dotx", "vnd.openxmlformats-officedocument.wordprocessingml.template.main+xml"),
        ("docm", "vnd.ms-word.document.macroEnabled.main+xml"),
        ("dotm", "vnd.ms-word.template.macroEnabledTemplate.main+xml"),
    ],
)
def test_templates_and_files_with_macros_are_read(suffix: str, kind: str) -> None:
    file = docx.Document()
    file.add_heading("Form", 1)
    usual = b"vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    changed = BytesIO()
    with zipfile.ZipFile(BytesIO(_bytes(file))) as archive, zipfile.ZipFile(changed, "w") as copy:
        for name in archive.namelist():
            copy.writestr(name, archive.read(name).replace(usual, kind.encode()))
    assert parse(changed.getvalue(), f"a.{suffix}").document.text == "# Form"


def test_a_file_in_iso_strict_is_read() -> None:
    file = docx.Document()
    file.add_heading("Strict", 1)
    strict = BytesIO()
    with zipfile.ZipFile(BytesIO(_bytes(file))) as archive, zipfile.ZipFile(strict, "w") as copy:
        for name in archive.namelist():
            data = archive.read(name)
            if name.endswith((".xml", ".rels")):
                data = re.sub(
                    rb"http://schemas\.openxmlformats\.org/(?!package)(\w+)/2006/",
                    rb"http://purl.oclc.org/ooxml/\1/",
                    data,
                )
            copy.writestr(name, data)
    assert parse(strict.getvalue(), "a.docx").document.text == "# Strict"


@pytest.mark.parametrize(
    ("instruction", "text"),
    [
        (r"EQ \f(1,2)", r"take $\frac{1}{2}$ a day"),
        (r"EQ \r(3,8)", r"take $\sqrt[3]{8}$ a day"),
        (r"EQ \r(;16)", r"take $\sqrt{16}$ a day"),
        (r"eq 10\s\up5(6)", "take 10^6 a day"),
        (r"EQ x\s\do5(1)", "take x_1 a day"),
        (
            r'EQ \* jc2 \* "Font:MS Mincho" \* hps10 \o\ad(\s\up 9(かんじ),漢字)',
            "take 漢字(かんじ) a day",
        ),
        (r"EQ \o\ac(○,5)", "take 5 a day"),
        (r"EQ \f(\f(1,2),3)", r"take $\frac{\frac{1}{2}}{3}$ a day"),
        (r"PAGEREF _Toc1 \h", "take  a day"),
    ],
)
def test_what_an_equation_field_draws_is_written(instruction: str, text: str) -> None:
    field = "".join(
        f"<w:r>{mark}</w:r>"
        for mark in (
            '<w:fldChar w:fldCharType="begin"/>',
            f"<w:instrText>{instruction}</w:instrText>",
            '<w:fldChar w:fldCharType="end"/>',
        )
    )
    assert _text(_run("take ") + field + _run(" a day")) == text


def test_cells_that_old_files_merge_hold_one_value_and_deleted_ones_none() -> None:
    def cell(text: str, properties: str = "") -> str:
        return f"<w:tc><w:tcPr>{properties}</w:tcPr><w:p>{_run(text)}</w:p></w:tc>"

    rows = [
        cell("A") + cell("B") + cell("C"),
        cell("x") + cell("both", '<w:hMerge w:val="restart"/>') + cell("", "<w:hMerge/>"),
        cell("y") + cell("gone", '<w:cellDel w:id="1"/>') + cell("1") + cell("2"),
    ]
    table = "".join(f"<w:tr>{row}</w:tr>" for row in rows)
    assert _loaded(f"<w:tbl>{table}</w:tbl>").document.text.splitlines()[2:] == [
        "| x | both | both |",
        "| y | 1 | 2 |",
    ]


def _embedding(name: str, kind: str, content: bytes, markup: str) -> Loaded:
    """A file with a part and, between two paragraphs, markup that names its relation."""
    file = docx.Document()
    part = FilePart(PackURI(f"/word/{name}"), kind, content, file.part.package)
    relation = file.part.relate_to(part, f"http://example.org/{name}")
    for at, text in enumerate(("before", "after")):
        file.element.body.insert(at, parse_xml(f"<w:p {NAMESPACES}>{_run(text)}</w:p>"))
    file.element.body.insert(1, parse_xml(markup.format(id=relation, names=NAMESPACES)))
    return parse(_bytes(file), "a.docx")


MAIN = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"


@pytest.mark.parametrize(
    ("name", "kind", "content", "text"),
    [
        ("a.html", "text/html", b"<h2>Part</h2><p>10<sup>6</sup></p>", "## Part\n\n10^6"),
        ("a.txt", "text/plain", b"9 EUR", "9 EUR"),
        ("a.docx", MAIN, b"", "| A | B |\n| --- | --- |\n| 1 | 2 |"),
    ],
)
def test_a_document_that_is_embedded_as_text_is_read(
    name: str, kind: str, content: bytes, text: str
) -> None:
    if kind == MAIN:
        inner = docx.Document()
        table = inner.add_table(2, 2)
        for at, value in enumerate("AB12"):
            table.cell(at // 2, at % 2).text = value
        content = _bytes(inner)
    loaded = _embedding(name, kind, content, '<w:altChunk {names} r:id="{id}"/>')
    assert loaded.document.text == f"before\n\n{text}\n\nafter"


def test_an_embedded_part_that_is_not_read_is_named() -> None:
    loaded = _embedding("a.bin", "application/x-other", b"", '<w:altChunk {names} r:id="{id}"/>')
    assert loaded.warnings == ("an embedded part (application/x-other) was left out",)


def test_the_text_of_a_drawing_of_smartart_is_a_list() -> None:
    namespace = "http://schemas.openxmlformats.org/drawingml/2006/main"
    points = "".join(
        f"<a:p><a:r><a:t>{first}</a:t></a:r><a:r><a:t>{rest}</a:t></a:r></a:p>"
        for first, rest in (("Pl", "an"), ("Bu", "ild"))
    )
    content = f'<d xmlns:a="{namespace}">{points}</d>'.encode()
    markup = (
        "<w:p {names}><w:r><w:drawing><dgm:relIds r:dm='{id}' "
        "xmlns:dgm='http://schemas.openxmlformats.org/drawingml/2006/diagram'/></w:drawing></w:r></w:p>"
    )
    text = _embedding("d.xml", "application/xml", content, markup).document.text
    assert text == "before\n\n- Plan\n- Build\n\nafter"
