"""Good and faulty servers: the caller always gets a result or a ToolError."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit.errors import ToolError
from agentkit.mcp.client import McpServers
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.stdio import DEPTH_VARIABLE
from agentkit.mcp.tools import unique_names
from agentkit.messages import ImagePart
from agentkit.tools.tool import Tool
from tests.mcp.processes import any_running, eventually, soon
from tests.mcp.reading import inside

pytestmark = pytest.mark.slow

FAULTY = Path(__file__).parents[1] / "servers" / "faulty.py"


def faulty(
    state: Path, mode: str = "good", name: str = "faulty", timeout: float = 60
) -> ServerConfig:
    args = (str(FAULTY), mode, str(state))
    return ServerConfig(name=name, command=sys.executable, args=args, timeout=timeout)


def by_name(servers: McpServers, name: str) -> Tool:
    return next(tool for tool in servers.tools if tool.name == name)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A faulty server's state folder; afterwards none of its processes may remain."""
    yield tmp_path
    assert eventually(lambda: not any_running(tmp_path))


async def test_tools_of_all_pages_are_named_after_their_server(state: Path) -> None:
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
        assert (
            json.loads(inside((await by_name(servers, "faulty__echo").run(arguments)).content))
            == arguments
        )


async def test_structured_content_becomes_json_where_there_is_no_text(state: Path) -> None:
    async with McpServers([faulty(state)]) as servers:
        assert (
            inside((await by_name(servers, "faulty__structured").run({})).content) == '{"sum": 3}'
        )


async def test_images_are_passed_on_and_resources_described(state: Path) -> None:
    async with McpServers([faulty(state)]) as servers:
        content = (await by_name(servers, "faulty__picture").run({})).content
    assert inside(content) == "[resource: map, file:///map]"
    assert content[1] == ImagePart(b"\0\0\0", "image/png")


async def test_a_long_result_is_truncated_with_a_note(state: Path) -> None:
    async with McpServers([faulty(state)]) as servers:
        text = inside((await by_name(servers, "faulty__flood").run({})).content)
    assert text.startswith("x" * 50_000 + "\n[cut: ")
    assert len(text) < 50_100


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("fail", "fail failed: the disk is full$"),
        ("fail_silently", "no error message"),
        ("refuse", "'faulty': refuse failed: no tools/call today"),
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
        assert (
            inside((await by_name(servers, "faulty__echo").run({"again": 1})).content)
            == '{"again": 1}'
        )


async def test_a_read_only_call_is_repeated_after_a_crash(state: Path) -> None:
    async with McpServers([faulty(state)]) as servers:
        assert inside((await by_name(servers, "faulty__crash_once").run({})).content) == "called"


async def test_a_server_that_died_between_calls_is_started_again(state: Path) -> None:
    async with McpServers([faulty(state)]) as servers:
        for _ in range(3):
            assert (
                inside((await by_name(servers, "faulty__crash_after").run({})).content) == "called"
            )
            assert await asyncio.to_thread(eventually, lambda: not any_running(state))
            await asyncio.sleep(0.3)
    assert len((state / "pids").read_text().split()) == 3


async def test_concurrent_callers_of_a_lost_server_share_one_restart(state: Path) -> None:
    async with McpServers([faulty(state)]) as servers:
        calls = ["crash", *["echo"] * 8]
        results = await asyncio.gather(
            *(by_name(servers, f"faulty__{call}").run({}) for call in calls),
            return_exceptions=True,
        )
    assert isinstance(results[0], ToolError)
    answers = [result for result in results[1:] if not isinstance(result, BaseException)]
    assert [inside(answer.content) for answer in answers] == ["{}"] * 8
    assert len((state / "pids").read_text().split()) == 2


async def test_a_call_that_hangs_ends_in_time_and_is_cancelled_at_the_server(state: Path) -> None:
    async with McpServers([faulty(state, timeout=3)]) as servers:
        with pytest.raises(ToolError, match=r"did not answer hang within 3 s"):
            await by_name(servers, "faulty__hang").run({})
        assert inside((await by_name(servers, "faulty__echo").run({})).content) == "{}"
        assert (state / "cancelled").exists()


