"""Scanned pages and images in Chinese and English, with the page and the boxes of what was read.

The scans were made from text: rasterised, turned by half a degree, blurred and with noise.
"""

from collections.abc import Sequence
from difflib import SequenceMatcher
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, ImageOps
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.files import load, parse
from agentkit.knowledge.loaders.images import upright
from agentkit.knowledge.loaders.ocr import Budget, confidence_warning, late_warning

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


def _page(
    lines: Sequence[str], *, left: int = 40, size: tuple[int, int] = (900, 420)
) -> Image.Image:
    page = Image.new("L", size, 255)
    _write(page, lines, left)
    return page


def _write(page: Image.Image, lines: Sequence[str], left: int, step: int = 46) -> None:
    for at, line in enumerate(lines):
        font = ImageFont.load_default(26)
        ImageDraw.Draw(page).text((left, 30 + at * step), line, font=font, fill=0)


LINES = (
    "Minutes of the harbour committee",
    "The northern basin was dredged in May",
    "for 48,250 euros, and the crane was",
    "put off until the spring of next year.",
    "Fees for yachts rise to 23 euros a night.",
)
COLUMNS = (
    (
        "The old lighthouse stands",
        "on the eastern point and",
        "was built by the guild in",
        "the year of the flood.",
    ),
    (
        "Today it is a museum with",
        "a collection of maps that",
        "show the coast and all of",
        "the outer islands.",
    ),
)


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


@pytest.mark.parametrize("angle", [2, -7, 90, 180, 270])
def test_a_page_that_is_turned_is_read_in_order_and_its_boxes_lie_on_it(angle: int) -> None:
    page = _page(LINES).rotate(angle, expand=True, fillcolor=255, resample=Image.Resampling.BICUBIC)
    document = parse(_saved(page, "png"), "a.png").document
    assert _accuracy(document.text, "".join(LINES)) >= 0.97
    dark = np.asarray(page) < 128
    for line in document.metadata["ocr"]["1"]["lines"]:
        left, top, right, bottom = (round(side) for side in line["box"])
        assert dark[top:bottom, left:right].any()


@pytest.mark.parametrize("angle", [0, 2])
def test_columns_of_a_scan_are_read_one_after_the_other(angle: int) -> None:
    page = Image.new("L", (900, 320), 255)
    _write(page, COLUMNS[0], 40)
    _write(page, COLUMNS[1], 500, step=42)
    page = page.rotate(angle, expand=True, fillcolor=255, resample=Image.Resampling.BICUBIC)
    text = parse(_saved(page, "png"), "a.png").document.text
    assert _accuracy(text, "".join(map("".join, COLUMNS))) >= 0.97


def test_the_rows_of_a_table_that_is_askew_stay_rows() -> None:
    page = Image.new("L", (900, 320), 255)
    names = ["Rope of 12 mm, twisted", "Paint for ships, red", "Buoy with its chain"]
    for left, column in ((40, names), (500, ["94,00", "113,40", "84,60"])):
        _write(page, column, left, step=70)
    page = page.rotate(2, expand=True, fillcolor=255, resample=Image.Resampling.BICUBIC)
    text = parse(_saved(page, "png"), "a.png").document.text
    assert text.split("\n") == [f"{names[0]}\t94,00", f"{names[1]}\t113,40", f"{names[2]}\t84,60"]


def test_a_long_screenshot_is_read_in_its_own_size() -> None:
    lines = [f"{number}. {LINES[number % 5]}" for number in range(1, 91)]
    page = _page(lines, size=(900, 90 * 46 + 60))
    document = parse(_saved(page, "png"), "a.png").document
    assert _accuracy(document.text, "".join(lines)) >= 0.97


def test_a_file_names_its_frames_without_text_and_the_damaged_ones() -> None:
    frames = [_page(LINES), Image.new("L", (900, 420), 255), _page(LINES[:2])]
    content = _saved(frames[0], "tiff", save_all=True, append_images=frames[1:])
    loaded = parse(content[: len(content) - 200_000], "a.tif")
    assert loaded.warnings == ("page 3 damaged and not read", "page 2: OCR recognised no text")
    assert _accuracy(loaded.document.text, "".join(LINES)) >= 0.97


def test_an_animation_gives_a_text_that_stays_once() -> None:
    frames = [_page(LINES).convert("RGB") for _ in range(3)]
    for at, frame in enumerate(frames):
        frame.putpixel((5 + at, 5), (0, 0, 0))
    content = _saved(frames[0], "webp", save_all=True, append_images=frames[1:], lossless=True)
    assert parse(content, "a.webp").document.text.count("48,250") == 1


