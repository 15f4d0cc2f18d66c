"""Addresses of documents and passages: URIs for programs, and short ids to cite.

A URI is `knowledge:///SOURCE`, with `#char=START,END` (RFC 5147) for a part. An id is the beginning
of the document's id and the range, such as `8d3e879b:4189-4252`. Both are looked up in an index: no
path on the disk is ever opened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from agentkit.documents import Chunk

PREFIX = "knowledge:///"
ID_LENGTH = 8
"""How many characters of a document's id a passage's id has."""

_RANGE = re.compile(r"#char=(\d{1,12}),(\d{1,12})")
_PASSAGE_ID = re.compile(rf"\[?([^\s:\[\]]{{1,{ID_LENGTH}}}):(\d{{1,12}})-(\d{{1,12}})\]?")


@dataclass(frozen=True, slots=True)
class Address:
    """A document, or characters `start` to `end` of it, as a URI."""

    source: str
    start: int | None = None
    end: int | None = None

    def __str__(self) -> str:
        path = quote(self.source, safe="/")
        part = "" if self.start is None else f"#char={self.start},{self.end}"
        return f"{PREFIX}{path}{part}"


def parse_address(uri: str) -> Address | None:
    """Parse a URI, None where it is not the address of a document."""
    if not uri.startswith(PREFIX) or len(uri) == len(PREFIX):
        return None
    path, mark, fragment = uri[len(PREFIX) :].partition("#")
    found = _RANGE.fullmatch(mark + fragment)
    if found:
        return Address(unquote(path), int(found[1]), int(found[2]))
    return Address(unquote(uri[len(PREFIX) :]))


def passage_id(chunk: Chunk) -> str:
    """The short id of a passage, for answers that cite it outside a session."""
    return f"{chunk.document_id[:ID_LENGTH]}:{chunk.start}-{chunk.end}"


def parse_passage_id(text: str) -> tuple[str, int, int] | None:
    """The beginning of a document's id, and the range; None for any other text."""
    found = _PASSAGE_ID.fullmatch(text.strip())
    return (found[1], int(found[2]), int(found[3])) if found else None
