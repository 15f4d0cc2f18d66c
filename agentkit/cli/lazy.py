"""A group of commands that builds one when it is asked for: of some fifty only one is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any, NamedTuple, Self

import typer
from typer.core import TyperGroup

from agentkit.cli.helping import commands, describe

COMPLETE = "_AGENTKIT_COMPLETE"
"""The variable by which a shell's script asks us what may come next."""

_HERE = "agentkit.cli"


class Entry(NamedTuple):
    """Where a command is, "module:name", and what a list of commands says of it."""

    place: str
    about: str


class Group(TyperGroup):
    """The commands of a table. `--help` lists them without building any."""

    table: Mapping[str, Entry] = {}

    def knowing(self, table: Mapping[str, Entry]) -> Self:
        """The group with these commands."""
        self.table, self.commands = table, _Built(table)
        describe(self, "")
        return self

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        rows = [(name, entry.about) for name, entry in self.table.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class _Built(MutableMapping[str, Any]):
    """Commands by name, each built at its first use."""

    def __init__(self, table: Mapping[str, Entry]) -> None:
        self._table = table
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = _command(name, self._table[name])
        return self._built[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._built[name] = command

    def __delitem__(self, name: str) -> None:
        del self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


def know_the_shells() -> None:
    """Let what the scripts of `agentkit completion` ask be understood."""
    from typer.completion import completion_init  # type: ignore[attr-defined]

    completion_init()


def _command(name: str, entry: Entry) -> Any:
    """A function or a group of the command line as click has it, described."""
    module, _, attribute = entry.place.partition(":")
    found = getattr(import_module(f"{_HERE}.{module}"), attribute)
    outer = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    if isinstance(found, typer.Typer):
        outer.add_typer(found, name=name)
    else:
        outer.command(name)(found)
    command: Any = typer.main.get_command(outer)
    command = getattr(command, "commands", {}).get(name, command)
    for words, each in commands(command, name):
        describe(each, words)
    return command
