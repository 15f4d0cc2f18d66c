"""`--help` and its page: every command has examples, and every example is a call that works."""

import shlex

import pytest

from agentkit.cli.command import walk
from agentkit.cli.main import COMMANDS as TABLE
from agentkit.cli.main import command_line
from tests.cli.reference_page import MARK, PAGE, reference

ROOT = command_line()
COMMANDS = dict(walk(ROOT))
EXAMPLES = [
    (words, line.strip())
    for words, command in COMMANDS.items()
    for line in (command.epilog or "").splitlines()[2:]
]


def test_every_command_has_examples_and_says_what_it_is() -> None:
    alone = {words for words, command in COMMANDS.items() if not hasattr(command, "commands")}
    assert alone <= {words for words, _ in EXAMPLES}
    assert all(command.help for command in COMMANDS.values())


def test_the_list_of_commands_says_what_each_command_says_of_itself() -> None:
    assert {name: ROOT.commands[name].short_help for name in ROOT.commands} == {
        name: about for name, (_module, about) in TABLE.items()
    }


@pytest.mark.parametrize(("words", "line"), EXAMPLES)
def test_an_example_is_understood_by_the_command_it_stands_for(words: str, line: str) -> None:
    call = line.replace("source <(", "").rstrip(")").rpartition(" | ")[2].partition(" > ")[0]
    _, *arguments = shlex.split(call)
    command, path = ROOT, []
    while arguments and arguments[0] in getattr(command, "commands", {}):
        path.append(arguments.pop(0))
        command = command.commands[path[-1]]
    if path == ["eval"]:
        command = command.commands["run"]
    command.make_context("agentkit", arguments).close()
    assert not words or " ".join(path) == words.removesuffix(" run")


def test_the_page_says_what_help_says() -> None:
    assert PAGE.read_text(encoding="utf-8").partition(MARK)[2] == reference(), (
        "python -m tests.cli.reference_page writes the page anew"
    )
