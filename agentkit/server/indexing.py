"""The one writer of the index: files that change in knowledge/, uploads, addresses and removals.

Jobs run one after the other, so that no two writes wait for each other's lock, and each change is
published to the open pages. Files are parsed in child processes with bounds.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agentkit._sync import in_background
from agentkit.errors import AgentkitError, IndexBusy
from agentkit.knowledge.index.folder import relevant_changes
from agentkit.knowledge.index.report import IndexReport
from agentkit.knowledge.index.roots import source_name
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.project.project import Project
from agentkit.redaction import get_logger
from agentkit.server.changes import Changes

log = get_logger(__name__)

JobState = Literal["queued", "reading", "failed"]

RETRY_SECONDS = 5.0
"""When a job is tried again that another process's write kept from running."""

MOST_PATHS = 8
"""With more changed files at a time, the whole folder is indexed."""

MOST_FAILED = 200
_WEB = ("http://", "https://")


@dataclass
class Job:
    """What is to be done for a source: index its file or address, or, where `removes`, take it out
    of the index."""

    source: str
    removes: bool = False
    state: JobState = "queued"
    reason: str = ""
    done: asyncio.Event = field(default_factory=asyncio.Event)


class IndexWriter:
    """Writes the index of a project's knowledge/ while `running()` is entered."""

    def __init__(self, project: Project, changes: Changes) -> None:
        self.folder = project.path / "knowledge"
        self._project = project
        self._changes = changes
        self._jobs: dict[str, Job] = {}
        self._failed: dict[str, Job] = {}
        self._wake = asyncio.Event()
        self._exists = asyncio.Event()

    @property
    def knowledge(self) -> KnowledgeBase:
        """The index of knowledge/. Raises KnowledgeError."""
        return self._project.knowledge

    def jobs(self) -> dict[str, Job]:
        """The jobs that wait, run or have failed, by source."""
        return self._failed | self._jobs

    def request(self, source: str, *, removes: bool = False) -> Job:
        """Queue a job for the source of a file in knowledge/, for an address, or with "" for the
        whole folder; a job of that source that waits is replaced."""
        self._failed.pop(source, None)
        job, before = Job(source, removes), self._jobs.get(source)
        if before and before.state == "queued":
            job.done = before.done  # Who waits for the one that is replaced waits for this one.
        self._jobs[source] = job
        self._wake.set()
        self._changes.publish("documents")
        return job

    async def create_folder(self) -> None:
        """Create knowledge/ where there is none, and have the agent use it. Raises OSError."""
        await asyncio.to_thread(self.folder.mkdir, exist_ok=True)
        self.notice_folder()
        self._exists.set()

    def notice_folder(self) -> None:
        """Have the agent use knowledge/ where it has been created since. Raises KnowledgeError."""
        if self._project.agent.knowledge is None and self.folder.is_dir():
            self._project.agent.knowledge = self.knowledge

    def running(self) -> AbstractAsyncContextManager[None]:
        """Write within the block, and watch the folder."""
        return in_background(self._work(), self._watch())

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while waiting := [job for job in self._jobs.values() if job.state == "queued"]:
                batch = waiting if len(waiting) > MOST_PATHS else waiting[:1]
                batch = [job for job in batch if not job.source.startswith(_WEB)] or waiting[:1]
                if not await self._run(batch):
                    await asyncio.sleep(RETRY_SECONDS)

    async def _run(self, batch: list[Job]) -> bool:
        """Do some jobs. Whether they ended; they wait again where another process writes."""
        for job in batch:
            job.state = "reading"
        self._changes.publish("documents")
        reason = ""
        try:
            report = await self._write(batch)
            log.info("Indexed %s", report)
        except IndexBusy:
            for job in batch:
                job.state = "queued"
            return False
        except (AgentkitError, OSError) as error:
            reason = str(error)
        except Exception as error:
            log.exception("Indexing failed")
            reason = f"{type(error).__name__}: {error}"
        for job in batch:
            self._end(job, reason)
        self._changes.publish("documents")
        return True

    def _end(self, job: Job, reason: str) -> None:
        if self._jobs.get(job.source) is job:
            del self._jobs[job.source]
            if reason:
                job.state, job.reason = "failed", reason
                self._failed[job.source] = job
                while len(self._failed) > MOST_FAILED:
                    del self._failed[next(iter(self._failed))]
        job.done.set()

    async def _write(self, batch: list[Job]) -> IndexReport:
        """Do some jobs of files, or one. Raises KnowledgeError."""
        job, limit = batch[0], self._project.settings.knowledge.max_file_mb
        if not job.source or len(batch) > 1:
            return await self.knowledge.add_path(self.folder, max_file_mb=limit)
        if job.source.startswith(_WEB):
            return await self._write_address(job)
        report = await self.knowledge.update(self.folder / job.source, max_file_mb=limit)
        if job.removes:  # It may have come from elsewhere.
            await self.knowledge.discard(job.source)
        return report

    async def _write_address(self, job: Job) -> IndexReport:
        from agentkit.knowledge.loaders.web import load_url

        if job.removes:
            return IndexReport(removed=await self.knowledge.discard(job.source))
        settings = self._project.settings.knowledge
        loaded = await load_url(
            job.source,
            max_bytes=int(settings.max_file_mb * 1e6),
            allow_private=settings.allow_private_addresses,
        )
        return await self.knowledge.add([loaded.document])

    async def _watch(self) -> None:
        """Queue the files that change in the folder."""
        from watchfiles import awatch

        if not await asyncio.to_thread(self.folder.is_dir):
            await self._exists.wait()
        self.request("")  # What changed while no server ran; the folder is known from then on.
        root = await asyncio.to_thread(self.folder.resolve)
        with suppress(RuntimeError):  # watchfiles raises it when the loop ends first.
            try:
                async for batch in awatch(
                    root,
                    watch_filter=relevant_changes(root, self.knowledge.path.resolve()),
                    debounce=3000,
                    step=300,
                ):
                    for _, changed in batch:
                        path = Path(changed)
                        if path != root and path.is_relative_to(root):
                            self.request(source_name(path.relative_to(root).as_posix()))
            except OSError as error:
                log.warning("Changes in %s are not noticed: %s", root, error)
