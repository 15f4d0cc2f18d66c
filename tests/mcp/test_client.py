"""Servers that behave and servers that do not: the caller always gets a result or a ToolError."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentkit.errors import ToolError
from agentkit.mcp.client import McpServers, unique_names
from agentkit.mcp.config import ServerConfig
from agentkit.tools.tool import Tool

FAULTY = Path(__file__).parents[1] / "servers" / "faulty.py"


def faulty(
    state: Path, mode: str = "good", name: str = "faulty", timeout: float = 60
) -> ServerConfig:
    args = (str(FAULTY), mode, str(state))
    return ServerConfig(name=name, command=sys.executable, args=args, timeout=timeout)


def by_name(servers: McpServers, name: str) -> Tool:
    return next(tool for tool in servers.tools if tool.name == name)


def any_running(state: Path) -> bool:
    pids = (state / "pids").read_text().split() if (state / "pids").exists() else []
    return any(is_running(int(pid)) for pid in pids)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A faulty server's state folder; afterwards none of its processes may remain."""
    yield tmp_path
    assert eventually(lambda: not any_running(tmp_path))


async def test_tools_of_all_pages_are_offered_under_their_servers_name(state: Path) -> None:
    async with McpServers([faulty(state)]) as servers:
        names = [tool.name for tool in servers.tools]
        assert names[0] == "faulty__echo"
        assert "faulty__picture" in names
        assert len(set(names)) == 17
        assert by_name(servers, "faulty__echo").description == "echo"
    assert servers.problems == {}


async def test_arguments_arrive_as_they_are(state: Path) -> None:
    async with McpServers([faulty(state)]) as servers:
        arguments = {"self": 1, "name": "x", "深": [{"a": None}]}
        assert json.loads(await by_name(servers, "faulty__echo").run(arguments)) == arguments


async def test_structured_content_is_given_as_json_where_there_is_no_text(state: Path) -> None:
    async with McpServers([faulty(state)]) as servers:
        assert await by_name(servers, "faulty__structured").run({}) == '{"sum": 3}'


async def test_images_and_resources_are_described_in_a_line(state: Path) -> None:
    async with McpServers([faulty(state)]) as servers:
        assert await by_name(servers, "faulty__picture").run({}) == (
            "[image: image/png, 3 bytes]\n[resource: map, file:///map]"
        )


async def test_a_long_result_is_cut_and_says_so(state: Path) -> None:
    async with McpServers([faulty(state)]) as servers:
        text = await by_name(servers, "faulty__flood").run({})
    assert text.startswith("x" * 50_000 + "\n[cut: ")
    assert len(text) < 50_100


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("fail", "^the disk is full$"),
        ("fail_silently", "did not say why"),
        ("refuse", "'faulty' could not do refuse: no tools/call today"),
        ("crash", "'faulty' was lost during the call of crash"),
        ("crash_always", "'faulty' was lost during the call of crash_always"),
    ],
)
async def test_a_call_that_fails_is_a_tool_error_and_the_server_is_used_again(
    state: Path, tool: str, words: str
) -> None:
    async with McpServers([faulty(state)]) as servers:
        with pytest.raises(ToolError, match=words):
            await by_name(servers, f"faulty__{tool}").run({})
        assert await by_name(servers, "faulty__echo").run({"again": 1}) == '{"again": 1}'


async def test_a_read_only_call_is_repeated_after_a_crash(state: Path) -> None:
    async with McpServers([faulty(state)]) as servers:
        assert await by_name(servers, "faulty__crash_once").run({}) == "called"


async def test_a_server_that_died_between_calls_is_started_again(state: Path) -> None:
    async with McpServers([faulty(state)]) as servers:
        for _ in range(3):
            assert await by_name(servers, "faulty__crash_after").run({}) == "called"
            assert await asyncio.to_thread(eventually, lambda: not any_running(state))
            await asyncio.sleep(0.3)
    assert len((state / "pids").read_text().split()) == 3


async def test_many_callers_of_a_lost_server_share_one_new_start(state: Path) -> None:
    async with McpServers([faulty(state)]) as servers:
        calls = ["crash", *["echo"] * 8]
        results = await asyncio.gather(
            *(by_name(servers, f"faulty__{call}").run({}) for call in calls),
            return_exceptions=True,
        )
    assert isinstance(results[0], ToolError)
    assert results[1:] == ["{}"] * 8
    assert len((state / "pids").read_text().split()) == 2


async def test_a_call_that_hangs_ends_in_time_and_is_cancelled_at_the_server(state: Path) -> None:
    async with McpServers([faulty(state, timeout=0.5)]) as servers:
        with pytest.raises(ToolError, match=r"did not answer hang within 0\.5 s"):
            await by_name(servers, "faulty__hang").run({})
        assert await by_name(servers, "faulty__echo").run({}) == "{}"
        assert (state / "cancelled").exists()


