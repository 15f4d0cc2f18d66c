"""LangChain's create_agent with our chat model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

from peers.steps.tool import DONE, PROMPT, add


class _Counting(BaseChatModel):
    steps: int
    _at: int = PrivateAttr(default=0)

    @property
    def _llm_type(self) -> str:
        return "counting"

    def bind_tools(self, tools: Any, **values: Any) -> Any:
        return self

    def _generate(self, *args: Any, **values: Any) -> ChatResult:
        self._at += 1
        message = AIMessage(DONE)
        if self._at <= self.steps:
            call = {"name": "add", "args": {"a": self._at, "b": 1}, "id": str(self._at)}
            message = AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=message)])


def prepare(steps: int) -> Callable[[], str]:
    agent = create_agent(_Counting(steps=steps), [add])
    asked: Any = {"messages": [{"role": "user", "content": PROMPT}]}
    limits: Any = {"recursion_limit": 2 * steps + 20}
    return lambda: str(agent.invoke(asked, limits)["messages"][-1].content)
