"""What a search asks of the catalog: live chunks, their vectors and their full text.

It reads only; what it gives is what the last published write left. Chunks go by their numbers,
which the full text shares.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentkit.documents import Chunk
from agentkit.knowledge.index.catalog import CHUNK_COLUMNS, Catalog, Vector
from agentkit.knowledge.search.filters import Filters, pattern

Numbers = NDArray[np.int64]
_OPENING = 300


@dataclass(frozen=True, slots=True)
class Section:
    """What stands under one path of headings; `part` is the slide, page or row it begins on."""

    heading: str
    part: str
    start: int
    end: int


class Lookup:
    """The questions of a retriever to one catalog. What holds for a generation is kept for it."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._generation = -1
        self._count = 0
        self._frequencies: dict[tuple[str, str], int] = {}
        self._allowed: tuple[Filters, Numbers] | None = None

    def refresh(self) -> int:
        """The catalog's generation; what was kept of an earlier one is dropped."""
        generation = self._catalog.generation
        if generation != self._generation:
            self._count = self._catalog.count()
            self._frequencies = {}
            self._allowed = None
            self._generation = generation
        return generation

    @property
    def count(self) -> int:
        """Live chunks, as of the last refresh."""
        return self._count

    def meta(self, key: str) -> str:
        return self._catalog.meta(key)

    def chunks(self, numbers: Iterable[int]) -> dict[int, Chunk]:
        """The live chunks among these."""
        rows = self._catalog.rows(
            f"SELECT number, {CHUNK_COLUMNS} FROM chunks WHERE number IN"
            " (SELECT value FROM json_each(?)) AND state = 'active'",
            (_listed(numbers),),
        )
        return {row[0]: Chunk(*row[1:]) for row in rows}

    def numbers_of(self, ids: Sequence[str]) -> dict[str, int]:
        """Chunk id -> number, of the live ones."""
        rows = self._catalog.rows(
            "SELECT id, number FROM chunks WHERE id IN (SELECT value FROM json_each(?))"
            " AND state = 'active'",
            (json.dumps(list(ids)),),
        )
        return dict(rows)

    def active_numbers(self) -> Numbers:
        """The numbers of all live chunks, rising."""
        rows = self._catalog.rows("SELECT number FROM chunks WHERE state = 'active'")
        return np.sort(np.fromiter((row[0] for row in rows), np.int64, len(rows)))

    def spread_numbers(self, count: int) -> list[int]:
        """About so many live chunks from all over the index, the same ones each time."""
        last = self._catalog.rows("SELECT max(number) FROM chunks")[0][0] or 0
        wanted = np.unique(np.linspace(1, max(1, last), count).astype(np.int64))
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

    def openings(self, numbers: Iterable[int]) -> dict[int, str]:
        """How chunks begin, their title and headings first."""
        rows = self._catalog.rows(
            f"SELECT number, title || ' ' || heading || ' ' || substr(text, 1, {_OPENING})"
            " FROM chunks WHERE number IN (SELECT value FROM json_each(?))",
            (_listed(numbers),),
        )
        return dict(rows)

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

    def sections(self, document_id: str) -> list[Section]:
        """A document's sections, in order."""
        rows = self._catalog.rows(
            "SELECT heading, part, min(start), max(end) FROM chunks WHERE document_id = ?"
            " AND state = 'active' GROUP BY heading ORDER BY min(start)",
            (document_id,),
        )
        return [Section(*row) for row in rows]

    def matching(
        self, terms: Sequence[str], limit: int, allowed: Numbers | None = None
    ) -> list[int]:
        """The chunks that hold any of some indexed terms, best BM25 first, only allowed ones."""
        if not terms:
            return []
        quoted = (f'"{term.replace(chr(34), chr(34) * 2)}"' for term in terms)
        query = f"{{terms}} : ({' OR '.join(quoted)})"
        among = "" if allowed is None else " AND +rowid IN (SELECT value FROM json_each(?))"
        values = (query, limit) if allowed is None else (query, _listed(allowed), limit)
        rows = self._catalog.rows(
            f"SELECT rowid FROM full_text WHERE full_text MATCH ?{among}"
            " ORDER BY bm25(full_text) LIMIT ?",
            values,
        )
        return [row[0] for row in rows]

    def frequency(self, term: str, column: str = "terms") -> int:
        """How many live chunks hold an indexed term, in the form that FTS5 gave it."""
        if (term, column) not in self._frequencies:
            rows = self._catalog.rows(
                "SELECT doc FROM vocabulary WHERE term = ? AND col = ?", (term, column)
            )
            self._frequencies[term, column] = int(rows[0][0]) if rows else 0
        return self._frequencies[term, column]

    def allowed(self, filters: Filters) -> Numbers:
        """The live chunks of the documents that pass, rising. Raises KnowledgeError."""
        if self._allowed is None or self._allowed[0] != filters:
            rows = self._catalog.rows(
                "SELECT number FROM chunks WHERE state = 'active' AND document_id IN"
                " (SELECT value FROM json_each(?))",
                (json.dumps(self._documents(filters)),),
            )
            numbers = np.fromiter((row[0] for row in rows), np.int64, len(rows))
            self._allowed = filters, np.sort(numbers)
        return self._allowed[1]

    def _documents(self, filters: Filters) -> list[str]:
        """The ids of the documents that pass."""
        for glob in (*filters.sources, *filters.within):
            pattern(glob)
        rows = self._catalog.rows("SELECT id, source, title, metadata FROM documents")
        return [
            id_
            for id_, source, title, metadata in rows
            if filters.accept(source, title, json.loads(metadata))
        ]


def _listed(numbers: Iterable[int]) -> str:
    return json.dumps([int(number) for number in numbers])
