"""Notice changes of the files that need trust while a program runs, and of the trust itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from agentkit._code import CODE_FOLDERS
from agentkit.settings.schema import FILE_NAME
from agentkit.settings.sources import user_folder

POLL_MS = 1000


async def watch_trusted_files(folder: Path, check: Callable[[], Awaitable[None]]) -> None:
    """Await `check` after each change of agentkit.toml, tools/, mcp_servers/ or the user's trust,
    until cancelled."""
    signature = await asyncio.to_thread(_signature, folder)
    while True:
        async with aclosing(_events(folder)) as events:
            async for has_events in events:
                now, before = await asyncio.to_thread(_signature, folder), signature
                signature = now
                if has_events or now != before:
                    await check()
                if now[-1] != before[-1]:
                    break  # Folders came or went: watch those that are there now.


async def _events(folder: Path) -> AsyncGenerator[bool, None]:
    """Whether the system reported changes of code, at least every POLL_MS."""
    from watchfiles import awatch

    folders = [folder / name for name in CODE_FOLDERS if (folder / name).is_dir()]
    if not folders:
        await asyncio.sleep(POLL_MS / 1000)
        yield False
        return
    changes = awatch(*folders, rust_timeout=POLL_MS, yield_on_timeout=True, step=100)
    async with aclosing(changes) as batches:
        async for batch in batches:
            yield bool(batch)


def _signature(folder: Path) -> tuple[Any, ...]:
    """What tells cheaply whether the settings or the user's trust changed."""
    files = (folder / FILE_NAME, user_folder() / "trust.json")
    folders = tuple((folder / name).is_dir() for name in CODE_FOLDERS)
    return (*map(_version, files), folders)


def _version(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
