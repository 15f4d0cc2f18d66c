"""Tables of PDF files that have ruling lines: each value in its row and column."""

from io import BytesIO
from typing import Any

import pytest
from reportlab.lib import colors
from reportlab.lib.enums import TA_JUSTIFY
from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph, SimpleDocTemplate, Table

from agentkit.knowledge.loaders.files import parse

GRID = ("GRID", (0, 0), (-1, -1), 0.5, colors.black)
BODY = getSampleStyleSheet()["BodyText"]


def _text(rows: Any, *style: Any, widths: Any = None, around: tuple[str, str] = ("", "")) -> str:
    buffer = BytesIO()
    before, after = (Paragraph(text, BODY) for text in around)
    table = Table(rows, colWidths=widths, style=[GRID, *style])
    SimpleDocTemplate(buffer).build([before, table, after])
    return parse(buffer.getvalue(), "a.pdf").document.text


ROWS = [["Plant", "2023", "2024"], ["Pump works Ulm", "1 200", "1 350"], ["Valves", "", "90"],
        ["Seals", "15", ""]]  # fmt: skip
READ = "Plant\t2023\t2024\nPump works Ulm\t1 200\t1 350\nValves\t\t90\nSeals\t15\t"


@pytest.mark.parametrize("widths", [None, [150, 80, 80], [90, 40, 40]])
@pytest.mark.parametrize("align", ["LEFT", "CENTER", "RIGHT"])
def test_a_value_stands_in_the_column_of_its_cell(widths: Any, align: str) -> None:
    assert _text(ROWS, ("ALIGN", (1, 0), (-1, -1), align), widths=widths) == READ


def test_the_text_around_a_table_stays_around_it() -> None:
    text = _text(ROWS, around=("The plants in two years.", "All values are in tons."))
    assert text == f"The plants in two years.\n\n{READ}\n\nAll values are in tons."


def test_a_text_that_wraps_in_its_cell_is_one_value() -> None:
    long = "A description that wraps over several lines in its cell of the table"
    rows = [["Item", "Description", "Price"], ["Pump", Paragraph(long, BODY), "420"],
            ["Valve", Paragraph("Short", BODY), ""]]  # fmt: skip
    assert _text(rows, widths=[60, 120, 60]) == (
        f"Item\tDescription\tPrice\nPump\t{long}\t420\nValve\tShort\t"
    )


def test_a_merged_cell_repeats_its_value_and_a_head_of_two_rows_is_joined() -> None:
    rows = [["Plant", "2023", "", "2024", ""], ["", "Q1", "Q2", "Q1", "Q2"],
            ["Ulm", "1", "2", "3", "4"], ["", "5", "6", "7", "8"]]  # fmt: skip
    spans = [(0, 0, 0, 1), (1, 0, 2, 0), (3, 0, 4, 0), (0, 2, 0, 3)]
    style = [("SPAN", (a, b), (c, d)) for a, b, c, d in spans]
    middle = ("VALIGN", (0, 0), (-1, -1), "MIDDLE")
    assert _text(rows, *style, middle) == (
        "Plant\t2023 Q1\t2023 Q2\t2024 Q1\t2024 Q2\nUlm\t1\t2\t3\t4\nUlm\t5\t6\t7\t8"
    )


def _drawn(draw: Any, rotation: int = 0) -> str:
    buffer = BytesIO()
    canvas = Canvas(buffer, pagesize=(600, 600))
    canvas.setPageRotation(rotation)
    draw(canvas)
    canvas.save()
    return parse(buffer.getvalue(), "a.pdf").document.text


def _rows(canvas: Canvas) -> None:
    canvas.setFont("Helvetica", 10)
    for at, row in enumerate(ROWS):
        for x, value in zip((104, 204, 244), row, strict=True):
            canvas.drawString(x, 504 - 20 * at, value)


def test_rows_without_lines_between_them_are_rows() -> None:
    def draw(canvas: Canvas) -> None:
        _rows(canvas)
        canvas.grid([100, 200, 240, 280], [520, 500, 440])

    assert _drawn(draw) == READ


def test_lines_drawn_as_thin_rectangles_in_pieces_are_ruling_lines() -> None:
    def draw(canvas: Canvas) -> None:
        _rows(canvas)
        for y in (520, 500, 480, 460, 440):
            for x in (100, 200, 240):
                canvas.rect(x, y, 100 if x == 100 else 40, 0.7, stroke=0, fill=1)
        for x in (100, 200, 240, 280):
            canvas.rect(x, 440, 0.7, 80, stroke=0, fill=1)

    assert _drawn(draw) == READ


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_table_on_a_turned_page(rotation: int) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.translate(300, 300)
        canvas.rotate(rotation)
        canvas.translate(-300, -300)
        _rows(canvas)
        canvas.grid([100, 200, 240, 280], [520, 500, 480, 460, 440])

    assert _drawn(draw, rotation) == READ


def test_the_frame_of_a_figure_over_text_cuts_no_word() -> None:
    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 11)
        for at in range(4):
            canvas.drawString(50, 500 - 20 * at, "An unquestionably comprehensive strategy")
        canvas.grid([40, 105, 300], [520, 470, 420])

    assert _drawn(draw).split() == ["An", "unquestionably", "comprehensive", "strategy"] * 4


def test_boxes_of_prose_and_the_lines_of_a_chart_are_no_table() -> None:
    words = "The turbine was serviced in spring and runs at its nominal speed again. " * 6

    def draw(canvas: Canvas) -> None:
        canvas.grid([50, 290, 530], [580, 380, 180])
        for at, text in enumerate(("First box.", "Second box.")):
            paragraph = Paragraph(f"{text} {words}", BODY)
            paragraph.wrap(220, 200)
            paragraph.drawOn(canvas, 60 + 240 * at, 390)
        canvas.grid([50 + 40 * n for n in range(9)], [150 - 20 * n for n in range(6)])
        canvas.drawString(60, 55, "2023")
        canvas.drawString(100, 55, "2024")

    text = _drawn(draw)
    assert "First box. The turbine" in text
    assert "\t" not in text.partition("2023")[0]


@pytest.mark.parametrize("gap", [10, 14, 40])
def test_columns_without_lines_may_stand_as_near_as_words(gap: int) -> None:
    rows = [["Plant", "Q1", "Q2", "Q3"], ["Ulm", "11", "12", "13"], ["Bonn", "", "22", ""],
            ["Kiel", "31", "32", "33"], ["Jena", "", "", "43"]]  # fmt: skip

    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 10)
        for at, row in enumerate(rows):
            x = 72.0
            for value in row:
                canvas.drawString(x, 500 - 16 * at, value)
                x += (26 if x == 72 else 14) + gap

    lines = [line.rstrip("\t") for line in _drawn(draw).splitlines()]
    assert lines == ["\t".join(row).rstrip("\t") for row in rows]


def test_a_justified_paragraph_has_no_columns() -> None:
    words = "The turbine of the old station was serviced in spring and runs at its own speed again"
    style = ParagraphStyle("narrow", fontSize=11, leading=14, alignment=TA_JUSTIFY)

    def draw(canvas: Canvas) -> None:
        paragraph = Paragraph(" ".join([words] * 4), style)
        paragraph.wrap(90, 500)
        paragraph.drawOn(canvas, 72, 100)

    assert "\t" not in _drawn(draw)