async def test_a_caller_that_is_cancelled_cancels_its_call_alone(state: Path) -> None:
    async with McpServers([faulty(state)]) as servers:
        hanging = asyncio.create_task(by_name(servers, "faulty__hang").run({}))
        await by_name(servers, "faulty__echo").run({})
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging
        assert inside((await by_name(servers, "faulty__echo").run({})).content) == "{}"


async def test_a_call_in_flight_when_the_servers_end_is_a_tool_error(state: Path) -> None:
    async with McpServers([faulty(state)]) as servers:
        hanging = asyncio.create_task(by_name(servers, "faulty__hang").run({}))
        await by_name(servers, "faulty__echo").run({})
    with pytest.raises(ToolError, match="was lost"):
        await hanging
    with pytest.raises(ToolError, match="'faulty' is closed"):
        await by_name(servers, "faulty__echo").run({})


async def test_noise_on_stdout_is_ignored(state: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with McpServers([faulty(state, "junk")]) as servers:
        assert inside((await by_name(servers, "faulty__noise").run({})).content) == "called"
    assert capfd.readouterr() == ("", "")


async def test_servers_that_fail_are_reported_and_the_others_work(state: Path) -> None:
    configs = [
        faulty(state, name="good"),
        faulty(state, "refuse", "refusing"),
        faulty(state, "stubborn", "mute"),
        ServerConfig(name="missing", command="/no/such/program"),
        ServerConfig(name="unset", command=sys.executable, fault="KEY is not set. Set it."),
        ServerConfig(name="lost", command=sys.executable, cwd=state / "nowhere"),
        ServerConfig(name="remote", transport="http", url="http://127.0.0.1:9/mcp?key=secret"),
        ServerConfig(name="off", command="/no/such/program", disabled=True),
    ]
    logs = state / "logs"
    async with McpServers(configs, log_folder=logs, connect_timeout=10) as servers:
        assert {tool.name.partition("__")[0] for tool in servers.tools} == {"good"}
        problems = servers.problems
    assert set(problems) == {"refusing", "mute", "missing", "unset", "lost", "remote"}
    assert (
        f"ended before it was ready: no licence found. Start it by hand, or see {logs}"
        in (problems["refusing"])
    )
    assert "did not answer in time" in problems["mute"]
    assert "/no/such/program" in problems["missing"]
    assert problems["unset"] == "KEY is not set. Set it."
    assert "nowhere" in problems["lost"]
    assert "cannot be used at http://127.0.0.1:9/mcp: " in problems["remote"]
    assert "secret" not in problems["remote"]
    assert "no licence found" in (logs / "refusing.log").read_text()


LISTS_NOTHING = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    started = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {}}
    error = {"code": -32603, "message": "the key is not valid"}
    outcome = {"result": started} if asked["method"] == "initialize" else {"error": error}
    log = {"level": "info", "data": {"ready": True, "key": None}}
    print(json.dumps({"jsonrpc": "2.0", "method": "notifications/message", "params": log}))
    if "id" in asked:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **outcome}), flush=True)
