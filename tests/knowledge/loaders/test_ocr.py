"""Scanned pages and images in Chinese and English, with the page and the boxes of what was read.

The scans were made from text: rasterised, turned by half a degree, blurred and with noise.
"""

from difflib import SequenceMatcher
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from reportlab.pdfgen.canvas import Canvas

from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.files import load, parse
from agentkit.knowledge.loaders.ocr import confidence_warning

pytestmark = pytest.mark.slow
pytest.importorskip("rapidocr", reason="needs the extra ocr")

SCANS = {
    "en": (
        "The turbine of station 7 was serviced in spring and runs at its nominal speed again. "
        "Every bearing was replaced, the casing was cleaned, and the sensors were calibrated "
        "against the reference of the national laboratory, which took nine days in all and cost "
        "14,300 euros. Invoice number 2024-0815 is payable within 30 days."
    ),
    "zh": (
        "第七号机组的轴承在春季检修时全部更换，传感器按照国家实验室的基准重新标定。检修历时九天，"
        "期间由备用机组供电，用户没有察觉任何中断，运行记录完整保存在档案室。"
        "发票编号 2024-0815，应在三十天内支付 14300 元。"
    ),
}


def _scan(name: str) -> Image.Image:
    return Image.open(Path(__file__).parent / "scans" / f"{name}.webp").convert("RGB")


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _accuracy(text: str, right: str) -> float:
    read, expected = "".join(text.split()), "".join(right.split())
    return SequenceMatcher(None, read, expected, autojunk=False).ratio()


@pytest.mark.parametrize("kind", ["pdf", "png", "jpeg", "tiff", "webp"])
@pytest.mark.parametrize("language", SCANS)
def test_a_scan_is_read_with_its_page_and_boxes(language: str, kind: str) -> None:
    content = _saved(_scan(language), kind, **({"resolution": 200} if kind == "pdf" else {}))
    document = load(content, f"scan.{kind}").document
    assert _accuracy(document.text, SCANS[language]) >= 0.97
    assert [(part.kind, part.name) for part in document.parts] == [("page", "1")]
    page = document.metadata["ocr"]["1"]
    assert page["confidence"] > 0.9
    left, top, right, bottom = page["lines"][0]["box"]
    assert 0 <= left < right
    assert 0 <= top < bottom


def test_a_scanned_page_among_others_is_cited_with_its_number() -> None:
    buffer = BytesIO()
    canvas = Canvas(buffer)
    canvas.drawString(72, 700, "A page of text, which is read as it is and not recognised.")
    canvas.showPage()
    canvas.drawInlineImage(_scan("en"), 40, 400, 520, 165)
    canvas.drawString(72, 30, "Scan 7")
    canvas.showPage()
    canvas.save()
    document = parse(buffer.getvalue(), "a.pdf").document
    at = document.text.index("14,300 euros")
    assert [part.name for part in document.parts if part.start <= at < part.end] == ["2"]
    assert list(document.metadata["ocr"]) == ["2"]


def test_the_frames_of_a_tiff_are_pages_and_a_picture_without_text_is_empty() -> None:
    blank = Image.new("RGB", (400, 300), "white")
    frames = {"save_all": True, "append_images": [_scan("zh")]}
    document = parse(_saved(blank, "tiff", **frames), "a.tif").document
    first, second = (document.text[part.start : part.end] for part in document.parts)
    assert first == ""
    assert _accuracy(second, SCANS["zh"]) >= 0.97


def test_low_confidence_is_reported_with_the_pages() -> None:
    pages = {"1": {"confidence": 0.99}, "2": {"confidence": 0.41}, "3": {"confidence": 0.7}}
    (line,) = confidence_warning(pages)
    assert line.startswith("pages 2-3: recognised by OCR with a confidence of 41%")
    assert confidence_warning({"1": {"confidence": 0.99}}) == ()


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_a_damaged_image_is_refused(content: bytes) -> None:
    with pytest.raises(KnowledgeError, match="damaged"):
        parse(content, "a.png")
