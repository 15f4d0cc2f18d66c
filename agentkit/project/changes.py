"""Notice changes of the files that need trust while a program runs, and of the trust itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agentkit._code import CODE_FOLDERS
from agentkit.settings.schema import FILE_NAME
from agentkit.settings.sources import user_folder

POLL_MS = 1000


@asynccontextmanager
async def watch_trusted_files(
    folder: Path, check: Callable[[], Awaitable[None]]
) -> AsyncIterator[None]:
    """Within the block, await `check` after each change of agentkit.toml, tools/, mcp_servers/ or
    the user's trust."""
    stop = asyncio.Event()
    task = asyncio.create_task(_watch(folder, check, stop), name="trust watcher")
    try:
        yield
    finally:
        stop.set()
        task.cancel()
        await asyncio.wait({task})


async def _watch(folder: Path, check: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    signature = await asyncio.to_thread(_signature, folder)
    while not stop.is_set():
        async for has_events in _events(folder, stop):
            now = await asyncio.to_thread(_signature, folder)
            if has_events or now != signature:
                await check()
            if now[-1] != signature[-1]:
                signature = now
                break  # Folders came or went: watch those that are there now.
            signature = now


async def _events(folder: Path, stop: asyncio.Event) -> AsyncIterator[bool]:
    """Whether the system reported changes of code, at least every POLL_MS."""
    from watchfiles import awatch

    folders = [folder / name for name in CODE_FOLDERS if (folder / name).is_dir()]
    if not folders:
        await asyncio.sleep(POLL_MS / 1000)
        yield False
        return
    watching = awatch(
        *folders, stop_event=stop, rust_timeout=POLL_MS, yield_on_timeout=True, step=100
    )
    async for batch in watching:
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
