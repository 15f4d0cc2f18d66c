"""Events and answers for people: text as it comes, tools as dim lines, citations below."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from agentkit.answers import Answer, Citation
from agentkit.backends.auto import AutoModel
from agentkit.backends.base import Model
from agentkit.cli.language import labelled, spoken, titled, translated
from agentkit.events import (
    Compacted,
    Event,
    Finished,
    Nested,
    Retried,
    TextDelta,
    ToolDenied,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from agentkit.findings import counted
from agentkit.knowledge.citations.markers import plain_sentence
from agentkit.knowledge.index.indexer import Progress as IndexProgress
from agentkit.mcp.results import strip_delimiters
from agentkit.messages import ToolCall, ToolResult

_QUOTE_LENGTH = 80
_INDENT = 4
_LEAST = 8
_MOST_DOUBTS = 8
"""Sentences without support that are listed; the text underlines them all."""
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def consoles(plain: bool = False) -> tuple[Console, Console]:
    """Standard output for answers, standard error for everything else. Plain ones have no colours
    and paint nothing twice, as those need who listen to the screen (AGENTKIT_SCREEN_READER=1)."""
    plain = plain or os.environ.get("AGENTKIT_SCREEN_READER", "0") not in ("", "0")
    return _console(sys.stdout, plain), _console(sys.stderr, plain)


def _console(file: TextIO, plain: bool) -> Console:
    """A terminal breaks its lines between words; elsewhere they stay whole."""
    is_whole = plain or not file.isatty()
    if plain:
        return Console(file=file, highlight=False, soft_wrap=is_whole, emoji=False,
                       color_system=None, force_terminal=False)  # fmt: skip
    return Console(file=file, highlight=False, soft_wrap=is_whole, emoji=False)


async def show(events: AsyncGenerator[Event, None], out: Console, log: Console) -> Answer:
    """Draw a run as it happens, and return its answer."""
    async with aclosing(events) as stream:
        async for event in stream:
            match event:
                case TextDelta(text):
                    out.print(Text(harmless(text)), end="", soft_wrap=True)
                    out.file.flush()
                case Finished(answer):
                    out.print()
                    show_ending(answer, out, log)
                    return answer
                case _:
                    if line := event_line(event):
                        log.print(f"[dim]{escape(line)}[/dim]")
    raise AssertionError("every run ends with Finished")


async def finished(events: AsyncGenerator[Event, None]) -> Answer:
    """The answer of a run that nobody watches."""
    async with aclosing(events) as stream:
        async for event in stream:
            if isinstance(event, Finished):
                return event.answer
    raise AssertionError("every run ends with Finished")


def show_citations(answer: Answer, out: Console) -> None:
    """The list below an answer: for each marker its place, then its quotes with their ranges."""
    for marker, place in dict.fromkeys((c.marker, c.place) for c in answer.citations):
        out.print(Text(f"[{marker}] {place}", style="bold"))
        cited = [c for c in answer.citations if (c.marker, c.place) == (marker, place)]
        quoted = [c for c in cited if c.supported and c.quote]
        for line in dict.fromkeys(map(_quote_line, quoted or cited)):
            print_indented(Text(line), out)


@contextmanager
def index_progress(log: Console) -> Iterator[Callable[[IndexProgress], None]]:
    """A progress bar that appears when there is something to embed; a line where nothing shall be
    painted twice; silent when piped."""
    if log.file.isatty() and not log.is_terminal:
        yield _told_once(log)
        return
    columns = (
        TextColumn(translated("indexing")),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[at]}"),
    )
    with Progress(*columns, console=log, transient=True, disable=not log.is_terminal) as bar:
        task = bar.add_task("", total=None, visible=False, at="")

        def tell(progress: IndexProgress) -> None:
            bar.update(
                task,
                total=progress.total,
                completed=progress.done,
                visible=bool(progress.source),
                at=_how_far(progress),
            )

        yield tell


def _show_unsupported(answer: Answer, log: Console) -> None:
    """The sentences that nothing supports, each with why."""
    if not answer.unsupported:
        return
    if not (answer.citations or log.soft_wrap):
        log.print()
    log.print(Text(translated("Nothing supports:"), "yellow"))
    for sentence in answer.unsupported[:_MOST_DOUBTS]:
        why = f" ({translated(sentence.reason)})" if sentence.reason else ""
        room = _QUOTE_LENGTH if log.soft_wrap else log.width - _INDENT - cell_len(why)
        text = Text(" " * _INDENT).append(
            _fitting(plain_sentence(sentence.text), room), "underline"
        )
        print_line(text.append(why, "dim"), log)
    if (left := len(answer.unsupported) - _MOST_DOUBTS) > 0:
        more = translated(f"… and {counted(left, 'sentence')} more")
        log.print(Text(f"{' ' * _INDENT}{more}", "dim"))


def _told_once(log: Console) -> Callable[[IndexProgress], None]:
    told: list[str] = []

    def tell(progress: IndexProgress) -> None:
        if progress.source and not told:
            told.append(progress.source)
            log.print(translated("Indexing; this may take a while."))

    return tell


def _how_far(progress: IndexProgress) -> str:
    """Passages, how many a second, about how long it still takes, and the file."""
    said = [translated(f"{progress.chunks} passages")]
    if progress.chunks:
        said.append(f"{progress.rate:.1f}/s")
    if progress.seconds_left is not None:
        minutes, seconds = divmod(round(progress.seconds_left), 60)
        said.append(translated(f"about {minutes}:{seconds:02} left"))
    return ", ".join([*said, _short(progress.source)])


def show_ending(answer: Answer, out: Console, log: Console) -> None:
    """What belongs below an answer: its citations, what nothing supports, and why it ended."""
    if answer.citations:
        out.print()
        show_citations(answer, out)
    _show_unsupported(answer, log)
    if answer.stop_reason == "limit":
        told = translated("A limit of the run was reached: this is the best so far.")
        log.print(Text(told, "yellow"))
    if answer.stop_reason == "length":
        told = translated("The model's greatest length was reached: the answer is cut.")
        log.print(Text(told, "yellow"))


def _quote_line(citation: Citation) -> str:
    quote = _short(citation.quote or "")
    none = translated("no sentence there supports this")
    where = titled(f"characters {citation.start}-{citation.end}")
    return f"{where}{f'“{quote}”' if citation.supported else none}"


def event_line(event: Event) -> str:
    """What happened, in one line; "" for what is not told."""
    match event:
        case Nested(_, inner):
            line = event_line(inner)
            return f"  {line}" if line else ""
        case ToolStarted(call):
            return f"→ {shown_call(call)}"
        case ToolProgress(call, message):
            return f"  {call.name}: {harmless(message)}"
        case ToolFinished(call, result, seconds, failed=True):
            failed = f"  {call.name} failed after {seconds:.1f} s:"
            return labelled(failed, call_failure(call, result))
        case ToolDenied(call):
            return translated(f"  {call.name} needs approval, and was not allowed")
        case Retried(reason, delay):
            return translated(f"  retrying in {delay:.1f} s: {reason}")
        case Compacted(before, after):
            return translated(f"  older turns shortened: {before} to {after} tokens")
    return ""


def shown_call(call: ToolCall, most: int = _QUOTE_LENGTH) -> str:
    """A call as one short line: its name, and its arguments in at most so many columns."""
    given = call.arguments
    if isinstance(given, str):
        text = given
    else:
        text = ", ".join(f"{name}={_as_json(value)}" for name, value in given.items())
    return f"{call.name}({_fitting(text, most)})"


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def call_result(result: ToolResult) -> str:
    """A tool's result as one short line: of passages, how many and from where."""
    passages = result.passages
    if not passages:
        return _short(strip_delimiters(result.text))
    places = ", ".join(dict.fromkeys(passage.chunk.source for passage in passages))
    of = f"{len(passages)} passages of" if len(passages) > 1 else "1 passage of"
    return labelled(of, _short(places))


