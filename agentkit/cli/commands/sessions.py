"""`agentkit sessions`: list, find, print, export, rename, copy and delete past conversations."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.table import Table
from rich.text import Text
from typer import Argument, Option

from agentkit.cli.command import Folder, Json, Yes, command, complete_sessions, group
from agentkit.cli.console import confirm, open_consoles, print_json, print_table
from agentkit.cli.i18n import _
from agentkit.cli.text import shorten, strip_controls
from agentkit.errors import ConfigError, file_error
from agentkit.findings import for_folder, quantity
from agentkit.text.hidden import escape_json

if TYPE_CHECKING:
    from agentkit.agent.session_store import SessionInfo, SessionStore

_EXCERPT = 100
_NARROW = 64
"""Columns of a terminal below which the number of messages is left out."""

app = group("sessions", _("List, find, export, rename, copy and delete past conversations."))

SessionKey = Annotated[
    str,
    Argument(
        help=_("Its id or name, the beginning of either, or last."),
        autocompletion=complete_sessions,
    ),
]


@command(app, "list", _("List the conversations, most recent first."), "agentkit sessions list")
async def list_sessions(folder: Folder = Path(), json: Json = False) -> None:
    with closing(_open_store(folder)) as store:
        found = store.recent()
    if json:
        print_json([asdict(info) for info in found])
    else:
        _print_sessions(found)


@command(
    app, "search", _("Find the conversations that contain a text."),
    "agentkit sessions search 'attention'",
)  # fmt: skip
async def search(
    words: Annotated[str, Argument(help=_("The text to look for."))],
    folder: Folder = Path(),
    json: Json = False,
) -> None:
    with closing(_open_store(folder)) as store:
        found = store.search(words)
    if json:
        print_json([{**asdict(info), "said": text} for info, text in found])
        return
    out, log = open_consoles()
    if not found:
        log.print(Text("no conversation contains that", "dim"))
    for info, text in found:
        out.print(Text(f"{info.id}  {info.name}", "bold"))
        out.print(Text(f"    {shorten(text, _EXCERPT)}"))


@command(
    app, "show", _("Print a conversation as Markdown, or as JSON."), "agentkit sessions show last"
)
async def show(session: SessionKey = "last", folder: Folder = Path(), json: Json = False) -> None:
    written = _export(session, folder, json)
    print(escape_json(written) if json else strip_controls(written), end="")


@command(
    app, "export", _("Write a conversation to a file: JSON for .json, else Markdown."),
    "agentkit sessions export thesis thesis.md",
)  # fmt: skip
async def export(
    session: SessionKey,
    file: Annotated[Path, Argument(help=_("Such as talk.md, or talk.json."))],
    folder: Folder = Path(),
) -> None:
    text = _export(session, folder, file.suffix == ".json")
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(file_error(file, error, "written")) from error
    open_consoles()[1].print(Text(f"written to {file}", "dim"))


@command(app, "rename", _("Rename a conversation."), "agentkit sessions rename last thesis")
async def rename(
    session: SessionKey,
    name: Annotated[str, Argument(help=_("The new name."))],
    folder: Folder = Path(),
) -> None:
    with closing(_open_store(folder)) as store:
        store.rename(session, name)


@command(
    app, "fork", _("Copy a conversation, and print the id of the copy."),
    "agentkit sessions fork thesis --name thesis-2",
)  # fmt: skip
async def fork(
    session: SessionKey,
    name: Annotated[str, Option(help=_("The copy's name."))] = "",
    folder: Folder = Path(),
) -> None:
    with closing(_open_store(folder)) as store, closing(store.fork(session, name)) as copy:
        print(copy.id)


@command(app, "delete", _("Delete a conversation."), "agentkit sessions delete thesis")
async def delete(session: SessionKey, folder: Folder = Path(), yes: Yes = False) -> None:
    with closing(_open_store(folder)) as store:
        info = store.find(session)
        if confirm(f"Delete {info.name!r} with its {quantity(info.messages, 'message')}?", yes=yes):
            store.delete(info.id)


def _export(session: str, folder: Path, json: bool) -> str:
    from agentkit.agent.session_export import as_json, as_markdown

    with closing(_open_store(folder)) as store:
        write = as_json if json else as_markdown
        return write(store.read(session), store.find(session).name)


def _open_store(folder: Path) -> SessionStore:
    from agentkit.agent.session_store import SessionStore
    from agentkit.project.project import sessions_path

    path = sessions_path(folder)
    if not path.is_file():
        raise ConfigError(
            f"{folder} has no sessions yet. Start one: {for_folder('agentkit chat', folder, '-C')}"
        )
    return SessionStore(path)


def _print_sessions(found: Sequence[SessionInfo]) -> None:
    out, _log = open_consoles()
    has_counts = out.soft_wrap or out.width >= _NARROW
    table = Table(box=None, pad_edge=False)
    table.add_column("last used", no_wrap=True, min_width=len("2026-01-01 12:00"))
    table.add_column("id", no_wrap=True, min_width=len("20260101-120000-abcdef"))
    if has_counts:
        table.add_column("messages", justify="right", no_wrap=True)
    table.add_column("name", overflow="ellipsis", no_wrap=True)
    for info in found:
        count = [str(info.messages)] if has_counts else []
        used = info.updated[:16].replace("T", " ")
        table.add_row(used, info.id, *count, Text(info.name))
    print_table(table, out)