def _with_picture(picture: Image.Image, texts: Sequence[str], mode: int = 0) -> bytes:
    """A page of a picture in the middle, with text above it, or over all of it where the text is
    invisible (render mode 3)."""
    buffer = BytesIO()
    canvas = Canvas(buffer, pagesize=(600, 800))
    canvas.drawImage(ImageReader(picture), 0, 200 if mode == 0 else 0, 600, 280)
    text = canvas.beginText(60, 700 if mode == 0 else 250)
    text.setTextRenderMode(mode)
    pdfmetrics.registerFont(UnicodeCIDFont("HeiseiMin-W3"))
    text.setFont("HeiseiMin-W3", 12)
    text.textLines("\n".join(texts))
    canvas.drawText(text)
    canvas.save()
    return buffer.getvalue()


def test_a_scanned_part_of_a_page_of_text_is_read_below_it() -> None:
    above = ("The letter below was received in March,", "and its terms are part of the contract.")
    document = parse(_with_picture(_page(LINES), above), "a.pdf").document
    assert _accuracy(document.text, "".join([*above, *LINES])) >= 0.97
    assert (
        _accuracy(
            "".join(line["text"] for line in document.metadata["ocr"]["1"]["lines"]), "".join(LINES)
        )
        >= 0.97
    )


OTHER = (
    "Lorem ipsum dolor sit amet consectetur",
    "adipiscing elit sed do eiusmod tempor",
    "incididunt ut labore et dolore magna",
)
RUSSIAN = (
    "Протокол комиссии гавани за весну",
    "Северный бассейн углубили в этом мае",
    "Ремонт крана отложен до новой весны",
)


@pytest.mark.parametrize(
    ("hidden", "is_taken"),
    [(LINES, True), (OTHER, False), (RUSSIAN, True)],
    ids=["agrees", "differs", "script unknown to OCR"],
)
def test_hidden_text_of_a_scan_is_taken_where_it_agrees_with_what_is_seen(
    hidden: tuple[str, ...], is_taken: bool
) -> None:
    picture = _page(LINES)
    document = parse(_with_picture(picture, hidden, mode=3), "a.pdf").document
    assert ("ocr" not in document.metadata) == is_taken


def test_pages_without_time_for_them_are_named() -> None:
    assert Budget(30_000, "a.pdf").seconds > 10
    (line,) = late_warning([3, 4, 5], 14.0)
    assert line.startswith("pages 3-5 not recognised: OCR of the file took its 14 s")
    assert late_warning([], 14.0) == ()


def _transparent(ink: int) -> Image.Image:
    page = Image.new("RGBA", (900, 420), (ink, ink, ink, 0))
    page.putalpha(ImageOps.invert(_page(LINES)))
    return page


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(np.asarray(_page(LINES)).astype("uint16") * 257),
        Image.fromarray(np.asarray(_page(LINES)).astype("uint16") * 16),
        Image.fromarray(np.asarray(_page(LINES)).astype("float32") / 255),
        _transparent(0),
        _transparent(255),
        _page(LINES).convert("CMYK"),
        _page(LINES).convert("P"),
        _page(LINES).convert("1"),
    ],
    ids=[
        "16 bit",
        "12 bit",
        "float",
        "black on glass",
        "white on glass",
        "CMYK",
        "palette",
        "1 bit",
    ],
)
def test_text_contrasts_with_its_background_in_every_mode(image: Image.Image) -> None:
    shown = np.asarray(upright(image))
    assert shown.shape == (420, 900, 3)
    assert int(shown.max()) - int(shown.min()) > 200


def test_a_fax_gets_square_pixels() -> None:
    page = _page(LINES).resize((900, 210)).convert("1")
    content = _saved(page, "tiff", compression="group3", dpi=(204, 98))
    assert _accuracy(parse(content, "a.tif").document.text, "".join(LINES)) >= 0.95


@pytest.mark.parametrize("size", [(1, 1), (30_000, 1), (1, 30_000)])
def test_an_image_of_a_few_pixels_holds_no_text(size: tuple[int, int]) -> None:
    loaded = parse(_saved(Image.new("L", size, 255), "png"), "a.png")
    assert loaded.warnings == ("page 1: OCR recognised no text",)


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(kind: str) -> None:
    content = _saved(
        Image.new("1", (20_000, 20_000), 1),
        kind,
        **({"compression": "group4"} if kind == "tiff" else {}),
    )
    with pytest.raises(KnowledgeError, match="more than 100 megapixels"):
        parse(content, f"a.{kind}")


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_a_damaged_image_is_refused(content: bytes) -> None:
    with pytest.raises(KnowledgeError, match="damaged"):
        parse(content, "a.png")
