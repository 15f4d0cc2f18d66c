"""Slides as PowerPoint shows them: raised characters, numbers, merged cells, formulas."""

from io import BytesIO
from typing import Any

import pptx
import pytest
from PIL import Image
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.oxml import parse_xml
from pptx.util import Inches

from agentkit.knowledge.loaders.files import Loaded, parse

NAMESPACES = (
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    'xmlns:a14="http://schemas.microsoft.com/office/drawing/2010/main" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
    'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
)
PRESENTATION = 'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
AREA = (Inches(1), Inches(1), Inches(6), Inches(2))


def _loaded(file: Any) -> Loaded:
    buffer = BytesIO()
    file.save(buffer)
    return parse(buffer.getvalue(), "a.pptx")


def _deck() -> tuple[Any, Any]:
    file = pptx.Presentation()
    return file, file.slides.add_slide(file.slide_layouts[6])


def _text(*paragraphs: str) -> str:
    file, slide = _deck()
    box = slide.shapes.add_textbox(*AREA)
    body = next(box.element.iter("{*}txBody"))
    for paragraph in list(body.iter("{*}p")):
        body.remove(paragraph)
    for paragraph in paragraphs:
        body.append(parse_xml(f"<a:p {NAMESPACES}>{paragraph}</a:p>"))
    return _loaded(file).document.text


def _run(text: str, properties: str = "") -> str:
    return f"<a:r><a:rPr {properties}/><a:t>{text}</a:t></a:r>"


@pytest.mark.parametrize(
    ("paragraph", "text"),
    [
        (_run("Limit 10") + _run("6", 'baseline="30000"'), "Limit 10^6"),
        (_run("10") + _run("-", 'baseline="30000"') + _run("6", 'baseline="30000"'), "10^-6"),
        (_run("H") + _run("2", 'baseline="-25000"') + _run("O"), "H_2O"),
        (_run("9 EUR ", 'strike="sngStrike"') + _run("8 EUR"), "8 EUR"),
        (
            "<mc:AlternateContent><mc:Choice Requires='a14'><a14:m><m:oMath><m:sSup><m:e><m:r>"
            "<m:t>x</m:t></m:r></m:e><m:sup><m:r><m:t>2</m:t></m:r></m:sup></m:sSup></m:oMath>"
            "</a14:m>"
            f"</mc:Choice><mc:Fallback>{_run('x2')}</mc:Fallback></mc:AlternateContent>",
            "$x^2$",
        ),
    ],
)
def test_what_plain_text_lacks_is_written(paragraph: str, text: str) -> None:
    assert _text(paragraph) == text


def test_paragraphs_have_the_numbers_and_letters_that_powerpoint_shows() -> None:
    number, letter = (
        f'<a:pPr{level}><a:buAutoNum type="{kind}"/></a:pPr>'
        for level, kind in (("", "arabicPeriod"), (' lvl="1"', "alphaLcParenR"))
    )
    text = _text(
        *(f"{p}{_run(t)}" for p, t in zip([number, letter, letter, number], "abcd", strict=True))
    )
    assert text == "1. a\n    - a) b\n    - b) c\n2. d"


def test_each_row_of_a_table_holds_its_merged_values() -> None:
    file, slide = _deck()
    table = slide.shapes.add_table(4, 3, *AREA).table
    rows = [["", "2023", ""], ["Plant", "Q1", "Q2"], ["Ulm", "1", "2"], ["", "3", "4"]]
    for at, row in enumerate(rows):
        for column, text in enumerate(row):
            table.cell(at, column).text = text
    table.cell(0, 1).merge(table.cell(0, 2))
    table.cell(2, 0).merge(table.cell(3, 0))
    assert _loaded(file).document.text == (
        "| Plant | 2023 Q1 | 2023 Q2 |\n| --- | --- | --- |\n| Ulm | 1 | 2 |\n| Ulm | 3 | 4 |"
    )


