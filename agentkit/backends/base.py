"""The seam between the agent and every kind of model: one method, `stream`.

What every backend says of tools and calls in the same words. No server's own format.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agentkit.events import ModelPart
from agentkit.messages import ImagePart, Message, TextPart, ToolCall
from agentkit.tools.tool import Tool


@dataclass(frozen=True, slots=True)
class Options:
    """How a model shall answer. None leaves the choice to the model or its server.

    `tool_choice` is "auto", "none", "required" or a tool's name. `schema` is a JSON Schema that
    the answer must satisfy. `extra` goes into the request body as it is.
    """

    temperature: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    tool_choice: str = "auto"
    schema: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model and its server can do; `instructions` is false of a reader that only quotes."""

    tools: bool = True
    forced_tools: bool = False
    json_schema: bool = False
    images: bool = False
    reasoning: bool = False
    instructions: bool = True


class Model(Protocol):
    """A language model. A backend writes `name` and `stream`, and inherits the rest."""

    @property
    def name(self) -> str:
        """What the user calls it, such as "ollama:qwen3:8b"."""
        ...

    def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        """Answer the messages, piece by piece; the last part is a Done. Closing the iterator
        stops the model. Raises ModelError."""
        ...

    async def context_window(self) -> int | None:
        """How many tokens fit in, prompt and answer together; None where nobody knows."""
        return None

    def count_tokens(self, text: str) -> int:
        """Tokens of a text; an estimate where the model's tokenizer is out of reach."""
        return estimated_tokens(text)

    async def capabilities(self) -> Capabilities:
        """What the model can do, as far as is known without trying."""
        return Capabilities()

    async def close(self) -> None:
        """Let go of connections and memory; using the model again opens them anew."""
        return None


def estimated_tokens(text: str) -> int:
    """A careful guess at a text's tokens: one for each three bytes of UTF-8, which is one for
    each CJK character."""
    return (len(text.encode("utf-8", "replace")) + 2) // 3


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
