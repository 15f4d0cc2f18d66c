"""Print runs and answers for people: streamed text, a line for each call, citations below."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from agentkit.answers import Answer, Citation
from agentkit.cli.console import INDENT, print_indented, print_line
from agentkit.cli.i18n import _, counted
from agentkit.cli.text import SHORT, fit, shorten
from agentkit.documents import Hit
from agentkit.events import (
    Compacted,
    Event,
    Finished,
    Nested,
    ReasoningDelta,
    Retried,
    TextDelta,
    ToolDenied,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from agentkit.knowledge.citations.markers import plain_sentence
from agentkit.knowledge.citations.passages import Sources
from agentkit.mcp.results import strip_delimiters
from agentkit.messages import ToolCall, ToolResult

_MOST_UNSUPPORTED = 8
"""Unsupported sentences that are listed; the text underlines them all."""
_MOST_RANGES = 2
_GAP = 3
"""Characters between two quotes that are printed as one range."""
_SENTENCES = re.compile(r".*(?:\n|[.!?…]\s|[。！？])", re.DOTALL)


class LinearView:
    """Prints a run line by line and redraws nothing. Text comes a sentence or a row at a time,
    since a screen reader speaks what it is given."""

    def __init__(self, out: Console, log: Console, *, shows_reasoning: bool = False) -> None:
        self._out = out
        self._log = log
        self._shows_reasoning = shows_reasoning
        self._rest = ""
        self._is_reasoning = False
        self._is_line_open = False
        """Whether a line was begun and not ended."""

    async def show(
        self, events: AsyncGenerator[Event, None], sources: Sources | None = None
    ) -> Answer | None:
        """Print a run to its end; text that was begun is printed however it ends."""
        try:
            async with aclosing(events) as stream:
                async for event in stream:
                    self._add(event)
                    if isinstance(event, Finished):
                        return event.answer
        finally:
            self._end_line()
        return None

    def pause(self) -> None:
        """End the line: something else writes."""
        self._end_line()

    def resume(self) -> None:
        """Nothing to do: the next line starts by itself."""

    def _add(self, event: Event) -> None:
        match event:
            case TextDelta(text):
                self._write(text, is_reasoning=False)
            case ReasoningDelta(text):
                if self._shows_reasoning:
                    self._write(text, is_reasoning=True)
            case ToolStarted(call):
                self._print(_("calling {call}").format(call=format_call(call)))
            case ToolFinished(call, result, seconds, failed=False):
                line = _("  {tool} returned after {seconds:.1f} s: {result}")
                short = format_result(result)
                self._print(line.format(tool=call.name, seconds=seconds, result=short))
            case _other:
                self._print(format_event(event))

    def _write(self, text: str, *, is_reasoning: bool) -> None:
        if is_reasoning != self._is_reasoning:
            self._end_line()
            self._is_reasoning = is_reasoning
        self._rest += text
        if sentences := _SENTENCES.match(self._rest):
            self._flush(sentences.group())
            self._rest = self._rest[sentences.end() :]

    def _print(self, line: str) -> None:
        if line:
            self._end_line()
            self._log.print(Text(line, "dim"))

    def _end_line(self) -> None:
        if self._rest.strip():
            self._flush(f"{self._rest.rstrip()}\n")
        elif self._is_line_open:
            self._flush("\n")
        self._rest = ""

    def _flush(self, text: str) -> None:
        console = self._log if self._is_reasoning else self._out
        console.print(Text(text, "dim" if self._is_reasoning else ""), end="", soft_wrap=True)
        console.file.flush()
        self._is_line_open = not text.endswith("\n")


async def collect_answer(events: AsyncGenerator[Event, None]) -> Answer:
    """The answer of a run whose events are not printed."""
    async with aclosing(events) as stream:
        async for event in stream:
            if isinstance(event, Finished):
                return event.answer
    raise AssertionError("every run ends with Finished")


def print_ending(answer: Answer, out: Console, log: Console) -> None:
    """Print what belongs below an answer: citations, unsupported sentences, markers without a
    passage, why it was cut."""
    if answer.citations:
        out.print()
        print_citations(answer, out)
    _print_unsupported(answer, log)
    if answer.unresolved_markers:
        named = ", ".join(f"[{number}]" for number in answer.unresolved_markers)
        log.print(Text(_("Markers without a passage: {markers}").format(markers=named), "yellow"))
    if answer.stop_reason == "limit":
        log.print(Text(_("A limit of the run was reached: this is the best so far."), "yellow"))
    if answer.stop_reason == "length":
        reason = _("The model's output limit was reached: the answer is cut off.")
        log.print(Text(reason, "yellow"))


def print_citations(answer: Answer, out: Console) -> None:
    """Print a line for each marker with its place and range, then the quotes that do not stand in
    the answer itself."""
    written = _letters(answer.text)
    for marker, place in dict.fromkeys((c.marker, c.place) for c in answer.citations):
        cited = [c for c in answer.citations if (c.marker, c.place) == (marker, place)]
        quoted = [c for c in cited if c.supported and c.quote]
        if quoted and all(_letters(c.quote or "") in written for c in quoted):
            _print_place(f"[{marker}] {place}", _format_ranges(quoted), out)
            continue
        _print_place(f"[{marker}] {place}", "", out)
        for line in dict.fromkeys(map(_format_quote, quoted or cited)):
            print_indented(Text(line), out)
    calls = {call.id: call for message in answer.messages for call in message.tool_calls}
    for message in answer.messages:
        if message.marker and re.search(rf"\b{message.marker}\b", answer.text):
            call = format_call(calls[message.tool_call_id])
            _print_place(f"[{message.marker}] {call}", "", out)


def _print_place(place: str, ranges: str, out: Console) -> None:
    """Print a place on one line; a place that is too long for a terminal is cut, not its range."""
    if not out.soft_wrap:
        place = fit(place, out.width - cell_len(ranges))
    print_line(Text(place, "bold").append(ranges, "not bold dim"), out)


def _format_ranges(citations: Sequence[Citation]) -> str:
    """The ranges of some quotes of one passage, those that meet as one; the range of them all
    where there are many."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted((c.start, c.end) for c in citations):
        if merged and start <= merged[-1][1] + _GAP:
            start, end = merged[-1][0], max(end, merged.pop()[1])
        merged.append((start, end))
    if len(merged) > _MOST_RANGES:
        merged = [(merged[0][0], merged[-1][1])]
    ranges = ", ".join(f"{start}-{end}" for start, end in merged)
    return _(" (characters {ranges})").format(ranges=ranges)


