"""The tools over a knowledge base, for agents and for MCP clients.

Results are as long as the model has room for; what is left out is stated. Each has a form for the
model (text and passages) and a structured one for programs, whose schema MCP clients read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from agentkit.backends.base import estimated_tokens
from agentkit.documents import Chunk, Document, Hit, Passage
from agentkit.errors import KnowledgeError
from agentkit.knowledge.addresses import parse_address, parse_passage_id
from agentkit.knowledge.index.catalog import DocumentInfo
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.knowledge.records import (
    DocumentList,
    DocumentRecord,
    DocumentText,
    FindResult,
    HeadingRecord,
    Outline,
    PassageRecord,
    SearchHit,
    SearchResult,
    SourceCount,
    passage_fields,
)
from agentkit.knowledge.search.context import packed
from agentkit.knowledge.search.filters import (
    Filters,
    day_of,
    explain_no_match,
    parse_day,
    same_files,
    tags_of,
)
from agentkit.knowledge.search.late import UNLIKELY, relevances
from agentkit.knowledge.search.lookup import Occurrences, OutlineEntry, range_of
from agentkit.messages import ToolResult
from agentkit.tools.context import ToolContext
from agentkit.tools.tool import AnyFunction, Tool, tool

SEARCH = "search_knowledge"
READ_LIMIT = 8000
"""Most characters that one `read_document` returns to a model."""

OPENING_LIMIT = 1200
"""Most characters of a document's beginning that `outline_document` returns."""

PARENT_TOKENS = 320
"""A smaller hit is returned with the section around it, up to so many of the embedder's tokens."""

PAGE_SIZE = 100
PLACES_PER_PAGE = 10
_NOTHING = "No passage was found. The documents do not seem to hold this."
_NOTHING_ALLOWED = "No passage was found within source, tags and dates. Search without them."
_NOTHING_LIKELY = "None of these passages is likely to be about the query."


def _or(default: object) -> BeforeValidator:
    """Read null as the default: the schema of a parameter stays that of one plain type."""
    return BeforeValidator(lambda value: default if value is None else value)


Query = Annotated[str, Field(min_length=1, max_length=2000)]
Source = Annotated[str, Field(min_length=1, max_length=1000)]
Glob = Annotated[str, Field(max_length=500), _or("")]
Day = Annotated[str, Field(max_length=100), _or("")]
Tags = Annotated[list[str], Field(max_length=20), _or([])]
Page = Annotated[int, Field(ge=1), _or(1)]
Offset = Annotated[int, Field(ge=0), _or(0)]


