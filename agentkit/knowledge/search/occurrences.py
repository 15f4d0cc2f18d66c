"""Every place where a text stands, for questions that a few passages cannot answer: how many, which
of them, list all.

Letters' case and width and traditional characters do not count. A text is found within a sentence,
in the documents that hold its rarest term; above MOST_READ characters the rest is left, and said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agentkit.documents import Chunk, Document, page_of, part_of
from agentkit.knowledge.index.catalog import Catalog
from agentkit.knowledge.search.filters import Filters
from agentkit.knowledge.search.lookup import Lookup
from agentkit.text.terms import fold, sentences, terms

MOST_READ = 5_000_000
_MOST_CANDIDATES = 100_000


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A sentence that holds the text, so many times."""

    chunk: Chunk
    times: int


@dataclass(frozen=True, slots=True)
class Occurrences:
    """Where a text stands: in the order of the documents. `unread` are sources that were not
    looked through, for there were too many."""

    found: tuple[Occurrence, ...]
    unread: tuple[str, ...] = ()

    @property
    def times(self) -> int:
        return sum(occurrence.times for occurrence in self.found)

    def by_source(self) -> dict[str, int]:
        """Source -> how many times the text stands in it."""
        counts: dict[str, int] = {}
        for occurrence in self.found:
            source = occurrence.chunk.source
            counts[source] = counts.get(source, 0) + occurrence.times
        return counts


class Finder:
    """Looks through the documents of one catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lookup = Lookup(catalog)

    def find(self, text: str, filters: Filters = Filters()) -> Occurrences:
        """Every sentence that holds a text. Raises KnowledgeError for a bad filter."""
        self._lookup.refresh()
        wanted = _pattern(text)
        found: list[Occurrence] = []
        read = 0
        sources = self._sources(text, filters)
        for at, source in enumerate(sources):
            if read > MOST_READ:
                return Occurrences(tuple(found), tuple(sources[at:]))
            document = self._catalog.document(source)
            if document is not None:
                found += _within(document, wanted)
                read += len(document.text)
        return Occurrences(tuple(found))

    def _sources(self, text: str, filters: Filters) -> list[str]:
        """The documents that hold the text's rarest term, by source."""
        rarest = min(((self._lookup.frequency(t), t) for t in terms(text)), default=(0, ""))
        if not rarest[0]:
            return []
        allowed = self._lookup.allowed(filters) if filters else None
        numbers = self._lookup.matching([rarest[1]], _MOST_CANDIDATES, allowed)
        return self._lookup.sources_of(numbers)


def _within(document: Document, wanted: re.Pattern[str]) -> Iterator[Occurrence]:
    for start, end in sentences(document.text):
        times = len(wanted.findall(fold(document.text[start:end])))
        if times:
            yield Occurrence(range_of(document, start, end), times)


def range_of(document: Document, start: int, end: int) -> Chunk:
    """A range of a document as a chunk that can be cited."""
    return Chunk(
        f"{document.id}:{start}-{end}",
        document.id,
        document.source,
        document.title,
        "",
        document.text[start:end],
        start,
        end,
        page_of(document.parts, start, end),
        part_of(document.parts, start, end),
    )


def _pattern(text: str) -> re.Pattern[str]:
    """A folded text, whole words where it begins or ends with a letter of a spaced script."""
    folded = r"\s+".join(re.escape(word) for word in fold(text).split())
    words = fold(text).strip()
    before = r"(?<![a-z0-9])" if words[:1].isascii() and words[:1].isalnum() else ""
    after = r"(?![a-z0-9])" if words[-1:].isascii() and words[-1:].isalnum() else ""
    return re.compile(f"{before}{folded}{after}")
