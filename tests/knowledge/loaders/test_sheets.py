"""Excel workbooks as Excel shows them: formats, merged cells, heads of two rows, hidden sheets."""

import zipfile
from datetime import datetime, time, timedelta
from io import BytesIO
from typing import Any

import openpyxl
import pytest
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.cell.text import InlineFont
from openpyxl.styles import Font

from agentkit.documents import Document
from agentkit.knowledge.loaders.files import parse
from agentkit.knowledge.loaders.number_format import formatted


def _document(file: Any) -> Document:
    buffer = BytesIO()
    file.save(buffer)
    return parse(buffer.getvalue(), "a.xlsx").document


@pytest.mark.parametrize(
    ("value", "code", "text"),
    [
        (123, "0000000", "0000123"),
        (1234.5, '#,##0.00 "EUR"', "1,234.50 EUR"),
        (420, "[$€-407] #,##0", "€ 420"),
        (1234.5, "#,##0.00\\ €", "1,234.50 €"),
        (0.125, "0.0%_);(0.0%)", "12.5%"),
        (0.125, "0.0 %", "12.5 %"),
        (4532015112830360, "0", "4532015112830360"),
        (1e15, "0", "1000000000000000"),
        (1e15, "General", "1000000000000000"),
        (0.1 + 0.2, "General", "0.3"),
        (0.5, "# ?/?", "1/2"),
        (2.5, "# ?/?", "2 1/2"),
        (0.25, "?/8", "2/8"),
        (-3, "#,##0;(#,##0)", "(3)"),
        (-1.5, "0.00", "-1.50"),
        (-0.001, "0.00", "0.00"),
        (0, '0;-0;"none"', "none"),
        (0, "0;;", ""),
        (150, '[<100]"low";[>=100]"high"', "high"),
        (1.005, "0.00", "1.01"),
        (1234567, '#,##0.0,,"M"', "1.2M"),
        (0.0000123, "0.00E+00", "1.23E-05"),
        (99.995, "0.00E+00", "1.00E+02"),
        (12345, "##0.0E+0", "12.3E+3"),
        (0.07, "##0.0E+0", "70.0E-3"),
        (123456789, "000-00-0000", "123-45-6789"),
        (5551234567, "(000) 000-0000", "(555) 123-4567"),
        (3, '"Nr. "0', "Nr. 3"),
        (5, "[Red]General", "5"),
        (12, "#,##0.##", "12"),
    ],
)
def test_a_number_is_written_in_its_format(value: float, code: str, text: str) -> None:
    assert formatted(value, code) == text


@pytest.mark.parametrize(
    ("value", "code", "text"),
    [
        (timedelta(hours=30), "[h]:mm", "30:00"),
        (timedelta(minutes=75, seconds=5), "[mm]:ss", "75:05"),
        (datetime(2024, 3, 1), "mmm yy", "2024-03"),
        (datetime(2024, 3, 5), "d. mmmm yyyy", "2024-03-05"),
        (datetime(2024, 3, 5, 12, 30), "dd/mm/yyyy hh:mm", "2024-03-05 12:30"),
        (time(9, 5), "h:mm", "09:05"),
        (1067, "00000", "01067"),
    ],
)
def test_a_cell_is_written_in_its_format(value: Any, code: str, text: str) -> None:
    file = openpyxl.Workbook()
    file.active["A1"] = value
    file.active["A1"].number_format = code
    assert _document(file).text == text


def test_a_merged_value_stands_in_each_row_that_it_covers() -> None:
    file = openpyxl.Workbook()
    for row in (["Region", "Product"], ["North", "Pump"], [None, "Valve"], ["South", "Pump"]):
        file.active.append(row)
    file.active.merge_cells("A2:A3")
    assert _document(file).text.splitlines()[2:] == ["North | Valve", "South | Pump"]


