"""An application's check of the output: it may reject one, and the model is asked again."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from agentkit import Agent, LimitReached, Limits, ModelError, Retry, Session, tool
from agentkit.agent.approval import ALLOWED, pause
from agentkit.backends.scripted import ScriptedModel
from agentkit.events import Retried
from agentkit.tools.context import RunContext
from tests.agent.scripts import assert_valid, call, results


class Order(BaseModel):
    pieces: int


def _small(order: Order) -> str | None:
    return "Order at most 5 pieces." if order.pieces > 5 else None


async def _small_later(order: Order) -> str | None:
    return _small(order)


def _small_or_retry(order: Order) -> None:
    if message := _small(order):
        raise Retry(message)


@tool
def stock() -> int:
    """Count the stock."""
    return 3


@pytest.mark.parametrize("check", [_small, _small_later, _small_or_retry])
async def test_a_rejected_output_goes_back_with_the_reason(check: Any) -> None:
    model, session = ScriptedModel(['{"pieces": 9}', '{"pieces": 4}']), Session()
    answer = await Agent(model, output_check=check).run("?", session, output=Order)
    assert answer.output == Order(pieces=4)
    assert "Order at most 5 pieces." in model.requests[1][-1].text
    assert answer.messages == tuple(session.messages)
    assert_valid(session.messages)


async def test_a_rejected_output_may_be_corrected_with_tools_and_an_invalid_one_is_not() -> None:
    replies: list[Any] = ['{"pieces": 9}', call("stock"), '{"pieces": 3}']
    model = ScriptedModel(replies)
    answer = await Agent(model, [stock], output_check=_small).run("?", output=Order)
    assert answer.output == Order(pieces=3)
    assert results(model) == ["3"]
    model = ScriptedModel(["nine", '{"pieces": 3}'])
    await Agent(model, [stock], output_check=_small).run("?", output=Order)
    assert model.tools_offered == [("stock",), ()]


async def test_the_text_of_an_answer_is_checked_where_no_output_is_asked_for() -> None:
    def brief(text: str) -> str:
        return "Too long." if len(text) > 10 else ""

    model = ScriptedModel(["a very long answer", "short"])
    answer = await Agent(model).run("?", output_check=brief)
    assert (answer.text, answer.output) == ("short", None)


async def test_a_check_gets_the_context_of_the_run() -> None:
    def within(order: Order, context: RunContext[int]) -> str:
        return "" if order.pieces <= context.deps else f"At most {context.deps}."

    model = ScriptedModel(['{"pieces": 9}', '{"pieces": 8}'])
    answer = await Agent[int](model, output_check=within).run("?", output=Order, deps=8)
    assert answer.output == Order(pieces=8)


async def test_an_output_that_is_rejected_three_times_is_an_error_with_the_reason() -> None:
    model = ScriptedModel(['{"pieces": 9}'] * 4)
    with pytest.raises(ModelError, match=r"asked 3 times.*at most 5 pieces"):
        await Agent(model, output_check=_small).run("?", output=Order)
    assert len(model.requests) == 3


async def test_a_limit_ends_the_corrections_and_is_named() -> None:
    model = ScriptedModel(['{"pieces": 9}'] * 4)
    agent = Agent(model, output_check=_small, limits=Limits(turns=2))
    with pytest.raises(LimitReached, match=r"limit of 2 turns \(Limits\(turns=2\)\)"):
        await agent.run("?", output=Order)
    assert len(model.requests) == 2


async def test_a_stream_tells_that_an_output_was_rejected() -> None:
    model = ScriptedModel(['{"pieces": 9}', '{"pieces": 4}'])
    agent = Agent(model, output_check=_small)
    events = [e async for e in agent.stream("?", output=Order)]
    assert [e.reason for e in events if isinstance(e, Retried)] == [
        "The answer is not valid: Order at most 5 pieces."
    ]


async def test_rejections_before_a_pause_count_after_it() -> None:
    @tool(needs_approval=True)
    def reserve() -> str:
        """Reserve."""
        return "reserved"

    big = '{"pieces": 9}'
    model, session = ScriptedModel([big, call("reserve"), big, big, big]), Session()
    agent = Agent(model, [reserve], approve=pause, output_check=_small)
    assert (await agent.run("?", session, output=Order)).stop_reason == "paused"
    with pytest.raises(ModelError, match="asked 3 times"):
        await agent.resume(session, {"1": ALLOWED}, output=Order)
    assert_valid(session.messages)
