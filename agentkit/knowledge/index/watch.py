"""Keep an index fresh while files change.

The system says when something changed; what changed is found by hashing, as `add_path` does. Where
the system says nothing (some network drives), set WATCHFILES_FORCE_POLLING=1.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from agentkit.errors import KnowledgeError
from agentkit.knowledge.index.indexer import IndexReport, OnProgress, ignore_progress
from agentkit.knowledge.knowledge_base import KnowledgeBase

_AGAIN_MS = 5000
"""How soon what failed is tried again."""


async def watch(
    knowledge: KnowledgeBase,
    path: str | Path,
    *,
    prefix: str = "",
    max_file_mb: float = 20.0,
    jobs: int = 1,
    quiet_ms: int = 300,
    stop: asyncio.Event | None = None,
    on_progress: OnProgress = ignore_progress,
) -> AsyncGenerator[IndexReport, None]:
    """Index a folder or file now and after every change, until `stop` is set: the first report,
    then one for each change that had an effect. Changes less than `quiet_ms` apart are taken
    together, up to ten times as long. A run that fails is told by a warning and tried again."""
    from watchfiles import awatch

    root = Path(path).resolve()

    async def synced() -> tuple[IndexReport, bool]:
        try:
            report = await knowledge.add_path(
                root, prefix=prefix, max_file_mb=max_file_mb, jobs=jobs, on_progress=on_progress
            )
        except KnowledgeError as error:
            return IndexReport(warnings=(str(error),)), True
        return report, False

    if not await asyncio.to_thread(root.exists):
        raise KnowledgeError(f"{root} does not exist. Name a folder or file that does.")
    changes = awatch(
        root,
        watch_filter=_shown(root, knowledge.path.resolve()),
        debounce=10 * quiet_ms,
        step=quiet_ms,
        rust_timeout=_AGAIN_MS,
        yield_on_timeout=True,
        stop_event=stop,
    )
    coming = asyncio.ensure_future(anext(changes, None))  # what changes from now on is heard
    await asyncio.sleep(0)
    try:
        report, failed = await synced()
        yield report
        while (batch := await coming) is not None:
            coming = asyncio.ensure_future(anext(changes, None))
            before = report
            if batch or failed:
                report, failed = await synced()
                if report.has_news or report.warnings != before.warnings:
                    yield report
    finally:
        coming.cancel()
        await asyncio.wait([coming])
        await changes.aclose()


def _shown(root: Path, index: Path) -> Callable[[object, str], bool]:
    """Hidden files and folders do not count, nor does the index, which would wake itself."""

    def shown(_: object, changed: str) -> bool:
        path = Path(changed)
        inside = path.relative_to(root).parts if path.is_relative_to(root) else path.parts[-1:]
        return not (path.is_relative_to(index) or any(part.startswith(".") for part in inside))

    return shown
