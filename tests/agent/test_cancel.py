"""Stopping a run anywhere: no task, socket or process stays, and the session can go on."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import pytest

from agentkit import Agent, KnowledgeBase, Session, tool
from agentkit.agent.approval import Verdict, pause
from agentkit.agent.compaction import SUMMARIZE
from agentkit.agent.hooks import Hooks
from agentkit.agent.tool_runner import INTERRUPTED
from agentkit.backends.base import Options
from agentkit.backends.openai.model import OpenAIModel
from agentkit.backends.scripted import ScriptedModel, Turn
from agentkit.documents import Document
from agentkit.events import (
    Event,
    ModelPart,
    ReasoningDelta,
    TextDelta,
    ToolFinished,
    ToolStarted,
)
from agentkit.messages import Message, ToolCall, Usage
from agentkit.tools.tool import Tool
from tests.agent.scripts import answer_of, assert_valid, call, other_tasks, results
from tests.agent.test_compaction import Narrow
from tests.conftest import TermEmbedder
from tests.servers.openai_server import OpenAIServer, Reply, text

T = TypeVar("T")


@tool
async def quick(n: int = 0) -> str:
    """Answer after a turn of the event loop."""
    await asyncio.sleep(0)
    return f"quick {n}"


@tool
def threaded(n: int = 0) -> str:
    """Answer from a thread."""
    return f"threaded {n}"


@tool(needs_approval=True)
async def guarded(n: int = 0) -> str:
    """Answer once it may."""
    await asyncio.sleep(0)
    return f"guarded {n}"


async def _yes(tool: Tool, made: ToolCall) -> Verdict:
    from agentkit.agent.approval import ALLOWED

    await asyncio.sleep(0)
    return ALLOWED


async def _hook(*given: Any) -> Any:
    await asyncio.sleep(0)
    return given[-1] if len(given) == 2 else ""


class Patient(ScriptedModel):
    """A scripted model that waits before every part, and counts the streams that are open."""

    open = 0

    async def stream(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), options: Options = Options()
    ) -> AsyncGenerator[ModelPart, None]:
        self.open += 1
        try:
            async for part in super().stream(messages, tools, options):
                await asyncio.sleep(0)
                yield part
        finally:
            self.open -= 1


class Inline(ThreadPoolExecutor):
    """Does the work of a thread at once, so that a run takes the same turns each time."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        done = Future[T]()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:
            done.set_exception(error)
        return done


def _script() -> list[Turn]:
    return [
        [ReasoningDelta("hm"), TextDelta("I look. "), call("quick", "a"), call("threaded", "b")],
        [call("guarded", "c", n=1), call("quick", "d", n=2), call("nothing", "e")],
        "the end of it",
    ]


def _agent(model: Patient) -> Agent:
    hooks = Hooks(before_tool=_hook, after_tool=_hook, before_model=_hook, after_model=_hook)
    return Agent(model, [quick, threaded, guarded], approve=_yes, hooks=hooks)


async def _drained(
    run: AsyncGenerator[Event, None],
) -> list[Event]:
    """Events until the run ends or is stopped."""
    async with aclosing(run) as events:
        return [event async for event in events]


def _whole(session: Session, model: Any) -> None:
    assert_valid(session.messages)
    assert_valid(session.view)
    assert model.open == 0
    assert not other_tasks()


async def _goes_on(session: Session) -> None:
    model = ScriptedModel(["fine"])
    await Agent(model, [quick]).run("and now?", session)
    assert_valid(model.requests[-1][1:])


async def test_a_run_may_be_cancelled_at_every_turn_of_the_event_loop() -> None:
    """Cancel after 0, 1, 2 ... turns until a run ends by itself: every await is hit."""
    asyncio.get_running_loop().set_default_executor(Inline())
    for turns in range(400):
        model, session = Patient(_script()), Session()
        run = asyncio.create_task(_drained(_agent(model).stream("?", session)))
        for _ in range(turns):
            await asyncio.sleep(0)
        if run.done():
            break
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        assert run.cancelled()
        _whole(session, model)
        await _goes_on(session)
    else:
        pytest.fail("the run never ended")
    assert turns > 20
    assert answer_of(run.result()).text == "the end of it"


async def test_a_run_may_be_closed_after_every_event() -> None:
    number = len(await _drained(_agent(Patient(_script())).stream("?")))
    for stop in range(1, number + 1):
        model, session = Patient(_script()), Session()
        seen = 0
        async with aclosing(_agent(model).stream("?", session)) as events:
            async for _ in events:
                seen += 1
                if seen == stop:
                    break
        _whole(session, model)
        await _goes_on(session)
    assert number > 12


async def test_what_had_ended_when_a_run_was_closed_is_kept() -> None:
    gate = asyncio.Event()

    @tool
    async def hang() -> str:
        """Hang."""
        await gate.wait()
        return ""

    session = Session()
    model = ScriptedModel([[call("quick", "a"), call("hang", "b"), call("threaded", "c")]])
    async with aclosing(Agent(model, [quick, threaded, hang]).stream("?", session)) as events:
        ended = 0
        async for event in events:
            ended += isinstance(event, ToolFinished)
            if ended == 2:
                break
    reported = [m.text for m in session.messages if m.role == "tool"]
    assert reported == ["quick 0", INTERRUPTED, "threaded 0"]


async def test_a_second_cancellation_does_not_lose_what_the_first_one_saved() -> None:
    started, held = asyncio.Event(), asyncio.Event()

    @tool
    async def stubborn() -> str:
        """Take its time to stop."""
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await held.wait()
        return ""

    session = Session()
    model = ScriptedModel([[call("quick", "a"), call("stubborn", "b")]])
    run = asyncio.create_task(Agent(model, [quick, stubborn]).run("?", session))
    await started.wait()
    for _ in range(2):
        for _ in range(5):
            await asyncio.sleep(0)
        run.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    held.set()
    await asyncio.gather(run, return_exceptions=True)
    assert [m.text for m in session.messages if m.role == "tool"] == ["quick 0", INTERRUPTED]
    assert_valid(session.messages)
    assert not other_tasks()


