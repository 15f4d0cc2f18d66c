"""Documents of the page: listed with their states, uploaded, fetched, removed, read and shown."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Depends, File, Query, UploadFile
from pydantic import BaseModel, Field
from starlette.responses import Response, StreamingResponse

from agentkit._files import real_path
from agentkit.documents import Document
from agentkit.knowledge.index.catalog import DocumentInfo
from agentkit.knowledge.index.indexer import document_id
from agentkit.knowledge.index.roots import source_name
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.knowledge.search.lookup import range_of
from agentkit.server.auth import require
from agentkit.server.errors import ApiError
from agentkit.server.guard import SANDBOX
from agentkit.server.service import Server, Service
from agentkit.server.turns import format_of
from agentkit.server.uploads import named_by_content, safe_name, store

router = APIRouter(prefix="/api/documents", tags=["documents"])

Reader = Depends(require("ask"))
Manager = Depends(require("documents"))

DocumentState = Literal["indexed", "queued", "reading", "unread", "failed"]

MOST_FILES = 100
MOST_AROUND = 200_000
REMOVAL_SECONDS = 5.0
"""How long a removal is waited for; it goes on afterwards."""


class DocumentRecord(BaseModel):
    """A document and its state. `reason` says why a file is unread, or why indexing it failed;
    `original` whether its file can be had."""

    id: str
    source: str
    title: str
    format: str
    state: DocumentState
    chunks: int = 0
    bytes: int | None = None
    updated: str | None = None
    reason: str = ""
    pages: int | None = None
    original: bool = False


class DocumentList(BaseModel):
    documents: list[DocumentRecord]


class Address(BaseModel):
    url: str = Field(min_length=1, max_length=2000)


class DocumentSlice(BaseModel):
    """A range of a document's text: `text` is `document[from:to]`, and `start` to `end` is the
    passage that was asked for, whose heading and page are given. `total` is in characters."""

    id: str
    title: str
    source: str
    format: str
    text: str
    begin: int = Field(serialization_alias="from")
    to: int
    start: int | None
    end: int | None
    heading: str
    page: int | None
    part: str
    pages: int | None
    total: int
    original: bool


@router.get("", dependencies=[Reader])
async def list_documents(server: Server) -> DocumentList:
    """List the documents: those of the index, files that are not read yet, and those that cannot
    be read."""
    return DocumentList(documents=list((await _records(server)).values()))


@router.post("", status_code=202, dependencies=[Manager])
async def upload_documents(
    server: Server, files: Annotated[list[UploadFile], File(max_length=MOST_FILES)]
) -> DocumentList:
    """Store files in knowledge/ and index them. Of several files, those that cannot be used are
    listed as failed; a single one is refused."""
    try:
        await server.indexing.create_folder()
    except OSError as error:
        raise ApiError(
            507, f"knowledge/ cannot be created: {error.strerror}.", "not_stored"
        ) from error
    stored: list[DocumentRecord] = []
    refused: list[ApiError] = []
    for file in files:
        name = file.filename or ""
        try:
            source = await asyncio.to_thread(_store, server, name, file)
        except ApiError as error:
            refused.append(error)
            stored.append(_record(name, "failed", reason=error.detail))
            continue
        server.indexing.request(source)
        stored.append(_record(source, "queued", path=_file_of(server, source)))
    if len(refused) == len(files):
        raise refused[0]
    return DocumentList(documents=stored)


@router.post("/url", status_code=202, dependencies=[Manager])
async def add_address(server: Server, body: Address) -> DocumentRecord:
    """Fetch a web page or a file by its address, and index it."""
    url = body.url.strip()
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and not parts.username:
            await server.indexing.create_folder()
            server.indexing.request(url)
            return _record(url, "queued")
    raise ApiError(422, "url must be a http or https address.", "invalid_value", param="url")


@router.delete("/{document}", status_code=204, dependencies=[Manager])
async def delete_document(document: str, server: Server) -> None:
    """Delete a document, with its file where that is in knowledge/."""
    record = await _record_of(server, document)
    path = await asyncio.to_thread(_file_of, server, record.source)
    if path is not None:
        try:
            await asyncio.to_thread(path.unlink)
        except OSError as error:
            raise ApiError(
                500, f"{record.source} cannot be deleted: {error.strerror}.", "not_deleted"
            ) from error
    job = server.indexing.request(record.source, removes=True)
    with suppress(TimeoutError):
        async with asyncio.timeout(REMOVAL_SECONDS):
            await job.done.wait()


@router.post("/{document}/index", status_code=202, dependencies=[Manager])
async def index_document(document: str, server: Server) -> DocumentRecord:
    """Read a document's file or address again."""
    record = await _record_of(server, document)
    server.indexing.request(record.source)
    return record.model_copy(update={"state": "queued", "reason": ""})


