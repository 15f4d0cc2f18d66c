"""Make a conversation fit a model's window before it is full: old tool results are shortened
first, then old turns become a summary that keeps its citations, then long results are cut.

The question being answered is never touched, and what is left out is said in its place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from agentkit.agent.prompt import CountTokens, tokens_of_all
from agentkit.agent.prompts import SUMMARY_HEADING
from agentkit.errors import ModelError
from agentkit.messages import Message
from agentkit.passages import read_passages, write_passages
from agentkit.text import sentences

_KEPT_OF_OLD = 200
"""Characters kept of an old result, or of each passage in it."""
_KEPT_OF_NEW = 1200
_LEFT_OUT = "\n[… {count} characters left out to fit the model's window; call again to see them]"

Summarise = Callable[[Sequence[Message]], Awaitable[str]]
"""A few sentences in the place of old turns, their citations kept."""


async def compacted(
    messages: Sequence[Message],
    target: int,
    count: CountTokens,
    summarise: Summarise,
    model: str = "",
) -> list[Message]:
    """The messages, shortened to at most `target` tokens. Raises ModelError (too_long) where even
    the question and its newest results do not fit."""
    system, old, new = _parted(messages)

    def fits() -> bool:
        return tokens_of_all([*system, *old, *new], count) <= target

    old = [shortened(message, _KEPT_OF_OLD) for message in old]
    if not fits() and old:
        system, old = [_with_summary(system, await summarise(old))], []
    for at in range(len(new)):
        if fits():
            break
        new[at] = shortened(new[at], _KEPT_OF_NEW)
    for at in range(len(new) - 1):
        if fits():
            break
        new[at] = shortened(new[at], _KEPT_OF_OLD)
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


def shortened(message: Message, kept: int) -> Message:
    """A tool's result without most of its text, its passages with their ids still named; any
    other message as it is."""
    text = message.text
    if message.role != "tool" or len(text) <= kept:
        return message
    passages = read_passages(text)
    if passages:
        short = write_passages(replace(p, text=_beginning(p.text, kept)) for p in passages)
    else:
        short = _beginning(text, kept)
    return replace(message, content=short) if len(short) < len(text) else message


def cut_to(text: str, room: int, count: CountTokens) -> str:
    """The beginning of a result that has at most about `room` tokens, and a line that says how
    much is left out."""
    if 4 * len(text) <= room or count(text) <= room:
        return text
    kept = max(200, int(len(text) * room / count(text)) - 100)
    return text[:kept] + _LEFT_OUT.format(count=len(text) - kept)


def plain_summary(messages: Sequence[Message]) -> str:
    """Each old turn's first sentence: what stands in where no model can summarise."""
    said = [(m.role, m.text.strip()) for m in messages if m.role in ("user", "assistant")]
    return "\n".join(f"{role}: {_beginning(text, _KEPT_OF_OLD)}" for role, text in said if text)


def _parted(
    messages: Sequence[Message],
) -> tuple[list[Message], list[Message], list[Message]]:
    """The system messages, the old turns, and the newest question with all after it."""
    start = next((at for at, m in enumerate(messages) if m.role != "system"), len(messages))
    asked = [at for at, m in enumerate(messages) if m.role == "user"]
    last = asked[-1] if asked else start
    return list(messages[:start]), list(messages[start:last]), list(messages[last:])


def _with_summary(system: Sequence[Message], summary: str) -> Message:
    """One system message: the instructions, then the summary in the place of any earlier one."""
    said = "\n\n".join(message.text for message in system)
    instructions, _, before = said.partition(SUMMARY_HEADING)
    parts = [instructions.strip(), f"{SUMMARY_HEADING}\n{before.strip()}\n{summary}".strip()]
    return Message("system", "\n\n".join(parts))


def _beginning(text: str, kept: int) -> str:
    """Whole sentences up to a length; the bare beginning where the first is longer."""
    if len(text) <= kept:
        return text
    ends = [end for _, end in sentences(text[: kept + 1]) if end <= kept]
    return text[: ends[-1] if ends and ends[-1] > kept // 3 else kept].rstrip() + " …"
