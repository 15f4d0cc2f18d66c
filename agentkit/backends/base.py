"""The interface between the agent and every kind of model: `Model`, with one method to write."""

from __future__ import annotations

import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
    """What a model and its server can do; `instructions` is False for the extractive model."""

    tools: bool = True
    forced_tools: bool = False
    json_schema: bool = False
    images: bool = False
    reasoning: bool = False
    instructions: bool = True


@dataclass(slots=True)
class Learned:
    """What a model's replies show: the `window` that it has where its server rejects a prompt
    within its `context_window`, and whether it writes thinking before an end tag alone."""

    window: int | None = None
    thinks_untagged: bool = False


class Model(ABC):
    """A language model. A subclass implements `name` and `stream`; the rest has defaults."""

    @property
    def learned(self) -> Learned:
        """What its replies have shown of it."""
        learned: Learned = self.__dict__.setdefault("_learned", Learned())
        return learned

    @property
    @abstractmethod
    def name(self) -> str:
        """The model's name with its provider, such as "ollama:qwen3:8b"."""

    @abstractmethod
    def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        """Answer the messages, part by part; the last part is a Done. Closing the iterator stops
        the model. Where a server leaves tool calls or thinking in the text, pass the parts through
        `text_tool_calls.parse_text_calls`. Raises ModelError."""

    async def context_window(self) -> int | None:
        """Tokens that fit, prompt and answer together; None where unknown."""
        return None

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text; an estimate where the model's tokenizer is not available."""
        return estimated_tokens(text)

    async def capabilities(self) -> Capabilities:
        """What the model can do, as far as is known without trying."""
        return Capabilities()

    async def close(self) -> None:
        """Free connections and memory; using the model again opens them again."""
        return None


def estimated_tokens(text: str) -> int:
    """Estimate a text's tokens, rather too high: one for three bytes of UTF-8, which is one for
    each CJK character."""
    return (len(text.encode("utf-8", "replace")) + 2) // 3


CountTokens = Callable[[str], int]
"""A model's tokenizer, or an estimate."""

_IMAGE_TOKENS = 1024
"""Estimate for an image: more than most vision models use for one."""

_TURN_TOKENS = 8
"""Estimate for what a chat template adds to a message."""


def prompt_tokens(messages: Iterable[Message], tools: Iterable[Tool]) -> int:
    """Estimate the tokens of a whole prompt, for servers that do not count them."""
    return tool_tokens(tools, estimated_tokens) + tokens_of_all(messages, estimated_tokens)


def tool_tokens(tools: Iterable[Tool], count: CountTokens) -> int:
    """Tokens of the definitions of tools in a request."""
    return sum(count(json.dumps(tool_definition(tool), ensure_ascii=False)) for tool in tools)


def tokens_of_all(messages: Iterable[Message], count: CountTokens) -> int:
    """Tokens of several messages."""
    return sum(tokens_of(message, count) for message in messages)


def tokens_of(message: Message, count: CountTokens) -> int:
    """Tokens of one message, its images and calls included."""
    calls = sum(count(f"{call.name} {call.arguments}") for call in message.tool_calls)
    pictures = _IMAGE_TOKENS * len(images(message))
    return _TURN_TOKENS + count(message.prompt_text) + calls + pictures


def tool_definition(tool: Tool) -> dict[str, Any]:
    """Return a tool's definition as OpenAI, Ollama and chat templates expect it."""
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters),
        },
    }


def message_bodies(
    messages: Sequence[Message], name_key: str, *, arguments_as_text: bool = False
) -> list[dict[str, Any]]:
    """Return messages as Ollama and chat templates expect them: text, calls with their arguments
    as objects or as JSON, and of a result the id of its call, and under `name_key` the tool."""

    def arguments(call: ToolCall) -> dict[str, Any] | str:
        given = arguments_object(call)
        return json.dumps(given, ensure_ascii=False) if arguments_as_text else given

    names = {call.id: call.name for message in messages for call in message.tool_calls}
    bodies = []
    for message in messages:
        body: dict[str, Any] = {"role": message.role, "content": message.prompt_text}
        if message.tool_calls:
            body["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": arguments(call)},
                }
                for call in message.tool_calls
            ]
        if message.role == "tool":
            called = names.get(message.tool_call_id, "")
            body |= {"tool_call_id": message.tool_call_id, name_key: called}
        bodies.append(body)
    return bodies


def offered_tools(tools: Sequence[Tool], choice: str) -> list[Tool]:
    """Return the tools that `tool_choice` leaves: none, the named one, or all."""
    if choice == "none":
        return []
    named = [tool for tool in tools if tool.name == choice]
    return named or list(tools)


def new_call_id() -> str:
    """Return an id for a call that came without one."""
    return f"call_{uuid.uuid4().hex[:12]}"


def parse_arguments(text: str) -> Mapping[str, Any] | str:
    """Parse a call's arguments; text that is not a JSON object is returned unchanged."""
    try:
        value = json.loads(text or "{}", strict=False)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def arguments_object(call: ToolCall) -> dict[str, Any]:
    """Return a call's arguments as an object, since servers refuse a whole conversation because of
    one malformed call in it."""
    if isinstance(call.arguments, str):
        return {"malformed": call.arguments}
    return dict(call.arguments)


def images(message: Message) -> list[ImagePart]:
    """Return the images of a message."""
    if isinstance(message.content, str):
        return []
    return [part for part in message.content if not isinstance(part, TextPart)]
