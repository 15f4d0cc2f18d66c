"""What changes in a trusted folder while a program runs waits for the user's trust."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentkit import Project
from agentkit.backends.scripted import ScriptedModel
from agentkit.errors import ToolError
from agentkit.mcp.config import read_config
from agentkit.messages import ToolCall
from agentkit.project.trust import take, trust
from agentkit.settings.sources import read_settings

TOOL = '''
from agentkit import tool
{imports}

@tool(isolated={isolated})
def greet() -> str:
    """Greet."""
    return {greeting}
'''


def write_tool(folder: Path, greeting: str, *, isolated: bool = False, imports: str = "") -> None:
    (folder / "tools").mkdir(exist_ok=True)
    text = TOOL.format(greeting=greeting, isolated=isolated, imports=imports)
    (folder / "tools" / "greet.py").write_text(text, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A trusted project with a tool."""
    (tmp_path / "agentkit.toml").write_text("[tools]\nbuiltin = []\n", encoding="utf-8")
    write_tool(tmp_path, "'hello'")
    trust(tmp_path)
    return tmp_path


async def greet(project: Project) -> str:
    (tool,) = project.agent.tools
    return str((await tool.run({})).content)


def edit_tool(folder: Path) -> str:
    write_tool(folder, "'changed'")
    return "tools/greet.py"


def edit_helper(folder: Path) -> str:
    (folder / "tools" / "_words.py").write_text("WORD = 'changed'\n", encoding="utf-8")
    return "tools/_words.py"


def add_file(folder: Path) -> str:
    (folder / "tools" / "more").mkdir()
    (folder / "tools" / "more" / "data.json").write_text("{}", encoding="utf-8")
    return "tools/more/data.json"


def remove_tool(folder: Path) -> str:
    (folder / "tools" / "greet.py").unlink()
    return "tools/greet.py"


@pytest.mark.parametrize("change", [edit_tool, edit_helper, add_file, remove_tool])
async def test_a_changed_tool_is_named_and_not_run(
    folder: Path, change: Callable[[Path], str]
) -> None:
    async with Project.open(folder, model="extractive") as project:
        assert await greet(project) == "hello"
        assert await project.refresh_tools() == ""
        name = change(folder)
        with pytest.raises(ToolError, match=rf"greet.*{name}.*agentkit trust"):
            await greet(project)
        notice = await project.refresh_tools()
        assert name in notice
        assert "agentkit trust" in notice


async def test_a_change_that_is_taken_back_needs_no_trust(folder: Path) -> None:
    async with Project.open(folder, model="extractive") as project:
        edit_tool(folder)
        write_tool(folder, "'hello'")
        assert await greet(project) == "hello"
        assert await project.refresh_tools() == ""


@pytest.mark.parametrize(
    "isolated", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["inside", "isolated"]
)
async def test_a_changed_tool_runs_once_it_is_trusted(
    folder: Path, monkeypatch: pytest.MonkeyPatch, isolated: bool
) -> None:
    monkeypatch.syspath_prepend(folder / "tools")
    module = f"words_of_tools_{isolated}".lower()
    helper = folder / "tools" / f"{module}.py"
    helper.write_text("WORD = 'first'\n", encoding="utf-8")
    write_tool(folder, f"{module}.WORD", isolated=isolated, imports=f"import {module}")
    trust(folder)
    async with Project.open(folder, model="extractive") as project:
        assert await greet(project) == "first"
        helper.write_text("WORD = 'second'\n", encoding="utf-8")
        trust(folder)
        assert f"tools/{helper.name}" in await project.refresh_tools()
        assert await greet(project) == "second"
        assert await project.refresh_tools() == ""


async def test_a_change_of_servers_or_settings_leaves_tools_alone(folder: Path) -> None:
    async with Project.open(folder, model="extractive") as project:
        (folder / "agentkit.toml").write_text("", encoding="utf-8")
        (folder / "mcp_servers").mkdir()
        (folder / "mcp_servers" / "mcp.json").write_text("{}", encoding="utf-8")
        assert await greet(project) == "hello"
        assert "mcp_servers/mcp.json" in await project.refresh_tools()


async def test_changed_settings_are_named(folder: Path) -> None:
    async with Project.open(folder, model="extractive") as project:
        (folder / "agentkit.toml").write_text("", encoding="utf-8")
        assert "agentkit.toml changed" in await project.refresh_tools()


async def test_the_agent_tells_its_model_that_a_tool_changed(folder: Path) -> None:
    async with Project.open(folder, model="extractive") as project:
        project.agent.model = ScriptedModel([ToolCall("1", "greet", {}), "done"])
        edit_tool(folder)
        answer = await project.agent.run("Hello?")
    (result,) = [each for each in answer.messages if each.role == "tool"]
    assert "tools/greet.py" in str(result.content)


def test_servers_are_read_from_what_was_checked(folder: Path) -> None:
    place = folder / "mcp_servers" / "mcp.json"
    place.parent.mkdir()
    checked = {"mcpServers": {"s": {"command": sys.executable, "args": ["checked"]}}}
    place.write_text(json.dumps(checked), encoding="utf-8")
    code = take(folder).code
    place.write_text(json.dumps({"mcpServers": {"s": {"command": "evil"}}}), encoding="utf-8")
    (server,) = read_config(folder, code).servers
    assert server.args == ("checked",)
    place.unlink()
    assert read_config(folder, code).servers == (server,)
    assert read_config(folder, take(folder).code).servers == ()


def test_settings_are_those_that_were_checked(tmp_path: Path) -> None:
    path = tmp_path / "agentkit.toml"
    path.write_text("[knowledge]\nresults = 9\n", encoding="utf-8")
    content = b"\xef\xbb\xbf[knowledge]\r\nresults = 7\r\n"
    assert read_settings(tmp_path, content=content).settings.knowledge.results == 7
