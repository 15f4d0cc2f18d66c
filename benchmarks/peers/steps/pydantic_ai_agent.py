"""pydantic-ai with its own FunctionModel."""

from __future__ import annotations

from collections.abc import Callable

from pydantic_ai import Agent, UsageLimits
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from peers.steps.tool import DONE, PROMPT, add


def prepare(steps: int) -> Callable[[], str]:
    at = 0

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        nonlocal at
        at += 1
        if at <= steps:
            call = ToolCallPart("add", {"a": at, "b": 1}, tool_call_id=str(at))
            return ModelResponse(parts=[call])
        return ModelResponse(parts=[TextPart(DONE)])

    agent = Agent(FunctionModel(answer), tools=[add])
    limits = UsageLimits(request_limit=None)
    return lambda: agent.run_sync(PROMPT, usage_limits=limits).output