@router.get("/{document}/text", dependencies=[Reader])
async def document_text(
    document: str,
    server: Server,
    start: Annotated[int | None, Query(ge=0)] = None,
    end: Annotated[int | None, Query(ge=0)] = None,
    around: Annotated[int, Query(ge=0, le=MOST_AROUND)] = 2000,
) -> DocumentSlice:
    """Read a passage with `around` characters on each side, to whole lines."""
    knowledge, found = await _document(server, document)
    size = len(found.text)
    first = min(start or 0, size)
    last = min(size, max(first, first if end is None else end))
    begin, to = _whole_lines(found.text, max(0, first - around), min(size, last + around))
    passage = range_of(found, first, last)
    headings = await knowledge.with_headings([passage]) if last > first else [passage]
    pages = [part for part in found.parts if part.kind in ("page", "slide")]
    return DocumentSlice(
        id=found.id,
        title=found.title,
        source=found.source,
        format=format_of(found.source),
        text=found.text[begin:to],
        begin=begin,
        to=to,
        start=None if start is None else first,
        end=None if start is None else last,
        heading=headings[0].heading,
        page=passage.page,
        part=passage.part,
        pages=len(pages) or None,
        total=size,
        original=await asyncio.to_thread(_file_of, server, found.source) is not None,
    )


