"""What a command of the chat is, and how one is found, explained and run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby

from rich.padding import Padding
from rich.text import Text

from agentkit.cli.chat.conversation import Chat
from agentkit.cli.language import translated
from agentkit.cli.render import print_rows
from agentkit.errors import ConfigError

Function = Callable[[Chat, str], Awaitable[None]]
"""Does the work; the text is what stands behind the command's name."""

_WIDE = 72
"""Columns from which on the list of commands has room for what follows each."""
_KEYS = (
    'Alt-Enter begins a new line, and so does Enter after an opening """.',
    "@name sends a document, a text file or an image with the message.",
    "Ctrl-C stops the model; twice, it leaves, as Ctrl-D does.",
    "/help COMMAND says more about one.",
)


@dataclass(frozen=True, slots=True)
class Command:
    """`about` is one line, `more` what `/help NAME` adds to it; `also` are other names for it, and
    `group` is the heading under which it is listed."""

    group: str
    name: str
    usage: str
    about: str
    function: Function
    more: str = ""
    also: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """How it is written."""
        return f"/{self.name} {self.usage}".rstrip()


Commands = Mapping[str, Command]


def table(*commands: Command) -> Commands:
    """Commands by name, `/help` last among them."""

    async def help_(chat: Chat, argument: str) -> None:
        _help(chat, argument, found)

    about = "list the commands, or explain one"
    last = Command("Here", "help", "[COMMAND]", about, help_, "For example: /help open", ("?", "h"))
    found = {command.name: command for command in (*commands, last)}
    return found


async def run(commands: Commands, chat: Chat, line: str) -> None:
    """Run a line that begins with "/"; `/server:prompt` is a prompt of a server. Raises ConfigError
    where no command is called so."""
    name, _, argument = " ".join(line[1:].split("\n")).partition(" ")
    if ":" in name:
        name, argument = "prompts", line[1:]
    await _named(commands, name.strip()).function(chat, argument.strip())


def _named(commands: Commands, name: str) -> Command:
    for command in commands.values():
        if name == command.name or name in command.also:
            return command
    near = get_close_matches(name, commands, n=1)
    hint = f" Did you mean /{near[0]}?" if near else ""
    raise ConfigError(f"There is no command /{name}.{hint} /help lists all.")


def _help(chat: Chat, argument: str, commands: Commands) -> None:
    if argument:
        _explain(chat, _named(commands, argument.removeprefix("/")))
        return
    is_wide = chat.out.width >= _WIDE
    width = max(len(_called(command, is_wide)) for command in commands.values())
    for group, members in groupby(commands.values(), lambda command: command.group):
        chat.out.print(Text(translated(group), "bold"))
        rows = [
            (Text(f"  {_called(command, is_wide)}"), Text(translated(command.about), "dim"))
            for command in members
        ]
        print_rows(rows, chat.out, width=width + 2)
    chat.out.print(Text("\n" + "\n".join(map(translated, _KEYS)), "dim"))


def _called(command: Command, is_wide: bool) -> str:
    return command.title if is_wide else f"/{command.name}"


def _explain(chat: Chat, command: Command) -> None:
    chat.out.print(Text(command.title, "bold"))
    also = f"Also: {', '.join(f'/{name}' for name in command.also)}." if command.also else ""
    for line in filter(None, (command.about, command.more, also)):
        text = Text(translated(line))
        whole = Text("  ").append_text(text) if chat.out.soft_wrap else None
        chat.out.print(whole or Padding(text, (0, 0, 0, 2), expand=False))
