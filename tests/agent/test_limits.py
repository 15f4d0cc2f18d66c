"""A run's limits: at each the agent stops asking, and answers from what it has, marked so."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agentkit import Agent, KnowledgeBase, Limits, Session, tool
from agentkit.agent.approval import DENIED, Verdict
from agentkit.agent.compaction import SUMMARIZE
from agentkit.agent.limits import Price
from agentkit.agent.loop import LAST_TURN, OVER_THE_LIMIT
from agentkit.agent.setup import Retrieval
from agentkit.agent.tool_runner import OUT_OF_TIME
from agentkit.backends.base import Model, Options
from agentkit.backends.scripted import ScriptedModel, Turn
from agentkit.documents import Document
from agentkit.errors import ConfigError
from agentkit.events import (
    Compacted,
    Done,
    Finished,
    ModelPart,
    TextDelta,
    ToolFinished,
    ToolStarted,
)
from agentkit.messages import Message, ToolCall, Usage
from agentkit.tools.tool import Tool
from tests.agent.scripts import answer_of, assert_valid, call, events_of, other_tasks, results
from tests.agent.test_compaction import Narrow
from tests.conftest import TermEmbedder


@tool
def step(n: int = 0) -> str:
    """Take a step."""
    return f"step {n}"


@tool
async def hang() -> str:
    """Never end."""
    await asyncio.Event().wait()
    return ""


def _steps(count: int = 100) -> Iterator[ToolCall]:
    return iter([call("step", str(n), n=n) for n in range(count)])


class Silent(Model):
    """Never answers; `parts` come first."""

    name = "silent"

    def __init__(self, *parts: TextDelta | ToolCall) -> None:
        self._parts_before = parts
        self.left = False

    async def stream(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), options: Options = Options()
    ) -> AsyncGenerator[ModelPart, None]:
        try:
            for part in self._parts_before:
                yield part
            await asyncio.Event().wait()
        finally:
            self.left = True


@pytest.mark.parametrize("turns", [1, 2, 5])
async def test_no_more_requests_are_made_than_the_limit_of_turns(turns: int) -> None:
    model = ScriptedModel(_steps())
    answer = await Agent(model, [step], limits=Limits(turns=turns)).run("?")
    assert len(model.requests) == turns
    assert answer.stop_reason == "limit"
    assert model.tools_offered[-1] == ()


async def test_with_no_turn_at_all_nobody_is_asked() -> None:
    model = ScriptedModel([])
    answer = await Agent(model, [step], limits=Limits(turns=0)).run("?")
    assert (answer.text, answer.stop_reason, model.requests) == ("", "limit", [])


async def test_a_run_of_one_turn_that_answers_has_reached_no_limit() -> None:
    answer = await Agent(ScriptedModel(["blue"]), [step], limits=Limits(turns=1)).run("?")
    assert answer.stop_reason == "stop"


async def test_calls_that_are_made_where_none_are_offered_are_not_run() -> None:
    ran = []

    @tool
    def act() -> str:
        """Act."""
        ran.append(1)
        return "acted"

    model = ScriptedModel([call("act"), [TextDelta("so far"), call("act", "2")]])
    answer = await Agent(model, [act], limits=Limits(turns=2)).run("?")
    assert (answer.text, answer.stop_reason, ran) == ("so far", "limit", [1])


async def test_where_a_limit_leaves_no_answer_it_is_made_of_what_the_tools_gave() -> None:
    model = ScriptedModel(_steps())
    session = Session()
    answer = await Agent(model, [step], limits=Limits(turns=3)).run("?", session)
    assert answer.stop_reason == "limit"
    assert answer.text == "step 0\nstep 1"
    assert_valid(session.messages)


async def test_where_a_limit_leaves_no_answer_the_passages_are_quoted(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    knowledge = await _knowledge(tmp_path, embedder)
    model = ScriptedModel([[Usage(10, 0), call("step")]])
    agent = Agent(model, [step], knowledge=knowledge, limits=Limits(tokens=5))
    answer = await agent.run("Memory: a 7B model at 16 bits takes 14 GB?")
    assert answer.stop_reason == "limit"
    assert "A 7B model at 16 bits takes 14 GB. [1]" in answer.text
    assert answer.text.endswith("step 0")
    assert answer.citations[0].chunk.source == "a.md"
    knowledge.close()


@pytest.mark.parametrize(("refuse_below", "is_quoted"), [(0.0, True), (1.0, False)])
async def test_where_a_limit_leaves_no_answer_the_refusal_threshold_holds(
    tmp_path: Path, embedder: TermEmbedder, refuse_below: float, is_quoted: bool
) -> None:
    knowledge = await _knowledge(tmp_path, embedder)
    retrieval = Retrieval(refuse_below=refuse_below)
    model = ScriptedModel([[Usage(10, 0), call("step")]])
    agent = Agent(model, [step], knowledge=knowledge, limits=Limits(tokens=5), retrieval=retrieval)
    answer = await agent.run("Memory: a 7B model at 16 bits takes 14 GB?")
    assert ("A 7B model at 16 bits takes 14 GB. [1]" in answer.text) is is_quoted
    knowledge.close()


async def _knowledge(folder: Path, embedder: TermEmbedder) -> KnowledgeBase:
    knowledge = KnowledgeBase.open(folder / "index", embedder)
    text = "# Memory\n\nA 7B model at 16 bits takes 14 GB."
    await knowledge.add([Document("a.md", text, "Memory")])
    return knowledge


async def test_the_last_request_says_that_it_is_the_last_and_the_session_does_not_keep_it() -> None:
    model, session = ScriptedModel([call("step"), "as far as I got"]), Session()
    await Agent(model, [step], limits=Limits(turns=2)).run("?", session)
    assert model.requests[-1][-1].text == LAST_TURN
    assert all(m.text != LAST_TURN for m in [*session.messages, *session.view])


async def test_a_compaction_in_the_last_turn_keeps_the_question() -> None:
    turns: Iterator[Turn] = iter([*(call("step", str(n), n=n) for n in range(4)), "done"])
    model, session = Narrow(turns, 1300), Session()
    agent = Agent(model, [step], instructions="i" * 430, limits=Limits(turns=5))
    session.add([])
    events = await events_of(agent, "the question " + "q" * 100, session)
    compactions = [e for e in events if isinstance(e, Compacted)]
    last = model.answered_requests[-1]
    assert any(m.role == "user" and m.text.startswith("the question") for m in last)
    assert last[-1].text == LAST_TURN
    assert all(m.text != LAST_TURN for m in session.view)
    assert len(compactions) <= 1


@pytest.mark.parametrize("most", [1, 2])
async def test_calls_above_the_limit_are_refused_and_the_first_ones_run(most: int) -> None:
    calls = [call("step", str(n), n=n) for n in range(3)]
    model, session = ScriptedModel([calls, "done"]), Session()
    agent = Agent(model, [step], limits=Limits(tool_calls=most))
    events = await events_of(agent, "?", session)
    assert results(model) == [f"step {n}" for n in range(most)] + [OVER_THE_LIMIT] * (3 - most)
    assert sum(isinstance(e, ToolFinished) and e.failed for e in events) == 3 - most
    assert answer_of(events).stop_reason == "limit"
    assert_valid(session.messages)


async def test_the_limit_of_calls_counts_over_the_turns() -> None:
    model = ScriptedModel([*[call("step", str(n), n=n) for n in range(3)], "done"])
    answer = await Agent(model, [step], limits=Limits(tool_calls=3)).run("?")
    assert (answer.text, answer.stop_reason) == ("done", "limit")
    assert len(model.requests) == 4


async def test_tokens_are_counted_over_the_turns() -> None:
    turns: list[Turn] = [[call("step", str(n), n=n), Usage(40, 10)] for n in range(10)]
    answer = await Agent(ScriptedModel(turns), [step], limits=Limits(tokens=120)).run("?")
    assert (answer.usage.total_tokens, answer.stop_reason) == (150, "limit")


async def test_an_answer_that_ends_above_the_token_limit_is_whole() -> None:
    turns: list[Turn] = [[TextDelta("blue"), Usage(500, 500)]]
    answer = await Agent(ScriptedModel(turns), [step], limits=Limits(tokens=10)).run("?")
    assert (answer.text, answer.stop_reason) == ("blue", "stop")


PRICES = {"scripted": Price(1.0, 10.0), "cloud:*": Price(2.0, 20.0)}


async def test_cost_is_what_the_prices_make_of_the_tokens() -> None:
    turns: list[Turn] = [
        [call("step"), Usage(1_000_000, 0)],
        [TextDelta("done"), Usage(0, 100_000)],
    ]  # noqa: E501, RUF100
    agent = Agent(ScriptedModel(turns), [step], limits=Limits(prices=PRICES))
    assert (await agent.run("?")).cost == pytest.approx(2.0)


async def test_at_the_limit_of_cost_no_more_is_asked() -> None:
    turns: list[Turn] = [[call("step", str(n), n=n), Usage(1_000_000, 0)] for n in range(9)]
    model = ScriptedModel(turns)
    answer = await Agent(model, [step], limits=Limits(cost=2.5, prices=PRICES)).run("?")
    assert (answer.stop_reason, answer.cost, len(model.requests)) == ("limit", 3.0, 3)


async def test_a_price_may_be_given_by_a_pattern_and_the_exact_name_comes_first() -> None:
    limits = Limits(prices={"cloud:*": Price(2, 0), "cloud:big": Price(4, 0)})
    turn: list[ModelPart] = [TextDelta("x"), Usage(1_000_000, 0)]
    small = await Agent(ScriptedModel([turn], "cloud:small"), limits=limits).run("?")
    big = await Agent(ScriptedModel([turn], "cloud:big"), limits=limits).run("?")
    assert (small.cost, big.cost) == (2.0, 4.0)


async def test_without_a_price_there_is_no_cost() -> None:
    assert (await Agent(ScriptedModel(["x"])).run("?")).cost is None


async def test_the_price_of_the_model_that_answered_counts_where_several_may() -> None:
    turn: list[ModelPart] = [TextDelta("x"), Usage(1_000_000, 0), Done("stop", "cloud:second")]
    limits = Limits(prices=PRICES)
    answer = await Agent(ScriptedModel([turn], "first, cloud:second"), limits=limits).run("?")
    assert answer.cost == 2.0


async def test_time_in_the_model_is_bounded_and_its_text_kept() -> None:
    model, session = Silent(TextDelta("half an ")), Session()
    answer = await Agent(model, limits=Limits(seconds=1)).run("?", session)
    assert (answer.text, answer.stop_reason) == ("half an ", "limit")
    assert model.left
    assert session.messages[-1].text == "half an "


async def test_calls_of_a_turn_that_time_cut_are_not_run() -> None:
    model = Silent(call("step"))
    answer = await Agent(model, [step], limits=Limits(seconds=1)).run("?")
    assert (answer.stop_reason, answer.tool_calls) == ("limit", ())


async def test_time_in_a_tool_is_bounded_and_what_had_ended_is_kept() -> None:
    model, session = ScriptedModel([[call("hang", "1"), call("step", "2")]]), Session()
    agent = Agent(model, [hang, step], limits=Limits(seconds=1))
    events = await events_of(agent, "?", session)
    assert [m.text for m in session.messages if m.role == "tool"] == [OUT_OF_TIME, "step 0"]
    started = [e.call.id for e in events if isinstance(e, ToolStarted)]
    assert sorted(started) == sorted(e.call.id for e in events if isinstance(e, ToolFinished))
    assert answer_of(events).stop_reason == "limit"
    assert_valid(session.messages)


async def test_time_spent_waiting_for_the_users_word_counts() -> None:
    async def sleeping(tool: Tool, call: ToolCall) -> Verdict:
        await asyncio.Event().wait()
        return DENIED

    @tool(needs_approval=True)
    def erase() -> str:
        """Erase."""
        raise AssertionError

    agent = Agent(
        ScriptedModel([call("erase")]), [erase], approve=sleeping, limits=Limits(seconds=1)
    )
    answer = await agent.run("?")
    assert (answer.stop_reason, answer.messages[-2].text) == ("limit", OUT_OF_TIME)
    assert not other_tasks()


async def test_time_spent_on_a_summary_counts() -> None:
    class Slow(Narrow):
        async def stream(
            self,
            messages: Sequence[Message],
            tools: Sequence[Tool] = (),
            options: Options = Options(),
        ) -> AsyncGenerator[ModelPart, None]:
            if messages[0].text == SUMMARIZE:
                await asyncio.Event().wait()
            async for part in super().stream(messages, tools, options):
                yield part

    model, session = Slow(iter(["word " * 200]), 1700), Session()
    agent = Agent(model, limits=Limits(seconds=1))
    await agent.run("first", session)
    answer = await agent.run("second " * 40, session)
    assert answer.stop_reason == "limit"


async def test_time_that_is_not_used_up_changes_nothing() -> None:
    agent = Agent(ScriptedModel([call("step"), "done"]), [step], limits=Limits(seconds=60))
    assert (await agent.run("?")).stop_reason == "stop"
    assert not other_tasks()


async def test_an_agent_used_as_a_tool_keeps_to_its_own_limits_and_says_so() -> None:
    inner = Agent(ScriptedModel([call("step"), "half of it"]), [step], limits=Limits(turns=2))
    outer = ScriptedModel([call("ask", question="all?"), "done"])
    answer = await Agent(outer, [inner.as_tool("ask", "Ask.")]).run("?")
    assert results(outer)[0].startswith("half of it")
    assert "A limit of this agent was reached" in results(outer)[0]
    assert answer.stop_reason == "stop"


async def test_the_outer_runs_time_ends_the_inner_run() -> None:
    inner = Silent()
    ask = Agent(inner).as_tool("ask", "Ask.")
    model = ScriptedModel([call("ask", question="?")])
    answer = await Agent(model, [ask], limits=Limits(seconds=1)).run("?")
    assert answer.stop_reason == "limit"
    assert inner.left
    assert not other_tasks()


async def test_tokens_of_an_inner_agent_count_towards_the_outer_limit() -> None:
    inner = Agent(ScriptedModel([[TextDelta("x"), Usage(900, 200)]]))
    model = ScriptedModel([[call("ask", question="?"), Usage(1, 1)], "never asked"])
    agent = Agent(model, [inner.as_tool("ask", "Ask.")], limits=Limits(tokens=1000))
    answer = await agent.run("?")
    assert (answer.stop_reason, answer.usage.total_tokens) == ("limit", 1102)


async def test_limits_hold_for_each_run_anew() -> None:
    model = ScriptedModel([call("step"), "one", call("step", "2", n=2), "two"])
    agent, session = Agent(model, [step], limits=Limits(tool_calls=1)), Session()
    assert (await agent.run("?", session)).text == "one"
    assert (await agent.run("?", session)).text == "two"


async def test_what_comes_last_is_finished_whatever_limit_was_reached() -> None:
    for limits in (Limits(turns=1), Limits(tool_calls=0), Limits(tokens=1), Limits(seconds=1e-9)):
        agent = Agent(ScriptedModel(_steps()), [step], limits=limits, retrieval=Retrieval("never"))
        events = await events_of(agent)
        assert isinstance(events[-1], Finished)
        assert answer_of(events).stop_reason == "limit"


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        (Limits(turns=1), "limit of 1 turn (Limits(turns=1))"),
        (Limits(turns=2), "limit of 2 turns (Limits(turns=2))"),
        (Limits(tool_calls=3), "limit of 3 tool calls (Limits(tool_calls=3))"),
        (Limits(tokens=5), "limit of 5 tokens (Limits(tokens=5))"),
        (Limits(seconds=1e-9), "limit of 1e-09 seconds (Limits(seconds=1e-09))"),
        (Limits(cost=2.5, prices=PRICES), "cost limit of 2.5 (Limits(cost=2.5))"),
    ],
    ids=["turn", "turns", "tool calls", "tokens", "seconds", "cost"],
)
async def test_an_answer_names_the_limit_that_ended_its_run(limits: Limits, named: str) -> None:
    turns: list[Turn] = [[call("step", str(n), n=n), Usage(10**6, 0)] for n in range(9)]
    answer = await Agent(ScriptedModel(turns), [step], limits=limits).run("?")
    assert (answer.stop_reason, answer.limit) == ("limit", named)


async def test_an_answer_that_no_limit_ended_names_none() -> None:
    assert (await Agent(ScriptedModel(["x"]), limits=Limits(turns=1)).run("?")).limit == ""


async def test_usage_counts_requests_and_the_calls_that_ran() -> None:
    calls = [call("step", str(n), n=n) for n in range(3)]
    answer = await Agent(ScriptedModel([calls, "x"]), [step], limits=Limits(tool_calls=2)).run("?")
    assert (answer.usage.requests, answer.usage.tool_calls) == (2, 2)


@pytest.mark.parametrize(
    "limits",
    [{"parallel_calls": -1}, {"turns": -1}, {"tool_calls": -1}, {"seconds": -0.5}, {"turns": "3"}],
)
def test_limits_that_allow_nothing_or_are_no_numbers_are_refused(limits: dict[str, Any]) -> None:
    [(name, value)] = limits.items()
    with pytest.raises(ConfigError, match=rf"Limits\({name}={value!r}\): give a number"):
        Limits(**limits)
