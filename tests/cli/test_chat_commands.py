"""The commands of the chat: each is explained, on the screen and on its page, and does its work."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rich.console import Console

from agentkit.answering.extractive import ExtractiveModel
from agentkit.backends.scripted import ScriptedModel
from agentkit.cli.chat.approval import AllowedTools
from agentkit.cli.chat.commands.agent import SETTINGS, ChatSetting
from agentkit.cli.chat.commands.table import COMMANDS, run_command
from agentkit.cli.chat.conversation import Chat, QuitChat
from agentkit.documents import Chunk, Document
from agentkit.errors import ConfigError
from agentkit.project.project import Project
from tests.cli.chat_page import PAGE, page
from tests.cli.screens import written_to


@pytest.fixture
async def chat(tmp_path: Path) -> AsyncIterator[Chat]:
    """A chat over one document."""
    (tmp_path / "knowledge").mkdir()
    (tmp_path / "knowledge" / "notes.md").write_text("K2 is 8611 metres high.\n", encoding="utf-8")
    async with Project.open(tmp_path, model="extractive") as project:
        project.agent.model = ScriptedModel(["Yes."] * 9)
        out = Console(file=io.StringIO(), width=100)
        yield Chat(project, out, out, AllowedTools(tmp_path / "approvals.json"))


def _output_of(chat: Chat) -> str:
    return written_to(chat.out)


def test_the_page_of_the_chat_has_its_commands_and_settings() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.cli.chat_page"


@pytest.mark.parametrize("name", COMMANDS)
async def test_every_command_explains_itself(chat: Chat, name: str) -> None:
    await run_command(COMMANDS, chat, f"/help {name}")
    assert f"/{name}" in _output_of(chat)
    assert COMMANDS[name].about in _output_of(chat)


@pytest.mark.parametrize(("wrong", "near"), [("rety", "retry"), ("sorces", "sources")])
async def test_an_unknown_command_names_the_nearest(chat: Chat, wrong: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"Did you mean /{near}"):
        await run_command(COMMANDS, chat, f"/{wrong}")


@pytest.mark.parametrize("line", ["/quit", "/exit", "/bye", "/q"])
async def test_words_of_other_chats_leave_too(chat: Chat, line: str) -> None:
    with pytest.raises(QuitChat):
        await run_command(COMMANDS, chat, line)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
async def test_every_setting_takes_its_own_example_and_shows_it(
    chat: Chat, setting: ChatSetting
) -> None:
    await run_command(COMMANDS, chat, f"/set {setting.name} {setting.example}")
    assert f"{setting.name} is {setting.example}" in _output_of(chat).replace(".0 for", " for")


@pytest.mark.parametrize("line", ["k 0", "k 51", "k many", "turns none", "temperature 3",
                                  "strict 1", "retrieve sometimes", "seconds -1"])  # fmt: skip
async def test_a_value_that_does_not_fit_is_refused_with_one_that_would(
    chat: Chat, line: str
) -> None:
    with pytest.raises(ConfigError, match=r"Invalid value .* Example: /set"):
        await run_command(COMMANDS, chat, f"/set {line}")


async def test_a_setting_can_be_left_to_the_model_again(chat: Chat) -> None:
    await run_command(COMMANDS, chat, "/set temperature 0.5")
    await run_command(COMMANDS, chat, "/set temperature none")
    assert chat.project.agent.options.temperature is None


async def test_a_chat_that_never_searches_gives_the_model_no_tools_for_documents(
    chat: Chat,
) -> None:
    def names() -> set[str]:
        return {tool.name for tool in chat.project.agent.offered_tools}

    before = names()
    await run_command(COMMANDS, chat, "/set retrieve never")
    assert "search_knowledge" not in names()
    await run_command(COMMANDS, chat, "/set retrieve auto")
    assert names() == before


async def test_the_number_of_passages_holds_for_the_first_search_and_for_the_models_own(
    chat: Chat,
) -> None:
    await run_command(COMMANDS, chat, "/set k 3")
    search = next(t for t in chat.project.agent.offered_tools if t.name == "search_knowledge")
    assert chat.project.agent.retrieval.results == 3
    assert search.parameters["properties"]["k"]["default"] == 3


async def test_the_figures_of_the_bar_can_be_asked_for(chat: Chat) -> None:
    await chat.answer("How high is K2?")
    await run_command(COMMANDS, chat, "/status")
    assert "scripted" in _output_of(chat)
    assert "tokens" in _output_of(chat)


async def test_a_model_that_only_quotes_uses_no_tokens(chat: Chat) -> None:
    chat.project.agent.model = ExtractiveModel()
    await chat.answer("How high is K2?")
    assert chat.meter.parts == []


@pytest.mark.parametrize(
    ("start", "first"),
    [
        ("Passage.", "Sentence 41."),
        ("Sentence 1.", "Sentence 0."),
    ],
)
async def test_a_passage_is_opened_with_whole_sentences_around_it(
    chat: Chat, start: str, first: str
) -> None:
    before = " ".join(f"Sentence {number}." for number in range(71))
    text = f"{before} Passage. {'And more words come after it. ' * 40}"
    knowledge = chat.project.agent.knowledge
    assert knowledge is not None
    await knowledge.add([Document("long.md", text, "Long")])
    at = text.index(start)
    chunk = Chunk("1", "long.md", "long.md", "Long", "", start, at, at + len(start))
    number = chat.session.sources.mark(chunk)
    await run_command(COMMANDS, chat, f"/open {number}")
    shown = _output_of(chat).split("\n", 1)[1].strip()
    assert shown.startswith(first)
    assert start in shown
    assert shown.endswith(".")


async def test_a_passage_of_another_index_is_shown_as_it_was_read(chat: Chat) -> None:
    chunk = Chunk("1", "wiki:a.md", "wiki:a.md", "A", "", "Some text.", 50, 60)
    number = chat.session.sources.mark(chunk)
    await run_command(COMMANDS, chat, f"/open {number}")
    assert "not in this index" in _output_of(chat)
    assert "changed" not in _output_of(chat)
    assert "Some text." in _output_of(chat)


@pytest.mark.parametrize(("query", "is_doubted"), [("asdkjh", True), ("K2 metres", False)])
async def test_a_search_of_which_no_word_occurs_is_doubted(
    chat: Chat, query: str, is_doubted: bool
) -> None:
    await run_command(COMMANDS, chat, f"/search {query}")
    assert ("No word of the query occurs" in _output_of(chat)) == is_doubted


async def test_two_settings_that_are_near_are_distinguished(chat: Chat) -> None:
    with pytest.raises(ConfigError, match="Did you mean temperature"):
        await run_command(COMMANDS, chat, "/set temprature 1")