def test_a_chart_without_plots_costs_itself_only() -> None:
    file, slide = _deck()
    data = CategoryChartData()
    data.categories = ["East"]
    data.add_series("Q1", (1.5,))
    chart = slide.shapes.add_chart(XL_CHART_TYPE.PIE, *AREA, data).chart
    for area in chart.element.iter("{*}plotArea"):
        for child in list(area):
            area.remove(child)
    slide.shapes.add_textbox(*AREA).text_frame.text = "kept"
    assert "kept" in _loaded(file).document.text


def test_a_text_box_on_the_page_of_notes_is_read() -> None:
    file, slide = _deck()
    slide.notes_slide.notes_text_frame.text = "Say hello"
    page = next(slide.notes_slide.element.iter("{*}spTree"))
    page.append(slide.shapes.add_textbox(*AREA).element)
    page[-1].find(".//{*}txBody").append(parse_xml(f"<a:p {NAMESPACES}>{_run('In a box')}</a:p>"))
    assert _loaded(file).document.text == "Notes: Say hello\n\nIn a box"


def test_notes_keep_raised_characters() -> None:
    file, slide = _deck()
    frame = slide.notes_slide.notes_text_frame
    body = next(slide.notes_slide.placeholders[1].element.iter("{*}txBody"))
    body.remove(next(body.iter("{*}p")))
    power = _run("Limit 10") + _run("6", 'baseline="30000"')
    body.append(parse_xml(f"<a:p {NAMESPACES}>{power}</a:p>"))
    assert frame.text == "Limit 106"
    assert _loaded(file).document.text == "Notes: Limit 10^6"


@pytest.mark.parametrize(
    ("value", "code", "shown"),
    [
        (0.125, "0.0%", "12.5%"),
        (1234.5, "#,##0.00", "1,234.50"),
        (45000, "yyyy-mm-dd", "2023-03-15"),
    ],
)
def test_the_values_of_a_chart_are_in_their_format(value: float, code: str, shown: str) -> None:
    file, slide = _deck()
    data = CategoryChartData(number_format=code)
    data.categories = ["East"]
    data.add_series("Q1", (value,))
    slide.shapes.add_chart(XL_CHART_TYPE.PIE, *AREA, data)
    assert f"| East | {shown} |" in _loaded(file).document.text


def _placeholder(kind: str, content: str) -> Any:
    return parse_xml(
        f"<p:sp {PRESENTATION} {NAMESPACES}>"
        f'<p:nvSpPr><p:cNvPr id="90" name="f"/><p:cNvSpPr/><p:nvPr><p:ph type="{kind}" idx="30"/>'
        f"</p:nvPr></p:nvSpPr><p:spPr/><p:txBody><a:bodyPr/><a:p>{content}</a:p></p:txBody></p:sp>"
    )


def test_a_footer_comes_once_and_numbers_and_dates_of_today_do_not() -> None:
    file, first = _deck()
    second = file.slides.add_slide(file.slide_layouts[6])
    for slide in (first, second):
        slide.shapes.element.append(_placeholder("ftr", _run("Confidential until 2026")))
        field = '<a:fld id="{0}" type="slidenum"><a:t>Slide 7</a:t></a:fld>'
        slide.shapes.element.append(_placeholder("sldNum", field))
    second.shapes.add_textbox(*AREA).text_frame.text = "words"
    assert _loaded(file).document.text == "Page footer: Confidential until 2026\n\nwords"


def test_a_picture_in_the_place_of_the_title_costs_itself_only() -> None:
    file, slide = _deck()
    image = BytesIO()
    Image.new("RGB", (2, 2)).save(image, "png")
    picture = slide.shapes.add_picture(image, *AREA)
    place = parse_xml(f"<p:ph {PRESENTATION} type='title'/>")
    next(picture.element.iter("{*}nvPr")).append(place)
    slide.shapes.add_textbox(*AREA).text_frame.text = "kept"
    assert _loaded(file).document.text == "kept"
