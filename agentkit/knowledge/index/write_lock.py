"""The lock of an index: one writer at a time, held for the length of a write.

The lock is the operating system's: it ends with the process that holds it, however that ends.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from agentkit.errors import IndexBusy, KnowledgeError


@asynccontextmanager
async def writing(path: Path, wait: float) -> AsyncIterator[None]:
    """Hold the lock of the index in a folder, waited for so many seconds. Raises IndexBusy if
    another process still holds it then."""
    lock = FileLock(path / "write.lock", timeout=wait, thread_local=False)
    holder = path / "writer"
    try:
        await asyncio.to_thread(lock.acquire)
    except Timeout as error:
        raise IndexBusy(
            f"Another process {_process_of(holder)}is writing to {path}. Wait until it has ended, "
            f"wait longer than {wait:g} seconds, or end it: nothing it has published is lost."
        ) from error
    except OSError as error:
        raise KnowledgeError(
            f"{path} cannot be written ({error.strerror}). "
            "Choose another folder for the index, or change its permissions."
        ) from error
    try:
        with suppress(OSError):
            holder.write_text(str(os.getpid()), encoding="ascii")
        yield
    finally:
        lock.release()


def _process_of(holder: Path) -> str:
    """The id of the process that holds the lock, where it is known."""
    try:
        return f"({int(holder.read_text(encoding='ascii')[:20])}) "
    except (OSError, ValueError):
        return ""
