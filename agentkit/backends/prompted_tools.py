"""Conversations for templates that know less: tools told in the system message, calls and results
as text (in the form of Hermes, which most models have seen), the system message in the user's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from agentkit.backends.base import arguments_object, tool_definition
from agentkit.messages import Message, ToolCall
from agentkit.tools.tool import Tool

_ASK = """You may call these tools:
<tools>
{tools}
</tools>
To call one, answer with its name and arguments as JSON, between these marks:
<tool_call>
{{"name": "NAME", "arguments": {{"ARGUMENT": "VALUE"}}}}
</tool_call>"""


def in_text(messages: Sequence[Message], tools: Sequence[Tool]) -> list[Message]:
    """The conversation in system, user and assistant messages alone."""
    told = [_plain(message) for message in messages]
    if tools:
        lines = "\n".join(json.dumps(tool_definition(tool), ensure_ascii=False) for tool in tools)
        told.insert(0, Message("system", _ASK.format(tools=lines)))
    return _merged(told)


def without_system(messages: Sequence[Message]) -> list[Message]:
    """The conversation for a template that refuses system messages."""
    return _merged([replace(m, role="user") if m.role == "system" else m for m in messages])


def _plain(message: Message) -> Message:
    if message.role == "tool":
        return Message("user", f"<tool_response>\n{message.text}\n</tool_response>")
    if message.tool_calls:
        said = "\n".join([message.text, *map(_call, message.tool_calls)]).strip()
        return Message(message.role, said)
    return message


def _call(call: ToolCall) -> str:
    said = {"name": call.name, "arguments": arguments_object(call)}
    return f"<tool_call>\n{json.dumps(said, ensure_ascii=False)}\n</tool_call>"


def _merged(messages: Iterable[Message]) -> list[Message]:
    """Neighbours of one role as one message, since templates want the roles in turn. Calls and
    results stay alone."""
    merged: list[Message] = []
    for message in messages:
        if merged and _alike(merged[-1], message):
            merged[-1] = Message(message.role, f"{merged[-1].text}\n\n{message.text}")
        else:
            merged.append(message)
    return merged


def _alike(one: Message, other: Message) -> bool:
    calls = one.tool_calls or other.tool_calls
    return one.role == other.role and one.role != "tool" and not calls
