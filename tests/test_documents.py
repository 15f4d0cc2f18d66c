"""The parts of a document: kept compactly, the same when read again."""

import pytest

from agentkit.documents import Chunk, Part, PartKind, Parts, page_of, part_of

NAMES: dict[str, tuple[PartKind, str]] = {
    "a number": ("row", "12"),
    "zero": ("cell", "0"),
    "a leading zero": ("page", "007"),
    "a number above four bytes": ("record", "99999999999"),
    "a sheet and a row": ("row", "Prices, 1048576"),
    "a sheet that ends in a digit": ("row", "2024, 3"),
    "a name": ("chapter", "Über das Wasser"),
    "digits of another script": ("line", "١٢"),
    "a name of several lines": ("file", "a\nb 2"),
    "no name": ("slide", ""),
}


@pytest.mark.parametrize("name", NAMES)
def test_parts_are_the_same_after_they_were_packed_and_sent(name: str) -> None:
    parts = (
        Part(*NAMES[name], 0, 5),
        Part("page", "1", 5, 4_000_000_000),
        Part(*NAMES[name], 9, 9),
    )
    packed = Parts(parts)
    assert tuple(packed) == tuple(Parts.from_bytes(packed.to_bytes())) == parts
    assert packed == Parts.from_bytes(packed.to_bytes()) == parts
    assert (packed[-1], packed[1:], len(packed)) == (parts[-1], parts[1:], 3)
    assert packed != Parts(parts[:2])
    assert page_of(packed, 6, 7) == page_of(parts, 6, 7) == 1
    assert part_of(packed, 0, 20) == part_of(parts, 0, 20)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        Parts((Part("row", "1", 0, 1),)).to_bytes()[:-1],
        Parts((Part("row", "1", 0, 1),)).to_bytes() + b"\0",
        Parts((Part("row", "1", 0, 1),)).to_bytes().replace(b'"row"', b'"now"'),
        Parts((Part("row", "1", 0, 1),)).to_bytes().replace(b'["row"', b'{"row"'),
        Parts((Part("row", "1", 0, 1),)).to_bytes()[:-16] + b"\1" * 16,
    ],
)
def test_bytes_that_are_no_parts_are_an_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"part|label|Expecting|kind"):
        Parts.from_bytes(content)


@pytest.mark.parametrize(
    ("heading", "part", "place"),
    [
        ("Budget > Columns: a, b", "Budget, rows 1-3", "a.xlsx > Budget, rows 1-3 > Columns: a, b"),
        ("Columns: a, b", "rows 1-3", "a.xlsx > rows 1-3 > Columns: a, b"),
        ("Title > Budget", "", "a.xlsx > Budget"),
    ],
)
def test_a_place_names_the_title_and_the_sheet_once(heading: str, part: str, place: str) -> None:
    assert Chunk("c", "d", "a.xlsx", "Title", heading, "x", 0, 1, part=part).place == place
