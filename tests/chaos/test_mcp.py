"""Servers started and stopped again and again, also by force: nothing of them is left.

AGENTKIT_CHAOS_SEEDS says how much is tried: 200 are 1,000 cycles of a server of the standard
library alone and 50 of a published one.
"""

import asyncio
import importlib.util
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from agentkit.errors import ToolError
from agentkit.mcp.client import McpServers
from agentkit.mcp.config import ServerConfig
from tests.mcp.processes import any_running, soon

pytestmark = pytest.mark.slow

SERVERS = Path(__file__).parents[1] / "servers"
SEEDS = int(os.environ.get("AGENTKIT_CHAOS_SEEDS", "2"))
CYCLES, REAL_CYCLES = 5 * SEEDS, max(1, SEEDS // 4)

CLIENT = """
import asyncio, sys
from agentkit.mcp.client import McpServers
from agentkit.mcp.config import ServerConfig

async def main():
    config = ServerConfig("s", command=sys.executable, args=tuple(sys.argv[1:]))
    async with McpServers([config]) as servers:
        await next(t for t in servers.tools if t.name == "s__breed").run({})
        print("bred", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def faulty(state: Path) -> ServerConfig:
    args = (str(SERVERS / "faulty.py"), "good", str(state))
    return ServerConfig("s", command=sys.executable, args=args)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.timeout(3600)
async def test_starts_and_stops_leave_nothing(tmp_path: Path) -> None:
    chance = random.Random(0)
    await cycle(tmp_path, "end")
    before, tasks = descriptors(), len(asyncio.all_tasks())
    for _ in range(CYCLES):
        await cycle(tmp_path, chance.choice(["end", "crash", "kill", "cancel", "hang"]))
        assert await soon(lambda: not any_running(tmp_path))
        (tmp_path / "pids").unlink()
    assert await soon(lambda: descriptors() <= before)
    assert len(asyncio.all_tasks()) == tasks


async def cycle(state: Path, ending: str) -> None:
    async with McpServers([faulty(state)]) as servers:
        tools = {tool.name: tool for tool in servers.tools}
        assert servers.problems == {}
        await tools["s__echo"].run({"a": 1})
        if ending == "crash":
            with pytest.raises(ToolError):
                await tools["s__crash"].run({})
        elif ending == "kill":
            os.kill(int((state / "pids").read_text().split()[-1]), signal.SIGKILL)
        elif ending in ("cancel", "hang"):
            call = asyncio.create_task(tools["s__hang"].run({}))
            await tools["s__echo"].run({})
            if ending == "cancel":
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
    if ending == "hang":
        with pytest.raises(ToolError):
            await call


@pytest.mark.skipif(
    importlib.util.find_spec("mcp_server_time") is None, reason="mcp-server-time is not installed"
)
@pytest.mark.timeout(3600)
async def test_starts_and_stops_of_a_published_server_leave_nothing() -> None:
    config = ServerConfig("time", command=sys.executable, args=("-m", "mcp_server_time"))
    async with McpServers([config]):
        pass
    before, tasks = descriptors(), len(asyncio.all_tasks())
    for _ in range(REAL_CYCLES):
        async with McpServers([config]) as servers:
            assert servers.problems == {}
    assert await soon(lambda: descriptors() <= before)
    assert len(asyncio.all_tasks()) == tasks


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere escaped grandchildren stay")
async def test_when_we_are_killed_servers_and_all_that_they_started_end(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CLIENT, str(SERVERS / "full_server.py"), str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SERVERS.parents[1])},
    )
    assert child.stdout is not None
    assert await child.stdout.readline() == b"bred\n"
    assert len((tmp_path / "pids").read_text().split()) == 3
    child.kill()
    await child.wait()
    assert await soon(lambda: not any_running(tmp_path))


async def test_servers_may_be_closed_in_any_order_and_from_any_task(tmp_path: Path) -> None:
    sets = []
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        servers = McpServers([faulty(tmp_path / str(number))])
        await asyncio.create_task(servers.__aenter__())
        sets.append(servers)
    for servers in sets:
        await asyncio.create_task(servers.__aexit__(None, None, None))
    assert await soon(lambda: not any(any_running(tmp_path / str(n)) for n in range(3)))
