"""Read-only queries of a search to the catalog: chunks, vectors, full text, excerpts, occurrences.

They see the state of the last published write. Chunks are identified by their numbers, which the
full text shares. Occurrences of a text ignore case, width and traditional characters; they are
searched in the documents that hold its rarest term, up to MOST_READ characters.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agentkit.documents import Chunk, Document, page_of, part_of
from agentkit.knowledge.chunking.blocks import line_starts
from agentkit.knowledge.index.catalog import CHUNK_COLUMNS, Catalog, Vector
from agentkit.knowledge.index.schema import unpack_parts
from agentkit.knowledge.search.filters import Filters
from agentkit.text.language import language_of
from agentkit.text.terms import UNSPACED, WORD_CHARACTER, characters, fold, is_cjk, sentences, terms

Numbers = NDArray[np.int64]
_OPENING = 300
_DOCUMENT_OPENING = 3000
_SAMPLE, _SAMPLED_DOCUMENTS = 1000, 60
"""Characters of a document, and documents (by their ids, which are hashes), to tell a language."""
_MOST_FREQUENCIES = 50_000
_LEAST_OF_LANGUAGE = 0.2
"""The share of the documents that a language is named for."""


@dataclass(frozen=True, slots=True)
class OutlineEntry:
    """The text under one path of headings; `part` is the slide, page or row it begins on."""

    heading: str
    part: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A slice of a document with its parts, from character `start` and line `first_line` on."""

    document: Document
    start: int
    first_line: int