def call_failure(call: ToolCall, result: ToolResult) -> str:
    """What went wrong in a call, without the words that say that it did."""
    said = result.text.removeprefix("Error: ").removeprefix(f"{call.name} failed: ")
    return _short(said)


def print_line(line: Text, console: Console) -> None:
    """One row of a terminal, cut where it is too long; whole in a pipe."""
    if console.soft_wrap:
        console.print(line)
    else:
        console.print(line, no_wrap=True, overflow="ellipsis")


def harmless(text: str, instead: str = "") -> str:
    """A text without the characters that command a terminal, or turn the order of others round."""
    return _COMMANDS.sub(instead, text)


def print_rows(
    rows: Sequence[Sequence[Text]], console: Console, *, width: int = 0, cut: bool = False
) -> None:
    """Rows of columns, the last one wrapped or `cut` where it is too long, the first one at least
    so wide; in a pipe a line each, whole."""
    if console.soft_wrap:
        for row in rows:
            console.print(Text("  ").join(row))
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(min_width=width, no_wrap=True, overflow="ellipsis")
    for _ in rows[0][1:-1] if rows else ():
        table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_column(no_wrap=cut, overflow="ellipsis" if cut else "fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def print_indented(text: Text, console: Console) -> None:
    """A text below what it belongs to, each of its rows indented; one line in a pipe."""
    if console.soft_wrap:
        console.print(Text(" " * _INDENT).append_text(text))
    else:
        console.print(Padding(text, (0, 0, 0, min(_INDENT, console.width // 4)), expand=False))


def _short(text: str, most: int = _QUOTE_LENGTH) -> str:
    line = " ".join(harmless(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _fitting(text: str, columns: int) -> str:
    """A text on one row of so many columns, of which a wide character takes two."""
    line = " ".join(harmless(text).split())
    columns = max(columns, _LEAST)
    return line if cell_len(line) <= columns else set_cell_size(line, columns - 1).rstrip() + "…"


async def described(model: Model) -> str:
    """A model's name; for "auto" what was chosen and why."""
    if not isinstance(model, AutoModel):
        return model.name
    await model.choose()
    return f"{model.name} ({translated(model.reason)})"


def marked(label: str, style: str, message: str) -> Text:
    """A message of ours behind a coloured label."""
    told = Text(spoken(label, message))
    told.stylize(style, 0, len(translated(label)))
    return told


def warn(lines: list[str], log: Console) -> None:
    """Notices, a line each."""
    for line in lines:
        log.print(marked("note:", "yellow", " ".join(line.split())))
