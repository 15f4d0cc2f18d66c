"""Tools, servers and settings that change while `agentkit mcp serve` runs."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import TextContent, ToolListChangedNotification

from agentkit import Project
from agentkit.agent.approval import Policy
from agentkit.cli.commands.mcp_serve import Refresh, own_tools
from agentkit.mcp.server import build_server
from agentkit.project.trust import trust
from tests.mcp.processes import soon

ROOT = Path(__file__).parents[3]
FULL_SERVER = ROOT / "tests" / "servers" / "full_server.py"
SETTINGS = '[tools]\nbuiltin = []\n[approval]\nallow = ["*"]\n'
TOOL = '''from agentkit import tool

@tool
def {name}() -> str:
    """Greet."""
    return "{greeting}"
'''


def write_tool(folder: Path, greeting: str, name: str = "greet") -> None:
    (folder / "tools").mkdir(exist_ok=True)
    text = TOOL.format(name=name, greeting=greeting)
    (folder / "tools" / f"{name}.py").write_text(text, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A trusted project with a tool that runs without approval."""
    (tmp_path / "agentkit.toml").write_text(SETTINGS, encoding="utf-8")
    write_tool(tmp_path, "Hello")
    trust(tmp_path)
    return tmp_path


class Served:
    """A project, its server's client, and what was reported."""

    def __init__(self, project: Project, client: Client, reported: list[str]) -> None:
        self.project, self.client, self.reported = project, client, reported
        self.refresh: Refresh

    async def greet(self) -> tuple[str, bool]:
        result = await self.client.call_tool("greet", {})
        (block,) = result.content
        assert isinstance(block, TextContent)
        return block.text, result.is_error or False

    async def names(self) -> list[str]:
        return [tool.name for tool in (await self.client.list_tools(cache_mode="refresh")).tools]


eras = pytest.mark.parametrize("era", ["auto", "legacy"])


@asynccontextmanager
async def serving(folder: Path, era: str) -> AsyncIterator[Served]:
    async with Project.open(folder, model="extractive") as project:
        server = build_server("s", tools=own_tools(project.agent), policy=Policy(allow=("*",)))
        reported: list[str] = []
        async with Client(server, mode=era) as client:
            found = Served(project, client, reported)
            found.refresh = Refresh(project, server, reported.append)
            yield found


@eras
async def test_a_changed_tool_is_named_waits_for_trust_and_is_used(folder: Path, era: str) -> None:
    async with serving(folder, era) as served:
        assert await served.greet() == ("Hello", False)
        write_tool(folder, "Hi")
        for _ in range(2):
            await served.refresh.check()
        (note,) = served.reported
        assert "tools/greet.py changed after it was trusted" in note
        assert "agentkit trust" in note
        text, failed = await served.greet()
        assert failed
        assert "tools/greet.py" in text
        trust(folder)
        await served.refresh.check()
        assert "tools/greet.py" in served.reported[1]
        assert await served.greet() == ("Hi", False)


@eras
async def test_tools_come_and_go_with_their_files(folder: Path, era: str) -> None:
    async with serving(folder, era) as served:
        write_tool(folder, "Bye", "leave")
        await served.refresh.check()
        assert await served.names() == ["greet"]
        trust(folder)
        await served.refresh.check()
        assert await served.names() == ["greet", "leave"]
        (folder / "tools" / "greet.py").unlink()
        trust(folder)
        await served.refresh.check()
        assert await served.names() == ["leave"]
        with pytest.raises(MCPError, match="Unknown tool: greet"):
            await served.greet()


@eras
async def test_a_change_that_is_taken_back_is_used_without_a_word_more(
    folder: Path, era: str
) -> None:
    async with serving(folder, era) as served:
        write_tool(folder, "Hi")
        await served.refresh.check()
        write_tool(folder, "Hello")
        await served.refresh.check()
        assert len(served.reported) == 1
        assert await served.greet() == ("Hello", False)


