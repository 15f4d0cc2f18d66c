"""Test an agent with fake models: its tool calls, its output and what it tells the model.

`ScriptedModel` plays responses and keeps the requests. `Agent.override` replaces the model, or any
other value of an agent, in the runs of a block.
"""

from collections.abc import Iterator

import pytest
from support_agent import Reply, Shop, agent, open_database

from agentkit import ScriptedModel, ToolCall


@pytest.fixture
def shop() -> Iterator[Shop]:
    database = open_database()
    yield Shop(database, customer=1)
    database.close()


def test_tool_gets_the_database_and_its_result_reaches_the_model(shop: Shop) -> None:
    call = ToolCall("1", "count_orders", {"state": "shipped"})
    model = ScriptedModel([call, '{"text": "One was sent.", "escalate": false}'])
    with agent.override(model=model):
        answer = agent.run_sync("What was sent?", output=Reply, deps=shop)
    assert model.requests[1][-1].text == "1"
    assert answer.output.text == "One was sent."


def test_invalid_output_is_returned_to_the_model(shop: Shop) -> None:
    text = '{"text": "A colleague will call.", "escalate": %s}'
    with agent.override(model=ScriptedModel([text % '"maybe"', text % "true"])):
        answer = agent.run_sync("I am angry!", output=Reply, deps=shop)
    assert answer.output.escalate
    assert answer.usage.requests == 2


def test_instructions_name_the_customer(shop: Shop) -> None:
    model = ScriptedModel(['{"text": "Hello.", "escalate": false}'])
    with agent.override(model=model):
        agent.run_sync("Who am I?", output=Reply, deps=shop)
    assert "You answer Ada" in model.requests[0][0].text
