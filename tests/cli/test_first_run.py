"""The first run: no model, no project. What a newcomer reads, and what is made for them."""

import os
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agentkit.answering.extractive import ExtractiveModel
from agentkit.backends.auto import AutoModel
from agentkit.cli.commands.init import project_folder
from agentkit.cli.project import show_model, show_model_advice
from agentkit.errors import ConfigError
from tests.cli.process import run_agentkit
from tests.cli.terminals import Terminal
from tests.servers.ollama_server import OllamaServer
from tests.servers.running import refused_url

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="needs a terminal of its own"),
    pytest.mark.slow,
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project that has been opened once."""
    (tmp_path / "app" / "knowledge").mkdir(parents=True)
    (tmp_path / "app" / ".agentkit").mkdir()
    return tmp_path / "app"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Opens the program in a terminal, in a home of its own; ended at the end."""
    opened = []

    def open_(*arguments: Any, **more: Any) -> Terminal:
        opened.append(Terminal(*arguments, HOME=str(tmp_path / "home"), **more))
        return opened[-1]

    (tmp_path / "home").mkdir()
    yield open_
    for each in opened:
        each.kill()


def _alone(ollama: str = "", servers: dict[str, str] | None = None) -> AutoModel:
    """A machine where nothing answers but what is named."""
    return AutoModel(
        ExtractiveModel, ollama=ollama or refused_url(), servers=servers or {"vllm": refused_url()}
    )


async def _advice(model: AutoModel | ExtractiveModel, folder: Path, width: int = 200) -> list[str]:
    output = StringIO()
    await show_model(model, folder, Console(file=output, width=width))
    return output.getvalue().splitlines()


async def test_the_first_run_without_a_model_says_in_five_lines_what_can_be_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "DEEPSEEK_API_KEY", "MOONSHOT_API_KEY", "DASHSCOPE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    lines = await _advice(_alone(), folder)
    assert len(lines) == 5
    assert lines[0].startswith("No language model was found: the extractive model quotes")
    assert lines[1].startswith("No answer from Ollama :")
    assert "vLLM :" in lines[1]
    assert lines[2].endswith("ollama pull qwen3:4b")
    assert lines[3].endswith("set OPENAI_API_KEY, then: --model openai:gpt-5-mini")
    assert "--model gguf:smollm2 (weak, English)" in lines[4]


async def test_the_five_lines_fit_a_terminal_of_eighty_columns(folder: Path) -> None:
    servers = {"lmstudio": "http://127.0.0.1:9/v1", "llamacpp": "http://127.0.0.1:99/v1",
               "vllm": "http://127.0.0.1:999/v1"}  # fmt: skip
    lines = await _advice(_alone(servers=servers), folder)
    assert [line for line in lines[:4] if len(line) > 80] == []


async def test_on_fifty_columns_each_way_folds_beside_its_label(folder: Path) -> None:
    output = StringIO()
    console = Console(file=output, width=50, force_terminal=True, color_system=None)
    await show_model(_alone(), folder, console)
    ways = output.getvalue().partition("  With Ollama")[2].splitlines()
    labels = ("  Online", "  A small model")
    assert [x for x in ways[1:] if not x.startswith((*labels, " " * 17)) and x.strip()] == []
    assert max(map(len, output.getvalue().splitlines()[2:])) <= 50


async def test_a_later_run_says_it_in_one_line(folder: Path) -> None:
    await _advice(_alone(), folder)
    (line,) = await _advice(_alone(), folder)
    assert line == "model: extractive (no model was found)"


async def test_a_folder_that_cannot_be_written_gets_one_line_each_time(tmp_path: Path) -> None:
    assert len(await _advice(_alone(), tmp_path / "nowhere")) == 1


async def test_programs_get_one_line_even_at_first(folder: Path) -> None:
    output = StringIO()
    await show_model(_alone(), folder, Console(file=output, width=200), brief=True)
    assert output.getvalue().count("\n") == 1
    assert len(await _advice(_alone(), folder)) == 5


