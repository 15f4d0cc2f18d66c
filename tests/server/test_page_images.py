"""Where a quote is highlighted among the lines that OCR recognised on a page."""

from __future__ import annotations

import pytest

from agentkit.server.page_images import line_rectangles

LINES = [
    {"text": "Invoice 2024-0815", "box": [100.0, 50.0, 270.0, 70.0]},
    {"text": "The pump runs", "box": [100.0, 100.0, 230.0, 120.0]},
    {"text": "again. Total: 14", "box": [100.0, 130.0, 260.0, 150.0]},
    {"text": "轴承全部更换", "box": [100.0, 200.0, 160.0, 210.0]},
    {"text": "The pump runs", "box": [400.0, 300.0, 530.0, 320.0]},
]


@pytest.mark.parametrize(
    ("quote", "near", "expected"),
    [
        ("Invoice 2024-0815", 0.0, [(100, 50, 270, 70)]),
        ("The pump runs again.", 0.0, [(100, 100, 230, 120), (100, 130, 150, 150)]),
        ("**The pump** runs", 0.0, [(100, 100, 230, 120)]),
        ("The pump runs", 1.0, [(400, 300, 530, 320)]),
        ("全部更换", 0.0, [(120, 200, 160, 210)]),
        ("| Invoice 2024-0815 | 14 |", 0.0, [(100, 50, 270, 70)]),
        ("nothing of this page at all", 0.0, []),
        ("", 0.0, []),
    ],
)
def test_a_quote_is_highlighted_in_each_line_that_has_a_part_of_it(
    quote: str, near: float, expected: list[tuple[int, int, int, int]]
) -> None:
    found = [tuple(map(round, each)) for each in line_rectangles(LINES, quote, near)]
    assert found == expected
