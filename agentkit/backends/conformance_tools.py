"""Checks of tools: offered, called, answered, forced and forbidden."""

from __future__ import annotations

from agentkit.backends.conformance_kit import Heard, Subject, may_refuse, need, promised, user
from agentkit.messages import Message, ToolCall
from agentkit.tools.tool import Tool

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
