"""Rewrite conversations for chat templates without tools or without a system message.

Tools go into the system message, calls and results into the text, in the format of Hermes, which
most models know.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from agentkit.backends.base import arguments_object, tool_definition
from agentkit.backends.text_tool_calls import CALL, END_CALL
from agentkit.messages import Message, ToolCall
from agentkit.tools.tool import Tool

_TOOLS_PROMPT = """You may call these tools:
<tools>
{tools}
</tools>
To call one, answer with its name and arguments as JSON, between these marks:
<tool_call>
{{"name": "NAME", "arguments": {{"ARGUMENT": "VALUE"}}}}
</tool_call>"""


def in_text(messages: Sequence[Message], tools: Sequence[Tool]) -> list[Message]:
    """Return the conversation in system, user and assistant messages alone."""
    plain = [_as_text(message) for message in messages]
    if tools:
        lines = "\n".join(json.dumps(tool_definition(tool), ensure_ascii=False) for tool in tools)
        plain.insert(0, Message("system", _TOOLS_PROMPT.format(tools=lines)))
    return _merge_neighbours(plain)


def without_system(messages: Sequence[Message]) -> list[Message]:
    """Return the conversation for a template that refuses system messages."""
    return _merge_neighbours(
        [replace(m, role="user") if m.role == "system" else m for m in messages]
    )


def _as_text(message: Message) -> Message:
    if message.role == "tool":
        return Message("user", f"<tool_response>\n{message.prompt_text}\n</tool_response>")
    if message.tool_calls:
        text = "\n".join([message.text, *map(_call_text, message.tool_calls)]).strip()
        return Message(message.role, text)
    return message


def _call_text(call: ToolCall) -> str:
    body = {"name": call.name, "arguments": arguments_object(call)}
    return f"{CALL}\n{json.dumps(body, ensure_ascii=False)}\n{END_CALL}"


def _merge_neighbours(messages: Iterable[Message]) -> list[Message]:
    """Join neighbours of one role, since templates expect alternating roles. Calls and results stay
    apart."""
    merged: list[Message] = []
    for message in messages:
        if merged and _can_merge(merged[-1], message):
            merged[-1] = Message(message.role, f"{merged[-1].prompt_text}\n\n{message.prompt_text}")
        else:
            merged.append(message)
    return merged


def _can_merge(one: Message, other: Message) -> bool:
    calls = one.tool_calls or other.tool_calls
    return one.role == other.role and one.role != "tool" and not calls
