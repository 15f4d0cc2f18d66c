"""A folder becomes an agent, and code runs only where the user trusts it."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from agentkit import Project, Retrieval
from agentkit.backends.scripted import ScriptedModel
from agentkit.errors import ConfigError, KnowledgeError, TrustError
from agentkit.messages import ToolCall
from agentkit.project.demo import copy_demo
from agentkit.project.trust import is_trusted, take, trust
from tests.conftest import unprivileged
from tests.mcp.processes import soon
from tests.servers.openai_server import OpenAIServer, Reply, text

TOOL = '''
from agentkit import tool

@tool
def shout(text: str) -> str:
    """Say it louder."""
    return text.upper()
'''
SERVER = """
from mcp.server import MCPServer

server = MCPServer("echo")

@server.tool()
def echo(text: str) -> str:
    return "received " + text

server.run("stdio")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project of its own: a note, a tool and an MCP server."""
    root = tmp_path / "app"
    for name in ("knowledge", "tools", "mcp_servers"):
        (root / name).mkdir(parents=True)
    (root / "knowledge" / "note.md").write_text("# 残差\n\n残差连接让深层网络容易训练。", "utf-8")
    (root / "tools" / "shout.py").write_text(TOOL, encoding="utf-8")
    (root / "mcp_servers" / "echo.py").write_text(SERVER, encoding="utf-8")
    args, approval = ["mcp_servers/echo.py"], "never"
    servers = {"echo": {"command": sys.executable, "args": args, "approval": approval}}
    (root / "mcp_servers" / "mcp.json").write_text(json.dumps({"mcpServers": servers}), "utf-8")
    (root / "agentkit.toml").write_text('model = "extractive"\n', encoding="utf-8")
    return root


@pytest.mark.slow
async def test_a_trusted_folder_gives_documents_tools_and_servers(folder: Path) -> None:
    async with Project.open(folder, trust=True) as project:
        names = [tool.name for tool in project.agent.offered_tools]
        assert names[:5] == [
            "search_knowledge", "find_all", "outline_document", "read_document", "list_documents",
        ]  # fmt: skip
        assert names[5:] == [
            "calculator", "current_time", "days_between", "shift_date", "shout", "echo__echo",
        ]  # fmt: skip
        calls = [
            ToolCall("1", "shout", {"text": "hi"}),
            ToolCall("2", "echo__echo", {"text": "hi"}),
        ]
        project.agent.model = model = ScriptedModel([calls, "done"])
        await project.agent.run("?")
        _, shouted, received = [m.text for m in model.requests[-1] if m.role == "tool"]
        assert shouted == "HI"
        assert received.split("\n")[1:-1] == ["received hi"]
        assert project.notices == []


@pytest.mark.slow
async def test_in_the_background_the_agent_is_there_before_its_index_and_servers(
    folder: Path,
) -> None:
    project = Project.open(folder, trust=True)
    project.in_background = True
    async with project:
        assert project.knowledge.chunk_count == 0
        names = [tool.name for tool in project.agent.tools]
        assert "shout" in names
        assert "echo__echo" not in names
        assert await soon(lambda: "echo__echo" in [tool.name for tool in project.agent.tools])
        await project.index()
        assert (await project.agent.run("残差连接有什么用？")).citations
    project = Project.open(folder, trust=True)
    project.in_background = True
    async with project:
        pass  # closed while the servers start


@pytest.mark.slow
async def test_a_question_about_the_folders_notes_is_answered_with_a_citation(folder: Path) -> None:
    async with Project.open(folder, trust=True) as project:
        answer = await project.agent.run("残差连接有什么用？")
    assert answer.citations[0].quote == "残差连接让深层网络容易训练。"


async def test_an_untrusted_folder_runs_nothing_and_says_so(folder: Path) -> None:
    (folder / "tools" / "shout.py").write_text("raise SystemExit('ran')", encoding="utf-8")
    (folder / "agentkit.toml").write_text('model = "openai:elsewhere"\n', encoding="utf-8")
    async with Project.open(folder, model="extractive") as project:
        assert not {"shout", "echo__echo"} & {tool.name for tool in project.agent.tools}
        assert project.settings.providers == {}
        assert "agentkit trust" in project.notices[0]
        assert (await project.agent.run("残差连接有什么用？")).citations


async def test_trust_lasts_until_a_guarded_file_changes(folder: Path) -> None:
    assert not is_trusted(folder)
    trust(folder)
    assert is_trusted(folder)
    (folder / "knowledge" / "more.md").write_text("documents need no trust", encoding="utf-8")
    assert is_trusted(folder)
    (folder / "tools" / "shout.py").write_text(TOOL + "# changed", encoding="utf-8")
    assert not is_trusted(folder)


@pytest.mark.parametrize("name", ["tools/.evil.py", "tools/sub/.evil.py", "mcp_servers/.s.py"])
async def test_a_hidden_python_file_needs_trust_and_is_not_loaded(
    tmp_path: Path, name: str
) -> None:
    script = tmp_path / name
    script.parent.mkdir(parents=True)
    script.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')", encoding="utf-8")
    assert not is_trusted(tmp_path)
    async with Project.open(tmp_path, trust=True):
        assert not (tmp_path / "ran").exists()


def test_a_folder_with_nothing_to_run_needs_no_trust(tmp_path: Path) -> None:
    assert is_trusted(tmp_path)


def test_trust_cannot_be_brought_along_by_a_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "other-user"))
    assert not is_trusted(folder)


def test_an_unreadable_guarded_file_is_named(shared_folder: Path) -> None:
    with unprivileged():
        (shared_folder / "tools").mkdir()
        (shared_folder / "tools" / "locked.py").touch(mode=0)
        with pytest.raises(TrustError, match=r"locked\.py cannot be read"):
            is_trusted(shared_folder)


def test_the_shipped_demo_is_trusted_and_so_is_an_unchanged_copy(tmp_path: Path) -> None:
    assert is_trusted(copy_demo(tmp_path / "demo"))


def test_a_changed_copy_of_the_demo_is_not_trusted(tmp_path: Path) -> None:
    copy = copy_demo(tmp_path / "demo")
    (copy / "tools" / "more.py").write_text("x = 1", encoding="utf-8")
    assert not is_trusted(copy)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("agentkit.toml",), "agentkit.toml is not used. Review it"),
        (("agentkit.toml", "tools"), "agentkit.toml, tools are not used. Review them"),
    ],
)
def test_what_an_untrusted_folder_does_not_use_is_named_with_the_command(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    place = tmp_path / "their notes"
    (place / "knowledge").mkdir(parents=True)
    (place / "agentkit.toml").write_text("# theirs", encoding="utf-8")
    if "tools" in names:
        (place / "tools").mkdir()
        (place / "tools" / "one.py").write_text("", encoding="utf-8")
    (notice,) = Project.open(place).notices
    assert message in notice
    assert notice.endswith(f"run: agentkit trust '{place}'")


def test_what_changed_after_a_folder_was_trusted_is_named(folder: Path) -> None:
    assert take(folder).changes == {}
    trust(folder)
    (folder / "tools" / "stock.py").write_text("x = 1", encoding="utf-8")
    (folder / "tools" / "shout.py").unlink()
    (folder / "agentkit.toml").write_text('model = "extractive"\n', encoding="utf-8")
    changes = take(folder).changes
    assert changes["tools/stock.py"] == "new"
    assert changes["tools/shout.py"] == "removed"
    (notice,) = Project.open(folder).notices
    assert "changed after it was trusted (" in notice
    assert "tools/stock.py" in notice
    trust(folder)
    assert take(folder).changes == {}


def test_the_demo_is_not_copied_over_something_else(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="has other contents"):
        copy_demo(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "program"),
    [
        ("tools/broken.py", "import nothing_like_this"),
        ("mcp_servers/echo.py", "raise SystemExit(3)"),
    ],
)
async def test_a_part_that_does_not_start_is_a_notice_and_the_rest_works(
    folder: Path, file: str, program: str
) -> None:
    (folder / file).write_text(program, encoding="utf-8")
    async with Project.open(folder, trust=True) as project:
        assert Path(file).stem in project.notices[0]
        assert "shout" in [tool.name for tool in project.agent.tools]


@pytest.mark.slow
async def test_a_folder_without_documents_still_has_its_tools(folder: Path) -> None:
    shutil.rmtree(folder / "knowledge")
    async with Project.open(folder, trust=True) as project:
        assert project.agent.knowledge is None
        assert "knowledge/" in project.notices[0]
        assert "shout" in [tool.name for tool in project.agent.tools]


async def test_a_run_can_name_a_model_of_the_settings(
    folder: Path, openai_server: OpenAIServer
) -> None:
    openai_server.replies(Reply(text("From the box.")))
    settings = f'model = "extractive"\n[providers.box]\nbase_url = "{openai_server.url}"\n'
    (folder / "agentkit.toml").write_text(settings, encoding="utf-8")
    shutil.rmtree(folder / "mcp_servers")
    async with Project.open(folder, trust=True) as project:
        answer = await project.agent.run("?", model="box:small", retrieval=Retrieval("never"))
        assert answer.text == "From the box."
        assert (await project.agent.run("?")).model == "extractive"


async def test_what_the_program_makes_is_ignored_by_git(folder: Path) -> None:
    await Project.open(folder).index()
    assert (folder / ".agentkit" / ".gitignore").read_text(encoding="utf-8") == "*\n"


async def test_a_base_url_without_a_model_there_is_an_error(folder: Path) -> None:
    with pytest.raises(ConfigError, match="openai:NAME"):
        async with Project.open(folder, model="auto", base_url="http://127.0.0.1:9/v1"):
            pass


async def test_indexing_a_folder_without_knowledge_says_what_to_make(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError, match="knowledge/"):
        await Project.open(tmp_path).index()


def test_a_missing_folder_and_a_wrong_setting_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a directory"):
        Project.open(tmp_path / "nowhere")
    (folder / "agentkit.toml").write_text('modle = "x"', encoding="utf-8")
    with pytest.raises(ConfigError, match="Did you mean 'model'"):
        Project.open(folder, trust=True)
    (folder / "agentkit.toml").write_text("model = ", encoding="utf-8")
    with pytest.raises(ConfigError, match="invalid TOML"):
        Project.open(folder, trust=True)


async def test_the_agent_outside_its_context_is_a_clear_error(folder: Path) -> None:
    with pytest.raises(ConfigError, match="async with"):
        _ = Project.open(folder).agent


@pytest.mark.slow
async def test_the_demos_agent_answers_through_its_own_mcp_server_alone(tmp_path: Path) -> None:
    demo = copy_demo(tmp_path / "demo")
    config = demo / "mcp_servers" / "mcp.json"
    servers = json.loads(config.read_text(encoding="utf-8"))
    servers["mcpServers"]["lecture_notes"]["disabled"] = False
    config.write_text(json.dumps(servers), encoding="utf-8")
    async with Project.open(demo, trust=True, model="extractive") as project:
        assert project.notices == []
        search = next(
            tool
            for tool in project.agent.tools
            if tool.name.startswith("lecture_notes__search_knowledge")
        )
        assert "教师模型" in (await search.run({"query": "什么是知识蒸馏？"})).prompt_text


@pytest.mark.parametrize(("refuse_below", "is_refused"), [(0.0, False), (1.0, True)])
async def test_the_settings_say_when_the_extractive_model_refuses(
    tmp_path: Path, refuse_below: float, is_refused: bool
) -> None:
    (tmp_path / "knowledge").mkdir()
    (tmp_path / "knowledge" / "a.md").write_text("K2 is 8611 metres high.\n", encoding="utf-8")
    settings = {"model": "extractive", "knowledge": {"refuse_below": refuse_below}}
    async with Project.open(tmp_path, overrides=settings) as project:
        own = await project.agent.run("How high is K2?")
        by_name = await project.agent.run("How high is K2?", model="extractive")
    assert [a.stop_reason == "refused" for a in (own, by_name)] == [is_refused, is_refused]
