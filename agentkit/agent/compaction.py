"""Keep the prompt of a run within the model's context window.

Before the window is full, old tool results are shortened, then old turns are replaced by a summary
that keeps its citations, then recent results are shortened. The question being answered is never
changed, and a note stands where something was left out. Where the window is unknown, nothing is
compacted until a server rejects a prompt as too long; its size is then taken as the window.

Sizes are the server's where it reports them, plus a count of later messages. Until a compaction
each request extends the previous one, so that a server's prefix cache applies.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

from agentkit.agent.limits import UsageMeter
from agentkit.backends.base import Model, Options
from agentkit.documents import Passage
from agentkit.errors import ModelError
from agentkit.events import Compacted, TextDelta
from agentkit.messages import Message, ToolCall, Usage
from agentkit.text.terms import sentences
from agentkit.tools.tool import Tool

SUMMARY_HEADING = "Summary of the conversation so far:"

SUMMARIZE = """\
Summarise the conversation below in its own language, in at most ten sentences: what the user
wants, what was found out, what is still open. Keep every number, name and unit, and keep the
citations, the numbers in square brackets like [3], behind the statements that they support."""

CountTokens = Callable[[str], int]

_IMAGE = 1000
"""Tokens of an image, about what most models use."""
_AROUND = 8
"""Tokens of role and template around a message."""


class Prompt:
    """The messages of the next request and their size. `count` is the model's tokenizer or an
    estimate, `overhead` the tokens of the tools' descriptions."""

    def __init__(self, messages: Iterable[Message], count: CountTokens, overhead: int = 0) -> None:
        self.messages = list(messages)
        self._count = count
        self._overhead = overhead
        self._known = self._counted = 0
        self._bound = self._bounded = 0

    @property
    def tokens(self) -> int:
        """Tokens of all messages and the overhead."""
        new = self.messages[self._counted :]
        self._settle(self._known + sum(tokens_of(message, self._count) for message in new))
        return self._known + self._overhead

    @property
    def at_most(self) -> int:
        """An upper bound without tokenizing: no token is shorter than a byte."""
        new = self.messages[self._bounded :]
        self._bound += sum(_bytes_of(message) for message in new)
        self._bounded = len(self.messages)
        return self._known + self._overhead + self._bound

    @property
    def counted_messages(self) -> int:
        """Tokens of the messages alone, by `count`."""
        return tokens_of_all(self.messages, self._count)

    def add(self, messages: Iterable[Message]) -> None:
        """Append messages."""
        self.messages += messages

    def learn(self, usage: Usage) -> None:
        """Take the server's count of the current messages, which replaces the estimate."""
        if usage.input_tokens and not usage.estimated:
            self._settle(max(0, usage.input_tokens - self._overhead))

    def replace(self, messages: Iterable[Message]) -> None:
        """Start over with other messages, after a compaction."""
        self.messages = list(messages)
        self._known = self._counted = 0
        self._bound = self._bounded = 0

    def _settle(self, known: int) -> None:
        """Set the known size of all current messages."""
        self._known = known
        self._counted = self._bounded = len(self.messages)
        self._bound = 0


def tokens_of(message: Message, count: CountTokens) -> int:
    """Tokens of one message, its images and calls included."""
    images = 0 if isinstance(message.content, str) else len(message.content)
    calls = sum(count(call_text(call)) for call in message.tool_calls)
    return count(message.prompt_text) + calls + images * _IMAGE + _AROUND


def tokens_of_all(messages: Sequence[Message], count: CountTokens) -> int:
    """Tokens of several messages."""
    return sum(tokens_of(message, count) for message in messages)


def call_text(call: ToolCall) -> str:
    """A call as text, to measure its size."""
    return f"{call.name} {call.arguments}"


def _bytes_of(message: Message) -> int:
    images = 0 if isinstance(message.content, str) else len(message.content)
    calls = sum(4 * len(call_text(call)) for call in message.tool_calls)
    return 4 * len(message.prompt_text) + calls + images * _IMAGE + _AROUND


_KEPT_OF_OLD = 200
"""Characters kept of an old result, or of each passage in it."""
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
) -> list[Message]:
    """The messages, shortened to at most `target` tokens. Raises ModelError (too_long) where even
    the question and its newest results do not fit."""
    system, old, new = _split(messages)

    def fits() -> bool:
        return tokens_of_all([*system, *old, *new], count) <= target

    old = [shorten(message, _KEPT_OF_OLD) for message in old]
    if not fits() and old:
        system, old = [_with_summary(system, await summarise(old))], []
    for at in range(len(new)):
        if fits():
            break
        new[at] = shorten(new[at], _KEPT_OF_NEW)
    for at in range(len(new) - 1):
        if fits():
            break
        new[at] = shorten(new[at], _KEPT_OF_OLD)
    if not fits():
        size = tokens_of_all([*system, *old, *new], count)
        raise ModelError(
            f"The question and what belongs to it take {size} tokens, and {model or 'the model'} "
            f"has room for {target}. Ask for less at once, or choose a model or a server setting "
            "with a larger context.",
            model,
            "too_long",
        )
    return [*system, *old, *new]


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


