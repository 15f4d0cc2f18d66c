"""PDF: paragraphs joined again, each page's text at its place, and why some cannot be read."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Frame, PageBreak, PageTemplate, Paragraph

from agentkit.documents import Document, page_of, part_of
from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.files import parse

pdfmetrics.registerFont(UnicodeCIDFont("STSong-Light"))
ENGLISH = ParagraphStyle("en", fontName="Times-Roman", fontSize=11, leading=14, spaceAfter=8)
CHINESE = ParagraphStyle(
    "zh", fontName="STSong-Light", fontSize=11, leading=16, wordWrap="CJK", spaceAfter=8
)
SENTENCES = (
    "The turbine of station {} was serviced in spring and runs at its nominal speed again. "
    "Every bearing was replaced, the casing was cleaned, and the sensors were calibrated "
    "against the reference of the national laboratory, which took nine days in all."
)
ZH = (
    "第{}号机组的轴承在春季检修时全部更换，传感器按照国家实验室的基准重新标定。"
    "检修历时九天，期间由备用机组供电，用户没有察觉任何中断，运行记录完整保存在档案室。"
)


def _pdf(*pages: Any, columns: int = 1, running: str = "", encryption: Any = None) -> bytes:
    """A PDF of pages, each a list of (style, text), with a running head and a page number."""
    buffer = BytesIO()

    def furniture(canvas: Any, document: Any) -> None:
        canvas.setFont("Helvetica", 8)
        canvas.drawString(72, A4[1] - 36, running)
        canvas.drawCentredString(A4[0] / 2, 28, f"- {document.page} -")

    width = (A4[0] - 144 - 14 * (columns - 1)) / columns
    frames = [
        Frame(72 + n * (width + 14), 72, width, A4[1] - 144, id=str(n)) for n in range(columns)
    ]
    template = PageTemplate(frames=frames, onPage=furniture if running else lambda *_: None)
    document = BaseDocTemplate(buffer, pagesize=A4, encrypt=encryption, title="Report of 2024")
    document.addPageTemplates(template)
    story = []
    for page in pages:
        story += [*(Paragraph(text, style) for style, text in page), PageBreak()]
    document.build(story)
    return buffer.getvalue()


def _drawn(draw: Any) -> bytes:
    buffer = BytesIO()
    canvas = Canvas(buffer, pagesize=A4)
    draw(canvas)
    canvas.save()
    return buffer.getvalue()


def _texts(document: Document) -> list[str]:
    return [document.text[part.start : part.end] for part in document.parts]


def test_every_page_is_a_part_that_holds_its_text() -> None:
    content = _pdf(
        *([(ENGLISH, SENTENCES.format(n)), (CHINESE, ZH.format(n))] for n in range(1, 4))
    )
    document = parse(content, "a.pdf").document
    assert [(part.kind, part.name) for part in document.parts] == [("page", n) for n in "123"]
    for number, text in enumerate(_texts(document), 1):
        assert text == f"{SENTENCES.format(number)}\n\n{ZH.format(number)}"
    at = document.text.index("station 2")
    assert page_of(document.parts, at, at + 5) == 2
    assert part_of(document.parts, 0, at) == "pages 1-2"
    assert document.title == "Report of 2024"
    assert document.format == "text"


def test_two_columns_are_read_one_after_the_other() -> None:
    texts = [SENTENCES.format(n) for n in range(26)]
    document = parse(_pdf([(ENGLISH, text) for text in texts], columns=2), "a.pdf").document
    assert " ".join(document.text.split()) == " ".join(texts)
    assert len(document.parts) == 2


def test_a_running_head_stays_once_and_page_numbers_go() -> None:
    pages = [[(ENGLISH, f"{SENTENCES.format(n)}")] for n in range(1, 6)]
    document = parse(_pdf(*pages, running="Annual report, confidential"), "a.pdf").document
    assert document.text.count("Annual report, confidential") == 1
    assert "- 3 -" not in document.text
    assert _texts(document)[2] == SENTENCES.format(3)


def test_a_paragraph_over_the_end_of_a_page_is_in_one_piece() -> None:
    lines = [
        (n, f"Line {n} of a long story that goes on and on over the end of") for n in range(90)
    ]

    def draw(canvas: Any) -> None:
        for page in (lines[:45], lines[45:]):
            for at, (_, line) in enumerate(page):
                canvas.drawString(72, 760 - 15 * at, line.replace("Line", "line"))
            canvas.showPage()

    document = parse(_drawn(draw), "a.pdf").document
    assert "\n" not in document.text
    first, second = document.parts
    assert document.text[first.end : second.start] == " "
    assert document.text[second.start :].startswith("line 45 ")


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["the exam-", "ple of a hyphen"], "the example of a hyphen"),
        (["the state-of-the-", "art of this year"], "the state-of-the-art of this year"),
        (["the winter in Baden-", "Baden was long"], "the winter in Baden-Baden was long"),
        (["the well-", "known author"], "the well-known author"),
        (["the time of COVID-", "19 and later"], "the time of COVID-19 and later"),
        (["from 1990-", "1995 in the north"], "from 1990-1995 in the north"),
        (["solar-powered or solar-", "powered"], "solar-powered or solar-powered"),
        (["one wind-farm or another wind-", "farm"], "one wind-farm or another wind-farm"),
        (["a word for a check-", "sum in use"], "a word for a checksum in use"),
        (["the first e-", "mail was long"], "the first e-mail was long"),
        (["a notebook and a note-", "book of them"], "a notebook and a notebook of them"),
        (["https://example.org/a-", "b/c.html for it"], "https://example.org/a-b/c.html for it"),
        (["see https://example.org/", "docs for it"], "see https://example.org/docs for it"),
        (
            ["the efficient office", "flattens waffles too"],
            "the efficient office flattens waffles too",
        ),
    ],
)  # fmt: skip
def test_a_hyphen_at_a_line_end_goes_only_where_it_breaks_one_word(
    lines: list[str], text: str
) -> None:
    def draw(canvas: Any) -> None:
        canvas.setFont("Courier", 10)
        for at, line in enumerate(lines):
            canvas.drawString(72, 700 - 12 * at, line)

    assert parse(_drawn(draw), "a.pdf").document.text == text


def test_the_rows_of_a_table_are_not_joined() -> None:
    def draw(canvas: Any) -> None:
        for at, row in enumerate([("Name", "Price"), ("Apple", "3.20"), ("Pear", "2.10")]):
            canvas.drawString(72, 700 - 14 * at, row[0])
            canvas.drawString(300, 700 - 14 * at, row[1])

    assert parse(_drawn(draw), "a.pdf").document.text == "Name\tPrice\nApple\t3.20\nPear\t2.10"


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (
            [["Plant", "2023", "2024"], ["Ulm", "1 2", "13"], ["Bonn", "", "9"], ["Kiel", "5", ""]],
            "Plant\t2023\t2024\nUlm\t1 2\t13\nBonn\t\t9\nKiel\t5\t",
        ),
        (
            [["", "Output of", "years"], ["Ulm", "1", "2"], ["", "3", ""], ["Kiel", "", "4"]],
            "\tOutput of\tyears\nUlm\t1\t2\n\t3\t\nKiel\t\t4",
        ),
    ],
)  # fmt: skip
def test_an_empty_cell_keeps_its_column(rows: list[list[str]], text: str) -> None:
    def draw(canvas: Any) -> None:
        canvas.setFont("Helvetica", 10)
        for at, row in enumerate(rows):
            for x, cell in zip((60, 250, 330), row, strict=True):
                canvas.drawString(x, 700 - 16 * at, cell)

    assert parse(_drawn(draw), "a.pdf").document.text == text


def test_a_head_over_two_columns_stands_over_each() -> None:
    def draw(canvas: Any) -> None:
        canvas.drawString(60, 716, "Plant")
        canvas.drawString(240, 716, "Output in 2023")
        for at, row in enumerate([("", "Q1", "Q2"), ("Ulm", "100", "200"), ("Bonn", "30", "40")]):
            for x, cell in zip((60, 210, 330), row, strict=True):
                canvas.drawString(x, 700 - 16 * at, cell)

    text = parse(_drawn(draw), "a.pdf").document.text
    assert text.splitlines()[0] == "Plant\tOutput in 2023\tOutput in 2023"


def test_columns_that_are_drawn_row_by_row_are_read_one_after_the_other() -> None:
    left = [f"the left column goes on with line {n}" for n in range(8)]
    right = [f"and the right one has its line {n} here" for n in range(8)]

    def draw(canvas: Any) -> None:
        for at, (one, other) in enumerate(zip(left, right, strict=True)):
            canvas.drawString(60, 700 - 14 * at, one)
            canvas.drawString(320, 700 - 14 * at, other)

    text = " ".join(parse(_drawn(draw), "a.pdf").document.text.split())
    assert text == " ".join([*left, *right])


@pytest.mark.parametrize("turned", [True, False])
@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_text_that_is_turned_is_read_upright(rotation: int, turned: bool) -> None:
    def draw(canvas: Any) -> None:
        canvas.setPageSize((800, 800))
        if turned:
            canvas.setPageRotation(rotation)
        canvas.translate(*{90: (800, 0), 180: (800, 800), 270: (0, 800)}[rotation])
        canvas.rotate(rotation)
        for at, row in enumerate([("Name", "Price"), ("Apple", "3.20"), ("", "2.10")]):
            canvas.drawString(72, 400 - 14 * at, row[0])
            canvas.drawString(300, 400 - 14 * at, row[1])

    assert parse(_drawn(draw), "a.pdf").document.text == "Name\tPrice\nApple\t3.20\n\t2.10"


def test_raised_and_lowered_characters_are_marked() -> None:
    def draw(canvas: Any) -> None:
        for y, (before, shifted, rise, after) in zip(
            (700, 600, 500, 400),
            [
                ("Limit 10", "6", 5, " cells"),
                ("The pump", "3", 5, " is new."),
                ("CO", "2", -3, " falls"),
                ("Limit 10", "6", 6, " cells"),
            ],
            strict=True,
        ):
            text = canvas.beginText(72, y)
            small = 12 if rise == 6 else 8
            for size, lift, piece in ((12, 0, before), (small, rise, shifted), (12, 0, after)):
                text.setFont("Helvetica", size)
                text.setRise(lift)
                text.textOut(piece)
            canvas.drawText(text)

    text = parse(_drawn(draw), "a.pdf").document.text
    assert text.split("\n\n") == [
        "Limit 10^6 cells",
        "The pump[^3] is new.",
        "CO_2 falls",
        "Limit 10^6 cells",
    ]


def test_text_that_no_reader_sees_is_left_out() -> None:
    def draw(canvas: Any) -> None:
        canvas.drawString(72, 750, "seen")
        canvas.drawString(72, -50, "below the page")
        canvas.drawString(900, 700, "beside the page")
        hidden = canvas.beginText(72, 650)
        hidden.setTextRenderMode(3)
        hidden.textOut("invisible")
        canvas.drawText(hidden)
        canvas.setFont("Helvetica", 0.5)
        canvas.drawString(72, 620, "too small")
        canvas.setFont("Helvetica", 12)
        canvas.setFillColorRGB(1, 1, 1)
        canvas.drawString(72, 600, "white on white")
        canvas.setFillColorRGB(0, 0, 0.5)
        canvas.rect(60, 490, 300, 30, fill=1)
        canvas.setFillColorRGB(1, 1, 1)
        canvas.drawString(72, 500, "white on blue")

    assert parse(_drawn(draw), "a.pdf").document.text == "seen\n\nwhite on blue"


def test_white_text_with_an_outline_is_read() -> None:
    def draw(canvas: Any) -> None:
        canvas.saveState()
        path = canvas.beginText(72, 700)
        path.setFont("Helvetica", 30)
        path.setTextRenderMode(2)
        path.setFillColorRGB(1, 1, 1)
        path.setStrokeColorRGB(0, 0, 0)
        path.textOut("outlined")
        canvas.drawText(path)

    assert parse(_drawn(draw), "a.pdf").document.text == "outlined"


def test_characters_beyond_the_basic_plane_are_whole() -> None:
    content = _raw_pdf(
        "BT /F1 20 Tf 72 700 Td <010203> Tj ET", "<01> <d835dc4e> <02> <d842dfb7> <03> <0078>"
    )
    assert parse(content, "a.pdf").document.text == "\U0001d44e\U00020bb7x"


@pytest.mark.parametrize(
    ("font", "codes", "text"),
    [
        ("Symbol", "f0b3 f061 f02b", "≥α+"),
        ("Wingdings-Regular", "f0fe f0e0", "☑→"),
        ("ABCDEF+Frutiger", "f041 f062 f0b7", "Ab•"),
    ],
)
def test_the_private_codes_of_symbol_fonts_are_read(font: str, codes: str, text: str) -> None:
    pairs = " ".join(f"<{at:02x}> <{code}>" for at, code in enumerate(codes.split(), 65))
    shown = "".join(f"{at:02x}" for at in range(65, 65 + len(text)))
    drawing = f"BT /F1 20 Tf 72 700 Td <{shown}> Tj ET"
    assert parse(_raw_pdf(drawing, pairs, font=font), "a.pdf").document.text == text


def test_a_page_whose_fonts_tell_no_characters_is_named() -> None:
    codes = "".join(f"{code:02x}" for code in [*range(3, 9), *range(14, 20)] * 8)
    loaded = parse(
        _raw_pdf(f"BT /F1 8 Tf 72 600 Td (Name) Tj 0 -40 Td <{codes}> Tj ET", ""), "a.pdf"
    )
    assert any(
        line.startswith("page 1 holds text in unknown characters") for line in loaded.warnings
    )


@pytest.mark.parametrize("box", [(0, 0, 595, 842), (0, 0, 2000, 1500)])
def test_a_page_takes_its_box_from_the_node_above_it(box: tuple[int, ...]) -> None:
    y = box[3] - 20
    content = _raw_pdf(f"BT /F1 12 Tf 72 {y} Td (At the top) Tj ET", "", box)
    assert parse(content, "a.pdf").document.text == "At the top"


def _raw_pdf(
    drawing: str,
    unicode: str,
    box: Sequence[int] = (0, 0, 600, 800),
    font: str = "Helvetica",
) -> bytes:
    """A page whose box stands in the node above it, in a font with the pairs of code and character
    of `unicode`."""
    pairs = unicode.split()
    mapped = f"{len(pairs) // 2} beginbfchar {unicode} endbfchar" if pairs else ""
    table = (
        "/CIDInit /ProcSet findresource begin begincmap /CMapName /X def "
        f"1 begincodespacerange <00> <ff> endcodespacerange {mapped} endcmap"
    )
    to_unicode = "/ToUnicode 6 0 R" if pairs else ""
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [3 0 R] /Count 1 /MediaBox [{' '.join(map(str, box))}] >>",
        "<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(drawing)} >> stream\n{drawing}\nendstream",
        f"<< /Type /Font /Subtype /Type1 /BaseFont /{font} {to_unicode} >>",
        f"<< /Length {len(table)} >> stream\n{table}\nendstream",
    ]
    body = "".join(f"{at} 0 obj {text} endobj\n" for at, text in enumerate(objects, 1))
    return f"%PDF-1.7\n{body}trailer << /Root 1 0 R >>\n%%EOF".encode()


def test_text_that_is_printed_again_to_make_it_bold_is_read_once() -> None:
    def draw(canvas: Any) -> None:
        for shift in (0, 0.3, 0.6):
            canvas.drawString(72 + shift, 700, "Annual report of the port")
        canvas.drawString(72, 650, "Share code: 300218")
        before = canvas.stringWidth("Share code: ", "Helvetica", 12)
        canvas.drawString(72.3 + before, 650, "300218")

    assert parse(_drawn(draw), "a.pdf").document.text.split("\n\n") == [
        "Annual report of the port",
        "Share code: 300218",
    ]


def test_slanted_and_small_text_on_a_line_is_neither_raised_nor_lowered() -> None:
    def draw(canvas: Any) -> None:
        canvas.drawString(72, 700, "Working papers")
        canvas.setFont("Helvetica", 8)
        canvas.drawString(160, 700, "ISSN 1535-6078")
        canvas.setFont("Helvetica", 12)
        canvas.translate(200, 400)
        canvas.rotate(35)
        canvas.drawString(0, 0, "18 March 2012")

    text = parse(_drawn(draw), "a.pdf").document.text
    assert " ".join(text.split()) == "Working papers ISSN 1535-6078 18 March 2012"


def test_the_hidden_text_of_a_scan_is_read() -> None:
    def draw(canvas: Any) -> None:
        canvas.drawInlineImage(Image.new("L", (20, 20)), 0, 0, *A4)
        hidden = canvas.beginText(72, 650)
        hidden.setTextRenderMode(3)
        hidden.textOut("recognised before")
        canvas.drawText(hidden)

    assert parse(_drawn(draw), "a.pdf").document.text == "recognised before"


def test_lines_of_code_among_prose_are_not_joined() -> None:
    def draw(canvas: Any) -> None:
        canvas.setFont("Courier", 10)
        for at, line in enumerate(["make build all", "make check all"]):
            canvas.drawString(72, 700 - 12 * at, line)
        canvas.setFont("Times-Roman", 10)
        for at in range(3):
            canvas.drawString(72, 600 - 12 * at, "prose that goes on to the end of the line and")

    prose = " ".join(["prose that goes on to the end of the line and"] * 3)
    document = parse(_drawn(draw), "a.pdf").document
    assert document.text == f"make build all\nmake check all\n\n{prose}"


def test_numbers_that_differ_from_page_to_page_are_no_running_head() -> None:
    def draw(canvas: Any) -> None:
        for value in (17, 4, 98, 55):
            canvas.drawString(72, 800, f"{value} units sold in this quarter")
            canvas.showPage()

    document = parse(_drawn(draw), "a.pdf").document
    assert _texts(document) == [f"{n} units sold in this quarter" for n in (17, 4, 98, 55)]


def test_the_outline_gives_the_headings_and_other_text_is_no_markup() -> None:
    def draw(canvas: Any) -> None:
        for number, title in enumerate(("Introduction", "研究方法"), 1):
            canvas.bookmarkPage(title)
            canvas.addOutlineEntry(title, title, level=0)
            canvas.setFont("STSong-Light", 16)
            canvas.drawString(72, 760, title)
            canvas.setFont("Helvetica", 10)
            canvas.drawString(72, 720, f"# comment {number}")
            canvas.showPage()

    document = parse(_drawn(draw), "a.pdf").document
    assert document.format == "markdown"
    assert _texts(document) == [
        "# Introduction\n\n\\# comment 1",
        "# 研究方法\n\n\\# comment 2",
    ]


def test_an_encrypted_file_is_named_so() -> None:
    content = _pdf([(ENGLISH, "secret")], encryption=StandardEncryption("user", "owner"))
    with pytest.raises(KnowledgeError, match=r"^a\.pdf: encrypted: save it without a password$"):
        parse(content, "a.pdf")


def test_a_scan_is_refused_and_scanned_pages_among_others_are_named() -> None:
    def scan(canvas: Any, pages: int = 2) -> None:
        for _ in range(pages):
            canvas.drawInlineImage(Image.new("L", (20, 20)), 72, 72, 400, 600)
            canvas.showPage()

    def mixed(canvas: Any) -> None:
        canvas.drawString(72, 700, "A page of text.")
        canvas.showPage()
        canvas.showPage()
        scan(canvas)
        canvas.drawString(72, 700, "Another.")

    with pytest.raises(KnowledgeError, match=r"scanned: no text on its pages\. .*OCR"):
        parse(_drawn(scan), "a.pdf")
    loaded = parse(_drawn(mixed), "a.pdf")
    assert loaded.warnings[0].startswith("pages 3-4 hold no text: scanned?")
    assert _texts(loaded.document) == ["A page of text.", "", "", "", "Another."]


def test_damaged_files_say_so() -> None:
    content = _pdf([(ENGLISH, "text")])
    with pytest.raises(KnowledgeError, match="damaged"):
        parse(content[:200], "a.pdf")
    with pytest.raises(KnowledgeError, match="not a PDF"):
        parse(b"<html>an error page</html>", "a.pdf")


def test_a_raised_sign_behind_a_lowered_one_is_on_the_same_line() -> None:
    def draw(canvas: Any) -> None:
        text = canvas.beginText(72, 700)
        for size, lift, piece in ((12, 0, "SO"), (8, -3, "4"), (8, 5, "2-"), (12, 0, " ions")):
            text.setFont("Helvetica", size)
            text.setRise(lift)
            text.textOut(piece)
        canvas.drawText(text)

    assert parse(_drawn(draw), "a.pdf").document.text == "SO_4^(2-) ions"
