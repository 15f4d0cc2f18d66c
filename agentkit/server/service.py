"""What the routes of the server share: the open project, its settings, and what is counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends
from starlette.requests import Request

from agentkit.agent.agent import Agent
from agentkit.answering.extractive import ExtractiveModel
from agentkit.events import Event
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.project.project import Project
from agentkit.server.admission import Admission
from agentkit.server.changes import Changes
from agentkit.server.indexing import IndexWriter
from agentkit.server.metrics import Metrics
from agentkit.server.page_images import PageImages
from agentkit.server.paused_sessions import PausedSessions
from agentkit.server.peers import Peers
from agentkit.server.session_stores import SessionStores
from agentkit.settings.schema import ServeSettings

if TYPE_CHECKING:
    from agentkit.server.runs import Runs


FIRST_INDEX_SECONDS = 60.0
"""How long a question waits for the first documents of a folder."""


MOST_PARSING = 2
"""Files that came with questions and are read at once."""


@dataclass
class Service:
    """The served project. `changed` are the files that wait for trust, with what happened
    to each; `reload` is set when the project is to be opened again; `parsing` admits the files of
    questions."""

    project: Project
    settings: ServeSettings
    admission: Admission
    metrics: Metrics
    paused: PausedSessions = field(default_factory=PausedSessions)
    peers: Peers = field(default_factory=Peers)
    changes: Changes = field(default_factory=Changes)
    changed: list[dict[str, str]] = field(default_factory=list)
    is_stopping: bool = False
    reload: asyncio.Event = field(default_factory=asyncio.Event)
    stores: SessionStores = field(init=False)
    runs: Runs = field(init=False)
    indexing: IndexWriter = field(init=False)
    page_images: PageImages = field(init=False)
    parsing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_PARSING))
    _collections: dict[str, KnowledgeBase] = field(default_factory=dict)
    _raw: dict[str, Agent] = field(default_factory=dict)
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.stores = SessionStores(self.project, self.settings.sessions)
        self.indexing = IndexWriter(self.project, self.changes)
        self.page_images = PageImages()

    @property
    def agent(self) -> Agent:
        """The agent of the project. Raises ConfigError where it is not started."""
        return self.project.agent

    @property
    def name(self) -> str:
        """The name of the project: that of its folder."""
        return self.project.path.resolve().name or "agentkit"

    async def collection(self, name: str) -> KnowledgeBase:
        """A collection by name, opened once. Raises KnowledgeError."""
        async with self._opening:
            if name not in self._collections:
                self._collections[name] = await self.project.collection(name, create=False)
            return self._collections[name]

    def knowledge_bases(self) -> list[KnowledgeBase]:
        """The agent's own knowledge base, and the collections that are open."""
        own = [self.agent.knowledge] if self.agent.knowledge else []
        return [*own, *self._collections.values()]

    def raw_agent(self, model: str) -> Agent:
        """An agent that is a model alone: without documents, tools and instructions."""
        if model not in self._raw:
            opened = self.project.open_model(model, ExtractiveModel, self.project.base_url)
            self._raw[model] = Agent(opened, preamble="", limits=self.agent.limits)
        return self._raw[model]

    @property
    def is_indexing(self) -> bool:
        """Whether the whole folder is being indexed, as after the start."""
        job = self.indexing.jobs().get("")
        return self.peers.is_indexing or (job is not None and job.state != "failed")

    async def wait_for_documents(self) -> None:
        """Where nothing is indexed yet, wait a while until the folder is."""
        knowledge = self.agent.knowledge
        if knowledge is None or not self.is_indexing or knowledge.chunk_count:
            return
        with suppress(TimeoutError):
            async with (
                asyncio.timeout(FIRST_INDEX_SECONDS),
                aclosing(self.changes.events()) as all_,
            ):
                async for _ in all_:
                    if not self.is_indexing:
                        break

    async def counted(
        self, events: AsyncGenerator[Event[Any], None]
    ) -> AsyncGenerator[Event[Any], None]:
        """The events of a run, counted. The run begins when the first documents are indexed."""
        async with aclosing(events):
            await self.wait_for_documents()
            async for event in events:
                self.metrics.count(event)
                yield event

    async def drain(self, seconds: float) -> None:
        """Admit no more answers, end the streams of notices, and give the answers that are being
        written some seconds to end."""
        self.is_stopping = self.admission.is_closed = True
        self.changes.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.admission.idle.wait()

    def address(self, request: Request) -> str:
        """The address of this server, for links: the configured one, else that of a request."""
        configured = self.settings.public_url.rstrip("/")
        return configured or f"{request.url.scheme}://{request.headers.get('host', '')}"


async def service(request: Request) -> Service:
    """The service of an app, as a FastAPI dependency."""
    found: Service = request.app.state.service
    return found


Server = Annotated[Service, Depends(service)]
"""The service, as a parameter of a route."""
