"""A tool in a process of its own: it can do what it likes, and is gone at its deadline."""

import asyncio
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import psutil
import pytest

from agentkit import Agent, tool
from agentkit.backends.scripted import ScriptedModel
from agentkit.errors import ConfigError, Retry, ToolError
from agentkit.events import ToolProgress
from agentkit.messages import ImagePart, TextPart, ToolCall
from agentkit.tools.tool import Tool
from tests.conftest import text_of
from tests.tools import wild_tools as wild

pytestmark = pytest.mark.slow


def _running(mark: str, processes: Iterable[psutil.Process] | None = None) -> list[int]:
    """Processes with the mark in their command, of all or of these."""
    found = []
    for process in psutil.process_iter() if processes is None else processes:
        with suppress(psutil.Error):
            is_marked = any(mark in part for part in process.cmdline())
            if is_marked and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def _isolated_children() -> list[int]:
    """Children of this process alone: other test workers isolate tools too."""
    return _running("agentkit._child", psutil.Process().children(recursive=True))


@pytest.fixture
def warm() -> list[int]:
    """The children that go on after a test: the one that runs Chroma for all of them."""
    return _isolated_children()


async def test_arguments_and_results_cross_with_their_types() -> None:
    assert (await wild.describe.run({"size": {"amount": "3.5"}, "times": 2})).content == (
        '{"amount":14.0,"unit":"GB"}'
    )
    assert (await wild.picture.run({})).content == (
        TextPart("a dot"),
        ImagePart(b"\x89PNG", "image/png"),
    )
    assert (await wild.waits.run({})).content == "awaited"
    assert int(text_of((await wild.own_process.run({})).content)) != os.getpid()


async def test_arguments_by_position_reach_the_process() -> None:
    assert (await wild.subtract.run({"a": 5, "b": 2, "times": 2})).text == "6"


async def test_progress_comes_through_while_it_works() -> None:
    model = ScriptedModel([ToolCall("1", "slow_steps", {}), "done"])
    events = [e async for e in Agent(model, [wild.slow_steps]).stream("go")]
    assert [(e.message, e.fraction) for e in events if isinstance(e, ToolProgress)] == [
        ("half", 0.5)
    ]


async def test_an_exception_is_reported_as_the_tool_reported_it() -> None:
    with pytest.raises(ToolError, match="fails failed: ValueError: by design"):
        await wild.fails.run({})


async def test_a_retry_crosses_as_a_retry() -> None:
    with pytest.raises(Retry, match=r"^smaller, please$"):
        await wild.wants_less.run({})


@pytest.mark.parametrize(
    ("wild_tool", "arguments", "message"),
    [
        (wild.spins, {}, "did not end within 1.5 s"),
        (wild.sleeps, {}, "did not end within 1.5 s"),
        (wild.allocates, {}, "more than 1000 MB"),
        (wild.crashes, {}, "signal SIGSEGV"),
        (wild.forks, {"mark": "bomb-1"}, "did not end within 1.5 s"),
    ],
    ids=["spins", "sleeps", "allocates", "crashes", "forks"],
)
async def test_whatever_it_does_it_ends_leaves_nothing_and_the_run_goes_on(
    wild_tool: Tool, arguments: Any, message: str, warm: list[int]
) -> None:
    model = ScriptedModel([ToolCall("1", wild_tool.name, arguments), "went on"])
    answer = await Agent(model, [wild_tool]).run("go")
    assert answer.text == "went on"
    assert message in answer.messages[2].text
    assert _isolated_children() == warm
    assert _running("bomb-1") == []


async def test_what_a_tool_leaves_running_is_ended_with_it() -> None:
    pid = int(text_of((await wild.leaves_a_child.run({"mark": "left-behind"})).content))
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"


async def test_stopping_the_run_ends_the_process(warm: list[int]) -> None:
    model = ScriptedModel([ToolCall("1", "sleeps", {}), "never"])
    run = asyncio.ensure_future(Agent(model, [wild.sleeps]).run("go"))
    while _isolated_children() == warm:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert _isolated_children() == warm


def test_a_synchronous_tool_with_a_timeout_must_be_isolated() -> None:
    with pytest.raises(ConfigError, match="isolated=True"):

        @tool(timeout=1)
        def sleeps() -> str:
            """Sleep."""
            return ""


def test_a_function_that_no_file_holds_cannot_be_isolated() -> None:
    with pytest.raises(ConfigError, match="at the top of a file"):

        @tool(isolated=True)
        def inner() -> str:
            """Inside."""
            return ""
