"""Files in the formats that Office wrote until 2006, which LibreOffice converts."""

import shutil
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import docx
import openpyxl
import pptx
import pytest
from docx.oxml import parse_xml
from pptx.util import Inches

from agentkit.knowledge.loaders.files import Loaded, load

OFFICE = shutil.which("soffice") or shutil.which("libreoffice")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(OFFICE is None, reason="LibreOffice is not installed"),
]


def _loaded(file: Any, folder: Path, new: str, old: str) -> Loaded:
    """What is read of a file that LibreOffice saved in its old format."""
    buffer = BytesIO()
    file.save(buffer)
    path = folder / f"a.{new}"
    path.write_bytes(buffer.getvalue())
    profile = f"-env:UserInstallation={(folder / 'profile').as_uri()}"
    command = [OFFICE or "", profile, "--headless", "--convert-to", old, "--outdir", str(folder)]
    subprocess.run([*command, str(path)], check=True, capture_output=True, timeout=100)
    return load(path.with_suffix(f".{old}").read_bytes(), f"docs/report.{old}")


def test_word(tmp_path: Path) -> None:
    file = docx.Document()
    file.add_heading("Limits", 1)
    paragraph = file.add_paragraph("At most 10")
    paragraph.add_run("6").font.superscript = True
    paragraph.add_run(" cells, in ")
    name = "<w:fldSimple xmlns:w='http://schemas.openxmlformats.org/wordprocessingml/2006/main' "
    file.element.body[1].append(parse_xml(f"{name} w:instr=' FILENAME \\p '/>"))
    document = _loaded(file, tmp_path, "docx", "doc").document
    assert document.source == "docs/report.doc"
    assert document.text == "# Limits\n\nAt most 10^6 cells, in report.doc"


def test_excel(tmp_path: Path) -> None:
    file = openpyxl.Workbook()
    for row in (["Plant", "Share"], ["Ulm", 0.125]):
        file.active.append(row)
    file.active["B2"].number_format = "0.0%"
    document = _loaded(file, tmp_path, "xlsx", "xls").document
    assert document.text == "Plant | Share\nUlm | 12.5%"
    assert [part.name for part in document.parts] == ["Sheet, 1", "Sheet, 2"]


def test_powerpoint(tmp_path: Path) -> None:
    file = pptx.Presentation()
    slide = file.slides.add_slide(file.slide_layouts[5])
    slide.shapes.title.text = "Pumps"
    box = slide.shapes.add_textbox(Inches(1), Inches(2), Inches(4), Inches(1))
    box.text_frame.text = "They cost 420 EUR."
    document = _loaded(file, tmp_path, "pptx", "ppt").document
    assert document.text == "## Pumps\n\nThey cost 420 EUR."
