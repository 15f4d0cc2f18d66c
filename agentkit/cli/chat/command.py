"""What a command of the chat is, and how one is found, explained and run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from rich.padding import Padding
from rich.text import Text

from agentkit.cli.chat.conversation import Chat
from agentkit.errors import ConfigError

Function = Callable[[Chat, str], Awaitable[None]]
"""Does the work; the text is what stands behind the command's name."""


@dataclass(frozen=True, slots=True)
class Command:
    """`about` is one line, `more` what `/help NAME` adds to it."""

    name: str
    usage: str
    about: str
    function: Function
    more: str = ""


Commands = Mapping[str, Command]


def table(*commands: Command) -> Commands:
    """Commands by name, `/help` among them."""

    async def help_(chat: Chat, argument: str) -> None:
        _help(chat, argument, found)

    about = "list the commands, or explain one"
    first = Command("help", "[COMMAND]", about, help_, "For example: /help open")
    found = {command.name: command for command in (first, *commands)}
    return found


async def run(commands: Commands, chat: Chat, line: str) -> None:
    """Run a line that begins with "/"; `/server:prompt` is a prompt of a server. Raises ConfigError
    where no command is called so."""
    name, _, argument = line[1:].partition(" ")
    if ":" in name:
        name, argument = "prompts", line[1:]
    await _named(commands, name.strip()).function(chat, argument.strip())


def _named(commands: Commands, name: str) -> Command:
    if name in commands:
        return commands[name]
    near = get_close_matches(name, commands, n=1)
    hint = f"did you mean /{near[0]}? " if near else ""
    raise ConfigError(f"/{name} is no command: {hint}/help lists all.")


def _help(chat: Chat, argument: str, commands: Commands) -> None:
    if argument:
        command = _named(commands, argument.removeprefix("/"))
        chat.out.print(Text(f"/{command.name} {command.usage}".rstrip(), "bold"))
        chat.out.print(Text("\n".join(filter(None, [command.about, command.more]))))
        return
    width = max(len(_title(command)) for command in commands.values())
    is_narrow = chat.out.width < width + 60
    for command in commands.values():
        title = Text(f"  {_title(command).ljust(width)}", "bold")
        if is_narrow:
            chat.out.print(title)
            chat.out.print(Padding(command.about, (0, 0, 0, 6)))
        else:
            chat.out.print(title.append(f"  {command.about}", "not bold"))
    chat.out.print(
        Text(
            "\nAlt-Enter begins a new line, and so does Enter after an opening "
            '""". @name attaches a document, a text file or an image. Ctrl-C stops the model; '
            "twice, it leaves, as Ctrl-D does.",
            "dim",
        )
    )


def _title(command: Command) -> str:
    return f"/{command.name} {command.usage}".rstrip()