def knowledge_tools(
    knowledge: KnowledgeBase,
    results: int = 5,
    filters: Filters = Filters(),
    read_limit: int = READ_LIMIT,
) -> tuple[Tool, ...]:
    """The tools over a knowledge base. `results` is the default number of passages of a search,
    `filters` bound the documents that any of the tools shows or names, `read_limit` is in
    characters."""

    @_described(SearchResult, SEARCH, results)
    async def search(
        query: Query,
        context: ToolContext,
        k: Annotated[int, Field(ge=1, le=50), _or(results)] = results,
        source: Glob = "",
        tags: Tags = [],  # noqa: B006 - a default that the schema shows, never changed
        after: Day = "",
        before: Day = "",
    ) -> ToolResult:
        """Search the documents. Gives the passages that best match, each with an id to cite.

        It gives a few passages, never all: to count or to list every case use find_all.

        Args:
            query: What to look for, as a full question or statement in any language.
            k: How many passages to give.
            source: Only documents of this source, file name or glob, such as "reports/**/*.pdf".
            tags: Only documents that bear all of these tags.
            after: Only documents dated on this day (2024-12-31) or later.
            before: Only documents dated on this day or earlier.
        """
        days = _parse_bound("after", after), _parse_bound("before", before)
        asked = Filters((source,) if source else (), "", tuple(tags), *days)
        asked, allowed = await _resolved(knowledge, asked, filters)
        if message := explain_no_match(asked, allowed) if asked else "":
            return ToolResult(message, structured=SearchResult(hits=[], note=message))
        hits = await knowledge.search(query, k, filters=asked.bounded(filters))
        if not hits:
            message = _NOTHING_ALLOWED if asked else _NOTHING
            return ToolResult(message, structured=SearchResult(hits=[], note=message))
        return await _search_result(knowledge, query, hits, context)

    @_described(FindResult)
    async def find_all(
        text: Annotated[str, Field(min_length=1, max_length=200)],
        context: ToolContext,
        source: Glob = "",
        page: Page = 1,
    ) -> ToolResult:
        """Find every place where a word or phrase stands, word for word, with how often it stands
        in which document. For questions such as "how many" and "list all".

        Args:
            text: The word or phrase itself, not a question.
            source: Only documents of this source, file name or glob, such as "reports/**/*.pdf".
            page: Which page of the places to give; each has 10.
        """
        asked = Filters((source,) if source else ())
        asked, allowed = await _resolved(knowledge, asked, filters)
        if message := explain_no_match(asked, allowed) if asked else "":
            nothing = FindResult(times=0, documents=[], places=[], next_page=None, note=message)
            return ToolResult(message, structured=nothing)
        found = await knowledge.find_all(text, filters=asked.bounded(filters))
        return await _find_result(knowledge, text, found, page, context)

    @_described(Outline)
    async def outline_document(source: Source, context: ToolContext) -> ToolResult:
        """See what a document is about: its headings, where each begins, and how it opens. To
        summarise it, read on from there with read_document.

        Args:
            source: The document's source, file name or URI, or the id of a passage of it.
        """
        document, _start, _end = await _place(knowledge, source, filters)
        return _outline_result(document, await knowledge.outline(document.source), context)

    @_described(DocumentText)
    async def read_document(
        source: Source, context: ToolContext, start: Offset = 0, end: Offset = 0
    ) -> ToolResult:
        """Read a document, or a range of it, as it stands. A long one comes in parts: read on
        from where the last part ends.

        Args:
            source: The document's source, file name or URI; or the id of a passage, to read that.
            start: The first character to read.
            end: The character to stop before; 0 is the document's end.
        """
        document, first, last = await _place(knowledge, source, filters)
        if start or end:
            first, last = start, end
        return _read_result(document, first, last or None, read_limit, context)

    @_described(DocumentList)
    async def list_documents(
        containing: Annotated[str, Field(max_length=500), _or("")] = "", page: Page = 1
    ) -> ToolResult:
        """List the documents: source, title, length in characters, date and tags, 100 a page.

        Args:
            containing: Only those whose source, title or tags contain this.
            page: Which page to give.
        """
        wanted = containing.casefold()
        records = [_document_record(info) for info in await knowledge.documents(filters=filters)]
        found = [
            each
            for each in records
            if wanted in "\n".join((each.source, each.title, *each.tags)).casefold()
        ]
        return _list_result(found, page)

    return search, find_all, outline_document, read_document, list_documents


def document_range(document: Document, start: int, end: int | None, limit: int) -> Chunk:
    """A range of a document as a chunk, at most `limit` characters long. Raises KnowledgeError for
    an empty range."""
    size = len(document.text)
    if end is not None and start >= end:
        raise KnowledgeError(
            f"start ({start}) is not before end ({end}). Give a smaller start, or a larger end."
        )
    stop = min(size, end if end is not None else size, start + limit)
    if start >= stop and size:
        raise KnowledgeError(
            f"{document.source} has {size} characters: there is nothing from {start} to "
            f"{end if end is not None else size}."
        )
    return replace(range_of(document, start, stop), heading=document.title)


_descriptions: dict[tuple[str, object], Tool[Any]] = {}


