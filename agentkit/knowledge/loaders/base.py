"""The seam between a kind of file and the documents: bytes in, a document out.

What the loaders write alike: tables and escaped text as Markdown, and ranges of numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from agentkit.documents import Document


@dataclass(frozen=True, slots=True)
class Loaded:
    """A document, and a line for each thing in the file that could not be read."""

    document: Document
    warnings: tuple[str, ...] = ()


Loader = Callable[[bytes, str], Loaded]
"""A file's bytes and its source. Raises KnowledgeError with the bare reason, such as "encrypted:
save it without a password"; the caller puts the file's name before it."""

_MARKUP = re.compile(r"^(?=#{1,6}(?:\s|$)|```|~~~|[=-]+\s*$)", re.MULTILINE)


def escaped(text: str) -> str:
    """Text of a file that is no Markdown: what would begin a heading or a code block does not."""
    return _MARKUP.sub(r"\\", text)


def markdown_table(rows: Iterable[Sequence[str]]) -> str:
    """The first row is the head; "" where no cell holds anything."""
    written = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    filled = [row for row in written if any(row)]
    if not filled:
        return ""
    width = max(len(row) for row in filled)
    lines = [f"| {' | '.join([*row, *[''] * (width - len(row))])} |" for row in filled]
    return "\n".join([lines[0], f"|{' --- |' * width}", *lines[1:]])


def named_ranges(kind: str, numbers: Sequence[int]) -> str:
    """Numbers in ascending order as people say them: "page 2", "pages 3-5, 9"."""
    spans: list[tuple[int, int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1] = spans[-1][0], number
        else:
            spans.append((number, number))
    named = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
    return f"{kind}{'' if len(numbers) == 1 else 's'} {named}"
