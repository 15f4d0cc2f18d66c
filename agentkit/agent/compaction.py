"""Keep the prompt of a run within the model's context window.

Before the window is full, and before a new result is cut, old tool results are shortened, then old
turns are replaced by a summary that keeps its citations, then recent results are shortened. The
question being answered is never changed, and a note stands where something was left out. Where the
window is unknown, nothing is compacted until a server rejects a prompt as too long; its size is
then taken as the window.

A passage that a compaction shortens is made whole again where a later result refers to it.

Sizes are the server's where it reports them, plus a count of later messages. Until a compaction
each request extends the previous one, so that a server's prefix cache applies.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from agentkit.agent.limits import UsageMeter
from agentkit.agent.prompt import Prompt, ShownPassages
from agentkit.agent.turn import without_thinking
from agentkit.backends.base import (
    CountTokens,
    Model,
    Options,
    estimated_tokens,
    tokens_of,
    tokens_of_all,
    tool_tokens,
)
from agentkit.documents import Passage
from agentkit.errors import ModelError
from agentkit.events import Compacted, TextDelta
from agentkit.knowledge.search.context import packed
from agentkit.messages import Message, Usage, render_passages
from agentkit.text.patterns import lazy_pattern
from agentkit.text.terms import sentences
from agentkit.tools.tool import Tool

SUMMARY_HEADING = "Summary of the conversation so far:"

SUMMARIZE = """\
Summarise the conversation below in its own language, in at most ten sentences: what the user
wants, what was found out, what is still open. Keep every number, name and unit, and keep the
citations, the numbers in square brackets like [3], behind the statements that they support."""

_KEPT_OF_OLD = 200
"""Characters kept of an old result, or of each passage in it."""
_KEPT_AT_LEAST = 40
_LONG_SUMMARY = 1200
"""Characters from which on a summary is part of what the next one summarises."""
_KEPT_OF_NEW = 1200
_ELLIPSIS = " …"
_LEFT_OUT = "\n[… {count} characters left out to fit the model's window; call again to see them]"

Summarise = Callable[[Sequence[Message]], Awaitable[str]]
"""Summarises old turns in a few sentences that keep their citations."""


async def compact_messages(
    messages: Sequence[Message],
    target: int,
    count: CountTokens,
    summarise: Summarise,
    model: str = "",
    *,
    most: int | None = None,
    for_result: bool = False,
) -> list[Message]:
    """The messages with old turns shortened towards `target` tokens, then the results of the
    current turn as far as `most` (by default the target) demands it. `for_result` makes room for a
    result of this turn: then no passage of this turn is given up, and what is left may be larger.
    Raises ModelError (too_long) where even the question and its newest results do not fit."""
    most = target if most is None else most
    system, old, new = _split(messages)

    def whole() -> list[Message]:
        return ShownPassages().referring([*system, *old, *new])

    def size() -> int:
        return tokens_of_all(whole(), count)

    for kept in (_KEPT_OF_OLD, _KEPT_AT_LEAST):
        if kept == _KEPT_OF_OLD or size() > target:
            old = [shorten(message, kept) for message in old]
    if old and size() > target:
        system, old = [await _with_summary(system, old, summarise)], []
    steps = [(_KEPT_OF_NEW, at) for at in range(len(new))]
    if not for_result:
        steps += [(_KEPT_OF_OLD, at) for at in range(len(new) - 1)]
    for kept, at in steps:
        if size() <= most:
            break
        new[at] = shorten(new[at], kept)
    if not for_result and size() > most:
        raise ModelError(
            f"The question and what belongs to it take {size()} tokens, and "
            f"{model or 'the model'} has room for {most}. Ask for less at once, or choose a model "
            "or a server setting with a larger context.",
            model,
            "too_long",
        )
    return whole()


def shorten(message: Message, kept: int) -> Message:
    """A tool result with the beginning of its text and of each passage; any other message
    unchanged."""
    if message.role != "tool" or len(message.prompt_text) <= kept:
        return message
    passages = tuple(_shorten_passage(passage, kept) for passage in message.passages)
    short = replace(message, content=_beginning(message.text, kept), passages=passages)
    return short if len(short.prompt_text) < len(message.prompt_text) else message


def _shorten_passage(passage: Passage, kept: int) -> Passage:
    """The beginning of a passage, still an exact range of its document."""
    chunk = passage.chunk
    text = _beginning(chunk.text, kept).removesuffix(_ELLIPSIS)
    return replace(passage, chunk=replace(chunk, text=text, end=chunk.start + len(text)))


def truncate(text: str, room: int, count: CountTokens) -> str:
    """The beginning of a text, about `room` tokens, and a note of how much was left out."""
    if 4 * len(text) <= room or count(text) <= room:
        return text
    kept = max(200, int(len(text) * room / count(text)) - 100)
    return text[:kept] + _LEFT_OUT.format(count=len(text) - kept)


def cut_result(result: Message, room: int, count: CountTokens) -> Message:
    """A result of at most about `room` tokens: the beginning of its text, and as many whole
    passages as fit. Images are left as they are."""
    if not isinstance(result.content, str) or len(result.prompt_text) * 4 <= room:
        return result
    content = truncate(result.content, room, count)
    left = room - count(content)
    if not result.passages or count(render_passages(result.passages)) <= left:
        return replace(result, content=content)
    fitting = packed([passage.chunk for passage in result.passages], left, count)
    passages = (
        replace(passage, chunk=chunk)
        for passage, chunk in zip(result.passages, fitting.chunks, strict=False)
    )
    content = f"{content}\n{fitting.note}".strip()
    return replace(result, content=content, passages=tuple(passages))


def plain_summary(messages: Sequence[Message]) -> str:
    """The first sentence of each old turn, where no model can summarise."""
    turns = [(m.role, m.text.strip()) for m in messages if m.role in ("user", "assistant")]
    return "\n".join(f"{role}: {_beginning(text, _KEPT_OF_OLD)}" for role, text in turns if text)


def _split(
    messages: Sequence[Message],
) -> tuple[list[Message], list[Message], list[Message]]:
    """The system messages, the old turns, and the last prompt with all after it."""
    start = next((at for at, m in enumerate(messages) if m.role != "system"), len(messages))
    prompts = [at for at, m in enumerate(messages) if m.role == "user"]
    last = prompts[-1] if prompts else start
    return list(messages[:start]), list(messages[start:last]), list(messages[last:])


async def _with_summary(
    system: Sequence[Message], old: Sequence[Message], summarise: Summarise
) -> Message:
    """One system message: the instructions, then the summaries of earlier turns. A long one is
    summarised again with the old turns, so that it stays bounded."""
    text = "\n\n".join(message.text for message in system)
    instructions, _, before = (part.strip() for part in text.partition(SUMMARY_HEADING))
    if len(before) > _LONG_SUMMARY:
        old, before = [Message("assistant", before), *old], ""
    summary = "\n".join(filter(None, [SUMMARY_HEADING, before, await summarise(old)]))
    return Message("system", f"{instructions}\n\n{summary}".strip())


def _beginning(text: str, kept: int) -> str:
    """Complete sentences up to a length, or the start of the first sentence if that is longer."""
    if len(text) <= kept:
        return text
    ends = [end for _, end in sentences(text[: kept + 1]) if end <= kept]
    return text[: ends[-1] if ends and ends[-1] > kept // 3 else kept].rstrip() + _ELLIPSIS


_ANSWER = 0.25
"""The share of the window reserved for the answer, at most MAX_FOR_ANSWER tokens."""
MAX_FOR_ANSWER = 4096
_AFTER = 0.6
"""The share of the window used after a compaction, so that the next one is some turns away."""
_RESULT = 0.5
"""The share of the free tokens that one tool result may take."""
_RESULTS = 0.8
"""The share of the free tokens that the results of a turn may take together."""
_WANTED = 2400
"""Tokens that one result may have where the window is small: those of some five passages."""
_LEAST_RESULT = 200
_REJECTED_SHARE = 0.8
_STATED = (
    lazy_pattern(r"(?:context|n_ctx|window)\D{0,40}?(\d{3,7})(?!\d|\.\d)", re.IGNORECASE),
    lazy_pattern(r"(\d{3,7}) *(?:tokens? *)?(?:maximum|limit|max\b)", re.IGNORECASE),
    lazy_pattern(
        r"(?:maximum|max|limit|allowed|up to|exceed|less than|<=)\D{0,40}?(\d{3,7})(?!\d|\.\d)"
        r"|\[\d+, *(\d{3,7})\]",
        re.IGNORECASE,
    ),
)
"""The window in a server's message, the surest form first: "maximum context length is 8192 tokens",
"n_ctx (4096)"; "205000 tokens > 200000 maximum"; "must be <= 4096", "should be [1, 30720]"."""
_MAX_SUMMARY = 3000
"""Characters of a summary."""
_LEAST_WINDOW = 256


def stated_window(message: str) -> list[int]:
    """The window that a server's message states, [] where it states none."""
    message = re.sub(r"(?<=\d)[,_](?=\d{3})", "", message)
    for pattern in _STATED:
        found = [int(next(filter(None, match.groups()))) for match in pattern.finditer(message)]
        if sizes := [size for size in found if size >= _LEAST_WINDOW]:
            return [min(sizes)]
    return []


