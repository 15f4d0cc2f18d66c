"""Test the support agent with fake models: its tool calls, output and instructions."""

from collections.abc import Iterator

import pytest
from pydantic_ai import ModelMessage, ModelRequest, ModelResponse, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from support_agent import Shop, agent, open_database


@pytest.fixture
def shop() -> Iterator[Shop]:
    database = open_database()
    yield Shop(database, customer=1)
    database.close()


def test_tool_gets_the_database_and_its_result_reaches_the_model(shop: Shop) -> None:
    def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        part = messages[-1].parts[-1]
        if isinstance(part, ToolReturnPart):
            reply = {"text": f"{part.content} was sent.", "escalate": False}
            return ModelResponse([ToolCallPart(info.output_tools[0].name, reply)])
        return ModelResponse([ToolCallPart("count_orders", {"state": "shipped"})])

    with agent.override(model=FunctionModel(respond)):
        result = agent.run_sync("What was sent?", deps=shop)
    assert result.output.text == "1 was sent."


def test_invalid_output_is_returned_to_the_model(shop: Shop) -> None:
    def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        escalate = "maybe" if len(messages) == 1 else True
        reply = {"text": "A colleague will call.", "escalate": escalate}
        return ModelResponse([ToolCallPart(info.output_tools[0].name, reply)])

    with agent.override(model=FunctionModel(respond)):
        result = agent.run_sync("I am angry!", deps=shop)
    assert result.output.escalate
    assert result.usage.requests == 2


def test_instructions_name_the_customer(shop: Shop) -> None:
    request = agent.run_sync("Who am I?", deps=shop).all_messages()[0]
    assert isinstance(request, ModelRequest)
    assert "You answer Ada" in (request.instructions or "")
