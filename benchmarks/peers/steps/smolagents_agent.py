"""smolagents' ToolCallingAgent with our Model; what it prints is off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smolagents import ChatMessage, LogLevel, Model, Tool, ToolCallingAgent
from smolagents.models import (
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    MessageRole,
    TokenUsage,
)

from peers.steps.tool import DONE, PROMPT, add


class _Add(Tool):
    name = "add"
    description = "Add two numbers."
    inputs = {  # noqa: RUF012
        "a": {"type": "integer", "description": "The first number."},
        "b": {"type": "integer", "description": "The second number."},
    }
    output_type = "integer"

    def forward(self, a: int, b: int) -> int:
        return add(a, b)


class _Counting(Model):
    def __init__(self, steps: int) -> None:
        super().__init__(model_id="counting")
        self._steps = steps
        self._at = 0

    def generate(self, *args: Any, **values: Any) -> ChatMessage:
        self._at += 1
        arguments: dict[str, Any] = {"a": self._at, "b": 1}
        name = "add"
        if self._at > self._steps:
            name, arguments = "final_answer", {"answer": DONE}
        function = ChatMessageToolCallFunction(name=name, arguments=arguments)
        call = ChatMessageToolCall(id=str(self._at), type="function", function=function)
        return ChatMessage(
            role=MessageRole.ASSISTANT, tool_calls=[call], token_usage=TokenUsage(10, 5)
        )


def prepare(steps: int) -> Callable[[], str]:
    agent = ToolCallingAgent(
        tools=[_Add()], model=_Counting(steps), max_steps=steps + 5, verbosity_level=LogLevel.OFF
    )
    return lambda: str(agent.run(PROMPT))