"""


async def test_a_server_that_lists_no_tools_is_reported_with_its_own_words(state: Path) -> None:
    config = ServerConfig("s", command=sys.executable, args=("-c", LISTS_NOTHING))
    async with McpServers([config], log_folder=state) as servers:
        problem = servers.problems["s"]
    assert problem.startswith("The MCP server 's' cannot be used: the key is not valid. Start it")
    assert '[info] {"ready": true, "key": null}\n' in (state / "s.log").read_text()


async def test_a_child_gets_its_own_variables_and_not_the_parents(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEMO_API_KEY", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@proxy.example:3128")
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", "/etc/own.pem")
    args = (str(FAULTY), "good", str(state))
    config = ServerConfig(name="s", command=sys.executable, args=args, env={"OWN": "1"})
    async with McpServers([config]) as servers:
        environment = json.loads(inside((await by_name(servers, "s__environment").run({})).content))
    assert environment["OWN"] == "1"
    assert environment["HTTPS_PROXY"] == "http://proxy.example:3128"
    assert environment["NODE_EXTRA_CA_CERTS"] == "/etc/own.pem"
    assert "secret" not in json.dumps(environment)


async def test_a_server_with_too_many_pending_requests_is_ended(state: Path) -> None:
    async with McpServers([faulty(state, "asks")]) as servers:
        with pytest.raises(ToolError, match="was lost during the call of fail,"):
            await by_name(servers, "faulty__fail").run({})
        assert await soon(lambda: not any_running(state))


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
async def test_a_published_time_server_answers() -> None:
    config = ServerConfig(name="time", command=sys.executable, args=("-m", "mcp_server_time"))
    async with McpServers([config]) as servers:
        assert servers.problems == {}
        converted = (
            await by_name(servers, "time__convert_time").run(
                {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Shanghai"}
            )
        ).content
        assert "20:00" in converted
        with pytest.raises(ToolError, match="Mars"):
            await by_name(servers, "time__get_current_time").run({"timezone": "Mars/Olympus"})


@pytest.mark.skipif(
    importlib.util.find_spec("mcp_server_git") is None, reason="mcp-server-git is not installed"
)
async def test_a_published_server_reads_a_repository(tmp_path: Path) -> None:
    await asyncio.to_thread(subprocess.run, ["git", "init", "-q", str(tmp_path)], check=True)
    config = ServerConfig(name="git", command=sys.executable, args=("-m", "mcp_server_git"))
    async with McpServers([config]) as servers:
        assert servers.problems == {}
        (tmp_path / "new.txt").write_text("new")
        status = (
            await by_name(servers, "git__git_status").run({"repo_path": str(tmp_path)})
        ).content
    assert "new.txt" in inside(status)


async def test_an_agent_below_three_others_starts_no_servers(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with McpServers([faulty(state)]) as servers:
        environment = json.loads(
            inside((await by_name(servers, "faulty__environment").run({})).content)
        )
    assert environment[DEPTH_VARIABLE] == "1"
    monkeypatch.setenv(DEPTH_VARIABLE, "3")
    async with McpServers([faulty(state)]) as servers:
        assert "3 agents above this one" in servers.problems["faulty"]


async def test_retries_of_a_server_that_does_not_start_have_growing_delays(
    state: Path,
) -> None:
    async with McpServers([faulty(state)], connect_timeout=60) as servers:
        echo = by_name(servers, "faulty__echo")
        (state / "refuse").touch()
        with pytest.raises(ToolError):
            await by_name(servers, "faulty__crash").run({})
        output = []
        for _ in range(6):
            with pytest.raises(ToolError) as caught:
                await echo.run({})
            output.append(str(caught.value))
        assert "ended before it was ready" in output[0]
        assert "next attempt is in" in output[-1]
        started = len((state / "pids").read_text().split())
        (state / "refuse").unlink()
        with pytest.raises(ToolError, match="Continue without it"):
            await echo.run({})
        assert len((state / "pids").read_text().split()) == started


def test_tool_names_are_clean_short_and_unique() -> None:
    pairs = [("s", "a.b"), ("s", "a_b"), ("s", "好"), ("s", "坏"), ("s", "x" * 90), ("t", "a")]
    names = unique_names(pairs)
    assert names[-1] == "t__a"
    assert len(set(names)) == len(names)
    assert all(len(name) <= 64 and name.isascii() for name in names)
    assert names == unique_names(pairs)


def test_no_names_of_a_server_make_two_tools_share_one() -> None:
    twice = ("s", "read_resource")
    first, second = unique_names([("s", "x!"), ("s", "x?")])
    chosen = [("s", name.removeprefix("s__")) for name in (first, second)]
    names = unique_names([twice, *chosen, ("s", "x!"), ("s", "x?"), twice])
    assert len(set(names)) == 6
