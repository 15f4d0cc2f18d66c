"""The commands about documents: searched, opened at a passage, listed, added."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from string import ascii_lowercase

from rich.text import Text

from agentkit.cli.chat.conversation import Chat
from agentkit.cli.render import harmless, print_line, show_citations, warn
from agentkit.documents import Chunk
from agentkit.errors import AgentkitError, ConfigError, KnowledgeError
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.knowledge.progress import IndexReport
from agentkit.project.project import Project

_AROUND = 400
_PREVIEW = 160
_FOUND = 5
_OPENED = 4000
_WEB = ("http://", "https://")


async def search(chat: Chat, argument: str) -> None:
    """Passages by letters, for /open."""
    if not argument:
        raise ConfigError("Say what to look for: /search attention heads.")
    hits = await _knowledge(chat).search(argument, _FOUND)
    chat.found = dict(zip(ascii_lowercase, (hit.chunk for hit in hits), strict=False))
    if not hits:
        chat.say("nothing was found")
    for letter, hit in zip(ascii_lowercase, hits, strict=False):
        line = " ".join(harmless(hit.chunk.text).split())
        chat.out.print(Text(f"[{letter}] {hit.chunk.place}  {hit.score:.2f}", "bold"))
        print_line(Text(f"    {line[:_PREVIEW]}"), chat.out)
    if hits:
        chat.say("/open a shows one in its document")


async def open_(chat: Chat, argument: str) -> None:
    """A passage with what stands around it, or a document."""
    wanted = argument.strip("[] ")
    chunk = chat.session.sources.find(wanted) or chat.found.get(wanted.lower())
    if chunk is not None:
        await _show_passage(chat, wanted, chunk)
        return
    if not wanted or wanted.isdigit():
        count = len(chat.session.sources)
        known = f"the numbers 1 to {count}" if count else "no passages yet"
        raise ConfigError(f"There is no passage {wanted or 'without a number'}: there are {known}.")
    document = await _knowledge(chat).document(wanted)
    chat.out.print(Text(document.source, "bold"))
    chat.out.print(Text(harmless(document.text[:_OPENED]).rstrip()))
    if len(document.text) > _OPENED:
        chat.say(f"… {len(document.text) - _OPENED} characters more: /search leads to a place")


async def sources(chat: Chat, argument: str) -> None:
    """What the last answer cites, or every passage of the conversation."""
    known = chat.session.sources
    if argument == "all":
        for number in known.numbers():
            chunk = known.find(number)
            assert chunk is not None
            chat.out.print(Text(f"[{number}] {chunk.place}"))
    elif chat.last is None or not chat.last.citations:
        chat.say("nothing is cited yet; /sources all lists what was read")
    else:
        show_citations(chat.last, chat.out)


async def kb(chat: Chat, argument: str) -> None:
    """What the index holds."""
    documents = await _knowledge(chat).documents()
    passages = sum(info.chunks for info in documents)
    chat.out.print(Text(f"{len(documents)} documents, {passages} passages", "bold"))
    for info in documents:
        line = Text(f"  {info.source}  {info.title}, {info.characters} characters")
        print_line(line, chat.out)


async def add(chat: Chat, argument: str) -> None:
    """Put a file, a folder or a page into the index."""
    if not argument:
        raise ConfigError("Name what to add: /add paper.pdf, /add notes/ or /add https://…")
    report = await _indexed(chat.project, _knowledge(chat), argument)
    warn(list(report.warnings), chat.log)
    chat.say(_added(report))


async def _show_passage(chat: Chat, name: str, chunk: Chunk) -> None:
    """The passage in its document, what is quoted of it highlighted."""
    text, at = await _around(chat, chunk)
    shown = Text(harmless(text, " ").rstrip(), "dim")
    shown.stylize("not dim", at, at + len(chunk.text))
    for start, end in _quoted(chat, name):
        shown.stylize("reverse", start - chunk.start + at, end - chunk.start + at)
    place = f"[{name}] {chunk.place} (characters {chunk.start}-{chunk.end})"
    chat.out.print(Text(place, "bold"))
    chat.out.print(shown)


async def _around(chat: Chat, chunk: Chunk) -> tuple[str, int]:
    """A text that holds a passage, and where in it. The passage alone, where its document has
    changed or gone."""
    try:
        text = (await _knowledge(chat).document(chunk.source)).text
    except AgentkitError:
        text = ""
    if text[chunk.start : chunk.end] != chunk.text:
        chat.say("the document has changed since: this is the passage as it was read")
        return chunk.text, 0
    start = max(0, chunk.start - _AROUND)
    return text[start : chunk.end + _AROUND], chunk.start - start


def _quoted(chat: Chat, name: str) -> list[tuple[int, int]]:
    cited = chat.last.citations if chat.last else ()
    return [(c.start, c.end) for c in cited if c.marker == name and c.quote and c.supported]


def _knowledge(chat: Chat) -> KnowledgeBase:
    if chat.project.agent.knowledge is None:
        raise KnowledgeError("This folder has no documents: make knowledge/ and put some there.")
    return chat.project.agent.knowledge


async def _indexed(project: Project, knowledge: KnowledgeBase, source: str) -> IndexReport:
    """Index a page, a file or a folder; a folder's sources begin with its name."""
    known = project.settings.knowledge
    if source.startswith(_WEB):
        from agentkit.knowledge.loaders.web import load_url

        most, private = int(known.max_file_mb * 1e6), known.allow_private_addresses
        loaded = await load_url(source, max_bytes=most, allow_private=private)
        report = await knowledge.add([loaded.document])
        return replace(report, warnings=(*report.warnings, *loaded.warnings))
    path = Path(source).expanduser()
    prefix = f"{path.resolve().name}/" if path.is_dir() else ""
    if path.resolve() == (project.path / "knowledge").resolve():
        prefix = ""
    return await knowledge.add_path(path, prefix=prefix, max_file_mb=known.max_file_mb)


def _added(report: IndexReport) -> str:
    return (
        f"{len(report.added)} added, {len(report.changed)} changed, "
        f"{len(report.unchanged)} unchanged; {report.embedded} passages embedded"
    )
