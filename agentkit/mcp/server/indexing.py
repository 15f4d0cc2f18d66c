"""Keep the index of a folder up to date while a server runs, without holding up its start.

New and changed files are indexed as they appear. Until the first run has ended, calls wait a moment
for it, then use what is indexed, and their results say how much that is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from agentkit.errors import AgentkitError

if TYPE_CHECKING:
    from agentkit.knowledge.index.report import Progress
    from agentkit.knowledge.knowledge_base import KnowledgeBase

SETTLE_SECONDS = 3.0
"""Most time that a call waits for a run to end."""

START_SECONDS = 0.2
"""Time in which a client's first messages are answered before indexing takes the processor."""


class BackgroundIndex:
    """Indexes a folder while `run()` goes on. `report` gets a line for each warning."""

    def __init__(
        self,
        knowledge: KnowledgeBase,
        folder: Path,
        *,
        max_file_mb: float = 20.0,
        report: Callable[[str], None] = lambda line: None,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self._knowledge = knowledge
        self._folder = folder
        self._max_file_mb = max_file_mb
        self._report = report
        self._settle_seconds = settle_seconds
        self._progress: Progress | None = None
        self._idle = asyncio.Event()
        self._warnings: set[str] = set()

    @property
    def note(self) -> str:
        """How much is indexed while a run goes on, "" after it."""
        if self._idle.is_set():
            return ""
        if self._progress is None:
            return "Indexing has begun; results may lack documents."
        done, total = self._progress.done, self._progress.total
        return f"Indexed {done} of {total} documents so far; results may lack the others."

    async def settle(self) -> None:
        """Wait until no run goes on, or a moment has passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settle_seconds):
                await self._idle.wait()

    async def run(self) -> None:
        """Index until cancelled."""
        from agentkit.knowledge.index.folder import watch

        await asyncio.sleep(START_SECONDS)
        try:
            reports = watch(
                self._knowledge,
                self._folder,
                max_file_mb=self._max_file_mb,
                on_progress=self._on_progress,
            )
            async for report in reports:
                self._progress = None
                self._idle.set()
                self._warn(*report.notes)
        except (AgentkitError, OSError) as error:
            self._warn(f"The index is no longer updated: {error}")
        finally:
            self._idle.set()

    def _on_progress(self, progress: Progress) -> None:
        self._progress = progress
        self._idle.clear()

    def _warn(self, *lines: str) -> None:
        for line in lines:
            if line not in self._warnings:
                self._warnings.add(line)
                self._report(line)