def test_the_names_of_columns_stand_in_two_rows_below_a_title() -> None:
    file = openpyxl.Workbook()
    for row in (
        ["Output of all plants"],
        [None, "2023", None, "2024", None],
        ["Plant", "Q1", "Q2", "Q1", "Q2"],
        ["Ulm", 1, 2, 3, 4],
    ):
        file.active.append(row)
    for place in ("A1:E1", "B2:C2", "D2:E2"):
        file.active.merge_cells(place)
    names = _document(file).metadata["columns"]["Sheet"]
    assert names == ["Plant", "2023 Q1", "2023 Q2", "2024 Q1", "2024 Q2"]


def test_raised_and_struck_out_characters_of_a_cell() -> None:
    file = openpyxl.Workbook()
    raised = TextBlock(InlineFont(vertAlign="superscript"), "6")
    struck = TextBlock(InlineFont(strike=True), " 9 EUR")
    file.active["A1"] = CellRichText("Limit 10", raised, " cells", struck)
    assert _document(file).text == "Limit 10^6 cells"


def test_a_hidden_sheet_is_named_as_one() -> None:
    file = openpyxl.Workbook()
    file.active["A1"] = "seen"
    hidden = file.create_sheet("Costs")
    hidden["A1"] = "unseen"
    hidden.sheet_state = "hidden"
    assert [part.name for part in _document(file).parts] == ["Sheet, 1", "Costs (hidden), 1"]


def test_a_struck_out_cell_is_left_out() -> None:
    file = openpyxl.Workbook()
    file.active.append(["Pump", 420, 399])
    file.active["B1"].font = Font(strike=True)
    assert _document(file).text == "Pump |  | 399"


def test_a_power_in_several_runs_is_one() -> None:
    file = openpyxl.Workbook()
    raised = InlineFont(vertAlign="superscript")
    file.active["A1"] = CellRichText("10", TextBlock(raised, "-"), TextBlock(raised, "6 "), "m")
    assert _document(file).text == "10^-6 m"


def _rewritten(file: Any, *changes: tuple[str, bytes, bytes], name: str = "") -> Document:
    """A workbook whose entries are changed, and its shared strings perhaps named in another way."""
    saved, changed = BytesIO(), BytesIO()
    file.save(saved)
    with zipfile.ZipFile(saved) as archive, zipfile.ZipFile(changed, "w") as copy:
        for entry in archive.namelist():
            data = archive.read(entry)
            for changes_in, before, after in changes:
                data = data.replace(before, after) if entry.endswith(changes_in) else data
            copy.writestr(name if name and entry.endswith("sharedStrings.xml") else entry, data)
    return parse(changed.getvalue(), "a.xlsx").document


def test_names_of_parts_differ_in_case() -> None:
    file = openpyxl.Workbook()
    file.active["A1"] = "Pump"
    assert _rewritten(file, name="xl/SharedStrings.xml").text == "Pump"


@pytest.mark.parametrize("style", [b's="99"', b's=""'])
def test_a_style_that_is_missing_costs_the_format_only(style: bytes) -> None:
    file = openpyxl.Workbook()
    file.active["A1"] = 1234.5
    file.active["A1"].number_format = "0.00"
    assert _rewritten(file, ("sheet1.xml", b's="1"', style)).text == "1234.5"


def test_elements_with_a_prefix_are_read() -> None:
    file = openpyxl.Workbook()
    for row in (["Region", "Product"], ["North", "Pump"], [None, "Valve"]):
        file.active.append(row)
    file.active["C2"] = "=1+1"
    file.active.merge_cells("A2:A3")
    changes = [
        ("sheet1.xml", before, after)
        for before, after in (
            (b"</", b"</x:"),
            (b"<", b"<x:"),
            (b"<x:/x:", b"</x:"),
            (b"<x:?", b"<?"),
            (b"xmlns=", b"xmlns:x="),
        )
    ]
    document = _rewritten(file, *changes)
    assert document.text == "Region | Product\nNorth | Pump\nNorth | Valve"
