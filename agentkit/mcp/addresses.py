"""Documents as MCP resources are called: knowledge:///SOURCE, and #char=START,END for a part of
one, as RFC 5147 writes it. A source is a name in the index and never a path on the disk."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

PREFIX = "knowledge:///"
TEMPLATE = "knowledge:///{+source}"
_RANGE = re.compile(r"#char=(\d{1,12}),(\d{1,12})")


@dataclass(frozen=True, slots=True)
class Address:
    """A document, or characters `start` to `end` of it."""

    source: str
    start: int | None = None
    end: int | None = None

    def __str__(self) -> str:
        path = quote(self.source, safe="/")
        part = "" if self.start is None else f"#char={self.start},{self.end}"
        return f"{PREFIX}{path}{part}"


def read_address(uri: str) -> Address | None:
    """What a URI names, None where it is no address of a document."""
    if not uri.startswith(PREFIX) or len(uri) == len(PREFIX):
        return None
    path, mark, fragment = uri[len(PREFIX) :].partition("#")
    found = _RANGE.fullmatch(mark + fragment)
    if found:
        return Address(unquote(path), int(found[1]), int(found[2]))
    return Address(unquote(uri[len(PREFIX) :]))
