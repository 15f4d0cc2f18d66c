"""Right-to-left text of PDF files in the order in which it is read."""

import pytest

from agentkit.knowledge.loaders.files import parse
from agentkit.knowledge.loaders.pdf_bidi import Glyph, in_reading_order
from tests.knowledge.loaders.parts import pdf_file


def _glyphs(shown: str, order: list[int] | None = None) -> list[Glyph]:
    """Characters as they are shown from left to right, spaces as gaps; `order` is the file's."""
    places = [at for at, character in enumerate(shown) if character != " "]
    glyphs = [Glyph(at, shown[at], 10.0 * at, 0, 10.0 * at + 9, 10) for at in places]
    return [glyphs[at] for at in order] if order else glyphs


@pytest.mark.parametrize(
    ("shown", "read"),
    [
        ("דגבא", "אבגד"),
        ("הד גבא", "אבג דה"),
        ("גב 1,250 א", "א 1,250 בג"),
        ("12.5%-ב", "ב-12.5%"),
        (".ג New York ב", "ב New York ג."),
        ("ג Windows 10 ב", "ב Windows 10 ג"),
        (".(5 ב) א", "א (ב 5)."),
        (".)5 ב( א", "א (ב 5)."),
        ("א 30.06.2024", "30.06.2024 א"),
        ("The word גבא means it", "The word אבג means it"),
    ],
)
def test_a_line_is_read_from_the_right_and_numbers_in_it_from_the_left(
    shown: str, read: str
) -> None:
    from_right = "word" not in shown
    for glyphs in (_glyphs(shown), _glyphs(shown)[::-1]):
        assert (
            "".join(
                glyph.character for glyph in in_reading_order(glyphs, 10, from_right=from_right)
            )
            == read
        )


def test_a_mark_stands_behind_its_letter() -> None:
    glyphs = [Glyph(0, "ב", 0, 0, 9, 10), Glyph(1, "ָ", 12, 0, 14, 10), Glyph(2, "א", 10, 0, 19, 10)]
    assert (
        "".join(glyph.character for glyph in in_reading_order(glyphs, 10, from_right=True)) == "אָב"
    )


@pytest.mark.parametrize(("has_space", "read"), [(True, "אב ג"), (False, "אבג")])
def test_a_narrow_gap_parts_words_where_the_file_has_a_space(has_space: bool, read: str) -> None:
    glyphs = [
        Glyph(0, "ג", 0, 0, 9, 10),
        Glyph(2, "ב", 10, 0, 19, 10),
        Glyph(3, "א", 19, 0, 28, 10),
    ]
    if has_space:
        glyphs.insert(1, Glyph(1, " ", 9.1, 0, 9.9, 0))
    found = in_reading_order(glyphs, 10, from_right=True)
    assert "".join(glyph.character for glyph in found) == read


def _pdf(lines: list[str]) -> bytes:
    """A page where the font's encoding makes Hebrew letters of a to j."""
    names = "".join(f"/afii{57664 + at}" for at in range(10))
    drawn = "".join(f"1 0 0 1 72 {700 - 20 * at} Tm ({line}) Tj " for at, line in enumerate(lines))
    content = f"BT /F 12 Tf {drawn}ET"
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 5 0 R"
        "/Resources<</Font<</F 4 0 R>>>>>>",
        f"<</Type/Font/Subtype/Type1/BaseFont/Courier/Encoding<</Differences[97{names}]>>>>",
        f"<</Length {len(content)}>>stream\n{content}\nendstream",
    ]
    return pdf_file(objects)


def test_a_page_of_right_to_left_text_is_read_in_order() -> None:
    text = parse(_pdf(["fed 1,250 cba", "ihg"]), "a.pdf").document.text
    assert text.split() == ["אבג", "1,250", "דהו", "זחט"]