async def test_a_caller_that_is_cancelled_cancels_its_call_alone(state: Path) -> None:
    async with McpServers([faulty(state)]) as servers:
        hanging = asyncio.create_task(by_name(servers, "faulty__hang").run({}))
        await by_name(servers, "faulty__echo").run({})
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging
        assert await by_name(servers, "faulty__echo").run({}) == "{}"


async def test_a_call_in_flight_when_the_servers_end_is_a_tool_error(state: Path) -> None:
    async with McpServers([faulty(state)]) as servers:
        hanging = asyncio.create_task(by_name(servers, "faulty__hang").run({}))
        await by_name(servers, "faulty__echo").run({})
    with pytest.raises(ToolError, match="was lost"):
        await hanging
    with pytest.raises(ToolError, match="'faulty' is closed"):
        await by_name(servers, "faulty__echo").run({})


async def test_noise_on_stdout_is_passed_over(
    state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with McpServers([faulty(state, "junk")]) as servers:
        assert await by_name(servers, "faulty__noise").run({}) == "called"
    assert capfd.readouterr() == ("", "")


async def test_servers_that_fail_are_named_and_the_others_serve(state: Path) -> None:
    configs = [
        faulty(state, name="good"),
        faulty(state, "refuse", "refusing"),
        faulty(state, "stubborn", "mute"),
        ServerConfig(name="missing", command="/no/such/program"),
        ServerConfig(name="lost", command=sys.executable, cwd=state / "nowhere"),
        ServerConfig(name="remote", transport="http", url="http://127.0.0.1:9/mcp?key=secret"),
        ServerConfig(name="off", command="/no/such/program", disabled=True),
    ]
    logs = state / "logs"
    async with McpServers(configs, log_folder=logs, connect_timeout=3) as servers:
        assert {tool.name.partition("__")[0] for tool in servers.tools} == {"good"}
        problems = servers.problems
    assert set(problems) == {"refusing", "mute", "missing", "lost", "remote"}
    assert (
        f"ended before it was ready (Connection closed). Start it by hand, or see {logs}"
        in (problems["refusing"])
    )
    assert "did not answer in time" in problems["mute"]
    assert "/no/such/program" in problems["missing"]
    assert "nowhere" in problems["lost"]
    assert "cannot be used at http://127.0.0.1:9/mcp: " in problems["remote"]
    assert "secret" not in problems["remote"]
    assert "no licence found" in (logs / "refusing.log").read_text()


async def test_a_child_gets_its_own_variables_and_not_the_parents(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEMO_API_KEY", "secret")
    args = (str(FAULTY), "good", str(state))
    config = ServerConfig(name="s", command=sys.executable, args=args, env={"OWN": "1"})
    async with McpServers([config]) as servers:
        environment = json.loads(await by_name(servers, "s__environment").run({}))
    assert environment["OWN"] == "1"
    assert "DEMO_API_KEY" not in environment


async def test_an_error_inside_the_context_ends_the_servers_too(state: Path) -> None:
    with pytest.raises(RuntimeError, match="mine"):
        async with McpServers([faulty(state)]):
            raise RuntimeError("mine")


async def test_a_start_that_is_cancelled_leaves_no_process(state: Path) -> None:
    async def starting() -> None:
        async with McpServers([faulty(state), faulty(state, "stubborn", "mute")]):
            raise AssertionError("one of the servers never answers")

    task = asyncio.create_task(starting())
    await asyncio.to_thread(eventually, (state / "pids").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_ten_starts_and_stops_leave_no_task_and_no_descriptor(state: Path) -> None:
    async with McpServers([faulty(state)]):
        pass
    before = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
    for _ in range(10):
        async with McpServers([faulty(state)]) as servers:
            await by_name(servers, "faulty__echo").run({})
    assert (len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())) == before


@pytest.mark.skipif(
    importlib.util.find_spec("mcp_server_time") is None, reason="mcp-server-time is not installed"
)
async def test_a_published_server_answers() -> None:
    config = ServerConfig(name="time", command=sys.executable, args=("-m", "mcp_server_time"))
    async with McpServers([config]) as servers:
        assert servers.problems == {}
        converted = await by_name(servers, "time__convert_time").run(
            {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Shanghai"}
        )
        assert "20:00" in converted
        with pytest.raises(ToolError, match="Mars"):
            await by_name(servers, "time__get_current_time").run({"timezone": "Mars/Olympus"})


def test_names_are_clean_short_and_unique() -> None:
    pairs = [("s", "a.b"), ("s", "a_b"), ("s", "好"), ("s", "坏"), ("s", "x" * 90), ("t", "a")]
    names = unique_names(pairs)
    assert names[-1] == "t__a"
    assert len(set(names)) == len(names)
    assert all(len(name) <= 64 and name.isascii() for name in names)
    assert names == unique_names(pairs)
