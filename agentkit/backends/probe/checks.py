"""The checks of a probe: what every model does, tools, and the edges of a request.

They look at structure, never at wording, so that a model of 135 million parameters can pass. What a
model claims must hold; what it does not claim may be missing. The first sentence of a check's
docstring says what it shows.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

from agentkit.backends.base import Options
from agentkit.backends.probe.runner import (
    Check,
    Response,
    Subject,
    Unsupported,
    is_about_length,
    require,
    require_if_claimed,
    require_one_line,
    user,
)
from agentkit.errors import ModelError
from agentkit.events import ModelPart
from agentkit.messages import ImagePart, Message, TextPart, ToolCall, Usage
from agentkit.tools.tool import Tool

_COUNT = user("Count from one to one hundred, in words.")
_HELLO = user("Say hello.")
_WORD = "🌍蓝色é👩‍👩‍👧"
_RED_PIXEL_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8"
    "cfc0000003010100c9fe92ef0000000049454e44ae426082"
)


async def text(subject: Subject) -> None:
    """A question is answered with text."""
    response = await subject.ask(user("Name three colours."))
    require(bool(response.deltas), "the answer is empty")


async def streaming(subject: Subject) -> None:
    """The answer comes in several parts."""
    response = await subject.ask(_COUNT, max_tokens=12)
    require(len(response.deltas) > 1, f"it came in {len(response.deltas)} part")


async def one_ending(subject: Subject) -> None:
    """An answer has exactly one Done, last, which names a model, and one Usage."""
    response = await subject.ask(_HELLO)
    require(bool(response.done.model), "Done does not name a model")
    _ = response.usage


async def system_message(subject: Subject) -> None:
    """A system message is read. It is long, since some templates have one of their own."""
    without = await subject.ask(_HELLO)
    system = Message("system", "Answer in one short word, and never in more. " * 3)
    response = await subject.ask(system, _HELLO)
    more = _read_more(response.usage, without.usage)
    require(more, "the system message adds no tokens to the prompt")


async def several_turns(subject: Subject) -> None:
    """Earlier turns are read."""
    last = user("What was it again?")
    without = await subject.ask(last)
    response = await subject.ask(
        user("My colour is blue."), Message("assistant", "I shall remember it."), last
    )
    more = _read_more(response.usage, without.usage)
    require(more, "earlier turns add no tokens to the prompt")


async def unicode_read(subject: Subject) -> None:
    """Chinese, emoji and combining characters in a prompt are accepted."""
    response = await subject.ask(user(f"Repeat: {_WORD} e\u0301 \u202eabc\u202c \u2028 ﷽"))
    response.text.encode("utf-8")


async def unicode_written(subject: Subject) -> None:
    """Characters that span several tokens arrive whole."""
    schema = _object_schema("word", [_WORD])
    claimed = subject.claims.json_schema
    response = await subject.ask(user("Which word?"), schema=schema, max_tokens=96, claimed=claimed)
    is_whole = _only_value(response.text, "word") == _WORD
    require_if_claimed(is_whole, claimed, f"it wrote {response.text[:80]!r}")


async def stop_string(subject: Subject) -> None:
    """A stop string ends the answer and is left out."""
    options: dict[str, Any] = {"max_tokens": 12, "temperature": 0.0, "claimed": False}
    whole = await subject.ask(_COUNT, **options)
    middle = whole.text[len(whole.text) // 2 :].split()
    if not middle:
        raise Unsupported("the answer is too short to be stopped")
    stop = middle[0][:3]
    response = await subject.ask(_COUNT, stop=(stop,), **options)
    require(stop not in response.text, f"the answer went on past {stop!r}")
    if whole.text.startswith(response.text) and len(response.text) < len(whole.text):
        reason = response.done.stop_reason
        require(reason == "stop", f"it ended as {reason!r}")


async def max_tokens(subject: Subject) -> None:
    """A limit ends the answer, which says so. Tried three times: a weak model may end earlier."""
    for _ in range(3):
        response = await subject.ask(_COUNT, max_tokens=3)
        counted = response.usage
        require(counted.estimated or counted.output_tokens <= 3, "it wrote more than 3 tokens")
        if response.done.stop_reason == "length":
            return
    require(False, f"it ended as {response.done.stop_reason!r}")


async def seed(subject: Subject) -> None:
    """The same seed gives the same text, once the server has the prompt in its cache."""
    options: dict[str, Any] = {"seed": 7, "temperature": 1.0, "claimed": False}
    texts = [(await subject.ask(_COUNT, **options)).text for _ in range(3)]
    require_if_claimed(texts[1] == texts[2], False, "two answers with one seed differ")


async def json_schema(subject: Subject) -> None:
    """A JSON Schema constrains the answer."""
    schema, claimed = _object_schema("colour", ["red", "blue"]), subject.claims.json_schema
    response = await subject.ask(
        user("Which colour is the sky?"), schema=schema, max_tokens=60, claimed=claimed
    )
    fits = _only_value(response.text, "colour") in ("red", "blue")
    require_if_claimed(fits, claimed, f"it wrote {response.text[:80]!r}")


async def usage(subject: Subject) -> None:
    """Tokens are counted by the server, not estimated."""
    counted = (await subject.ask(_HELLO)).usage
    require(counted.input_tokens > 0 and counted.output_tokens > 0, f"it counted {counted}")
    require_if_claimed(not counted.estimated, False, "it counts no tokens: they are estimated")


async def empty_input(subject: Subject) -> None:
    """An empty message is answered, or refused in one line."""
    try:
        await subject.ask(user(""))
    except ModelError as error:
        require_one_line(error)


async def image(subject: Subject) -> None:
    """A message may contain an image."""
    message = Message("user", (TextPart("What is it?"), ImagePart(_RED_PIXEL_PNG)))
    await subject.ask(message, claimed=subject.claims.images)


def _object_schema(key: str, values: list[str]) -> dict[str, object]:
    return {
        "type": "object",
        "properties": {key: {"enum": values}},
        "required": [key],
        "additionalProperties": False,
    }


def _only_value(text: str, key: str) -> object:
    """Return the value of a JSON object's only key; None where the text is not such an object."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value[key] if isinstance(value, dict) and set(value) == {key} else None


