"""What an application builds on: methods as tools, context variables, events as JSON."""

from __future__ import annotations

import asyncio
import json
from contextvars import ContextVar

import pytest
from pydantic import TypeAdapter

from agentkit import (
    Agent,
    Event,
    Finished,
    ScriptedModel,
    TextDelta,
    ToolCall,
    ToolContext,
    ToolFinished,
    ToolStarted,
    tool,
)

request_id = ContextVar("request_id", default="none")


class Shop:
    def __init__(self, prices: dict[str, float]) -> None:
        self.prices = prices

    def price(self, article: str) -> float:
        """Look up the price of an article.

        Args:
            article: Its name.
        """
        return self.prices[article]

    async def order(self, article: str, context: ToolContext) -> str:
        """Order an article."""
        context.report(f"ordering {article}")
        return f"{article} for {self.prices[article]}"


def test_bound_method_is_a_tool_without_its_object() -> None:
    calls = [ToolCall("1", "price", {"article": "tea"}), ToolCall("2", "order", {"article": "tea"})]
    model = ScriptedModel([calls, "Done."])
    shop = Shop({"tea": 4.5})
    agent = Agent(model, [shop.price, shop.order])
    agent.run_sync("How much is tea?")
    assert [message.text for message in model.requests[1][-2:]] == ["4.5", "tea for 4.5"]
    (parameters,) = [dict(each.parameters) for each in agent.tools if each.name == "price"]
    assert parameters["properties"].keys() == {"article"}
    assert parameters["properties"]["article"]["description"] == "Its name."


@tool
def in_thread() -> str:
    """Read the request's id."""
    return request_id.get()


@tool
async def in_loop() -> str:
    """Read the request's id."""
    return request_id.get()


@pytest.mark.parametrize("name", ["in_thread", "in_loop"])
async def test_tools_see_the_context_variables_of_their_run(name: str) -> None:
    async def ask(request: str) -> str:
        request_id.set(request)
        model = ScriptedModel([ToolCall("1", name, {}), "Done."])
        await Agent(model, [in_thread, in_loop]).run("Who asks?")
        return model.requests[1][-1].text

    assert [*await asyncio.gather(ask("a"), ask("b"))] == ["a", "b"]


async def test_every_event_of_a_run_is_written_as_json() -> None:
    adapter = TypeAdapter[Event](Event)
    shop = Shop({"tea": 4.5})
    model = ScriptedModel([ToolCall("1", "order", {"article": "tea"}), "It is ordered."])
    records = {}
    async for event in Agent(model, [shop.order]).stream("Order tea.", output=str):
        records[type(event)] = json.loads(adapter.dump_json(event))
    assert records[TextDelta]["text"]
    assert records[ToolStarted]["call"]["name"] == "order"
    assert records[ToolFinished]["result"]["content"] == "tea for 4.5"
    assert records[Finished]["answer"]["output"] == "It is ordered."
    assert records[Finished]["answer"]["usage"]["requests"] == 2