def _described(
    output: type[BaseModel], name: str = "", variant: object = None
) -> Callable[[AnyFunction], Tool[AnyFunction]]:
    """A decorator like `tool` that reads a signature and docstring once for each variant, so that
    each run can have tools of its own."""

    def create(function: AnyFunction) -> Tool[AnyFunction]:
        key = function.__qualname__, variant
        if key not in _descriptions:
            described: Tool = tool(name=name, idempotent=True, output=output)(function)
            _descriptions[key] = replace(
                described, function=None
            )  # not the closure of one knowledge base
        return replace(_descriptions[key], function=function)

    return create


async def _resolved(
    knowledge: KnowledgeBase, asked: Filters, bounds: Filters
) -> tuple[Filters, Sequence[DocumentInfo]]:
    """Filters whose source may be a file name alone, and the documents that they choose among."""
    if not asked:
        return asked, ()
    documents = await knowledge.documents(filters=bounds)
    names = [n for each in asked.sources for n in same_files(each, (d.source for d in documents))]
    return replace(asked, sources=tuple(map(_as_glob, names)) or asked.sources), documents


def _as_glob(source: str) -> str:
    return "".join(f"[{each}]" if each in "*?[" else each for each in source)


async def _place(
    knowledge: KnowledgeBase, reference: str, filters: Filters
) -> tuple[Document, int, int]:
    """The document that a source, a URI or a passage's id names, and its range; 0 is the
    document's end. Raises KnowledgeError."""
    if found := parse_passage_id(reference):
        document = await knowledge.document_of(found[0])
        if document is not None:
            return await knowledge.document(document.source, filters=filters), found[1], found[2]
    if address := parse_address(reference):
        document = await knowledge.document(address.source, filters=filters)
        return document, address.start or 0, address.end or 0
    return await knowledge.document(reference, filters=filters), 0, 0


def _parse_bound(name: str, text: str) -> date | None:
    day = parse_day(text) if text else None
    if text and day is None:
        raise KnowledgeError(f"{name}: {text!r} is not a date. Write it as 2024-12-31.")
    return day


async def _search_result(
    knowledge: KnowledgeBase, query: str, hits: Sequence[Hit], context: ToolContext
) -> ToolResult:
    """Hits as passages, each with the section around it where it is small; those that overlap or
    adjoin in a section are one."""
    likely = {h.chunk.id: r for h, r in zip(hits, relevances(query, hits), strict=True)}
    chunks = await knowledge.widen([hit.chunk for hit in hits], PARENT_TOKENS)
    scores = {hit.chunk.id: hit.score for hit in hits}
    fitting = packed(await knowledge.merge(chunks), context.room, estimated_tokens)
    passages = tuple(_passage(chunk, context, scores[chunk.id]) for chunk in fitting.chunks)
    records = [
        SearchHit(**passage_fields(each), score=likely[chunk.id])
        for each, chunk in zip(passages, fitting.chunks, strict=True)
    ]
    doubt = _NOTHING_LIKELY if max(likely.values()) < UNLIKELY else ""
    notes = " ".join(filter(None, (doubt, fitting.note)))
    return ToolResult(fitting.note, passages, SearchResult(hits=records, note=notes))


async def _find_result(
    knowledge: KnowledgeBase,
    text: str,
    occurrences: Occurrences,
    page: int,
    context: ToolContext,
) -> ToolResult:
    """How often and where a text occurs, and a page of the places."""
    found = occurrences.found
    counts = sorted(occurrences.by_source().items(), key=lambda pair: (-pair[1], pair[0]))
    shown = found[(page - 1) * PLACES_PER_PAGE : page * PLACES_PER_PAGE]
    chunks = await knowledge.with_headings([place.chunk for place in shown]) if shown else []
    passages = tuple(_passage(chunk, context, None) for chunk in chunks)
    structured = FindResult(
        times=occurrences.times,
        documents=[SourceCount(source=s, times=times) for s, times in counts[:PAGE_SIZE]],
        places=[PassageRecord(**passage_fields(passage)) for passage in passages],
        unread=len(occurrences.unread),
        next_page=_next_page(page, PLACES_PER_PAGE, len(found)),
    )
    if not found:
        message = f"{text!r} does not occur word for word. search_knowledge finds what is meant."
        return ToolResult(message, structured=structured.model_copy(update={"note": message}))
    lines = [f"{text!r} occurs {occurrences.times} times in {len(counts)} documents:"]
    lines += [f"{source}: {count}" for source, count in counts[:PAGE_SIZE]]
    if len(counts) > PAGE_SIZE:
        lines.append(f"({len(counts) - PAGE_SIZE} more documents: narrow by source.)")
    if occurrences.unread:
        lines.append(f"({structured.unread} documents were not searched: narrow by source.)")
    if structured.next_page:
        left = len(found) - page * PLACES_PER_PAGE
        lines.append(f"({left} more places: ask for page={structured.next_page}.)")
    return ToolResult("\n".join(lines), passages, structured)