class Lookup:
    """Queries to one catalog. Counts, frequencies and filters are cached for a generation."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._generation = -1
        self._count = 0
        self._frequencies: dict[tuple[str, str], int] = {}
        self._allowed: tuple[Filters, Numbers] | None = None
        self._cjk: dict[str, bool] = {}

    def refresh(self) -> int:
        """The catalog's generation. Drops what was cached for an earlier one."""
        generation = self._catalog.generation
        if generation != self._generation:
            self._count = self._catalog.count()
            self._frequencies = {}
            self._allowed = None
            self._cjk = {}
            self._generation = generation
        return generation

    @property
    def count(self) -> int:
        """The number of active chunks, as of the last refresh."""
        return self._count

    def refreshed_count(self) -> int:
        self.refresh()
        return self._count

    def meta(self, key: str) -> str:
        return self._catalog.meta(key)

    def chunks(self, numbers: Iterable[int]) -> dict[int, Chunk]:
        """The active chunks among these."""
        rows = self._catalog.rows(
            f"SELECT number, {CHUNK_COLUMNS} FROM chunks WHERE number IN"
            " (SELECT value FROM json_each(?)) AND state = 'active'",
            (_listed(numbers),),
        )
        return {row[0]: Chunk(*row[1:]) for row in rows}

    def holding(self, ranges: Sequence[Chunk]) -> list[Chunk | None]:
        """For each range of a document the active chunk that holds most of it, None for none."""
        by_document: dict[str, list[Chunk]] = {}
        for each in ranges:
            by_document.setdefault(each.document_id, []).append(each)
        chunks = {
            id_: self._overlapping(id_, min(r.start for r in these), max(r.end for r in these))
            for id_, these in by_document.items()
        }

        def overlap(chunk: Chunk, each: Chunk) -> int:
            return min(chunk.end, each.end) - max(chunk.start, each.start)

        best = [
            max(chunks[each.document_id], key=lambda c: overlap(c, each), default=None)
            for each in ranges
        ]
        return [
            chunk if chunk is not None and overlap(chunk, each) > 0 else None
            for chunk, each in zip(best, ranges, strict=True)
        ]

    def _overlapping(self, document: str, start: int, end: int) -> list[Chunk]:
        """The active chunks of a document that overlap a range."""
        rows = self._catalog.rows(
            f"SELECT {CHUNK_COLUMNS} FROM chunks WHERE state = 'active' AND document_id = ?"
            " AND start < ? AND end > ?",
            (document, end, start),
        )
        return [Chunk(*row) for row in rows]

    def numbers_of(self, ids: Sequence[str]) -> dict[str, int]:
        """Chunk id -> number, of the active ones."""
        rows = self._catalog.rows(
            "SELECT id, number FROM chunks WHERE id IN (SELECT value FROM json_each(?))"
            " AND state = 'active'",
            (json.dumps(list(ids)),),
        )
        return dict(rows)

    def active_numbers(self) -> Numbers:
        """The numbers of all active chunks, ascending."""
        rows = self._catalog.rows("SELECT number FROM chunks WHERE state = 'active'")
        return np.sort(np.fromiter((row[0] for row in rows), np.int64, len(rows)))

    def spread_numbers(self, count: int) -> list[int]:
        """About `count` active chunks from all over the index, the same ones each time."""
        last = self._catalog.rows("SELECT max(number) FROM chunks")[0][0] or 0
        wanted = np.linspace(1, max(1, last), count).astype(np.int64)
        rows = self._catalog.rows(
            "SELECT number FROM chunks WHERE number IN (SELECT value FROM json_each(?))"
            " AND state = 'active'",
            (_listed(wanted),),
        )
        return [row[0] for row in rows]

    def vectors(self, numbers: Iterable[int]) -> dict[int, Vector]:
        rows = self._catalog.rows(
            "SELECT number, vector FROM chunks JOIN embeddings USING (content)"
            " WHERE number IN (SELECT value FROM json_each(?))",
            (_listed(numbers),),
        )
        return {row[0]: np.frombuffer(row[1], np.float32) for row in rows}

    def openings(self, numbers: Iterable[int]) -> dict[int, tuple[str, str]]:
        """The document's id and the beginning of chunks, headings first."""
        rows = self._catalog.rows(
            f"SELECT number, document_id, heading || ' ' || substr(text, 1, {_OPENING})"
            " FROM chunks WHERE number IN (SELECT value FROM json_each(?))",
            (_listed(numbers),),
        )
        return {row[0]: (row[1], row[2]) for row in rows}

    def cjk_documents(self, ids: Iterable[str]) -> set[str]:
        """The documents among these that are written in CJK characters, by their beginnings."""
        unknown = [id_ for id_ in ids if id_ not in self._cjk]
        rows = self._catalog.rows(
            f"SELECT id, title || ' ' || substr(text, 1, {_DOCUMENT_OPENING}) FROM documents"
            " WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(unknown),),
        )
        self._cjk.update((id_, is_cjk(text)) for id_, text in rows)
        return {id_ for id_ in ids if self._cjk.get(id_)}

    def languages(self) -> list[str]:
        """The languages of the documents, the most frequent first, those of a few aside."""
        rows = self._catalog.rows(
            "SELECT substr(text, iif(length(text) > ?, ?, 1), ?) FROM documents"
            " ORDER BY id LIMIT ?",
            (_SAMPLE, _OPENING, _SAMPLE, _SAMPLED_DOCUMENTS),
        )
        found = Counter(filter(None, (language_of(text) for (text,) in rows)))
        least = _LEAST_OF_LANGUAGE * found.total()
        return [language for language, count in found.most_common(3) if count >= least]

    def indexed_words(self, numbers: Iterable[int]) -> dict[int, tuple[str, str]]:
        """Number -> what the full text holds of a chunk: terms and single characters, a blank
        between any two."""
        rows = self._catalog.rows(
            "SELECT rowid, terms, characters FROM full_text WHERE rowid IN"
            " (SELECT value FROM json_each(?))",
            (_listed(numbers),),
        )
        return {row[0]: (row[1], row[2]) for row in rows}

    def sources_of(self, numbers: Iterable[int]) -> list[str]:
        """The documents of chunks, by source."""
        rows = self._catalog.rows(
            "SELECT DISTINCT source FROM chunks WHERE number IN"
            " (SELECT value FROM json_each(?)) AND state = 'active' ORDER BY source",
            (_listed(numbers),),
        )
        return [row[0] for row in rows]

    def sections(self, document_id: str) -> list[OutlineEntry]:
        """A document's sections, in order."""
        rows = self._catalog.rows(
            "SELECT heading, part, min(start), max(end) FROM chunks WHERE document_id = ?"
            " AND state = 'active' GROUP BY heading ORDER BY min(start)",
            (document_id,),
        )
        return [OutlineEntry(*row) for row in rows]

    def excerpt_around(self, chunk: Chunk, reach: int) -> Excerpt | None:
        """The section of a chunk, at most the chunks that begin or end within `reach` characters
        around it. None where the document has changed or was removed since."""
        rows = self._catalog.rows(
            "SELECT heading, start, end, format FROM chunks"
            " JOIN documents ON documents.id = document_id WHERE document_id = ?"
            " AND state = 'active' AND end > ? AND start < ? ORDER BY start",
            (chunk.document_id, chunk.start - reach, chunk.end + reach),
        )
        spans = [(start, end) for _, start, end, _ in rows]
        if (chunk.start, chunk.end) not in spans:
            return None
        first = last = spans.index((chunk.start, chunk.end))

        def section(at: int) -> str:
            """The path of headings; in code, the outermost definition."""
            heading, _, _, format_ = rows[at]
            return str(heading).split(" > ")[0] if format_ == "code" else str(heading)

        while first > 0 and section(first - 1) == section(first):
            first -= 1
        while last < len(rows) - 1 and section(last + 1) == section(last):
            last += 1
        return self.excerpt(chunk.document_id, spans[first][0], spans[last][1])

    def excerpt(self, document_id: str, start: int, end: int) -> Excerpt | None:
        """`text[start:end]` of a document and the parts that it touches."""
        rows = self._catalog.rows(
            "SELECT source, title, format, metadata, substr(text, ? + 1, ? - ?), parts,"
            " CASE WHEN format = 'code' THEN substr(text, 1, ?) ELSE '' END"
            " FROM documents WHERE id = ?",
            (start, end, start, start, document_id),
        )
        if not rows:
            return None
        source, title, format_, metadata, text, stored, before = rows[0]
        parts = tuple(
            replace(part, start=max(0, part.start - start), end=min(part.end, end) - start)
            for part in unpack_parts(stored).touching(start, end)
        )
        whole = Document(source, text, title, document_id, json.loads(metadata), format_, parts)
        return Excerpt(whole, start, len(line_starts(before)))

    def matching(
        self,
        terms: Sequence[str],
        limit: int,
        allowed: Numbers | None = None,
        column: str = "terms",
    ) -> list[int]:
        """The chunks that hold any of some indexed terms, best BM25 first, among the allowed."""
        if not terms:
            return []
        quoted = (f'"{term.replace(chr(34), chr(34) * 2)}"' for term in terms)
        query = f"{{{column}}} : ({' OR '.join(quoted)})"
        among = "" if allowed is None else " AND +rowid IN (SELECT value FROM json_each(?))"
        values = (query, limit) if allowed is None else (query, _listed(allowed), limit)
        rows = self._catalog.rows(
            f"SELECT rowid FROM full_text WHERE full_text MATCH ?{among}"
            " ORDER BY bm25(full_text) LIMIT ?",
            values,
        )
        return [row[0] for row in rows]

    def frequency(self, term: str, column: str = "terms") -> int:
        """How many active chunks hold an indexed term, in the form that FTS5 gave it."""
        found = self._frequencies.get((term, column))  # Other threads replace the dictionary.
        if found is None:
            rows = self._catalog.rows(
                "SELECT doc FROM vocabulary WHERE term = ? AND col = ?", (term, column)
            )
            found = int(rows[0][0]) if rows else 0
            if len(self._frequencies) >= _MOST_FREQUENCIES:
                self._frequencies = {}
            self._frequencies[term, column] = found
        return found

    def rarity(self, words: Sequence[str]) -> list[float]:
        """The inverse document frequency of each term, from 0 (in every chunk) to 1 (in none)."""
        total = self.refreshed_count() + 1
        ceiling = math.log(2 * total)
        return [
            max(0.0, math.log(total / (self.frequency(word) + 0.5)) / ceiling) for word in words
        ]

    def allowed(self, filters: Filters) -> Numbers:
        """The active chunks of the documents that pass, ascending. Raises KnowledgeError."""
        kept = self._allowed  # read once: searches with other filters run in other threads
        if kept is None or kept[0] != filters:
            rows = self._catalog.rows(
                "SELECT number FROM chunks WHERE state = 'active' AND document_id IN"
                " (SELECT value FROM json_each(?))",
                (json.dumps(self._documents(filters)),),
            )
            numbers = np.fromiter((row[0] for row in rows), np.int64, len(rows))
            kept = self._allowed = filters, np.sort(numbers)
        return kept[1]

    def _documents(self, filters: Filters) -> list[str]:
        """The ids of the documents that pass."""
        filters.check()
        rows = self._catalog.rows("SELECT id, source, title, metadata FROM documents")
        return [
            id_
            for id_, source, title, metadata in rows
            if filters.accept(source, title, json.loads(metadata))
        ]