@pytest.mark.parametrize("text", [SETTINGS + "[knowledge]\nresults = 3\n", "model = [1]\n"])
@eras
async def test_changed_settings_are_named_before_and_after_trust(
    folder: Path, era: str, text: str
) -> None:
    async with serving(folder, era) as served:
        (folder / "agentkit.toml").write_text(text, encoding="utf-8")
        await served.refresh.check()
        assert "agentkit.toml changed after it was trusted" in served.reported[0]
        trust(folder)
        await served.refresh.check()
        assert "Start again" in served.reported[1]


@eras
async def test_two_tools_of_one_name_are_reported_and_the_old_ones_stay(
    folder: Path, era: str
) -> None:
    async with serving(folder, era) as served:
        (folder / "tools" / "second.py").write_text(
            TOOL.format(name="greet", greeting="Twice"), encoding="utf-8"
        )
        trust(folder)
        await served.refresh.check()
        assert "greet" in served.reported[0]
        assert await served.greet() == ("Hello", False)


async def test_clients_are_notified_where_the_list_of_tools_changes(folder: Path) -> None:
    changed: list[Any] = []

    async def on_message(message: Any) -> None:
        if isinstance(message, ToolListChangedNotification):
            changed.append(message)

    async with Project.open(folder, model="extractive") as project:
        server = build_server("s", tools=own_tools(project.agent), policy=Policy(allow=("*",)))
        refresh = Refresh(project, server, lambda line: None)
        async with Client(server, mode="legacy", message_handler=on_message) as client:
            await client.list_tools()
            write_tool(folder, "Hi")
            trust(folder)
            await refresh.check()
            write_tool(folder, "Bye", "leave")
            trust(folder)
            await refresh.check()
            await client.list_tools()
            assert len(changed) == 1
        async with Client(server) as client, client.listen(tools_list_changed=True) as events:
            (folder / "tools" / "leave.py").unlink()
            trust(folder)
            await refresh.check()
            async with asyncio.timeout(30):
                await anext(aiter(events))
            assert [each.name for each in (await client.list_tools()).tools] == ["greet"]


@pytest.mark.slow
async def test_changed_servers_are_started_again_once_they_are_trusted(folder: Path) -> None:
    def name_servers(*names: str) -> None:
        servers = {
            name: {"command": sys.executable, "args": [str(FULL_SERVER), str(folder / name)]}
            for name in names
        }
        (folder / "mcp_servers").mkdir(exist_ok=True)
        text = json.dumps({"mcpServers": servers})
        (folder / "mcp_servers" / "mcp.json").write_text(text, encoding="utf-8")
        for name in names:
            (folder / name).mkdir(exist_ok=True)

    name_servers("one")
    trust(folder)
    async with Project.open(folder, model="extractive") as project:

        def servers() -> set[str]:
            return {tool.name.partition("__")[0] for tool in project.agent.tools}

        assert servers() == {"greet", "one"}
        name_servers("two", "three")
        assert "mcp_servers/mcp.json" in await project.refresh_tools()
        assert servers() == {"greet", "one"}
        trust(folder)
        assert "mcp_servers/mcp.json" in await project.refresh_tools()
        assert servers() == {"greet", "two", "three"}
        assert (folder / "one" / "ended").exists()
        (folder / "mcp_servers" / "mcp.json").write_text("{", encoding="utf-8")
        trust(folder)
        assert "mcp.json" in await project.refresh_tools()
        assert servers() == {"greet"}


@pytest.mark.slow
async def test_the_command_notices_changes_while_it_serves(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "agentkit", "mcp", "serve", "-C", str(folder), "-m", "extractive"],
        env=dict(os.environ),
    )
    with log.open("w") as errors:
        async with Client(stdio_client(parameters, errors)) as client:
            assert "greet" in [tool.name for tool in (await client.list_tools()).tools]
            write_tool(folder, "Hi")
            assert await soon(lambda: "tools/greet.py changed after it was" in log.read_text())
            trust(folder)
            assert await soon(lambda: "Loaded again" in log.read_text())
            (block,) = (await client.call_tool("greet", {})).content
            assert isinstance(block, TextContent)
            assert block.text == "Hi"
