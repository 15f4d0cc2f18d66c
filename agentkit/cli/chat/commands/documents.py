"""Chat commands about documents: search, open a passage, list, add."""

from __future__ import annotations

from string import ascii_lowercase

from rich.text import Text

from agentkit.cli.chat.conversation import Chat
from agentkit.cli.commands.index import add_source
from agentkit.cli.console import index_progress, print_line, print_notes
from agentkit.cli.i18n import _, counted
from agentkit.cli.render import print_citations, search_note
from agentkit.cli.text import shorten, strip_controls
from agentkit.documents import Chunk
from agentkit.errors import AgentkitError, ConfigError, KnowledgeError
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.text.terms import sentences

_CONTEXT = 400
"""The most characters shown before and after a passage."""
_EXCERPT = 160
_HITS = 5
_MOST_DOCUMENT = 4000


async def search(chat: Chat, argument: str) -> None:
    """Find passages and give them letters, for /open."""
    if not argument:
        raise ConfigError(_("Give a query: /search attention heads."))
    hits = await _knowledge(chat).search(argument, _HITS)
    chat.search_hits = dict(zip(ascii_lowercase, (hit.chunk for hit in hits), strict=False))
    if note := search_note(hits):
        chat.note(note)
    for letter, hit in zip(ascii_lowercase, hits, strict=False):
        place = Text(f"[{letter}] {hit.chunk.place}", "bold")
        chat.out.print(place.append(f"  {hit.score:.2f}", "not bold dim"))
        print_line(Text(f"    {shorten(hit.chunk.text, _EXCERPT)}"), chat.out)
    if hits:
        chat.note(_("/open a shows the first in its document."))


async def open_passage(chat: Chat, argument: str) -> None:
    """Show a passage with its context, or a document."""
    name = argument.strip("[] ")
    chunk = chat.session.sources.find(name) or chat.search_hits.get(name.lower())
    if chunk is not None:
        await _show_passage(chat, name, chunk)
        return
    if not name or name.isdigit():
        raise ConfigError(_unknown_passage(name, len(chat.session.sources)))
    document = await _knowledge(chat).document(name)
    chat.out.print(Text(document.source, "bold"))
    chat.out.print(Text(document.text[:_MOST_DOCUMENT].rstrip()))
    if (left := len(document.text) - _MOST_DOCUMENT) > 0:
        text = _("{count} more characters are not shown: find a place in them with /search.")
        chat.note(text.format(count=left))


async def sources(chat: Chat, argument: str) -> None:
    """Show what the last answer cites, or every passage of the conversation."""
    known = chat.session.sources
    if argument == "all":
        for number in known.numbers():
            chunk = known.find(number)
            assert chunk is not None
            chat.out.print(Text(f"[{number}] {chunk.place}"))
    elif chat.last_answer is None or not chat.last_answer.citations:
        chat.note(_("Nothing is cited yet; /sources all lists the passages read."))
    else:
        print_citations(chat.last_answer, chat.out)


async def kb(chat: Chat, argument: str) -> None:
    """List the documents of the index."""
    documents = await _knowledge(chat).documents()
    passages = sum(info.chunks for info in documents)
    counts = (
        counted("{count} document", "{count} documents", len(documents)),
        counted("{count} passage", "{count} passages", passages),
    )
    chat.out.print(Text(_(", ").join(counts), "bold"))
    for info in documents:
        size = counted("{count} character", "{count} characters", info.characters)
        line = Text(f"  {info.source}").append(f"  {info.title}, {size}", "dim")
        print_line(line, chat.out)


async def add(chat: Chat, argument: str) -> None:
    """Add a file, a folder or a page to the index."""
    if not argument:
        raise ConfigError(_("Name what to add: /add paper.pdf, /add notes/ or /add https://…"))
    with index_progress(chat.log) as chat.project.on_progress:
        report = await add_source(chat.project, _knowledge(chat), argument)
    print_notes(report.warnings, chat.log)
    text = _(
        "{added} added, {changed} changed, {unchanged} unchanged, {embedded} passages embedded."
    )
    chat.note(
        text.format(
            added=len(report.added),
            changed=len(report.changed),
            unchanged=len(report.unchanged),
            embedded=report.embedded,
        )
    )
    chat.documents_changed = True


async def _show_passage(chat: Chat, name: str, chunk: Chunk) -> None:
    """Show a passage in its document, with the quotes of the last answer highlighted."""
    text, at = await _with_context(chat, chunk)
    cited = chat.last_answer.citations if chat.last_answer else ()
    quotes = [
        (c.start - chunk.start + at, c.end - chunk.start + at)
        for c in cited
        if c.marker == name and c.quote and c.supported
    ]
    where = _("characters {start}-{end}").format(start=chunk.start, end=chunk.end)
    title = Text(f"[{name}] {chunk.place}", "bold")
    chat.out.print(title.append(f" ({where})", "not bold dim"))
    text = strip_controls(text, " ")  # one for one, so that the offsets stay right
    if not chat.is_live:
        chat.out.print(Text(_mark_quotes(text, quotes).rstrip()))
        return
    shown = Text(text.rstrip(), "dim")
    shown.stylize("not dim", at, at + len(chunk.text))
    for start, end in quotes:
        shown.stylize("reverse", start, end)
    chat.out.print(shown)


def _mark_quotes(text: str, quotes: list[tuple[int, int]]) -> str:
    """Put quotes between marks that a screen reader speaks."""
    for start, end in sorted(set(quotes), reverse=True):
        text = f"{text[:start]}>>{text[start:end]}<<{text[end:]}"
    return text


def _unknown_passage(name: str, count: int) -> str:
    if not count:
        return _("No passage has a number yet: ask something first.")
    if not name:
        return _("Give a number from 1 to {count}: /open 1.").format(count=count)
    text = _("There is no passage {name}: the numbers go from 1 to {count}.")
    return text.format(name=name, count=count)


async def _with_context(chat: Chat, chunk: Chunk) -> tuple[str, int]:
    """A passage with the sentences around it, and its offset there; the passage alone where its
    document has changed or is not in the index."""
    try:
        text = (await _knowledge(chat).document(chunk.source)).text
    except AgentkitError:
        chat.note(_("The document is not in this index: this is the passage as it was read."))
        return chunk.text, 0
    if text[chunk.start : chunk.end] != chunk.text:
        chat.note(_("The document has changed since: this is the passage as it was read."))
        return chunk.text, 0
    start, end = _context_bounds(text, chunk)
    return text[start:end], chunk.start - start


def _context_bounds(text: str, chunk: Chunk) -> tuple[int, int]:
    """The range from the beginning of a sentence or heading before a passage to the end of one
    behind it."""
    first = max(0, chunk.start - _CONTEXT)
    before = [first + start for start, _end in sentences(text[first : chunk.start])]
    if first and before:
        del before[0]  # cut at an arbitrary character
    behind = text[chunk.end : chunk.end + _CONTEXT]
    ends = [chunk.end + end for _start, end in sentences(behind)]
    if chunk.end + len(behind) < len(text) and ends:
        del ends[-1]
    return min([*before[:1], chunk.start]), max([*ends[-1:], chunk.end])


def _knowledge(chat: Chat) -> KnowledgeBase:
    if chat.project.agent.knowledge is None:
        text = _("This folder has no documents: create knowledge/ and put some there.")
        raise KnowledgeError(text)
    return chat.project.agent.knowledge
