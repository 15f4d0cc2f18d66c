"""`--help` and its page: every command has examples, and every example is a call that works."""

import shlex
from typing import Any

import pytest

from agentkit.cli.app import command_line
from agentkit.cli.examples import EXAMPLES
from agentkit.cli.helping import commands
from tests.cli.reference_page import MARK, PAGE, made

ROOT = command_line()
COMMANDS = dict(commands(ROOT))
LINES = [(words, line) for words, lines in EXAMPLES.items() for line in lines]


def test_every_command_has_examples_and_says_what_it_is() -> None:
    alone = {words for words, command in COMMANDS.items() if not hasattr(command, "commands")}
    assert alone <= EXAMPLES.keys() <= COMMANDS.keys()
    assert all(command.help for words, command in COMMANDS.items() if words)


@pytest.mark.parametrize(("words", "line"), LINES)
def test_an_example_is_understood_by_the_command_it_stands_for(words: Any, line: Any) -> None:
    said = line.replace("source <(", "").rstrip(")").rpartition(" | ")[2].partition(" > ")[0]
    _, *arguments = shlex.split(said)
    command, path = ROOT, []
    while arguments and arguments[0] in getattr(command, "commands", {}):
        path.append(arguments.pop(0))
        command = command.commands[path[-1]]
    if path == ["eval"]:
        command = command.commands["run"]
    command.make_context("agentkit", arguments).close()
    assert not words or " ".join(path) == words.removesuffix(" run")


def test_the_page_says_what_help_says() -> None:
    assert PAGE.read_text(encoding="utf-8").partition(MARK)[2] == made(), (
        "python -m tests.cli.reference_page writes the page anew"
    )
