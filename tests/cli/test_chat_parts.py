"""The chat's smaller parts: what is allowed, what is attached, what is completed."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document as Typed
from rich.console import Console

from agentkit.backends.scripted import ScriptedModel
from agentkit.cli.chat.approval import AllowedTools
from agentkit.cli.chat.attachments import attach
from agentkit.cli.chat.commands.table import COMMANDS, run_command
from agentkit.cli.chat.conversation import Chat
from agentkit.cli.chat.terminal import ChatCompleter
from agentkit.errors import ConfigError
from agentkit.knowledge.citations.passages import Sources
from agentkit.mcp.client import McpServers
from agentkit.mcp.config import ServerConfig
from agentkit.messages import ImagePart, TextPart
from agentkit.project.project import Project


@pytest.fixture
async def project(tmp_path: Path) -> AsyncIterator[Project]:
    """A folder with an agent, without documents."""
    async with Project.open(tmp_path, model="extractive") as project:
        project.agent.model = ScriptedModel(["Yes."] * 9)
        yield project


@pytest.fixture
def chat(project: Project) -> Chat:
    allowed = AllowedTools(project.path / "approvals.json")
    return Chat(project, Console(record=True, quiet=True), Console(quiet=True), allowed)


def test_what_is_always_allowed_is_allowed_in_the_next_session(tmp_path: Path) -> None:
    file = tmp_path / ".agentkit" / "approvals.json"
    AllowedTools(file).store(["send"])
    assert AllowedTools(file).has("send")
    assert not AllowedTools(file).has("delete")


def test_approvals_that_came_with_a_copied_folder_allow_nothing(tmp_path: Path) -> None:
    file = tmp_path / "mine" / "approvals.json"
    AllowedTools(file).store(["send"])
    copy = tmp_path / "copy" / "approvals.json"
    copy.parent.mkdir()
    copy.write_bytes(file.read_bytes())
    assert not AllowedTools(copy).has("send")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"place": 1, "allow": "send"}', "\0"])
def test_damaged_approvals_allow_nothing(tmp_path: Path, content: str) -> None:
    file = tmp_path / "approvals.json"
    file.write_text(content, encoding="utf-8")
    assert AllowedTools(file).always() == []


async def test_a_text_and_an_image_go_with_the_message(project: Project, tmp_path: Path) -> None:
    (tmp_path / "a b.txt").write_text("what it says", encoding="utf-8")
    (tmp_path / "dot.png").write_bytes(b"png")
    line = 'look at @"a b.txt" and @dot.png, please'
    attached, _ = await attach(line, project, Sources())
    assert isinstance(attached.content, tuple)
    text, image = attached.content
    assert text == TextPart(line)
    (passage,) = attached.passages
    assert (passage.marker, passage.chunk.source) == ("1", "a b.txt")
    assert passage.chunk.text == "what it says"
    assert image == ImagePart(b"png", "image/png")


async def test_a_name_that_is_nothing_stays_as_it_was_written(project: Project) -> None:
    attached, notes = await attach("write to me@home.org and @nobody", project, Sources())
    assert attached.content == "write to me@home.org and @nobody"
    assert notes == ["@nobody is not attached: there is no document and no file of this name."]


def _offered(chat: Chat, text: str) -> list[str]:
    found = ChatCompleter(chat, COMMANDS)
    found.sources = ["notes/heights.md"]
    return [c.text for c in found.get_completions(Typed(text), CompleteEvent())]


def test_commands_and_what_follows_them_are_completed(chat: Chat) -> None:
    assert _offered(chat, "/op") == ["open"]
    assert _offered(chat, "/think o") == ["on", "off"]
    assert "notes/heights.md" in _offered(chat, "/open h")
    assert _offered(chat, "/set retr") == ["retrieve"]
    assert _offered(chat, "/set retrieve a") == ["retrieve always", "retrieve auto"]


@pytest.mark.parametrize(
    ("name", "typed", "offered"),
    [
        ("here.txt", "sum up @h", ["here.txt", "notes/heights.md"]),
        ("a b.txt", "sum up @a", ['"a b.txt"']),
    ],
)
def test_documents_and_files_are_completed_after_an_at_sign(
    chat: Chat,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    typed: str,
    offered: list[str],
) -> None:
    (tmp_path / name).write_text("x", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert _offered(chat, typed) == offered


async def test_a_document_that_was_added_is_completed(tmp_path: Path) -> None:
    (tmp_path / "knowledge").mkdir()
    (tmp_path / "new.md").write_text("# New", encoding="utf-8")
    async with Project.open(tmp_path, model="extractive") as project:
        out = Console(quiet=True)
        chat = Chat(project, out, out, AllowedTools(tmp_path / "approvals.json"))
        completer = ChatCompleter(chat, COMMANDS)
        await run_command(COMMANDS, chat, f"/add {tmp_path / 'new.md'}")
        list(completer.get_completions(Typed("@n"), CompleteEvent()))
        assert completer.loading is not None
        await completer.loading
        assert completer.sources == ["new.md"]


async def test_taking_back_works_without_a_file_for_sessions(chat: Chat) -> None:
    await chat.answer("First?")
    await chat.answer("Second?")
    await run_command(COMMANDS, chat, "/undo")
    assert [m.text for m in chat.session.messages] == ["First?", "Yes."]
    await run_command(COMMANDS, chat, "/edit")
    assert (chat.prefill, chat.session.messages) == ("First?", [])


async def test_an_export_overwrites_nothing(chat: Chat, tmp_path: Path) -> None:
    (tmp_path / "talk.json").write_text("mine", encoding="utf-8")
    await chat.answer("First?")
    with pytest.raises(ConfigError, match="exists: name another"):
        await run_command(COMMANDS, chat, f"/export {tmp_path / 'talk.json'}")
    with pytest.raises(ConfigError, match=f"Run: mkdir -p {tmp_path / 'no'}"):
        await run_command(COMMANDS, chat, f"/export {tmp_path / 'no' / 'talk.md'}")
    await run_command(COMMANDS, chat, f"/export {tmp_path / 'other.json'}")
    written = json.loads(Path(tmp_path / "other.json").read_text(encoding="utf-8"))
    assert written["messages"][0]["content"] == "First?"


async def test_one_turn_alone_is_left_as_it_is(chat: Chat) -> None:
    await chat.answer("First?")
    await run_command(COMMANDS, chat, "/compact")
    assert [m.text for m in chat.session.view] == ["First?", "Yes."]


async def test_compacting_keeps_what_was_stated_and_shortens_what_the_model_sees(
    chat: Chat,
) -> None:
    for number in range(4):
        await chat.answer(f"Question {number}? " + "many words " * 300)
    await run_command(COMMANDS, chat, "/compact")
    assert len(chat.session.messages) == 8
    assert sum(len(m.text) for m in chat.session.view) < 8000


SERVER = '''
from mcp.server import MCPServer

server = MCPServer("shelf")


@server.prompt()
def review(file: str) -> str:
    """Ask for a review."""
    return f"Review {file}, please."


@server.resource("shelf://book")
def book() -> str:
    return "It was a dark night."


server.run("stdio")
'''


@pytest.mark.slow
async def test_prompts_and_resources_of_a_server_go_into_a_message(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "shelf.py").write_text(SERVER, encoding="utf-8")
    shelf = ServerConfig(name="shelf", command=sys.executable, args=(str(tmp_path / "shelf.py"),))
    async with McpServers([shelf]) as servers:
        out, allowed = Console(quiet=True), AllowedTools(tmp_path / "approvals.json")
        project.servers = servers
        chat = Chat(project, out, out, allowed, is_live=True)
        with pytest.raises(ConfigError, match="needs file"):
            await run_command(COMMANDS, chat, "/prompts shelf:review")
        await run_command(COMMANDS, chat, "/shelf:review file='a b.py'")
        assert chat.prefill == "Review a b.py, please."
        attached, _ = await attach("Read @shelf:shelf://book", project, Sources())
        assert attached.passages[0].chunk.text == "It was a dark night."
        found = ChatCompleter(chat, COMMANDS)
        await found.load()
        assert "shelf:shelf://book" in found.sources
        assert found.prompts == ["shelf:review"]


@pytest.mark.slow
def test_a_conversation_may_come_from_a_file_or_from_nothing(tmp_path: Path) -> None:
    (tmp_path / "agentkit.toml").touch()
    command = [sys.executable, "-m", "agentkit", "chat", "-m", "extractive", "-C", str(tmp_path)]
    (tmp_path / "lines.txt").write_text('"""one\n/help"""\n/quti\n', encoding="utf-8")
    with (tmp_path / "lines.txt").open() as lines:
        done = subprocess.run(command, stdin=lines, capture_output=True, text=True, check=True)
    assert "Did you mean /quit?" in done.stderr
    assert "/model" not in done.stdout
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    assert "Traceback" not in done.stderr
