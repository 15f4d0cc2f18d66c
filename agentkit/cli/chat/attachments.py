"""`@name` in a message: a document of the index, a text file, an image or `@server:resource` of an
MCP server goes with it. Text goes as passages that the answer can cite.

A name that is none of these stays as it was written, and is said to be none.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from pathlib import Path

from agentkit.documents import Document, Passage
from agentkit.errors import AgentkitError, KnowledgeError
from agentkit.knowledge.chunking.splitter import first_heading
from agentkit.knowledge.citations.passages import Sources
from agentkit.knowledge.citations.passages import attach as attach_document
from agentkit.knowledge.loaders.files import load, read_bytes
from agentkit.mcp.client import McpServers
from agentkit.messages import Content, ImagePart, TextPart
from agentkit.project.project import Project

_NAMED = re.compile(r'(?<!\S)@(?:"([^"\n]+)"|(\S*[^\s.,;:!?)\]，。；：！？）]))')
_IMAGES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
_MOST_NAMES = 10
_MOST_CHARACTERS = 100_000
_MOST_IMAGE_BYTES = 10_000_000


Part = TextPart | ImagePart


@dataclass
class Attached:
    """A message with what goes with it, and a line about each thing."""

    content: Content
    passages: list[Passage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


async def attach(
    line: str, project: Project, sources: Sources, servers: McpServers | None = None
) -> Attached:
    """Read what a line names; passages get their numbers from `sources`. Raises nothing: what
    cannot be read is a note."""
    parts: list[Part] = [TextPart(line)]
    whole = Attached(line)
    for quoted, bare in dict.fromkeys(_NAMED.findall(line)[:_MOST_NAMES]):
        name = quoted or bare
        try:
            found = await _parts(name, project, servers)
        except AgentkitError as error:
            whole.notes.append(f"@{name} is not attached: {error}")
            continue
        parts += [part for part in found if isinstance(part, ImagePart)]
        for part in found:
            if isinstance(part, TextPart):
                whole.passages += _cited(name, part.text, sources)
        said = ", ".join(_said(part) for part in found)
        whole.notes.append(f"@{name} is attached: {said}")
    if len(parts) > 1:
        whole.content = tuple(parts)
    return whole


async def _parts(name: str, project: Project, servers: McpServers | None) -> list[Part]:
    knowledge = project.agent.knowledge
    if knowledge and name in {info.source for info in await knowledge.documents()}:
        return [TextPart((await knowledge.document(name)).text)]
    server, _, uri = name.partition(":")
    if servers and uri and server in servers.clients:
        content = await servers.read(server, uri)
        return [TextPart(content)] if isinstance(content, str) else list(content)
    return [await asyncio.to_thread(_from_file, name, project.path)]


def _from_file(name: str, folder: Path) -> Part:
    """A file of the current folder, else of the project's. Raises KnowledgeError."""
    path = Path(name).expanduser()
    found = next((p for p in (path, folder / path) if p.is_file()), None)
    if found is None:
        raise KnowledgeError("no document and no file is called so.")
    if media_type := _IMAGES.get(found.suffix.lower()):
        return ImagePart(read_bytes(found, _MOST_IMAGE_BYTES), media_type)
    return TextPart(load(read_bytes(found, 4 * _MOST_CHARACTERS), name).document.text)


def _cited(name: str, text: str, sources: Sources) -> tuple[Passage, ...]:
    """The beginning of a text as passages with numbers."""
    text = text[:_MOST_CHARACTERS]
    return attach_document(Document(name, text, first_heading(text) or name), sources)


def _said(part: Part) -> str:
    if isinstance(part, TextPart):
        left = len(part.text) - _MOST_CHARACTERS
        return f"{len(part.text)} characters" + (f", {left} left out" if left > 0 else "")
    return f"an image of {len(part.data) / 1000:.0f} KB"
