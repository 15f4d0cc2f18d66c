"""Events and answers for people: text as it comes, tools as dim lines, citations below."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from agentkit.answers import Answer, Citation, Supported
from agentkit.backends.auto import AutoModel
from agentkit.backends.base import Model
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
from agentkit.knowledge.indexer import Progress as IndexProgress
from agentkit.knowledge.prose import said
from agentkit.messages import ToolCall
from agentkit.passages import read_passages

_QUOTE_LENGTH = 80
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def consoles() -> tuple[Console, Console]:
    """Standard output for answers, standard error for everything else."""
    out = Console(file=sys.stdout, highlight=False, soft_wrap=True, emoji=False)
    return out, Console(file=sys.stderr, highlight=False, soft_wrap=True, emoji=False)


async def show(events: AsyncGenerator[Event, None], out: Console, log: Console) -> Answer:
    """Draw a run as it happens, and return its answer."""
    async with aclosing(events) as stream:
        async for event in stream:
            match event:
                case TextDelta(text):
                    out.print(Text(harmless(text)), end="")
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
        for citation in answer.citations:
            if (citation.marker, citation.place) == (marker, place):
                out.print(Text(f"    {_quote_line(citation)}"))


@contextmanager
def index_progress(log: Console) -> Iterator[Callable[[IndexProgress], None]]:
    """A progress bar that appears when there is something to embed; silent when piped."""
    columns = (
        TextColumn("indexing"),
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


def _unsupported(sentence: Supported) -> Text:
    """A sentence that nothing supports, and why."""
    why = f" ({sentence.reason})" if sentence.reason else ""
    line = Text(f"not supported{why}: ", style="yellow")
    return line.append(_short(said(sentence.text)), style="default underline")


def _how_far(progress: IndexProgress) -> str:
    """Passages, how many a second, about how long it still takes, and the file."""
    said = [f"{progress.chunks} passages"]
    if progress.chunks:
        said.append(f"{progress.rate:.1f}/s")
    if progress.seconds_left is not None:
        minutes, seconds = divmod(round(progress.seconds_left), 60)
        said.append(f"about {minutes}:{seconds:02} left")
    return ", ".join([*said, _short(progress.source)])


def show_ending(answer: Answer, out: Console, log: Console) -> None:
    """What belongs below an answer: its citations, what nothing supports, and why it ended."""
    if answer.citations:
        out.print()
        show_citations(answer, out)
    for sentence in answer.unsupported:
        print_line(_unsupported(sentence), log)
    if answer.stop_reason == "limit":
        log.print("[yellow]A limit of the run was reached: this is the best so far.[/yellow]")
    if answer.stop_reason == "length":
        log.print("[yellow]The model's greatest length was reached: the answer is cut.[/yellow]")


def _quote_line(citation: Citation) -> str:
    quote = _short(citation.quote or "")
    shown = f"“{quote}”" if citation.supported else "no sentence there supports this"
    return f"characters {citation.start}-{citation.end}: {shown}"


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
            return f"  {call.name} failed after {seconds:.1f} s: {call_result(result)}"
        case ToolDenied(call):
            return f"  {call.name} needs approval, and was not allowed"
        case Retried(reason, delay):
            return f"  retrying in {delay:.1f} s: {reason}"
        case Compacted(before, after):
            return f"  older turns shortened: {before} to {after} tokens"
    return ""


def shown_call(call: ToolCall, most: int = _QUOTE_LENGTH) -> str:
    """A call as one short line."""
    given = call.arguments
    text = (
        given
        if isinstance(given, str)
        else json.dumps(dict(given), ensure_ascii=False, default=str)
    )
    return f"{call.name}({_short(text, most)})"


def call_result(result: str) -> str:
    """A tool's result as one short line: of passages, how many and from where."""
    passages = read_passages(result)
    if not passages:
        return _short(result)
    places = ", ".join(dict.fromkeys(passage.source for passage in passages))
    return f"{len(passages)} passage{'s' * (len(passages) > 1)} of {_short(places)}"


def print_line(line: Text, console: Console) -> None:
    """One row of a terminal, cut where it is too long; whole in a pipe."""
    if console.soft_wrap:
        console.print(line)
    else:
        console.print(line, no_wrap=True, overflow="ellipsis")


def harmless(text: str, instead: str = "") -> str:
    """A text without the characters that command a terminal, or turn the order of others round."""
    return _COMMANDS.sub(instead, text)


def _short(text: str, most: int = _QUOTE_LENGTH) -> str:
    line = " ".join(harmless(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


async def described(model: Model) -> str:
    """A model's name; for "auto" what was chosen and why."""
    if not isinstance(model, AutoModel):
        return model.name
    await model.choose()
    return f"{model.name} ({model.reason})"


def warn(lines: list[str], log: Console) -> None:
    """Notices, a line each."""
    for line in lines:
        log.print(f"[yellow]note:[/yellow] {escape(' '.join(line.split()))}")
