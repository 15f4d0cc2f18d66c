"""Attach what `@name` in a message means: a document of the index, a text file, an image, or the
resource `@server:uri` of an MCP server. Text goes as passages that the answer can cite.

A name that is none of these stays in the text, with a note.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from agentkit.cli.i18n import _
from agentkit.documents import Document, Passage
from agentkit.errors import AgentkitError, KnowledgeError
from agentkit.knowledge.chunking.splitter import first_heading
from agentkit.knowledge.citations.passages import Sources
from agentkit.knowledge.citations.passages import attach as attach_document
from agentkit.knowledge.loaders.files import load, read_bytes
from agentkit.mcp.results import strip_delimiters
from agentkit.messages import ImagePart, Message, TextPart
from agentkit.project.project import Project

_NAME = re.compile(r'(?<!\S)@(?:"([^"\n]+)"|(\S*[^\s.,;:!?)\]，。；：！？）]))')
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


async def attach(line: str, project: Project, sources: Sources) -> tuple[Message, list[str]]:
    """A message with what it names, and a note about each name. Passages get their numbers from
    `sources`. Raises nothing: what cannot be read is a note."""
    parts: list[Part] = [TextPart(line)]
    passages: list[Passage] = []
    notes: list[str] = []
    for quoted, bare in dict.fromkeys(_NAME.findall(line)[:_MOST_NAMES]):
        name = quoted or bare
        try:
            found = await _read(name, project)
        except AgentkitError as error:
            note = _("@{name} is not attached: {error}")
            notes.append(note.format(name=name, error=error))
            continue
        for part in found:
            if isinstance(part, TextPart):
                passages += _cite(name, part.text, sources)
                if (left := len(part.text) - _MOST_CHARACTERS) > 0:
                    parts.append(TextPart(f"\n[{left} characters of {name} are left out.]"))
            else:
                parts.append(part)
        note = _("@{name} is attached: {parts}")
        notes.append(note.format(name=name, parts=", ".join(map(_describe, found))))
    content = tuple(parts) if len(parts) > 1 else line
    return Message("user", content, passages=tuple(passages)), notes


async def _read(name: str, project: Project) -> list[Part]:
    knowledge = project.agent.knowledge
    if knowledge and name in {info.source for info in await knowledge.documents()}:
        return [TextPart((await knowledge.document(name)).text)]
    server, _colon, uri = name.partition(":")
    servers = project.servers
    if servers and uri and server in servers.clients:
        content = await servers.read(server, uri)
        found = (TextPart(content),) if isinstance(content, str) else content
        return [TextPart(strip_delimiters(p.text)) if isinstance(p, TextPart) else p for p in found]
    return [await asyncio.to_thread(_read_file, name, project.path)]


def _read_file(name: str, folder: Path) -> Part:
    """A file of the current folder, else of the project's. Raises KnowledgeError."""
    path = Path(name).expanduser()
    found = next((p for p in (path, folder / path) if p.is_file()), None)
    if found is None:
        raise KnowledgeError(_("there is no document and no file of this name."))
    if media_type := _IMAGES.get(found.suffix.lower()):
        return ImagePart(read_bytes(found, _MOST_IMAGE_BYTES), media_type)
    return TextPart(load(read_bytes(found, 4 * _MOST_CHARACTERS), name).document.text)


def _cite(name: str, text: str, sources: Sources) -> tuple[Passage, ...]:
    """The beginning of a text as numbered passages."""
    text = text[:_MOST_CHARACTERS]
    return attach_document(Document(name, text, first_heading(text) or name), sources)


def _describe(part: Part) -> str:
    if not isinstance(part, TextPart):
        return _("an image of {size:.0f} KB").format(size=len(part.data) / 1000)
    if (left := len(part.text) - _MOST_CHARACTERS) > 0:
        text = _("{count} characters, {left} left out")
        return text.format(count=len(part.text), left=left)
    return _("{count} characters").format(count=len(part.text))
