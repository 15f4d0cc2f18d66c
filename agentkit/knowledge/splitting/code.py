"""The sections of source code: one for each function or class, what stands between them its own.

Decorators and the comments directly above go with their definition. A class that is too large is
opened into its methods. The heading is the path of names: "class Retriever > def search".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from agentkit.documents import Document
from agentkit.knowledge.splitting.blocks import Block, CountMany, Section, trimmed
from agentkit.knowledge.splitting.outline import Definition, outline
from agentkit.knowledge.splitting.packing import sized

_CLOSING = re.compile(r"(?:\W|\bend\b)*")
_Stretch = tuple[str, int, int]


def code_sections(
    document: Document, count: CountMany | None = None, limit: int = 0
) -> list[Section]:
    """Sections in order. With `count`, definitions above `limit` tokens are opened."""
    text = document.text
    definitions = outline(text, str(document.metadata.get("language", "")))
    large = _large(text, definitions, count, limit) if count else set()
    stretches = _merged(text, list(_stretches("", 0, len(text), definitions, large)))
    found = [(heading, trimmed(text, start, end, "code")) for heading, start, end in stretches]
    return [Section(heading, (block,)) for heading, block in found if block.start < block.end]


def _large(
    text: str, definitions: Sequence[Definition], count: CountMany, limit: int
) -> set[Definition]:
    """Those of the definitions that hold others and are above the limit, within such ones too."""
    large: set[Definition] = set()
    asked = [definition for definition in definitions if definition.inner]
    while asked:
        sizes = sized(text, [Block(d.start, d.end) for d in asked], count, limit)
        above = [d for d, piece in zip(asked, sizes, strict=True) if piece.size > limit]
        large.update(above)
        asked = [inner for d in above for inner in d.inner if inner.inner]
    return large


def _stretches(
    path: str, start: int, end: int, definitions: Sequence[Definition], large: set[Definition]
) -> Iterator[_Stretch]:
    """(heading, start, end) of each definition and of what stands between them."""
    reached = start
    for definition in definitions:
        heading = f"{path} > {definition.name}" if path else definition.name
        yield path, reached, definition.start
        inner = definition.inner if definition in large else ()
        yield from _stretches(heading, definition.start, definition.end, inner, large)
        reached = definition.end
    yield path, reached, end


def _merged(text: str, stretches: Sequence[_Stretch]) -> list[_Stretch]:
    """A closing bracket is no section: what holds no word goes with what stands before it."""
    found: list[_Stretch] = []
    for heading, start, end in stretches:
        if found and _CLOSING.fullmatch(text, start, end):
            before, begin, _ = found.pop()
            found.append((before, begin, end))
        elif text[start:end].strip():
            found.append((heading, start, end))
    return found