def _with_summary(system: Sequence[Message], summary: str) -> Message:
    """One system message: the instructions, then the summaries of earlier turns."""
    text = "\n\n".join(message.text for message in system)
    instructions, _, before = text.partition(SUMMARY_HEADING)
    parts = [instructions.strip(), f"{SUMMARY_HEADING}\n{before.strip()}\n{summary}".strip()]
    return Message("system", "\n\n".join(parts))


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
_REJECTED_SHARE = 0.8
_SUMMARY_TOKENS = 600


class Window:
    """The context window of a run's model. Tokens of summaries count towards the run."""

    def __init__(
        self, model: Model, options: Options = Options(), meter: UsageMeter | None = None
    ) -> None:
        self._model = model
        self._options = options
        self._size: int | None = None
        self._is_size_requested = False
        self._meter = meter or UsageMeter()

    @property
    def size(self) -> int | None:
        """The window in tokens, None while it is unknown."""
        return self._size

    def prompt(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Prompt:
        """A prompt measured by the model's tokenizer."""
        described = sum(
            len(tool.description) + len(json.dumps(dict(tool.parameters), default=str))
            for tool in tools
        )
        return Prompt(messages, self._model.count_tokens, overhead=described // 3)

    async def fit(self, prompt: Prompt) -> Compacted | None:
        """Compact the prompt if it leaves no room for the answer. Raises ModelError."""
        room = await self._room()
        if room is None or prompt.at_most <= room:
            return None
        before = prompt.tokens
        if before <= room:
            return None
        return await self._compact(prompt, before, room)

    async def free(self, prompt: Prompt) -> int | None:
        """How many tokens one tool result may have; None where the window is unknown."""
        room = await self._room()
        if room is None:
            return None
        taken = prompt.at_most if 2 * prompt.at_most <= room else prompt.tokens
        return max(200, int(_RESULT * (room - taken)))

    async def too_long(self, prompt: Prompt) -> Compacted:
        """Compact a prompt that the server rejected: the window is smaller than was known."""
        before = prompt.tokens
        self._size = int(_REJECTED_SHARE * before)
        return await self._compact(prompt, before, self._size)

    async def _compact(self, prompt: Prompt, before: int, room: int) -> Compacted:
        """Compact by our own counts, scaled to the server's where it counts more."""
        own = max(1, prompt.counted_messages)
        scale = own / max(own, before)
        count, name = self._model.count_tokens, self._model.name
        try:
            target = int(_AFTER * room * scale)
            messages = await compact_messages(prompt.messages, target, count, self._summary, name)
        except ModelError:
            messages = await compact_messages(
                prompt.messages, int(room * scale), count, self._summary, name
            )
        prompt.replace(messages)
        return Compacted(before, prompt.tokens)

    async def _room(self) -> int | None:
        """How many tokens a prompt may have; None where the window is unknown."""
        if not self._is_size_requested:
            self._size, self._is_size_requested = await self._model.context_window(), True
        if self._size is None:
            return None
        answer = self._options.max_tokens or MAX_FOR_ANSWER
        return self._size - min(answer, int(_ANSWER * self._size))

    async def _summary(self, old: Sequence[Message]) -> str:
        """The model's summary, or the turns' first sentences where it gives none."""
        if not (await self._model.capabilities()).instructions:
            return plain_summary(old)
        conversation = "\n\n".join(f"{m.role}: {m.text}" for m in old if m.text)
        most = 2 * (self._size or 8192)
        request = [Message("system", SUMMARIZE), Message("user", conversation[-most:])]
        try:
            summary = await self._complete(request)
        except ModelError:
            summary = ""
        return summary.strip() or plain_summary(old)

    async def _complete(self, messages: Sequence[Message]) -> str:
        pieces: list[str] = []
        options = Options(max_tokens=_SUMMARY_TOKENS, temperature=0.0, extra=self._options.extra)
        self._meter.count_request()
        async for part in self._model.stream(messages, (), options):
            if isinstance(part, TextDelta):
                pieces.append(part.text)
            elif isinstance(part, Usage):
                self._meter.charge(part, self._model.name)
        return "".join(pieces)
