"""Agents inside agents, hooks and guards, objects as answers beside tools."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from agentkit import Agent, KnowledgeBase, Session, tool
from agentkit.agent.hooks import Hooks, RunInfo
from agentkit.agent.setup import Retrieval
from agentkit.answers import Answer
from agentkit.backends.base import Capabilities
from agentkit.backends.scripted import ScriptedModel, Turn
from agentkit.documents import Document
from agentkit.errors import ConfigError, ModelError
from agentkit.events import Finished, Nested, TextDelta, ToolFinished, ToolStarted
from agentkit.messages import Message, ToolCall, ToolResult, Usage
from tests.agent.scripts import answer_of, assert_valid, call, events_of, other_tasks, results
from tests.conftest import TermEmbedder


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def _outer(*turns: Any) -> ScriptedModel:
    return ScriptedModel([*turns, "done"])


async def test_what_an_inner_agent_does_is_nested_in_its_call() -> None:
    inner = Agent(ScriptedModel([call("add", a=1, b=2), "three"]), [add])
    events = await events_of(
        Agent(_outer(call("ask", "x", question="1+2?")), [inner.as_tool("ask", "Ask.")])
    )
    nested = [e for e in events if isinstance(e, Nested)]
    assert {e.call.id for e in nested} == {"x"}
    assert [type(e.event) for e in nested] == [ToolStarted, ToolFinished, TextDelta]
    assert sum(isinstance(e, Finished) for e in events) == 1


async def test_three_deep_events_are_nested_twice() -> None:
    lowest = Agent(ScriptedModel(["deep"]))
    middle = Agent(_outer(call("low", question="?")), [lowest.as_tool("low", "Ask.")])
    top = Agent(_outer(call("mid", question="?")), [middle.as_tool("mid", "Ask.")])
    events = await events_of(top)
    twice = [e for e in events if isinstance(e, Nested) and isinstance(e.event, Nested)]
    inner = [e.event.event for e in twice if isinstance(e.event, Nested)]
    assert inner == [TextDelta("deep")]


async def test_what_inner_agents_use_is_summed() -> None:
    lowest = Agent(ScriptedModel([[TextDelta("x"), Usage(100, 10)]]))
    middle_turns: list[Turn] = [
        [call("low", question="?"), Usage(20, 2)],
        [TextDelta("y"), Usage(20, 2)],
    ]  # noqa: E501, RUF100
    middle = Agent(ScriptedModel(middle_turns), [lowest.as_tool("low", "Ask.")])
    top_turns: list[Turn] = [
        [call("mid", question="?"), Usage(3, 1)],
        [TextDelta("z"), Usage(3, 1)],
    ]  # noqa: E501, RUF100
    answer = await Agent(ScriptedModel(top_turns), [middle.as_tool("mid", "Ask.")]).run("?")
    assert answer.usage == Usage(146, 16, requests=5, tool_calls=2)


async def test_several_inner_agents_may_run_side_by_side() -> None:
    asks = [Agent(ScriptedModel([f"{n}"])).as_tool(f"ask{n}", "Ask.") for n in range(3)]
    model = _outer([call(f"ask{n}", str(n), question="?") for n in range(3)])
    await Agent(model, asks).run("?")
    assert results(model) == ["0", "1", "2"]
    assert not other_tasks()


async def test_an_inner_agent_that_fails_is_a_failed_call() -> None:
    inner = Agent(ScriptedModel([ModelError("the small model is down")]))
    model = _outer([call("ask", "1", question="?"), call("add", "2", a=1, b=1)])
    await Agent(model, [inner.as_tool("ask", "Ask."), add]).run("?")
    assert results(model) == ["Error: the small model is down", "2"]


async def test_each_question_to_an_inner_agent_begins_anew() -> None:
    inner_model = ScriptedModel(["one", "two"])
    turns = (call("ask", "1", question="a"), call("ask", "2", question="b"))
    await Agent(_outer(*turns), [Agent(inner_model).as_tool("ask", "Ask.")]).run("?")
    assert [[m.text for m in r[1:]] for r in inner_model.requests] == [["a"], ["b"]]


async def test_citations_of_an_inner_agent_get_the_outer_runs_numbers(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    knowledge = KnowledgeBase.open(tmp_path / "index", embedder)
    await knowledge.add([Document("a.md", "Cats purr at 25 Hz.", "Cats")])
    other = KnowledgeBase.open(tmp_path / "other", embedder)
    await other.add([Document("b.md", "Dogs bark at 90 dB.", "Dogs")])
    inner = Agent(
        ScriptedModel(["Dogs bark at 90 dB [1], and loud [7]; see `x[1]`."]), knowledge=other
    )
    model = ScriptedModel([call("dogs", question="Dogs?"), "Cats purr [1]. Dogs bark [2]."])
    agent = Agent(model, [inner.as_tool("dogs", "Ask about dogs.")], knowledge=knowledge)
    answer = await agent.run("How loud are cats and dogs?")
    assert results(model)[-1] == "Dogs bark at 90 dB [2], and loud; see `x[1]`."
    cited = {c.marker: c.chunk.source for c in answer.citations}
    assert cited == {"1": "a.md", "2": "b.md"}
    knowledge.close()
    other.close()


async def test_an_inner_agents_tool_needs_a_name_of_its_own() -> None:
    inner = Agent(ScriptedModel([]))
    with pytest.raises(ConfigError, match="Two tools"):
        Agent(ScriptedModel([]), [add, inner.as_tool("add", "Ask.")])


async def test_hooks_see_requests_answers_calls_and_results_in_order() -> None:
    seen = []

    async def note(kind: str, value: Sequence[Message] | Message) -> None:
        seen.append(kind)

    async def allow(call: ToolCall) -> str:
        seen.append("call")
        return ""

    async def keep(call: ToolCall, result: ToolResult) -> ToolResult:
        seen.append("result")
        return result

    hooks = Hooks(
        before_model=lambda messages: note("request", messages),
        after_model=lambda message: note("answer", message),
        before_tool=allow,
        after_tool=keep,
    )
    await Agent(_outer(call("add", a=1, b=1)), [add], hooks=hooks).run("?")
    assert seen == ["request", "answer", "call", "result", "request", "answer"]


async def test_every_hook_may_get_the_ids_of_run_and_session() -> None:
    seen: list[RunInfo] = []

    def before_model(messages: Sequence[Message], run: RunInfo) -> None:
        seen.append(run)

    async def after_model(message: Message, run: RunInfo) -> None:
        seen.append(run)

    def before_tool(made: ToolCall, run: RunInfo) -> str:
        seen.append(run)
        return ""

    async def after_tool(made: ToolCall, result: ToolResult, run: RunInfo) -> ToolResult:
        seen.append(run)
        return result

    def guard_input(prompt: str, run: RunInfo) -> str:
        seen.append(run)
        return ""

    def guard_output(answer: Answer, run: RunInfo) -> str:
        seen.append(run)
        return ""

    hooks = Hooks(before_model, after_model, before_tool, after_tool, guard_input, guard_output)
    agent = Agent(ScriptedModel([call("add", a=1, b=1), "2", "three"]), [add], hooks=hooks)
    await agent.run("?", Session("s1"))
    assert len(seen) == 8
    assert {run.session_id for run in seen} == {"s1"}
    assert len({run.id for run in seen}) == 1
    await agent.run("?", Session("s2"))
    assert seen[0].id != seen[-1].id


async def test_a_hook_may_forbid_a_call_and_its_reason_is_reported() -> None:
    async def no_big(made: ToolCall) -> str:
        assert isinstance(made.arguments, dict)
        return "Too big." if made.arguments["a"] > 9 else ""

    model = _outer([call("add", "1", a=10, b=1), call("add", "2", a=1, b=1)])
    await Agent(model, [add], hooks=Hooks(before_tool=no_big)).run("?")
    assert results(model) == ["Too big.", "2"]


async def test_a_hook_may_change_a_result_before_the_model_sees_it() -> None:
    async def redact(made: ToolCall, result: ToolResult) -> ToolResult:
        return replace(result, content=result.text.replace("3", "*"))

    model = _outer(call("add", a=1, b=2))
    events = await events_of(Agent(model, [add], hooks=Hooks(after_tool=redact)))
    assert results(model) == ["*"]
    assert [e.result.text for e in events if isinstance(e, ToolFinished)] == ["*"]


async def test_a_result_whose_hook_fails_is_withheld() -> None:
    async def broken(made: ToolCall, result: ToolResult) -> ToolResult:
        raise RuntimeError("no redaction today")

    model = _outer([call("add", "1", a=1, b=2)])
    events = await events_of(Agent(model, [add], hooks=Hooks(after_tool=broken)))
    [reported] = results(model)
    assert "withheld" in reported
    assert "3" not in reported
    assert [e.failed for e in events if isinstance(e, ToolFinished)] == [True]


async def test_a_guard_may_refuse_a_prompt_before_anything_sees_it() -> None:
    async def guard(prompt: str) -> str:
        return "I do not talk of that." if "secret" in prompt else ""

    model, session = ScriptedModel(["fine"]), Session()
    agent = Agent(model, hooks=Hooks(guard_input=guard))
    answer = await agent.run("the secret?", session)
    assert (answer.text, answer.stop_reason) == ("I do not talk of that.", "refused")
    assert (model.requests, session.messages) == ([], [])
    assert (await agent.run("the weather?", session)).text == "fine"


async def test_a_guard_may_put_its_words_in_the_place_of_an_answer() -> None:
    async def guard(answer: Answer) -> str:
        return "Withheld." if "secret" in answer.text else ""

    session = Session()
    agent = Agent(ScriptedModel(["the secret", "hello"]), hooks=Hooks(guard_output=guard))
    events = await events_of(agent, "?", session)
    assert not any("secret" in e.text for e in events if isinstance(e, TextDelta))
    assert (answer_of(events).text, answer_of(events).stop_reason) == ("Withheld.", "refused")
    assert (await agent.run("?", session)).text == "hello"


class Sum(BaseModel):
    total: int


class Holding(ScriptedModel):
    async def capabilities(self) -> Capabilities:
        return Capabilities(json_schema=True)


@pytest.mark.parametrize("kind", [ScriptedModel, Holding])
async def test_an_object_may_be_the_answer_after_tools(kind: Any) -> None:
    model = kind([call("add", a=1, b=2), '{"total": 3}'])
    answer = await Agent(model, [add]).run("1 + 2?", output=Sum)
    assert answer.output == Sum(total=3)
    assert results(model) == ["3"]


async def test_a_faulty_object_goes_back_without_another_tool_call() -> None:
    model = ScriptedModel([call("add", a=1, b=2), '{"total": "three"}', '{"total": 3}'])
    session = Session()
    answer = await Agent(model, [add]).run("1 + 2?", session, output=Sum)
    assert answer.output == Sum(total=3)
    assert model.tools_offered == [("add",), ("add",), ()]
    assert_valid(session.messages)


async def test_an_object_that_looks_like_a_call_is_an_object() -> None:
    class Named(BaseModel):
        name: str
        arguments: dict[str, int]

    model = ScriptedModel(['{"name": "other", "arguments": {"a": 1}}'])
    answer = await Agent(model, [add]).run("?", output=Named)
    assert answer.output == Named(name="other", arguments={"a": 1})


async def test_retrieval_and_tools_work_in_one_run(tmp_path: Path, embedder: TermEmbedder) -> None:
    knowledge = KnowledgeBase.open(tmp_path / "index", embedder)
    await knowledge.add([Document("a.md", "A sum is found by adding.", "Sums")])
    model = ScriptedModel([call("add", a=1, b=2), "3, by adding [1]."])
    agent = Agent(model, [add], knowledge=knowledge, retrieval=Retrieval())
    answer = await agent.run("How is a sum found?")
    assert answer.tool_calls == ("search_knowledge", "add")
    assert answer.citations[0].chunk.source == "a.md"
    knowledge.close()


async def test_what_an_inner_agent_says_is_no_message_of_the_outer_session() -> None:
    session = Session()
    inner = Agent(ScriptedModel(["inner"]))
    agent = Agent(_outer(call("ask", question="?")), [inner.as_tool("ask", "Ask.")])
    await agent.run("?", session)
    assert session.messages == [
        Message("user", "?"),
        Message("assistant", "", (ToolCall("1", "ask", {"question": "?"}),)),
        Message("tool", "inner", tool_call_id="1"),
        Message("assistant", "done"),
    ]
