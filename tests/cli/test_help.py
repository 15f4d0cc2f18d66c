"""`--help` and its page: every command has examples, and every example is a call that works."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit.cli.command import walk
from agentkit.cli.main import COMMANDS as TABLE
from agentkit.cli.main import command_line
from tests.cli.reference_page import MARK, PAGE, reference

DOCS = Path(__file__).parents[2] / "docs"
ROOT = command_line()
COMMANDS = dict(walk(ROOT))
EXAMPLES = [
    (words, line.strip())
    for words, command in COMMANDS.items()
    for line in (command.epilog or "").splitlines()[2:]
]


def _calls_of_the_pages() -> Iterator[str]:
    """The calls of agentkit in the shell code of README.md and docs/."""
    for page in (DOCS.parent / "README.md", *DOCS.rglob("*.md")):
        for block in re.findall(r"^```sh\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.M):
            for line in block.replace("\\\n", " ").splitlines():
                for call in re.findall(r"(?:^|\| |<\()(agentkit [^|>#)]+)", line):
                    yield " ".join(call.split())


def _parse(call: str) -> str:
    """Parse a call with the parser of its command, and return the words of the command."""
    _, *arguments = shlex.split(call, comments=True)
    command, path = ROOT, []
    while arguments and arguments[0] in getattr(command, "commands", {}):
        path.append(arguments.pop(0))
        command = command.commands[path[-1]]
    if path == ["eval"]:
        command = command.commands["run"]
    command.make_context("agentkit", arguments).close()
    return " ".join(path)


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
    path = _parse(call)
    assert not words or path == words.removesuffix(" run")


@pytest.mark.parametrize("call", sorted(set(_calls_of_the_pages())))
def test_a_command_of_a_page_is_understood(call: str) -> None:
    assert _parse(call)


def test_the_page_says_what_help_says() -> None:
    assert PAGE.read_text(encoding="utf-8").partition(MARK)[2] == reference(), (
        "python -m tests.cli.reference_page writes the page anew"
    )
