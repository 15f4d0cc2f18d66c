"""Checks of what every model does: text, turns, and the options of an answer. They look at
structure, never at wording, so that the smallest model can pass.

Checks of tools: offered, called, answered, forced and forbidden.

Checks of a model's edges: leaving it, asking at once, long prompts, closing, wrong names.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator

from agentkit.backends.base import Options
from agentkit.backends.probe.kit import (
    Heard,
    Subject,
    Unsupported,
    is_about_length,
    may_refuse,
    need,
    one_line,
    promised,
    user,
)
from agentkit.errors import ModelError
from agentkit.events import ModelPart
from agentkit.messages import ImagePart, Message, TextPart, ToolCall, Usage
from agentkit.tools.tool import Tool

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


CALL_TOKENS, OFFERED_TOKENS = 96, 32
"""Room for a call that must be made, and for an answer that may be one."""

_QUESTION = user("What is the weather in Paris? Use a tool.")


def _said(**arguments: str) -> str:
    return ", ".join(arguments.values())


def _tool(name: str, description: str, key: str, values: list[str]) -> Tool:
    schema = {
        "type": "object",
        "properties": {key: {"enum": values}},
        "required": [key],
        "additionalProperties": False,
    }
    return Tool(name, description, schema, _said)


WEATHER = _tool("get_weather", "The weather in a city.", "city", ["Paris", "Rome"])
CLOCK = _tool("get_time", "The time in a zone.", "zone", ["UTC", "CET"])
_IN_PARIS = ToolCall("call_1", "get_weather", {"city": "Paris"})
_IN_ROME = ToolCall("call_2", "get_weather", {"city": "Rome"})


async def tool_offered(subject: Subject) -> None:
    """A tool may be offered; the model calls it or says something."""
    with may_refuse(subject.claims.tools):
        heard = await subject.ask(_QUESTION, tools=[WEATHER], max_tokens=OFFERED_TOKENS)
    _sound(heard)
    need(bool(heard.calls or heard.deltas), "it neither called nor said anything")


async def tool_result(subject: Subject) -> None:
    """A call and its result are read."""
    heard = await _told(subject, [_IN_PARIS], ["sunny, 21 degrees"])
    alone = await subject.ask(_QUESTION, tools=[WEATHER], max_tokens=1)
    counted = not (heard.usage.estimated or alone.usage.estimated)
    more = heard.usage.input_tokens > alone.usage.input_tokens
    need(more or not counted, "the call and its result add no tokens to the prompt")


async def parallel_calls(subject: Subject) -> None:
    """Two calls of one turn and their results are read."""
    await _told(subject, [_IN_PARIS, _IN_ROME], ["sunny", "rain"])


async def odd_history(subject: Subject) -> None:
    """A call with malformed arguments, a failed result and Chinese in both are read."""
    call = ToolCall("call_3", "get_weather", '{"city": "巴黎')
    await _told(subject, [call], ["错误：不是 JSON"])


async def forced_tool(subject: Subject) -> None:
    """A required call is made, with arguments that fit."""
    heard = await _forced(subject, "required")
    named = {call.name for call in heard.calls}
    promised(bool(named), subject.claims.forced_tools, "it did not call, though it was required to")


async def named_tool(subject: Subject) -> None:
    """The call of a named tool is made, and of no other."""
    heard = await _forced(subject, "get_time")
    named = {call.name for call in heard.calls}
    promised(
        named == {"get_time"},
        subject.claims.forced_tools,
        f"it called {', '.join(sorted(named)) or 'nothing'} where get_time was named",
    )


async def forbidden_tools(subject: Subject) -> None:
    """Where calls are forbidden, none is made."""
    with may_refuse(subject.claims.tools):
        heard = await subject.ask(_QUESTION, tools=[WEATHER], tool_choice="none")
    need(not heard.calls, "it called a tool that was forbidden")


async def _told(subject: Subject, calls: list[ToolCall], results: list[str]) -> Heard:
    answers = [
        Message("tool", result, tool_call_id=call.id)
        for call, result in zip(calls, results, strict=True)
    ]
    asked = Message("assistant", "", tuple(calls))
    with may_refuse(subject.claims.tools):
        heard = await subject.ask(_QUESTION, asked, *answers, tools=[WEATHER], max_tokens=6)
    _sound(heard)
    return heard


async def _forced(subject: Subject, choice: str) -> Heard:
    with may_refuse(subject.claims.forced_tools):
        heard = await subject.ask(
            _QUESTION, tools=[WEATHER, CLOCK], tool_choice=choice, max_tokens=CALL_TOKENS
        )
        _sound(heard)
        for call in heard.calls:
            fits = _fits(call)
            promised(fits, subject.claims.forced_tools, f"its arguments do not fit: {call}")
    return heard


def _sound(heard: Heard) -> None:
    """Calls have ids of their own, and the ending says whether there were any. A weak model may
    call what nobody offered."""
    ids = [call.id for call in heard.calls]
    need(len(set(ids)) == len(ids) and all(ids), f"the calls have no ids of their own: {ids}")
    ended = heard.done.stop_reason
    need(not heard.calls or ended in ("tool_calls", "length"), f"calls, but it ended as {ended!r}")
    need(bool(heard.calls) or ended != "tool_calls", "it ended as 'tool_calls' without a call")


def _fits(call: ToolCall) -> bool:
    known = {"get_weather": [{"city": "Paris"}, {"city": "Rome"}]}
    known["get_time"] = [{"zone": "UTC"}, {"zone": "CET"}]
    return call.arguments in known.get(call.name, [])


LARGEST_WINDOW = 65536
"""Tokens. A prompt beyond a larger window is not tried: it might be accepted, and paid for."""

_LEAVING_SECONDS = 15.0


async def leaving(subject: Subject) -> None:
    """Closing the iterator in the middle stops the model, which then answers again."""
    parts = _endless(subject)
    await anext(parts)
    await parts.aclose()
    await _soon(subject)


async def cancelling(subject: Subject) -> None:
    """A cancelled task ends as cancelled, and the model answers again."""
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in _endless(subject):
            begun.set()

    task = asyncio.create_task(read())
    waiting = asyncio.create_task(begun.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    ended = task.done()
    task.cancel()
    [result] = await asyncio.gather(task, return_exceptions=True)
    if isinstance(result, ModelError):
        raise result
    cancelled = isinstance(result, asyncio.CancelledError)
    need(ended or cancelled or result is None, f"the cancelled task ended with {result!r}")
    await _soon(subject)


async def three_at_once(subject: Subject) -> None:
    """Three requests at the same time are all answered."""
    await asyncio.gather(*(subject.ask(user(f"Count to {n}."), max_tokens=4) for n in (3, 5, 7)))


async def window_known(subject: Subject) -> None:
    """The model's window is known."""
    window = await subject.model.context_window()
    promised(window is not None, False, "nobody says how large the window is")
    need(bool(window and window > 0), f"the window is {window}")


