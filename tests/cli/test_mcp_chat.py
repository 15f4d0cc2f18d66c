"""Resources, prompts and questions of MCP servers in a conversation."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agentkit.cli.chat.approval import ask_fields
from agentkit.cli.chat.commands.mcp import prompt_text
from agentkit.errors import ConfigError
from agentkit.mcp.client import McpServers
from agentkit.mcp.client_features import ElicitationRequest
from agentkit.mcp.config import ServerConfig

FULL_SERVER = Path(__file__).parents[1] / "servers" / "full_server.py"
FIELDS = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "yours"},
        "age": {"type": "integer"},
        "colour": {"type": "string", "enum": ["red", "green"], "default": "red"},
        "news": {"type": "boolean"},
    },
    "required": ["name", "age"],
}


def full_server(tmp_path: Path) -> McpServers:
    args = (str(FULL_SERVER), str(tmp_path))
    return McpServers([ServerConfig("full", command=sys.executable, args=args)])


@pytest.mark.slow
async def test_a_prompt_is_a_command_with_its_blanks_filled(tmp_path: Path) -> None:
    async with full_server(tmp_path) as servers:
        assert await prompt_text("/full:welcome who='Ada L.'", servers) == "Welcome Ada L.!"
        assert await prompt_text("/full:welcome Ada", servers) == "Welcome Ada!"
        assert await prompt_text("/help", servers) is None
        assert await prompt_text("full:welcome", servers) is None
        with pytest.raises(ConfigError, match="needs who"):
            await prompt_text("/full:welcome", servers)
        with pytest.raises(ConfigError, match=r"Available: /full:welcome\."):
            await prompt_text("/full:goodbye", servers)


async def answered(question: ElicitationRequest, *lines: str) -> tuple[Any, str]:
    left, out = list(lines), io.StringIO()

    async def read(asked: Any) -> str:
        out.write(asked)
        if not left:
            raise EOFError
        return left.pop(0)

    answers = await ask_fields(question, read, Console(file=out, width=200))
    return answers, out.getvalue()


async def test_a_servers_question_is_asked_field_by_field() -> None:
    question = ElicitationRequest("full", "Who are you?", FIELDS)
    answers, shown = await answered(question, "Ada", "old", "36", "blue", "", "yes")
    assert answers == {"name": "Ada", "age": 36, "colour": "red", "news": True}
    assert "The MCP server 'full' asks: Who are you?" in shown
    assert "Give a number." in shown
    assert "Choose one of: red, green." in shown


@pytest.mark.parametrize("lines", [("/no",), ("Ada", "/no"), ()])
async def test_the_user_may_decline_a_question(
    lines: tuple[str, ...],
) -> None:
    assert (await answered(ElicitationRequest("full", "Who?", FIELDS), *lines))[0] is None


async def test_a_page_is_shown_and_never_opened_by_us() -> None:
    question = ElicitationRequest("full", "Pay.", url="https://example.org/pay\u202e")
    answers, shown = await answered(question, "y")
    assert answers == {}
    assert "https://example.org/pay<U+202E>" in shown
    assert (await answered(question, "n"))[0] is None
