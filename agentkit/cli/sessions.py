"""`agentkit sessions`: past conversations in the terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from rich.table import Table
from rich.text import Text

from agentkit.agent.export import as_json as session_as_json
from agentkit.agent.export import as_markdown
from agentkit.agent.session_store import SessionInfo, SessionStore
from agentkit.cli.language import translated
from agentkit.cli.output import as_json
from agentkit.cli.render import consoles
from agentkit.errors import ConfigError
from agentkit.project.project import sessions_path

_SHOWN = 100

_WIDTH_OF_A_PIPE = 2000
_NARROW = 64
"""Columns of a terminal below which messages are not counted."""


async def list_sessions(folder: Path, json: bool) -> int:
    """A line for each conversation."""
    with closing(_store(folder)) as store:
        _show(store.recent(), json)
    return 0


async def search(words: str, folder: Path, json: bool) -> int:
    """A line for each conversation in which the words were said, with what was said."""
    with closing(_store(folder)) as store:
        found = store.search(words)
    if json:
        print(as_json([{**asdict(info), "said": said} for info, said in found]))
        return 0
    out, log = consoles()
    if not found:
        log.print(Text(translated("nothing of that kind was said"), "dim"))
    for info, said in found:
        line = " ".join(said.split())
        out.print(f"{info.id}  {info.name}", style="bold", markup=False)
        out.print(f"    {line[:_SHOWN]}{'…' if len(line) > _SHOWN else ''}", markup=False)
    return 0


async def export(which: str, folder: Path, file: Path | None, json: bool) -> int:
    """A conversation as Markdown or JSON, to a file or to standard output."""
    with closing(_store(folder)) as store:
        info = store.find(which)
        session = store.read(which)
    text = session_as_json(session, info.name) if json else as_markdown(session, info.name)
    if file is None:
        print(text, end="")
        return 0
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}") from error
    consoles()[1].print(Text(translated(f"written to {file}"), "dim"))
    return 0


async def rename(which: str, name: str, folder: Path) -> int:
    """A new name."""
    with closing(_store(folder)) as store:
        store.rename(which, name)
    return 0


async def fork(which: str, name: str, folder: Path) -> int:
    """A copy, whose id is printed."""
    with closing(_store(folder)) as store:
        session = store.fork(which, name)
        print(session.id)
        session.close()
    return 0


async def delete(which: str, folder: Path, yes: bool) -> int:
    """Forget, after asking; nobody to ask means no."""
    with closing(_store(folder)) as store:
        info = store.find(which)
        if not yes:
            if not sys.stdin.isatty():
                raise ConfigError(f"Nobody can be asked here. To forget {info.name!r} add --yes.")
            asked = translated(f"Forget {info.name!r} with its {info.messages} messages?")
            said = await asyncio.to_thread(input, f"{asked} [y/N] ")
            if said.strip().lower() not in ("y", "yes"):
                return 0
        store.delete(info.id)
    return 0


def _store(folder: Path) -> SessionStore:
    path = sessions_path(folder)
    if not path.is_file():
        raise ConfigError(f"{folder} has no sessions yet. Start one: agentkit chat.")
    return SessionStore(path)


def _show(found: Sequence[SessionInfo], json: bool) -> None:
    if json:
        print(as_json([asdict(info) for info in found]))
        return
    out, _ = consoles()
    counts = not out.is_terminal or out.width >= _NARROW
    table = Table(box=None, pad_edge=False)
    table.add_column(translated("last used"), no_wrap=True, min_width=len("2026-01-01 12:00"))
    table.add_column("id", no_wrap=True, min_width=len("20260101-120000-abcdef"))
    if counts:
        table.add_column(translated("messages"), justify="right", no_wrap=True)
    table.add_column(translated("name"), overflow="ellipsis", no_wrap=True)
    for info in found:
        when = info.updated[:16].replace("T", " ")
        count = [str(info.messages)] if counts else []
        table.add_row(when, info.id, *count, info.name)
    out.print(table, width=None if out.is_terminal else _WIDTH_OF_A_PIPE, soft_wrap=False)