async def test_a_thread_that_goes_on_after_the_run_disturbs_nothing() -> None:
    release, ended = threading.Event(), threading.Event()
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    @tool
    def work() -> str:
        """Work in a thread that cannot be stopped."""
        loop.call_soon_threadsafe(started.set)
        release.wait(10)
        ended.set()
        return "too late"

    session = Session()
    run = asyncio.create_task(Agent(ScriptedModel([call("work")]), [work]).run("?", session))
    await started.wait()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    release.set()
    assert await asyncio.to_thread(ended.wait, 10)
    assert session.messages[-1].text == INTERRUPTED
    await _goes_on(session)


async def test_a_tool_that_ends_in_good_order_when_stopped_has_its_result_kept() -> None:
    started = asyncio.Event()

    @tool
    async def tidy() -> str:
        """Give what there is when stopped."""
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "half of it"
        return "all of it"

    session = Session()
    run = asyncio.create_task(Agent(ScriptedModel([call("tidy")]), [tidy]).run("?", session))
    await started.wait()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    assert session.messages[-1].text == "half of it"


async def test_cancelling_in_an_agent_inside_another_stops_both() -> None:
    started = asyncio.Event()

    @tool
    async def hang() -> str:
        """Hang."""
        started.set()
        await asyncio.Event().wait()
        return ""

    inner_model, model, session = (
        Patient([call("hang")]),
        Patient([call("ask", question="?")]),
        (Session()),
    )
    ask = Agent(inner_model, [hang]).as_tool("ask", "Ask.")
    run = asyncio.create_task(Agent(model, [ask]).run("?", session))
    await started.wait()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    assert inner_model.open == 0
    _whole(session, model)


async def test_cancelling_while_the_question_is_rewritten_leaves_the_session_as_it_was(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    knowledge = KnowledgeBase.open(tmp_path / "index", embedder)
    await knowledge.add([Document("a.md", "The sky is blue.", "Sky")])
    asked = asyncio.Event()

    class Slow(Patient):
        async def stream(
            self,
            messages: Sequence[Message],
            tools: Sequence[Tool] = (),
            options: Options = Options(),
        ) -> AsyncGenerator[ModelPart, None]:
            if len(self.requests) == 1:
                asked.set()
                await asyncio.Event().wait()
            async for part in super().stream(messages, tools, options):
                yield part

    model, session = Slow(["blue [1]", "never"]), Session()
    agent = Agent(model, knowledge=knowledge)
    await agent.run("Which colour has the sky?", session)
    before = list(session.messages)
    run = asyncio.create_task(agent.run("and why?", session))
    await asked.wait()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    assert session.messages == before
    _whole(session, model)
    knowledge.close()


async def test_cancelling_while_old_turns_are_summarised_keeps_them() -> None:
    asked = asyncio.Event()

    class Slow(Narrow):
        async def stream(
            self,
            messages: Sequence[Message],
            tools: Sequence[Tool] = (),
            options: Options = Options(),
        ) -> AsyncGenerator[ModelPart, None]:
            if messages[0].text == SUMMARIZE:
                asked.set()
                await asyncio.Event().wait()
            async for part in super().stream(messages, tools, options):
                yield part

    model, session = Slow(iter(["word " * 200]), 1700), Session()
    agent = Agent(model)
    await agent.run("first", session)
    run = asyncio.create_task(agent.run("second " * 40, session))
    await asked.wait()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    assert [m.role for m in session.messages] == ["user", "assistant", "user"]
    assert session.view == session.messages
    assert not other_tasks()


async def test_closing_a_run_hangs_up_on_the_server(openai_server: OpenAIServer) -> None:
    openai_server.replies(Reply(text("once ", "more "), stalls=True))
    model = OpenAIModel("small", provider="test", base_url=openai_server.url)
    session = Session()
    async with aclosing(Agent(model).stream("tell", session)) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    assert await asyncio.to_thread(openai_server.left.wait, 5)
    assert session.messages[-1].text.startswith("once")
    await model.close()
    assert not other_tasks()


async def test_a_paused_run_that_is_closed_early_still_waits() -> None:
    session = Session()
    agent = Agent(ScriptedModel([call("guarded")]), [guarded], approve=pause)
    await agent.run("?", session)
    run = agent.stream_resume(session, {})
    await run.aclose()
    assert session.pending is not None
    assert_valid(session.messages)


async def test_an_error_in_a_hook_ends_the_run_and_keeps_what_was_stated() -> None:
    async def broken(message: Message) -> None:
        if not message.tool_calls:
            raise RuntimeError("hook")

    session = Session()
    model = ScriptedModel([call("quick"), "an answer"])
    with pytest.raises(RuntimeError, match="hook"):
        await Agent(model, [quick], hooks=Hooks(after_model=broken)).run("?", session)
    assert [m.role for m in session.messages] == ["user", "assistant", "tool", "assistant"]
    assert_valid(session.messages)
    assert not other_tasks()


async def test_usage_that_was_counted_before_the_stop_does_not_leak_into_the_next_run() -> None:
    model = ScriptedModel([[call("quick"), Usage(10, 1)], [TextDelta("b"), Usage(5, 1)]])
    agent = Agent(model, [quick])
    async with aclosing(agent.stream("?")) as events:
        async for event in events:
            if isinstance(event, ToolStarted):
                break
    assert (await agent.run("?")).usage == Usage(5, 1, requests=1)
    assert results(model) == []
