"""The seam between the agent and every kind of model: one method, `stream`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agentkit.events import ModelPart
from agentkit.messages import Message
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