def _share(free: int, results: int) -> int:
    """How many of the free tokens each of some results may take."""
    each = _RESULTS * free / max(1, results)
    most = max(_RESULT * free, min(_WANTED, each)) if results == 1 else each
    return max(_LEAST_RESULT, int(most))


class Window:
    """The context window of a run's model: its `size` in tokens, None while it is unknown. Tokens
    of summaries count towards the run."""

    def __init__(
        self, model: Model, options: Options = Options(), meter: UsageMeter | None = None
    ) -> None:
        self._model = model
        self._options = options
        self.size: int | None = None
        self._is_size_requested = False
        self._meter = meter or UsageMeter()

    def prompt(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Prompt:
        """A prompt measured by the model's tokenizer."""
        return Prompt(messages, self._model.count_tokens, tool_tokens(tools, estimated_tokens))

    async def fit(self, prompt: Prompt) -> Compacted | None:
        """Compact the prompt if it leaves no room for the answer. Raises ModelError."""
        room = await self._room()
        if room is None or prompt.at_most <= room:
            return None
        return None if prompt.tokens <= room else await self.compact(prompt, room)

    async def allowance(self, prompt: Prompt, results: int) -> int | None:
        """How many tokens each of some results may have, once old ones are shortened for them;
        None where the window is unknown."""
        room = await self._room()
        if room is None:
            return None
        taken = prompt.at_most if 2 * prompt.at_most <= room else prompt.tokens
        return _share(max(room - taken, self._variable(prompt, room, 1 - _AFTER)), results)

    async def make_room(self, prompt: Prompt, results: Sequence[Message]) -> Compacted | None:
        """Shorten what is old where the results of a turn do not fit beside it."""
        room = await self._room()
        if room is None or not results:
            return None
        allowed = await self.allowance(prompt, len(results)) or 0
        wanted = sum(min(tokens_of(each, self._model.count_tokens), allowed) for each in results)
        if prompt.at_most + wanted <= room or prompt.tokens + wanted <= room:
            return None
        return await self.compact(prompt, room - wanted, for_result=True)

    async def left(self, prompt: Prompt, results: int) -> int | None:
        """How many tokens each of some results may have beside the prompt as it is."""
        room = await self._room()
        return None if room is None else _share(room - prompt.tokens, results)

    def learn(self, prompt: Prompt, error: ModelError) -> None:
        """Take from a rejection of a prompt as too long that the window is smaller than was known:
        as the server states it, or below what was sent. Later runs of the model know it too."""
        sizes = [int(_REJECTED_SHARE * prompt.tokens), *stated_window(str(error))]
        self.size = min(sizes)
        self._model.learned.window = self.size

    @staticmethod
    def _variable(prompt: Prompt, room: int, share: float) -> int:
        """A share of what the descriptions of the tools leave of the room."""
        return int(share * max(0, room - prompt.overhead))

    async def compact(
        self, prompt: Prompt, room: int | None = None, *, for_result: bool = False
    ) -> Compacted | None:
        """Compact a prompt to so many tokens, or to four fifths of what it has. Counts are ours,
        scaled to the server's where it counts more. None where nothing could be shortened. Raises
        ModelError (too_long) where that is not enough."""
        before, own = prompt.tokens, max(1, prompt.counted_messages)
        room = int(_REJECTED_SHARE * before) if room is None else room
        scale = own / max(own, before - prompt.overhead)
        most = int(scale * max(0, room - prompt.overhead))
        target = min(most, int(scale * self._variable(prompt, room, _AFTER)))
        messages = await compact_messages(
            prompt.messages,
            target,
            self._model.count_tokens,
            self._summary,
            self._model.name,
            most=most,
            for_result=for_result,
        )
        if messages == prompt.messages:
            return None
        prompt.replace(messages)
        return Compacted(before, prompt.tokens)

    async def measure(self) -> int | None:
        """The window in tokens, None where it is unknown; the model is asked once."""
        if not self._is_size_requested:
            stated, learned = await self._model.context_window(), self._model.learned.window
            sizes = [size for size in (stated, learned) if size is not None]
            self.size, self._is_size_requested = min(sizes, default=None), True
        return self.size

    async def _room(self) -> int | None:
        """How many tokens a prompt may have; None where the window is unknown."""
        size = await self.measure()
        if size is None:
            return None
        answer = self._options.max_tokens or MAX_FOR_ANSWER
        return size - min(answer, int(_ANSWER * size))

    async def _summary(self, old: Sequence[Message]) -> str:
        """The model's summary, or the turns' first sentences where it gives none."""
        if not (await self._model.capabilities()).instructions:
            return plain_summary(old)
        conversation = "\n\n".join(f"{m.role}: {m.text}" for m in old if m.text)
        most = 2 * (self.size or 8192)
        request = [Message("system", SUMMARIZE), Message("user", conversation[-most:])]
        try:
            summary = without_thinking(await self._complete(request))[0]
        except ModelError:
            summary = ""
        return _beginning(summary.strip(), _MAX_SUMMARY) or plain_summary(old)

    async def _complete(self, messages: Sequence[Message]) -> str:
        pieces: list[str] = []
        self._meter.requests_made += 1
        async for part in self._model.stream(messages, (), Options(extra=self._options.extra)):
            if isinstance(part, TextDelta):
                pieces.append(part.text)
            elif isinstance(part, Usage):
                self._meter.charge(part, self._model.name)
        return "".join(pieces)