async def test_an_ollama_without_a_model_needs_only_the_pull(
    folder: Path, ollama_server: OllamaServer
) -> None:
    ollama_server.models = []
    lines = await _advice(_alone(ollama_server.url), folder)
    assert "Ollama :" in lines[1]
    assert "(no chat model)" in lines[1]
    assert lines[2].rstrip() == "  With Ollama    ollama pull qwen3:4b"


async def test_a_key_that_is_set_is_named_and_not_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k-secret")
    lines = await _advice(_alone(), folder)
    assert lines[3].endswith("OPENAI_API_KEY is set: --model openai:gpt-5-mini uses it")
    assert "k-secret" not in "".join(lines)


async def test_a_model_that_was_found_is_reported_in_one_line(
    folder: Path, ollama_server: OllamaServer
) -> None:
    model = _alone(ollama_server.url)
    assert await _advice(model, folder) == [
        f"model: ollama:small (the most recently changed on {ollama_server.url})"
    ]
    await model.close()


async def test_of_a_model_that_the_user_named_nothing_is_stated(folder: Path) -> None:
    assert await _advice(ExtractiveModel(), folder) == []
    assert not await show_model_advice(ExtractiveModel(), folder, Console(file=StringIO()))


def test_a_project_is_taken_as_it_is(folder: Path) -> None:
    assert project_folder(folder, Console(file=StringIO())) == folder


def test_a_folder_that_is_not_there_is_named_with_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not a directory.*agentkit init .*gone"):
        project_folder(tmp_path / "gone", Console(file=StringIO()))


@pytest.mark.parametrize("command", [["ask", "why?"], ["chat"]])
def test_without_a_terminal_both_ways_are_named_and_nothing_is_made(
    tmp_path: Path, command: list[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = run_agentkit(*command, "-C", empty)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert f"agentkit init {empty}" in done.stderr
    assert "agentkit demo" in done.stderr
    assert list(empty.iterdir()) == []


def test_a_newcomer_makes_a_project_of_notes_and_has_an_answer(
    tmp_path: Path, terminal: Any
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "plan.md").write_text("# Plan\n\nThe index is kept in SQLite.\n", encoding="utf-8")
    screen = terminal("ask", "Where is the index kept?", "-C", notes, "-m", "extractive")
    screen.expect("1  make it a project (1 document here)")
    screen.expect("Enter to change nothing:")
    screen.child.send("1\r")
    screen.expect("into it: plan.md? [y/N]")
    screen.child.send("y\r")
    assert screen.close() == 0
    assert "Moved into knowledge/: plan.md." in screen.whole
    assert "The index is kept in SQLite. [1]" in screen.whole
    assert not (notes / "knowledge" / "welcome.md").exists()


def test_a_new_project_without_documents_says_what_comes_next(
    tmp_path: Path, terminal: Any
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    screen = terminal("chat", "-C", empty)
    screen.expect("Enter to change nothing:")
    screen.child.send("1\r")
    assert screen.close() == 0
    assert "Next: put your documents into knowledge/, and ask again." in screen.whole
    assert (empty / "agentkit.toml").is_file()


def test_in_the_home_folder_a_new_folder_is_made(tmp_path: Path, terminal: Any) -> None:
    home = tmp_path / "home"
    screen = terminal("chat", "-C", home)
    screen.expect("1  make a project in my-app/")
    (home / "private.md").write_text("mine", encoding="utf-8")
    screen.child.send("1\r")
    assert screen.close() == 0
    assert "Next: cd my-app, put your documents into knowledge/" in screen.whole
    assert sorted(path.name for path in home.iterdir()) == ["my-app", "private.md"]


def test_enter_leaves_all_as_it_is(tmp_path: Path, terminal: Any) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    screen = terminal("ask", "why?", "-C", empty)
    screen.expect("Enter to change nothing:")
    screen.press("enter")
    assert screen.close() == 3
    assert list(empty.iterdir()) == []


def test_the_demo_can_be_looked_at_first(tmp_path: Path, terminal: Any) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    screen = terminal("ask", "x", "-C", empty, "-m", "nonsense")
    screen.expect("Enter to change nothing:")
    screen.child.send("2\r")
    screen.expect("Unknown model")
    assert screen.close() == 3
    assert (empty / "agentkit-demo" / "knowledge" / "lecture_notes").is_dir()