def _letters(text: str) -> str:
    """A text without marks and white space, which differ between a quote and its source."""
    return "".join(filter(str.isalnum, text))


def _format_quote(citation: Citation) -> str:
    where = _("characters {start}-{end}").format(start=citation.start, end=citation.end)
    if not citation.supported:
        return where + _(": no sentence there supports this")
    return _("{place}: “{quote}”").format(place=where, quote=shorten(citation.quote or ""))


def _print_unsupported(answer: Answer, log: Console) -> None:
    """Print the sentences without support, each with the reason."""
    if not answer.unsupported:
        return
    if not (answer.citations or log.soft_wrap):
        log.print()
    log.print(Text(_("Unsupported claims:"), "yellow"))
    for sentence in answer.unsupported[:_MOST_UNSUPPORTED]:
        reason = f" ({sentence.reason})" if sentence.reason else ""
        room = SHORT if log.soft_wrap else log.width - INDENT - cell_len(reason)
        text = Text(" " * INDENT).append(fit(plain_sentence(sentence.text), room), "underline")
        print_line(text.append(reason, "dim"), log)
    if (left := len(answer.unsupported) - _MOST_UNSUPPORTED) > 0:
        more = counted("… and {count} more sentence", "… and {count} more sentences", left)
        log.print(Text(f"{' ' * INDENT}{more}", "dim"))


def format_event(event: Event) -> str:
    """What happened, in one line; "" for what is not shown."""
    match event:
        case Nested(_call, inner):
            line = format_event(inner)
            return f"  {line}" if line else ""
        case ToolStarted(call):
            return f"→ {format_call(call)}"
        case ToolProgress(call, message):
            return f"  {call.name}: {message}"
        case ToolFinished(call, result, seconds, failed=True):
            reason = format_failure(call, result)
            text = _("  {tool} failed after {seconds:.1f} s: {reason}")
            return text.format(tool=call.name, seconds=seconds, reason=reason)
        case ToolDenied(call):
            return _("  {tool} needs approval and was not allowed").format(tool=call.name)
        case Retried(reason, delay):
            return _("  retrying in {delay:.1f} s: {reason}").format(delay=delay, reason=reason)
        case Compacted(before, after):
            text = _("  older turns compacted: {before} to {after} tokens")
            return text.format(before=before, after=after)
    return ""


def format_call(call: ToolCall, columns: int = SHORT) -> str:
    """A call on one line: its name, and its arguments in at most so many columns."""
    if isinstance(call.arguments, str):
        text = call.arguments
    else:
        text = ", ".join(
            f"{name}={json.dumps(_joined_lines(value), ensure_ascii=False, default=str)}"
            for name, value in call.arguments.items()
        )
    return f"{call.name}({fit(text, columns)})"


def _joined_lines(value: object) -> object:
    """A value whose texts have no line breaks."""
    match value:
        case str():
            return " ".join(value.split())
        case dict():
            return {name: _joined_lines(each) for name, each in value.items()}
        case list():
            return [_joined_lines(each) for each in value]
    return value


def search_note(hits: Sequence[Hit]) -> str:
    """What to say about the hits of a search as a whole, "" for nothing."""
    if not hits:
        return _("Nothing was found.")
    if any(hit.keyword_rank for hit in hits):
        return ""
    return _("No word of the query occurs in the documents: these passages may not be relevant.")


def format_result(result: ToolResult) -> str:
    """A tool's result on one line: of passages, how many and from which documents."""
    if not result.passages:
        return shorten(strip_delimiters(result.text))
    sources = dict.fromkeys(passage.chunk.source for passage in result.passages)
    names = shorten(", ".join(sources))
    count = counted("{count} passage of", "{count} passages of", len(result.passages))
    return f"{count} {names}"


def format_failure(call: ToolCall, result: ToolResult) -> str:
    """Why a call failed, on one line."""
    return shorten(result.text.removeprefix("Error: ").removeprefix(f"{call.name} failed: "))