def _read_more(counted: Usage, than: Usage) -> bool:
    """Whether more tokens were read; unknown, and so True, where they are estimated."""
    return counted.estimated or than.estimated or counted.input_tokens > than.input_tokens


FORCED_CALL_TOKENS, OFFERED_TOKENS = 96, 32
"""Room for a call that must be made, and for an answer that may be one."""

_QUESTION = user("What is the weather in Paris? Use a tool.")
_VALUES = {"get_weather": ("city", ["Paris", "Rome"]), "get_time": ("zone", ["UTC", "CET"])}


def _tool(name: str, description: str) -> Tool:
    return Tool(name, description, _object_schema(*_VALUES[name]), lambda **arguments: "")


_WEATHER = _tool("get_weather", "The weather in a city.")
_TIME = _tool("get_time", "The time in a zone.")
_CALL_PARIS = ToolCall("call_1", "get_weather", {"city": "Paris"})
_CALL_ROME = ToolCall("call_2", "get_weather", {"city": "Rome"})


async def tool_offered(subject: Subject) -> None:
    """A tool may be offered; the model calls it or answers."""
    response = await subject.ask(
        _QUESTION, tools=[_WEATHER], max_tokens=OFFERED_TOKENS, claimed=subject.claims.tools
    )
    _require_consistent_calls(response)
    require(bool(response.calls or response.deltas), "it neither called nor answered")


async def tool_result(subject: Subject) -> None:
    """A call and its result are read."""
    response = await _ask_with_results(subject, [_CALL_PARIS], ["sunny, 21 degrees"])
    without = await subject.ask(_QUESTION, tools=[_WEATHER], max_tokens=1)
    more = _read_more(response.usage, without.usage)
    require(more, "the call and its result add no tokens to the prompt")


