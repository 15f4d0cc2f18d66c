"""What every backend says of tools and calls in the same words. No server's own format."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agentkit.backends.base import estimated_tokens
from agentkit.messages import ImagePart, Message, TextPart, ToolCall
from agentkit.tools.tool import Tool

IMAGE_TOKENS = 1024
"""What an image is counted as: more than most vision models make of one."""

TURN_TOKENS = 8
"""What a chat template puts around a message, about."""


def new_call_id() -> str:
    """An id for a call that came without one."""
    return f"call_{uuid.uuid4().hex[:12]}"


def described(tool: Tool) -> dict[str, Any]:
    """A tool as OpenAI, Ollama and the chat templates all want it."""
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters),
        },
    }


def offered(tools: Sequence[Tool], choice: str) -> list[Tool]:
    """The tools that `tool_choice` leaves: none, the one that it names, or all."""
    if choice == "none":
        return []
    named = [tool for tool in tools if tool.name == choice]
    return named or list(tools)


def read_arguments(text: str) -> Mapping[str, Any] | str:
    """Arguments as a model wrote them: a mapping, or the text as it is where it is no object."""
    try:
        value = json.loads(text or "{}", strict=False)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def sent_arguments(call: ToolCall) -> dict[str, Any]:
    """Arguments as an object, for servers that refuse a whole conversation over a malformed
    call of long ago."""
    if isinstance(call.arguments, str):
        return {"malformed": call.arguments}
    return dict(call.arguments)


def images(message: Message) -> list[ImagePart]:
    """The images of a message."""
    if isinstance(message.content, str):
        return []
    return [part for part in message.content if not isinstance(part, TextPart)]


def prompt_tokens(messages: Iterable[Message], tools: Iterable[Tool]) -> int:
    """A careful guess at the tokens of a whole prompt, for servers that do not count them."""
    told = sum(estimated_tokens(json.dumps(described(tool), ensure_ascii=False)) for tool in tools)
    return told + sum(map(_message_tokens, messages))


def _message_tokens(message: Message) -> int:
    calls = sum(
        estimated_tokens(call.name + json.dumps(sent_arguments(call), ensure_ascii=False))
        for call in message.tool_calls
    )
    pictures = IMAGE_TOKENS * len(images(message))
    return TURN_TOKENS + estimated_tokens(message.text) + calls + pictures
