"""Our servers over stdio: only the protocol on stdout, and the demo's scripts."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agentkit.agent.agent import Agent
from agentkit.agent.approval import Policy
from agentkit.backends.scripted import ScriptedModel
from agentkit.mcp.client import McpServers
from agentkit.mcp.config import ServerConfig
from agentkit.messages import Message, ToolCall
from agentkit.tools.tool import Tool
from tests.mcp.reading import inside

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
NOISY = ROOT / "tests" / "servers" / "noisy.py"

HELLO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


def script(name: str, folder: Path) -> ServerConfig:
    return ServerConfig(
        name="demo",
        command=sys.executable,
        args=(f"mcp_servers/{name}",),
        env={"PYTHONPATH": str(ROOT)},
        cwd=folder,
    )


def by_name(servers: McpServers, name: str) -> Tool:
    assert servers.problems == {}
    return next(tool for tool in servers.tools if tool.name == name)


async def test_nothing_but_the_protocol_reaches_stdout() -> None:
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        str(NOISY),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert child.stdin is not None
    assert child.stdout is not None

    def send(method: str, params: Any, **more: int) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params, **more}
        child.stdin.write(json.dumps(message).encode() + b"\n")  # type: ignore[union-attr]

    send("initialize", HELLO, id=1)
    assert json.loads(await child.stdout.readline())["id"] == 1
    send("notifications/initialized", {})
    send("tools/call", {"name": "shout", "arguments": {"word": "ahoy"}}, id=2)
    answer = json.loads(await child.stdout.readline())
    assert answer["result"]["content"][0]["text"] == "ahoy"
    rest, errors = await child.communicate(b"")
    assert rest == b""
    for word in ("before the server", "print ahoy", "write ahoy", "child", "after the end"):
        assert word in errors.decode()


async def test_the_calculator_server_of_the_demo_works_with_our_client() -> None:
    async with McpServers([script("llm_math.py", ROOT)]) as servers:
        count = by_name(servers, "demo__count_parameters")
        assert (
            json.loads(inside((await count.run({"layers": [100, 500, 10]})).content))["total"]
            == 55510
        )


async def test_the_notes_server_of_the_demo_works_with_our_client(
    tmp_path: Path,
) -> None:
    (tmp_path / "knowledge").mkdir()
    (tmp_path / "knowledge" / "pets.md").write_text("# Cats\n\nCats purr.\n")
    (tmp_path / "mcp_servers").mkdir()
    shutil.copy(ROOT / "mcp_servers" / "lecture_notes.py", tmp_path / "mcp_servers")
    async with McpServers([script("lecture_notes.py", tmp_path)]) as servers:
        search = by_name(servers, "demo__search_knowledge")
        found = await search.run({"query": "cats"})
        assert found.passages[0].chunk.source == "demo:pets.md"
        read = await by_name(servers, "demo__read_document").run({"source": "pets.md"})
        assert read.passages[0].chunk.text == "# Cats\n\nCats purr.\n"
    assert (tmp_path / ".agentkit" / "index").is_dir()


async def test_an_agent_answers_through_the_notes_server_alone(tmp_path: Path) -> None:
    notes = tmp_path / "knowledge"
    notes.mkdir()
    for path in (ROOT / "knowledge").rglob("*.md"):
        if "知识蒸馏" in path.read_text(encoding="utf-8"):
            shutil.copy(path, notes)
    (tmp_path / "mcp_servers").mkdir()
    shutil.copy(ROOT / "mcp_servers" / "lecture_notes.py", tmp_path / "mcp_servers")

    def answering(messages: Sequence[Message]) -> ToolCall | str:
        """Search first, then quote the best passage."""
        if messages[-1].role == "user":
            return ToolCall("1", "demo__search_knowledge", {"query": messages[-1].text})
        best = messages[-1].passages[0]
        return f"{best.chunk.text} [{best.marker}]"

    async with McpServers([script("lecture_notes.py", tmp_path)]) as servers:
        assert servers.problems == {}
        agent = Agent(
            ScriptedModel(answering), tools=servers.tools, policy=Policy(allow=("demo__*",))
        )
        answer = await agent.run("什么是知识蒸馏？")
    assert answer.tool_calls == ("demo__search_knowledge",)
    assert "教师模型" in answer.text
    assert answer.citations[0].supported
    assert answer.citations[0].chunk.source.startswith("demo:")
