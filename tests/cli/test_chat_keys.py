"""Keys in a real terminal, the ways to leave, and terminals that must not be painted on."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentkit.cli.chat.conversation import Interrupts
from tests.cli.terminals import Terminal

pytestmark = pytest.mark.slow

PAINTED = re.compile(rb"\x1b\[\d*[ABFHJ]|\x1b\[\d+;\d+[Hf]")
"""The cursor goes up or elsewhere, or what stands there is wiped away."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "knowledge").mkdir()
    (tmp_path / "knowledge" / "notes.md").write_text("K2 is 8611 metres high.\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def chat(folder: Path) -> Iterator[Callable[..., Terminal]]:
    """Starts a chat, and ends it after the test."""
    started = []

    def start(*options: Any, **more: Any) -> Terminal:
        arguments = ("chat", "-C", folder, "-m", "extractive", *options)
        started.append(Terminal(*arguments, **more))
        return started[-1]

    yield start
    for terminal in started:
        terminal.kill()


def test_keys_pressed_while_it_starts_are_the_first_line(chat: Any) -> None:
    talk = chat()
    talk.until(lambda: talk.written != b"", "anything")
    talk.child.send("How high is K2?")
    talk.until(lambda: talk.line == "› How high is K2?", "the line")
    assert talk.text.count("How high is K2?") == 1


@pytest.mark.parametrize("expected", ["/quit", "/exit", "exit", "quit"])
def test_there_are_many_words_for_leaving(chat: Any, expected: str) -> None:
    talk = chat()
    talk.ready()
    talk.say(expected)
    assert talk.close() == 0


def _open_quote(chat: Any, *options: Any, prompt: str, **environment: Any) -> Terminal:
    talk: Terminal = chat(*options, **environment)
    talk.until(lambda: talk.line == prompt, "the prompt")
    talk.child.send("How high is K2?\r")
    talk.expect("(characters 0-23)")
    talk.until(lambda: talk.line == prompt, "the prompt")
    talk.child.send("/open 1\r")
    talk.expect(">>K2 is 8611 metres high.<<")
    talk.until(lambda: talk.line == prompt, "the prompt")
    return talk


@pytest.mark.parametrize(
    ("options", "environment", "prompt"),
    [(["--plain"], {}, ">"), ([], {"AGENTKIT_SCREEN_READER": "1"}, ">"),
     ([], {"TERM": "dumb"}, ">")],
)  # fmt: skip
def test_who_listens_to_the_screen_is_reported_each_thing_once(
    chat: Any, options: Any, environment: Any, prompt: str
) -> None:
    talk = _open_quote(chat, *options, prompt=prompt, **environment)
    answer = talk.written.partition(b"search_knowledge")[2].partition(b"characters")[0]
    assert not PAINTED.search(answer)
    assert talk.text.count("K2 is 8611 metres high. [1]") == 1
    talk.press("ctrl-c")
    talk.expect("Ctrl-C once more leaves")
    talk.press("ctrl-c")
    assert talk.close() == 0


def test_no_color_has_no_colours(chat: Any) -> None:
    talk = chat(NO_COLOR="1")
    talk.ready()
    talk.tell("How high is K2?")
    talk.press("ctrl-d")
    assert talk.close() == 0
    assert not re.search(rb"\x1b\[(?:\d+;)*(?:[349]\d|10\d)[;\dm]*m", talk.written)


def test_a_terminal_of_twenty_columns_and_six_rows_is_enough(chat: Any) -> None:
    talk = chat(columns=20, rows=6)
    talk.ready()
    talk.tell("How high is K2?")
    talk.tell("/open 1")
    talk.press("ctrl-d")
    assert talk.close() == 0
    assert "Traceback" not in talk.whole


def test_ctrl_c_leaves_only_when_it_comes_twice_in_a_row() -> None:
    interrupts = Interrupts()
    assert not interrupts.press()
    interrupts.reset()
    assert not interrupts.press()
    assert interrupts.press()


def test_typing_after_ctrl_c_means_that_the_user_stays(chat: Any) -> None:
    talk = chat()
    talk.ready()
    talk.press("ctrl-c")
    talk.expect("Ctrl-C once more leaves")
    talk.type("no")
    talk.expect("extractive · ")
    talk.press("ctrl-c")
    talk.ready()
    talk.press("ctrl-c")
    talk.expect("Ctrl-C once more leaves")
    talk.press("ctrl-c")
    assert talk.close() == 0