async def long_prompt(subject: Subject) -> None:
    """A prompt near the stated window is read whole."""
    tokens = int(min(await _window(subject), subject.longest) * 0.75)
    each = max(1.0, subject.model.count_tokens("hello " * 200) / 200)
    heard = await subject.ask(user("hello " * int(tokens / each)), max_tokens=4)
    read = heard.usage
    whole = read.estimated or read.input_tokens >= 0.4 * tokens
    need(whole, f"only {read.input_tokens} of about {tokens} tokens were read: the prompt was cut")


async def too_long_a_prompt(subject: Subject) -> None:
    """A prompt beyond the window is refused in one line, never cut."""
    window = await _window(subject)
    if window > LARGEST_WINDOW:
        raise Unsupported(f"a prompt beyond its window of {window} tokens is too dear to try")
    try:
        await subject.ask(user("hello " * (2 * window)), max_tokens=4)
    except ModelError as error:
        one_line(error)
        need(is_about_length(error), f"the error does not say that it was too long: {error}")
        return
    need(False, f"a prompt of twice its window of {window} tokens was answered: it was cut")


async def counting(subject: Subject) -> None:
    """Tokens of a text are counted within reason."""
    await subject.ask(user("Say hello."), max_tokens=1)
    count = subject.model.count_tokens
    need(count("") <= 2, f"an empty text has {count('')} tokens")
    need(count("hello " * 100) > count("hello " * 10) > 0, "a longer text has no more tokens")
    for sample in ("hello world", "你好，世界", "🌍👩‍👩‍👧", "a" * 300):
        most = len(sample.encode()) + 2
        need(0 < count(sample) <= most, f"{sample[:12]!r} has {count(sample)} tokens")


async def unknown_model(subject: Subject) -> None:
    """A model that is not there is refused in one line that names it."""
    if subject.unknown is None:
        raise Unsupported("there is no way to name another model")
    model = subject.unknown
    try:
        async for _ in model.stream([user("Say hello.")], (), Options(max_tokens=1)):
            pass
    except ModelError as error:
        one_line(error)
        name = model.name.partition(":")[2]
        need(name in str(error), f"the error does not name {name!r}: {error}")
        return
    finally:
        await model.close()
    raise Unsupported("it answers under any name")


async def closing(subject: Subject) -> None:
    """A closed model may be used again."""
    await subject.model.close()
    await subject.model.close()
    await subject.ask(user("Say hello."), max_tokens=4)


def _endless(subject: Subject) -> AsyncGenerator[ModelPart, None]:
    asked = Options(max_tokens=1500, extra=subject.extra)
    return subject.model.stream([COUNT], (), asked)


async def _soon(subject: Subject) -> None:
    """A short answer comes soon: nothing stands in its way."""
    try:
        async with asyncio.timeout(_LEAVING_SECONDS):
            await subject.ask(user("Say hello."), max_tokens=1)
    except TimeoutError:
        need(False, f"no answer within {_LEAVING_SECONDS:g} s: the one that was left goes on")


async def _window(subject: Subject) -> int:
    window = await subject.model.context_window()
    if window is None:
        raise Unsupported("nobody says how large the window is")
    return window
