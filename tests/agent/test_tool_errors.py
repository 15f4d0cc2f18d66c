"""What a failure of a tool leads to: for the model, the application, the log and the answer."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from pydantic import TypeAdapter

from agentkit import Agent, Limits, Retry, Session, ToolError, tool
from agentkit.agent.tool_runner import ENDED_BY_FAILURE, TRY_AGAIN
from agentkit.answering.extractive import ExtractiveModel
from agentkit.backends.scripted import ScriptedModel
from agentkit.events import Event, ToolFinished
from agentkit.messages import ToolCall, ToolResult
from tests.agent.scripts import assert_valid, call, events_of, results

PRICES = {"apple": 3}


@tool
async def price(item: str) -> int:
    """Look up a price."""
    return PRICES[item]


@tool
def choosy(city: str) -> str:
    """Take a capital."""
    if city != "Paris":
        raise Retry(f"{city} is not a capital.")
    return "fine"


@tool
async def hang() -> str:
    """Never end."""
    await asyncio.Event().wait()
    return ""


def _logged(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_an_exception_in_a_tool_is_logged_once_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = ScriptedModel([call("price", "c7", item="secret pear"), "unknown"])
    await Agent(model, [price]).run("?")
    [record] = _logged(caplog)
    assert record.name.startswith("agentkit")
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[0] is KeyError
    assert "price" in record.getMessage()
    assert "c7" in record.getMessage()
    assert "pear" not in record.getMessage()


async def test_the_tool_of_a_sub_agent_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    inner = Agent(ScriptedModel([call("price", item="pear")]), [price], on_tool_error="raise")
    outer = ScriptedModel([call("ask", question="?"), "done"])
    await Agent(outer, [inner.as_tool("ask", "Ask.")]).run("?")
    assert "price failed: KeyError" in results(outer)[0]
    assert len(_logged(caplog)) == 1


async def test_the_event_of_a_failed_call_has_the_exception() -> None:
    calls = [call("price", "1", item="pear"), call("price", "2", item="apple")]
    events = await events_of(Agent(ScriptedModel([calls, "done"]), [price]))
    errors = {e.call.id: e.error for e in events if isinstance(e, ToolFinished)}
    assert isinstance(errors["1"], KeyError)
    assert errors["2"] is None


def test_events_with_an_exception_can_be_dumped_as_json() -> None:
    event = ToolFinished(call("price"), ToolResult("Error"), 0.1, True, KeyError("pear"))
    dumped = json.loads(TypeAdapter[Event](Event).dump_json(event))
    assert dumped["error"] == "KeyError: 'pear'"


async def test_a_retry_tells_the_model_what_to_change_and_is_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = ScriptedModel([call("choosy", city="Nice"), call("choosy", city="Paris"), "done"])
    answer = await Agent(model, [choosy], on_tool_error="raise").run("?")
    assert results(model) == [f"Error: Nice is not a capital.\n{TRY_AGAIN}", "fine"]
    assert answer.text == "done"
    assert _logged(caplog) == []


async def test_invalid_arguments_of_the_model_do_not_end_a_run() -> None:
    model = ScriptedModel([call("price"), "done"])
    answer = await Agent(model, [price], on_tool_error="raise").run("?")
    assert "Invalid arguments" in results(model)[0]
    assert answer.text == "done"


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_application_writes_what_the_model_gets(is_async: bool) -> None:
    seen: list[tuple[str, BaseException]] = []

    def describe(made: ToolCall, error: BaseException) -> str:
        seen.append((made.name, error))
        return "No price is known."

    async def describe_later(made: ToolCall, error: BaseException) -> str:
        return describe(made, error)

    model = ScriptedModel([call("price", item="pear"), "done"])
    await Agent(model, [price], on_tool_error=describe_later if is_async else describe).run("?")
    assert results(model) == ["No price is known."]
    assert [(name, type(error)) for name, error in seen] == [("price", KeyError)]


def _give_up(made: ToolCall, error: BaseException) -> str:
    raise LookupError(made.name)


@pytest.mark.parametrize(
    ("on_error", "raised"), [("raise", ToolError), (_give_up, LookupError)], ids=["raise", "own"]
)
async def test_a_failure_may_end_the_run_and_the_session_keeps_complete_turns(
    on_error: Any, raised: type[Exception]
) -> None:
    calls = [call("price", "1", item="apple"), call("price", "2", item="pear"), call("hang", "3")]
    model, session = ScriptedModel([calls, "next"]), Session()
    agent = Agent(model, [price, hang], on_tool_error=on_error)
    with pytest.raises(raised, match="price"):
        await agent.run("?", session)
    assert_valid(session.messages)
    kept = [m.text for m in session.messages if m.role == "tool"]
    assert kept == ["3", "Error: price failed: KeyError: 'pear'", ENDED_BY_FAILURE]
    assert (await agent.run("And now?", session)).text == "next"


async def test_the_error_that_ends_a_run_names_the_tools_own() -> None:
    agent = Agent(ScriptedModel([call("price", item="pear")]), [price], on_tool_error="raise")
    with pytest.raises(ToolError) as caught:
        await agent.run("?")
    assert isinstance(caught.value.cause, KeyError)
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("limits", [Limits(turns=2), Limits(tool_calls=1), Limits(tokens=1)])
@pytest.mark.parametrize("made", [("price", "KeyError"), ("missing", "no tool 'missing'")])
async def test_an_answer_says_which_tools_failed_instead_of_repeating_their_errors(
    limits: Limits, made: tuple[str, str]
) -> None:
    name, reason = made
    model = ScriptedModel(lambda messages: call(name, item="pear"))
    answer = await Agent(model, [price], limits=limits).run("?")
    assert answer.stop_reason == "limit"
    assert not any(line.startswith("Error:") for line in answer.text.splitlines())
    assert answer.text.startswith("There is no answer")
    assert answer.limit in answer.text
    assert name in answer.text
    assert reason in answer.text


async def test_what_other_calls_gave_is_answered_without_the_errors() -> None:
    calls = [call("price", "1", item="apple"), call("price", "2", item="pear")]
    answer = await Agent(ScriptedModel([calls, calls]), [price], limits=Limits(turns=2)).run("?")
    assert answer.text == "3"


async def test_the_extractive_model_says_that_the_search_failed() -> None:
    @tool
    def search_knowledge(query: str) -> str:
        """Search."""
        raise OSError("the disk is gone")

    answer = await Agent(ExtractiveModel(), [search_knowledge]).run("How large is a cat?")
    assert answer.text.startswith("The search of the documents failed")
    assert "the disk is gone" in answer.text


async def test_an_error_that_a_tool_returns_as_text_is_not_the_answer() -> None:
    @tool
    def find(item: str) -> str:
        """Find."""
        return f"Error: {item} is lost"

    model = ScriptedModel([call("find", item="key"), call("find", "2", item="key")])
    answer = await Agent(model, [find], limits=Limits(turns=2)).run("?")
    assert answer.text.endswith("- find: key is lost")
    assert not answer.text.startswith("Error")