async def parallel_calls(subject: Subject) -> None:
    """Two calls of one turn and their results are read."""
    await _ask_with_results(subject, [_CALL_PARIS, _CALL_ROME], ["sunny", "rain"])


async def odd_history(subject: Subject) -> None:
    """A call with malformed arguments, a failed result and Chinese in both are read."""
    call = ToolCall("call_3", "get_weather", '{"city": "巴黎')
    await _ask_with_results(subject, [call], ["错误：不是 JSON"])


async def forced_tool(subject: Subject) -> None:
    """A required call is made, with arguments that fit."""
    called = await _forced_calls(subject, "required")
    reason = "it did not call, though it was required to"
    require_if_claimed(bool(called), subject.claims.forced_tools, reason)


async def named_tool(subject: Subject) -> None:
    """The call of a named tool is made, and of no other."""
    called = await _forced_calls(subject, "get_time")
    reason = f"it called {', '.join(sorted(called)) or 'nothing'} where get_time was named"
    require_if_claimed(called == {"get_time"}, subject.claims.forced_tools, reason)


async def forbidden_tools(subject: Subject) -> None:
    """Where calls are forbidden, none is made."""
    response = await subject.ask(
        _QUESTION, tools=[_WEATHER], tool_choice="none", claimed=subject.claims.tools
    )
    require(not response.calls, "it called a tool that was forbidden")


async def _ask_with_results(
    subject: Subject, calls: list[ToolCall], results: list[str]
) -> Response:
    tool_messages = [
        Message("tool", result, tool_call_id=call.id)
        for call, result in zip(calls, results, strict=True)
    ]
    turn = Message("assistant", "", tuple(calls))
    conversation = (_QUESTION, turn, *tool_messages)
    response = await subject.ask(*conversation, tools=[_WEATHER], claimed=subject.claims.tools)
    _require_consistent_calls(response)
    return response


async def _forced_calls(subject: Subject, choice: str) -> set[str]:
    """Return the names of the tools called, after checking their arguments."""
    claimed = subject.claims.forced_tools
    response = await subject.ask(
        _QUESTION,
        tools=[_WEATHER, _TIME],
        tool_choice=choice,
        max_tokens=FORCED_CALL_TOKENS,
        claimed=claimed,
    )
    _require_consistent_calls(response)
    for call in response.calls:
        key, values = _VALUES.get(call.name, ("", []))
        fits = call.arguments in [{key: value} for value in values]
        require_if_claimed(fits, claimed, f"its arguments do not fit: {call}")
    return {call.name for call in response.calls}


def _require_consistent_calls(response: Response) -> None:
    """Require distinct ids, and a stop reason that matches whether there were calls. A weak model
    may call a tool that was not offered."""
    ids = [call.id for call in response.calls]
    require(len(set(ids)) == len(ids) and all(ids), f"the calls have no ids of their own: {ids}")
    reason, has_calls = response.done.stop_reason, bool(response.calls)
    is_call_reason = reason in ("tool_calls", "length")
    require(not has_calls or is_call_reason, f"calls, but it ended as {reason!r}")
    require(has_calls or reason != "tool_calls", "it ended as 'tool_calls' without a call")


LARGEST_WINDOW = 65536
"""Tokens. A prompt beyond a larger window is not tried: it might be accepted, and billed."""

_FREE_SECONDS = 15.0


async def leaving(subject: Subject) -> None:
    """Closing the iterator in the middle stops the model, which then answers again."""
    parts = _long_answer(subject)
    await anext(parts)
    await parts.aclose()
    await _require_free(subject)


async def cancelling(subject: Subject) -> None:
    """A cancelled task ends as cancelled, and the model answers again."""
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in _long_answer(subject):
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
    require(ended or cancelled or result is None, f"the cancelled task ended with {result!r}")
    await _require_free(subject)


async def three_at_once(subject: Subject) -> None:
    """Three requests at the same time are all answered."""
    await asyncio.gather(*(subject.ask(user(f"Count to {n}."), max_tokens=4) for n in (3, 5, 7)))


