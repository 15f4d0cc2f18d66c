"""Checks of what every model does: text, turns, and the options of an answer. They look at
structure, never at wording, so that the smallest model can pass."""

from __future__ import annotations

import json

from agentkit.backends.conformance_kit import (
    Subject,
    Unsupported,
    may_refuse,
    need,
    one_line,
    promised,
    user,
)
from agentkit.errors import ModelError
from agentkit.messages import ImagePart, Message, TextPart, Usage

COUNT = user("Count from one to one hundred, in words.")
_WORD = "🌍蓝色é👩‍👩‍👧"
_PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8"
    "cfc0000003010100c9fe92ef0000000049454e44ae426082"
)
"""A picture of one red point."""


async def text(subject: Subject) -> None:
    """A question is answered with text."""
    heard = await subject.ask(user("Name three colours."))
    need(bool(heard.deltas), "the answer is empty")


async def streaming(subject: Subject) -> None:
    """The answer comes in several parts."""
    heard = await subject.ask(COUNT, max_tokens=12)
    need(len(heard.deltas) > 1, f"it came in {len(heard.deltas)} part")


async def one_ending(subject: Subject) -> None:
    """An answer has exactly one Done, last, which names a model, and at most one Usage."""
    heard = await subject.ask(user("Say hello."))
    need(bool(heard.done.model), "Done names no model")
    _ = heard.usage


async def system_message(subject: Subject) -> None:
    """A system message is read. It is long, for some templates have one of their own."""
    alone = await subject.ask(user("Say hello."))
    told = Message("system", "Answer in one short word, and never in more. " * 3)
    heard = await subject.ask(told, user("Say hello."))
    need(_read_more(heard.usage, alone.usage), "the system message adds no tokens to the prompt")


async def several_turns(subject: Subject) -> None:
    """Earlier turns are read."""
    last = user("What was it again?")
    alone = await subject.ask(last)
    heard = await subject.ask(
        user("My colour is blue."), Message("assistant", "I shall remember it."), last
    )
    need(_read_more(heard.usage, alone.usage), "earlier turns add no tokens to the prompt")


async def unicode_read(subject: Subject) -> None:
    """Chinese, emoji and combining characters in a prompt are taken."""
    heard = await subject.ask(user(f"Repeat: {_WORD} e\u0301 \u202eabc\u202c \u2028 ﷽"))
    heard.text.encode("utf-8")


async def unicode_written(subject: Subject) -> None:
    """Characters that are split over several tokens come whole."""
    schema = _object("word", {"enum": [_WORD]})
    claimed = subject.claims.json_schema
    with may_refuse(claimed):
        heard = await subject.ask(user("Which word?"), schema=schema, max_tokens=96)
        promised(_value(heard.text, "word") == _WORD, claimed, f"it wrote {heard.text[:80]!r}")


async def stop_string(subject: Subject) -> None:
    """A stop string ends the answer and is left out."""
    with may_refuse():
        whole = await subject.ask(COUNT, max_tokens=12, temperature=0.0)
        middle = whole.text[len(whole.text) // 2 :].split()
        if not middle:
            raise Unsupported("the answer is too short to be stopped")
        stop = middle[0][:3]
        heard = await subject.ask(COUNT, max_tokens=12, temperature=0.0, stop=(stop,))
    need(stop not in heard.text, f"the answer went on past {stop!r}")
    if whole.text.startswith(heard.text) and len(heard.text) < len(whole.text):
        need(heard.done.stop_reason == "stop", f"it ended as {heard.done.stop_reason!r}")


async def max_tokens(subject: Subject) -> None:
    """A limit ends the answer, which says so. Asked thrice, as a weak model may end before it."""
    for _ in range(3):
        heard = await subject.ask(COUNT, max_tokens=3)
        counted = heard.usage
        need(counted.estimated or counted.output_tokens <= 3, "it wrote more than 3 tokens")
        if heard.done.stop_reason == "length":
            return
    need(False, f"it ended as {heard.done.stop_reason!r}")


async def seed(subject: Subject) -> None:
    """The same seed writes the same, once the server has the prompt in its cache."""
    with may_refuse():
        heard = [await subject.ask(COUNT, seed=7, temperature=1.0) for _ in range(3)]
    promised(heard[1].text == heard[2].text, False, "two answers with one seed differ")


async def json_schema(subject: Subject) -> None:
    """A JSON Schema holds the answer."""
    schema, claimed = _object("colour", {"enum": ["red", "blue"]}), subject.claims.json_schema
    with may_refuse(claimed):
        heard = await subject.ask(user("Which colour is the sky?"), schema=schema, max_tokens=60)
        colour = _value(heard.text, "colour")
        promised(colour in ("red", "blue"), claimed, f"it wrote {heard.text[:80]!r}")


async def usage(subject: Subject) -> None:
    """Tokens are counted by the server, not guessed."""
    counted = (await subject.ask(user("Say hello."))).usage
    need(counted.input_tokens > 0 and counted.output_tokens > 0, f"it counted {counted}")
    promised(not counted.estimated, False, "it counts no tokens: they are estimated")


async def empty_input(subject: Subject) -> None:
    """An empty message is answered, or refused in one line."""
    try:
        await subject.ask(user(""))
    except ModelError as error:
        one_line(error)


async def image(subject: Subject) -> None:
    """A message may hold an image."""
    pictured = Message("user", (TextPart("What is it?"), ImagePart(_PIXEL)))
    with may_refuse(subject.claims.images):
        await subject.ask(pictured)


def _object(key: str, schema: dict[str, object]) -> dict[str, object]:
    return {
        "type": "object",
        "properties": {key: schema},
        "required": [key],
        "additionalProperties": False,
    }


def _value(text: str, key: str) -> object:
    """What a JSON object holds under its one key; None where the text is no such object."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value[key] if isinstance(value, dict) and set(value) == {key} else None


def _read_more(counted: Usage, than: Usage) -> bool:
    """Whether more tokens were read; nobody can say where they are estimated."""
    return counted.estimated or than.estimated or counted.input_tokens > than.input_tokens