def _outline_result(
    document: Document, sections: Sequence[OutlineEntry], context: ToolContext
) -> ToolResult:
    """A document's size and headings, and its beginning as a passage."""
    size = len(document.text)
    headings = [
        HeadingRecord(heading=section.heading or section.part, start=section.start)
        for section in sections[:PAGE_SIZE]
        if section.heading or section.part
    ]
    lines = [f"{document.source}: {document.title} ({size} characters)"]
    for each in headings:
        depth, name = each.heading.count(" > "), each.heading.rpartition(" > ")[2]
        lines.append(f"{'  ' * depth}- {name} (start={each.start})")
    if len(sections) > PAGE_SIZE:
        more = len(sections) - PAGE_SIZE
        lines.append(f"({more} more sections, from start={sections[PAGE_SIZE].start}.)")
    opening = document_range(document, 0, None, OPENING_LIMIT)
    if size > opening.end:
        lines.append(f"({size - opening.end} more characters: read on with start={opening.end}.)")
    passage = _passage(opening, context, None)
    structured = Outline(
        source=document.source,
        title=document.title,
        characters=size,
        headings=headings,
        opening=PassageRecord(**passage_fields(passage)),
    )
    return ToolResult("\n".join(lines), (passage,), structured)


def _read_result(
    document: Document, start: int, end: int | None, limit: int, context: ToolContext
) -> ToolResult:
    chunk = document_range(document, start, end, limit)
    fitting = packed([chunk], context.room, estimated_tokens)
    chunk = fitting.chunks[0] if fitting.chunks else chunk
    left = len(document.text) - chunk.end
    more = f"({left} more characters: read on with start={chunk.end}.)" if left else ""
    passage = _passage(chunk, context, None)
    fields = {**passage_fields(passage), "heading": ""}
    structured = DocumentText(**fields, characters=len(document.text), note=more)
    return ToolResult(more, (passage,), structured)


def _document_record(info: DocumentInfo) -> DocumentRecord:
    day = day_of(info.metadata)
    return DocumentRecord(
        source=info.source,
        title=info.title,
        characters=info.characters,
        chunks=info.chunks,
        date=day.isoformat() if day else "",
        tags=list(dict.fromkeys(tags_of(info.metadata))),
    )


def _list_result(found: Sequence[DocumentRecord], page: int) -> ToolResult:
    shown = found[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
    following = _next_page(page, PAGE_SIZE, len(found))
    lines = [f"{each.source}: {each.title} ({_details(each)})" for each in shown]
    if following:
        left = len(found) - page * PAGE_SIZE
        lines.append(f"({left} more: ask for page={following}, or use containing.)")
    structured = DocumentList(documents=list(shown), total=len(found), next_page=following)
    return ToolResult("\n".join(lines) or "There are no such documents.", structured=structured)


def _details(record: DocumentRecord) -> str:
    tags = f"tags: {', '.join(record.tags)}" if record.tags else ""
    return "; ".join(filter(None, (f"{record.characters} characters", record.date, tags)))


def _next_page(page: int, size: int, count: int) -> int | None:
    return page + 1 if page * size < count else None


def _passage(chunk: Chunk, context: ToolContext, relevance: float | None) -> Passage:
    return Passage(context.cite(chunk), chunk, relevance)