async def window_known(subject: Subject) -> None:
    """The model's context window is known."""
    require(await _window(subject) > 0, "the window is not positive")


async def long_prompt(subject: Subject) -> None:
    """A prompt near the stated window is read whole."""
    tokens = int(min(await _window(subject), subject.max_prompt) * 0.75)
    each = max(1.0, subject.model.count_tokens("hello " * 200) / 200)
    counted = (await subject.ask(user("hello " * int(tokens / each)), max_tokens=4)).usage
    require(
        counted.estimated or counted.input_tokens >= 0.4 * tokens,
        f"only {counted.input_tokens} of about {tokens} tokens were read: the prompt was cut",
    )


async def too_long_a_prompt(subject: Subject) -> None:
    """A prompt beyond the window is refused in one line, never cut."""
    window = await _window(subject)
    if window > LARGEST_WINDOW:
        raise Unsupported(f"a prompt beyond its window of {window} tokens is too expensive to try")
    try:
        await subject.ask(user("hello " * (2 * window)), max_tokens=4)
    except ModelError as error:
        require_one_line(error)
        require(is_about_length(error), f"the error does not say that it was too long: {error}")
        return
    require(False, f"a prompt of twice its window of {window} tokens was answered: it was cut")


async def counting(subject: Subject) -> None:
    """Tokens of a text are counted within reason."""
    await subject.ask(_HELLO, max_tokens=1)
    count = subject.model.count_tokens
    require(count("") <= 2, f"an empty text has {count('')} tokens")
    require(count("hello " * 100) > count("hello " * 10) > 0, "a longer text has no more tokens")
    for sample in ("hello world", "你好，世界", "🌍👩‍👩‍👧", "a" * 300):
        most = len(sample.encode()) + 2
        require(0 < count(sample) <= most, f"{sample[:12]!r} has {count(sample)} tokens")


async def unknown_model(subject: Subject) -> None:
    """A model that does not exist is refused in one line that names it."""
    model = subject.missing_model
    if model is None:
        raise Unsupported("there is no way to name another model")
    try:
        async for _ in model.stream([_HELLO], (), Options(max_tokens=1)):
            pass
    except ModelError as error:
        require_one_line(error)
        name = model.name.partition(":")[2]
        require(name in str(error), f"the error does not name {name!r}: {error}")
        return
    finally:
        await model.close()
    raise Unsupported("it answers under any name")


async def closing(subject: Subject) -> None:
    """A closed model may be used again."""
    await subject.model.close()
    await subject.model.close()
    await subject.ask(_HELLO, max_tokens=4)


def _long_answer(subject: Subject) -> AsyncGenerator[ModelPart, None]:
    options = Options(max_tokens=1500, extra=subject.extra)
    return subject.model.stream([_COUNT], (), options)


async def _require_free(subject: Subject) -> None:
    """Require a short answer soon: the request that was left no longer occupies the model."""
    try:
        async with asyncio.timeout(_FREE_SECONDS):
            await subject.ask(_HELLO, max_tokens=1)
    except TimeoutError:
        require(False, f"no answer within {_FREE_SECONDS:g} s: the request that was left goes on")


async def _window(subject: Subject) -> int:
    window = await subject.model.context_window()
    if window is None:
        raise Unsupported("the size of its window is not known")
    return window


_ALL: tuple[Check, ...] = (
    *(text, streaming, one_ending, system_message, several_turns),
    *(unicode_read, unicode_written, stop_string, max_tokens, seed),
    *(tool_offered, tool_result, parallel_calls, odd_history),
    *(forced_tool, named_tool, forbidden_tools),
    *(json_schema, usage, empty_input, image),
    *(leaving, cancelling, three_at_once),
    *(window_known, long_prompt, too_long_a_prompt, counting),
    *(unknown_model, closing),
)

CHECKS = {check.__name__: check for check in _ALL}
"""The checks by name, in the order in which they run."""