@router.get("/{document}/file", dependencies=[Reader], response_class=Response)
async def document_file(document: str, server: Server) -> Response:
    """Download the original file."""
    source = await _source_of(server, document)
    path = await asyncio.to_thread(_file_of, server, source)
    if path is None:
        raise ApiError(404, "The original is not in knowledge/. Read its text.", "no_original")
    descriptor = await asyncio.to_thread(os.open, path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    kind = "application/pdf" if path.suffix.lower() == ".pdf" else "application/octet-stream"
    headers = {
        "content-disposition": f"attachment; filename*=UTF-8''{quote(path.name, safe='')}",
        "content-security-policy": SANDBOX,
        "content-length": str(os.fstat(descriptor).st_size),
    }
    return StreamingResponse(_pieces(descriptor), headers=headers, media_type=kind)


@router.get("/{document}/pages/{number}.png", dependencies=[Reader], response_class=Response)
async def document_page(
    document: str,
    number: int,
    server: Server,
    start: Annotated[int | None, Query(ge=0)] = None,
    end: Annotated[int | None, Query(ge=0)] = None,
) -> Response:
    """Draw a page of a PDF or image as a PNG, with the text from `start` to `end` highlighted."""
    _, found = await _document(server, document)
    path = await asyncio.to_thread(_file_of, server, found.source)
    recognised = found.metadata.get("ocr", {})
    if path is None or (path.suffix.lower() != ".pdf" and not recognised):
        raise ApiError(404, "This document has no pages to draw. Read its text.", "no_pages")
    wanted, near = "", 0.0
    part = next((p for p in found.parts if p.kind == "page" and p.name == str(number)), None)
    if part is not None and start is not None and end is not None:
        first, last = max(start, part.start), min(end, part.end)
        wanted = found.text[first:last] if first < last else ""
        near = (first - part.start) / max(1, part.end - part.start)
    limit = int(server.project.settings.knowledge.max_file_mb * 1e6)
    lines = recognised.get(str(number), {}).get("lines", ())
    png = await asyncio.to_thread(server.page_images.draw, path, number, wanted, near, limit, lines)
    headers = {"cache-control": "private, max-age=300"}
    return Response(png, media_type="image/png", headers=headers)


def _store(server: Service, name: str, file: UploadFile) -> str:
    """Store an uploaded file, and give its source. Raises ApiError."""
    limit = server.project.settings.knowledge.max_file_mb
    if (file.size or 0) > limit * 1e6:
        raise ApiError(
            413, f"{name} is larger than {limit:g} MB. Raise knowledge.max_file_mb.", "too_large"
        )
    chosen = named_by_content(safe_name(name), file.file)
    path = store(file.file, server.indexing.folder, chosen)
    return source_name(path.name)


def _file_of(server: Service, source: str) -> Path | None:
    """The regular file of a source in knowledge/, None where there is none: a source never leads
    out of the folder."""
    folder = server.indexing.folder.resolve()
    path = folder / source
    with suppress(OSError, ValueError):
        if real_path(path).is_relative_to(folder) and path.is_file():
            return real_path(path)
    return None


def _record(
    source: str, state: DocumentState, *, path: Path | None = None, reason: str = ""
) -> DocumentRecord:
    """A document that is not in the index."""
    record = DocumentRecord(
        id=document_id(source),
        source=source,
        title=Path(source).stem or source,
        format=format_of(source),
        state=state,
        reason=reason,
    )
    return _with_file(record, path)


def _with_file(record: DocumentRecord, path: Path | None) -> DocumentRecord:
    if path is None:
        return record
    with suppress(OSError):
        status = path.stat()
        changed = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds")
        return record.model_copy(
            update={"bytes": status.st_size, "updated": changed, "original": True}
        )
    return record


def _indexed(info: DocumentInfo, path: Path | None) -> DocumentRecord:
    fetched = info.metadata.get("fetched")
    record = DocumentRecord(
        id=document_id(info.source),
        source=info.source,
        title=info.title,
        format=format_of(info.source),
        state="indexed",
        chunks=info.chunks,
        updated=str(fetched) if fetched else None,
        pages=info.pages,
    )
    return _with_file(record, path)


async def _records(server: Service) -> dict[str, DocumentRecord]:
    """The documents by source, with what is being done to them."""
    knowledge = server.agent.knowledge
    infos = await knowledge.documents() if knowledge else []
    unread = await knowledge.unread() if knowledge else {}
    jobs = server.indexing.jobs()

    def listed() -> dict[str, DocumentRecord]:
        found = {info.source: _indexed(info, _file_of(server, info.source)) for info in infos}
        for source, warning in unread.items():
            # A warning begins with the file, whose place on this machine is not for the page.
            reason = warning.partition(f"{source}: ")[2] or warning
            if source in found:
                found[source].reason = reason
            else:
                path = _file_of(server, source)
                found[source] = _record(source, "unread", path=path, reason=reason)
        for source, job in jobs.items():
            path = _file_of(server, source)
            known = found.get(source) or _record(source, job.state, path=path)
            if job.removes and job.state != "failed":
                found.pop(source, None)
            elif source:
                update = {"state": job.state, "reason": job.reason}
                found[source] = known.model_copy(update=update)
        return dict(sorted(found.items()))

    return await asyncio.to_thread(listed)


async def _record_of(server: Service, document: str) -> DocumentRecord:
    """A document by its id. Raises ApiError."""
    for record in (await _records(server)).values():
        if record.id == document:
            return record
    raise _unknown()


async def _source_of(server: Service, document: str) -> str:
    """The source of a document by its id, also of one that is not in the index. Raises ApiError."""
    try:
        return (await _document(server, document))[1].source
    except ApiError:
        return (await _record_of(server, document)).source


async def _document(server: Service, document: str) -> tuple[KnowledgeBase, Document]:
    """A document of the index, or of a collection that is open, by its id. Raises ApiError."""
    is_id = len(document) == len(document_id(""))
    for knowledge in server.knowledge_bases() if is_id else ():
        if found := await knowledge.document_of(document):
            return knowledge, found
    raise _unknown()


def _unknown() -> ApiError:
    return ApiError(404, "There is no such document. Load the list again.", "document_not_found")


def _whole_lines(text: str, begin: int, to: int, most: int = 300) -> tuple[int, int]:
    """A range widened to whole lines, by at most so many characters on each side."""
    at = text.rfind("\n", max(0, begin - most), begin)
    begin = at + 1 if at >= 0 else (0 if begin <= most else begin)
    end = text.find("\n", to, to + most)
    return begin, end if end >= 0 else (len(text) if len(text) - to <= most else to)


async def _pieces(descriptor: int) -> AsyncIterator[bytes]:
    """The bytes of an open file, which is closed at the end."""
    with os.fdopen(descriptor, "rb") as file:
        while piece := await asyncio.to_thread(file.read, 1 << 18):
            yield piece