def _listed(numbers: Iterable[int]) -> str:
    return json.dumps([int(number) for number in numbers])


MOST_READ = 5_000_000
_MOST_CANDIDATES = 100_000
_IN_WORD = re.compile(WORD_CHARACTER)
_UNSPACED = re.compile(f"[{UNSPACED}]")


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A sentence that contains the text, and how often."""

    chunk: Chunk
    times: int


@dataclass(frozen=True, slots=True)
class Occurrences:
    """The occurrences of a text, in the order of the documents. `unread` are the sources that were
    not searched, since there were too many."""

    found: tuple[Occurrence, ...]
    unread: tuple[str, ...] = ()

    @property
    def times(self) -> int:
        return sum(occurrence.times for occurrence in self.found)

    def by_source(self) -> dict[str, int]:
        """Source -> the number of occurrences in it."""
        counts: dict[str, int] = {}
        for occurrence in self.found:
            source = occurrence.chunk.source
            counts[source] = counts.get(source, 0) + occurrence.times
        return counts


class Finder:
    """Searches the documents of one catalog for a text."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lookup = Lookup(catalog)

    def find(self, text: str, filters: Filters = Filters()) -> Occurrences:
        """Every sentence that contains a text. Raises KnowledgeError for an invalid filter."""
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
        """The documents with the text's rarest term, by source. In a script without spaces that
        is a pair of letters, elsewhere a word."""
        column = "characters" if _UNSPACED.search(text) else "terms"
        wanted = characters(text) if column == "characters" else terms(text)
        rarest = min(((self._lookup.frequency(t, column), t) for t in wanted), default=(0, ""))
        if not rarest[0]:
            return []
        allowed = self._lookup.allowed(filters) if filters else None
        numbers = self._lookup.matching([rarest[1]], _MOST_CANDIDATES, allowed, column)
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
    """A pattern for a folded text: whole words, where its script puts spaces between them. C is
    not a part of C++, nor 1.2.3 of 1.2.3.4; v1.2.3 is a spelling of 1.2.3."""
    words = fold(text).strip()
    folded = r"\s+".join(re.escape(word) for word in words.split())
    before = after = ""
    if _IN_WORD.match(words[:1]):
        before = rf"(?<!{WORD_CHARACTER})"
    if words[:1].isdigit():
        before = rf"(?:{before}|(?<=\bv))(?<!\d[.,])"
    if _IN_WORD.match(words[-1:]):
        after = rf"(?!{WORD_CHARACTER}|\+\+|\#|[.,]\d)" if words[-1:].isalnum() else after
    return re.compile(f"{before}{folded}{after}")
