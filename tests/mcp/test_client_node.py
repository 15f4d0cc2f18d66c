"""Our client with the reference servers that are published for Node."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentkit.mcp.client import McpServers
from agentkit.mcp.client_features import ClientFeatures, ElicitationRequest
from agentkit.mcp.config import ServerConfig
from agentkit.messages import ImagePart
from agentkit.tools.tool import Tool
from tests.mcp.reading import inside
from tests.node import BIN, PATH, with_node

pytestmark = [with_node, pytest.mark.slow]


def published(name: str, *args: str, env: dict[str, str] | None = None) -> ServerConfig:
    command = str(BIN / f"mcp-server-{name}")
    return ServerConfig(name, command=command, args=args, env=PATH | (env or {}))


def by_name(servers: McpServers, name: str) -> Tool:
    assert servers.problems == {}
    return next(tool for tool in servers.tools if tool.name == name)


async def test_everything_server_has_tools_resources_prompts_and_elicitation() -> None:
    async def answer(question: ElicitationRequest) -> dict[str, str]:
        return {"name": "Ada"}

    features = ClientFeatures(folder=Path(), elicit=answer)
    async with McpServers([published("everything", "stdio")], features=features) as servers:
        assert "Ada" in inside(
            (await by_name(servers, "everything__echo").run({"message": "Ada"})).content
        )
        total = (await by_name(servers, "everything__get-sum").run({"a": 2, "b": 3})).content
        assert "5" in inside(total)
        image = (await by_name(servers, "everything__get-tiny-image").run({})).content
        assert isinstance(image[1], ImagePart)
        resources = await servers.resources()
        plain = next(each for each in resources if not each.is_template)
        assert inside(await servers.read("everything", plain.uri))
        prompts = {prompt.name for prompt in await servers.prompts()}
        assert "simple-prompt" in prompts
        assert (await servers.prompt("everything", "simple-prompt"))[0].text


async def test_filesystem_reads_within_its_folder_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("the note", encoding="utf-8")
    async with McpServers([published("filesystem", str(tmp_path))]) as servers:
        read = by_name(servers, "filesystem__read_text_file")
        assert "the note" in inside((await read.run({"path": str(tmp_path / "note.txt")})).content)
        with pytest.raises(Exception, match=r"[Aa]ccess denied"):
            await read.run({"path": "/etc/passwd"})


async def test_memory_keeps_what_it_is_reported(tmp_path: Path) -> None:
    env = {"MEMORY_FILE_PATH": str(tmp_path / "memory.json")}
    entity = {"name": "Ada", "entityType": "person", "observations": ["likes engines"]}
    async with McpServers([published("memory", env=env)]) as servers:
        await by_name(servers, "memory__create_entities").run({"entities": [entity]})
        found = (await by_name(servers, "memory__search_nodes").run({"query": "engines"})).content
    assert "Ada" in inside(found)
