"""The commands about documents: searched, opened at a passage, listed, added."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from string import ascii_lowercase

from rich.text import Text

from agentkit.cli.chat.conversation import Chat
from agentkit.cli.language import translated
from agentkit.cli.render import harmless, index_progress, print_line, show_citations, warn
from agentkit.documents import Chunk
from agentkit.errors import AgentkitError, ConfigError, KnowledgeError
from agentkit.findings import counted
from agentkit.knowledge.index.indexer import IndexReport, Progress
from agentkit.knowledge.knowledge_base import KnowledgeBase
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
        chat.say("Nothing was found.")
    for letter, hit in zip(ascii_lowercase, hits, strict=False):
        line = " ".join(harmless(hit.chunk.text).split())
        place = Text(f"[{letter}] {hit.chunk.place}", "bold").append(
            f"  {hit.score:.2f}", "not bold dim"
        )
        chat.out.print(place)
        print_line(Text(f"    {line[:_PREVIEW]}"), chat.out)
    if hits:
        chat.say("/open a shows the first in its document.")


async def open_(chat: Chat, argument: str) -> None:
    """A passage with what stands around it, or a document."""
    wanted = argument.strip("[] ")
    chunk = chat.session.sources.find(wanted) or chat.found.get(wanted.lower())
    if chunk is not None:
        await _show_passage(chat, wanted, chunk)
        return
    if not wanted or wanted.isdigit():
        raise ConfigError(_no_passage(wanted, len(chat.session.sources)))
    document = await _knowledge(chat).document(wanted)
    chat.out.print(Text(document.source, "bold"))
    chat.out.print(Text(harmless(document.text[:_OPENED]).rstrip()))
    if len(document.text) > _OPENED:
        left = len(document.text) - _OPENED
        chat.say(f"{left} characters more are not shown: /search leads to a place in them.")


async def sources(chat: Chat, argument: str) -> None:
    """What the last answer cites, or every passage of the conversation."""
    known = chat.session.sources
    if argument == "all":
        for number in known.numbers():
            chunk = known.find(number)
            assert chunk is not None
            chat.out.print(Text(f"[{number}] {chunk.place}"))
    elif chat.last is None or not chat.last.citations:
        chat.say("Nothing is cited yet; /sources all lists what was read.")
    else:
        show_citations(chat.last, chat.out)


async def kb(chat: Chat, argument: str) -> None:
    """What the index holds."""
    documents = await _knowledge(chat).documents()
    passages = sum(info.chunks for info in documents)
    said = f"{counted(len(documents), 'document')}, {counted(passages, 'passage')}"
    chat.out.print(Text(translated(said), "bold"))
    for info in documents:
        about = f"  {info.title}, {translated(counted(info.characters, 'character'))}"
        print_line(Text(f"  {info.source}").append(about, "dim"), chat.out)


async def add(chat: Chat, argument: str) -> None:
    """Put a file, a folder or a page into the index."""
    if not argument:
        raise ConfigError("Name what to add: /add paper.pdf, /add notes/ or /add https://…")
    with index_progress(chat.log) as tell:
        report = await _indexed(chat.project, _knowledge(chat), argument, tell)
    warn(list(report.warnings), chat.log)
    chat.say(_added(report))
    chat.has_changed = True


async def _show_passage(chat: Chat, name: str, chunk: Chunk) -> None:
    """The passage in its document, what is quoted of it highlighted."""
    text, at = await _around(chat, chunk)
    quoted = [
        (start - chunk.start + at, end - chunk.start + at) for start, end in _quoted(chat, name)
    ]
    place = Text(f"[{name}] {chunk.place}", "bold")
    where = translated(f"characters {chunk.start}-{chunk.end}")
    chat.out.print(place.append(f" ({where})", "not bold dim"))
    text = harmless(text, " ")
    if not chat.live:
        chat.out.print(Text(_marked(text, quoted).rstrip()))
        return
    shown = Text(text.rstrip(), "dim")
    shown.stylize("not dim", at, at + len(chunk.text))
    for start, end in quoted:
        shown.stylize("reverse", start, end)
    chat.out.print(shown)


def _marked(text: str, quoted: list[tuple[int, int]]) -> str:
    """A text whose quotes stand between marks that can be heard."""
    for start, end in sorted(set(quoted), reverse=True):
        text = f"{text[:start]}>>{text[start:end]}<<{text[end:]}"
    return text


def _no_passage(wanted: str, count: int) -> str:
    if not count:
        return "No passage has a number yet: ask something first."
    if not wanted:
        return f"Say which passage: /open 1, up to {count}."
    return f"There is no passage {wanted}: the numbers go from 1 to {count}."


async def _around(chat: Chat, chunk: Chunk) -> tuple[str, int]:
    """A text that holds a passage, and where in it. The passage alone, where its document has
    changed or gone."""
    try:
        text = (await _knowledge(chat).document(chunk.source)).text
    except AgentkitError:
        text = ""
    if text[chunk.start : chunk.end] != chunk.text:
        chat.say("The document has changed since: this is the passage as it was read.")
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


async def _indexed(
    project: Project, knowledge: KnowledgeBase, source: str, tell: Callable[[Progress], None]
) -> IndexReport:
    """Index a page, a file or a folder; a folder's sources begin with its name."""
    known = project.settings.knowledge
    if source.startswith(_WEB):
        from agentkit.knowledge.loaders.web import load_url

        most, private = int(known.max_file_mb * 1e6), known.allow_private_addresses
        loaded = await load_url(source, max_bytes=most, allow_private=private)
        report = await knowledge.add([loaded.document], on_progress=tell)
        return replace(report, warnings=(*report.warnings, *loaded.warnings))
    path = Path(source).expanduser()
    prefix = f"{path.resolve().name}/" if path.is_dir() else ""
    if path.resolve() == (project.path / "knowledge").resolve():
        prefix = ""
    return await knowledge.add_path(
        path, prefix=prefix, max_file_mb=known.max_file_mb, on_progress=tell
    )


def _added(report: IndexReport) -> str:
    return (
        f"{len(report.added)} added, {len(report.changed)} changed, "
        f"{len(report.unchanged)} unchanged, {report.embedded} passages embedded."
    )
