"""openai-agents with our Model; its tracing is off."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from agents import Agent, Model, ModelResponse, Runner, Usage, function_tool
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)

from peers.steps.tool import DONE, PROMPT, add


class _Counting(Model):
    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._at = 0

    async def get_response(self, *args: Any, **values: Any) -> ModelResponse:
        self._at += 1
        usage = Usage(requests=1, input_tokens=10, output_tokens=5, total_tokens=15)
        part = _call(self._at) if self._at <= self._steps else _answer()
        return ModelResponse(output=[part], usage=usage, response_id=None)

    def stream_response(self, *args: Any, **values: Any) -> AsyncIterator[Any]:
        raise NotImplementedError


def _call(at: int) -> ResponseFunctionToolCall:
    return ResponseFunctionToolCall(
        id=f"item-{at}",
        call_id=str(at),
        type="function_call",
        name="add",
        arguments=json.dumps({"a": at, "b": 1}),
    )


def _answer() -> ResponseOutputMessage:
    text = ResponseOutputText(text=DONE, type="output_text", annotations=[], logprobs=[])
    return ResponseOutputMessage(
        id="answer", type="message", role="assistant", content=[text], status="completed"
    )


def prepare(steps: int) -> Callable[[], str]:
    agent = Agent(name="adder", model=_Counting(steps), tools=[function_tool(add)])
    return lambda: str(Runner.run_sync(agent, PROMPT, max_turns=steps + 5).final_output)
