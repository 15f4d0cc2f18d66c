"""Passages as a model reads them: written here, and read back by the reader that quotes.

Each stands in a tag that names its marker, place and relevance, so that what a document says can
never pass for what the program says.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass

_PASSAGE = re.compile(
    r'^<passage id="(?P<marker>[^"]*)" source="(?P<source>[^"]*)"'
    r'(?: heading="(?P<heading>[^"]*)")?(?: page="(?P<page>\d+)")?'
    r'(?: part="(?P<part>[^"]*)")?'
    r'(?: relevance="(?P<relevance>[\d.]+)")?>\n(?P<text>.*?)\n</passage>$',
    re.DOTALL | re.MULTILINE,
)
_END = "</passage"
_END_IN_TEXT = "<\\/passage"


@dataclass(frozen=True, slots=True)
class Passage:
    """A text with the marker by which an answer cites it. `relevance` is from 0 to 1, `part` the
    slides, rows or the like that it stands on."""

    marker: str
    source: str
    heading: str
    text: str
    page: int | None = None
    relevance: float | None = None
    part: str = ""


def write_passages(passages: Iterable[Passage]) -> str:
    """Passages as the text of a tool's result."""
    return "\n".join(_written(passage) for passage in passages)


def read_passages(text: str) -> list[Passage]:
    """The passages in a tool's result, in order."""
    return [_read(match) for match in _PASSAGE.finditer(text)]


def _written(passage: Passage) -> str:
    attributes = [f'id="{passage.marker}"', f'source="{_quoted(passage.source)}"']
    if passage.heading:
        attributes.append(f'heading="{_quoted(passage.heading)}"')
    if passage.page is not None:
        attributes.append(f'page="{passage.page}"')
    if passage.part:
        attributes.append(f'part="{_quoted(passage.part)}"')
    if passage.relevance is not None:
        attributes.append(f'relevance="{passage.relevance:.2f}"')
    text = passage.text.replace(_END, _END_IN_TEXT)
    return f"<passage {' '.join(attributes)}>\n{text}\n</passage>"


def _read(match: re.Match[str]) -> Passage:
    page, relevance = match["page"], match["relevance"]
    return Passage(
        match["marker"],
        html.unescape(match["source"]),
        html.unescape(match["heading"] or ""),
        match["text"].replace(_END_IN_TEXT, _END),
        int(page) if page else None,
        float(relevance) if relevance else None,
        html.unescape(match["part"] or ""),
    )


def _quoted(value: str) -> str:
    return html.escape(value.replace("\n", " "), quote=True)
