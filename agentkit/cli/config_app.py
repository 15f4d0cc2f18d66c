"""The command lines of `agentkit config`: see, change and explain the settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from agentkit.cli import complete
from agentkit.cli.options import Folder, Json, finish, group

config = group("See and change the settings, and where each comes from.")
key = group("Keep a provider's key in the system's keyring.")
config.add_typer(key, name="key")

_NO_PLUGINS = ("PYDANTIC_DISABLE_PLUGINS", "__all__")
"""pydantic looks through all installed packages for plugins, which takes longer than our work."""

Key = Annotated[
    str,
    typer.Argument(
        help="Such as knowledge.results or providers.work.base_url.",
        autocompletion=complete.settings,
    ),
]
User = Annotated[bool, typer.Option("--user", help="In your own file, for all folders.")]
Provider = Annotated[str, typer.Argument(help="Such as openai, or one of your own.")]


@config.command()
def show(
    key: Annotated[
        str,
        typer.Argument(
            help="One setting or table; all without it.", autocompletion=complete.settings
        ),
    ] = "",
    folder: Folder = Path(),
    origin: Annotated[bool, typer.Option("--origin", help="Say who gave each value.")] = False,
    json: Json = False,
) -> None:
    """Print the settings that hold here, as TOML; of a key only whether it is there."""
    os.environ.setdefault(*_NO_PLUGINS)
    from agentkit.cli import config as command

    finish(lambda: command.show(folder, key, origin, json))


@config.command(name="set")
def set_value(
    key: Key,
    value: Annotated[str, typer.Argument(help='Text, or TOML such as 8, true or ["a", "b"].')],
    folder: Folder = Path(),
    user: User = False,
) -> None:
    """Write one setting into agentkit.toml; comments and layout stay."""
    from agentkit.cli import config_edit as command

    finish(lambda: command.set_value(folder, key, value, user))


@config.command()
def unset(key: Key, folder: Folder = Path(), user: User = False) -> None:
    """Take one setting out of agentkit.toml."""
    from agentkit.cli import config_edit as command

    finish(lambda: command.unset(folder, key, user))


@config.command()
def path(folder: Folder = Path()) -> None:
    """Print which files settings are read from."""
    from agentkit.cli import config as command

    finish(lambda: command.path(folder))


@config.command()
def schema() -> None:
    """Print the JSON Schema of agentkit.toml, for editors."""
    from agentkit.cli import config as command

    finish(command.schema)


@key.command(name="set")
def set_key(provider: Provider, folder: Folder = Path()) -> None:
    """Store a key: typed without echo, or the first line of standard input."""
    from agentkit.cli import config_key as command

    finish(lambda: command.set_key(folder, provider))


@key.command(name="remove")
def remove_key(provider: Provider, folder: Folder = Path()) -> None:
    """Take a key out of the keyring."""
    from agentkit.cli import config_key as command

    finish(lambda: command.remove_key(folder, provider))
