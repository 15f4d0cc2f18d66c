"""A folder as an agent: its settings, documents, tools and servers put together."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from agentkit.agent.agent import Agent, Retrieval
from agentkit.agent.approval import Approve, Policy, deny
from agentkit.agent.limits import Limits, Price
from agentkit.agent.session_store import SessionStore
from agentkit.answering.extractive import ExtractiveModel
from agentkit.backends.base import Model
from agentkit.backends.registry import get_model
from agentkit.errors import ConfigError, KnowledgeError
from agentkit.knowledge.embedders.base import Embedder, close_embedder
from agentkit.knowledge.embedders.registry import get_embedder
from agentkit.knowledge.index.collections import DEFAULT, Collections
from agentkit.knowledge.index.indexer import IndexReport, Progress
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.knowledge.search.rerank import get_reranker
from agentkit.project.builtin import builtin_tools
from agentkit.project.demo import demo_path
from agentkit.project.trust import GUARDED, is_trusted
from agentkit.settings.schema import Settings
from agentkit.settings.sources import read_settings
from agentkit.tools.loading import LoadedTools, load_tools
from agentkit.tools.tool import Tool
from agentkit.tracing.files import TraceFiles
from agentkit.tracing.trace import Tracing

if TYPE_CHECKING:
    from agentkit.mcp.client import McpServers
    from agentkit.mcp.client_features import Elicit

__all__ = ["Project", "demo_path"]

OnProgress = Callable[[Progress], None]


class Project:
    """One folder, opened. Use it as an async context manager: inside, `agent` answers.

    `notices` says, a line each, what was left out and why: files, tools, servers, trust.
    Set before that, `spares_documents` leaves the index alone, and `spares_servers` starts no MCP
    server for a model that cannot call tools.
    """

    def __init__(self, path: Path, settings: Settings, trusted: bool) -> None:
        self.path = path
        self.settings = settings
        self.trusted = trusted
        self.notices: list[str] = [] if trusted else [_untrusted(path)]
        self.base_url: str | None = None
        self.approve: Approve = deny
        self.on_progress: OnProgress = _silent
        self.wait = 5.0
        self.ray = ""
        self._stack = AsyncExitStack()
        self._knowledge: KnowledgeBase | None = None
        self._agent: Agent | None = None
        self._lent: tuple[Tool, ...] = ()
        self.servers: McpServers | None = None
        self.elicit: Elicit | None = None
        self.spares_documents = self.spares_servers = False
        self._sessions: SessionStore | None = None

    @classmethod
    def open(
        cls,
        path: str | Path = ".",
        *,
        trust: bool = False,
        model: str | Sequence[str] | None = None,
        base_url: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        approve: Approve = deny,
        on_progress: OnProgress | None = None,
        wait: float = 5.0,
        ray: str = "",
    ) -> Project:
        """Open a folder. `trust` uses its agentkit.toml, tools/ and mcp_servers/ whether or not
        the user has trusted them; `model`, `base_url` and `overrides`, such as
        {"knowledge.results": 8}, come before all settings; `on_progress` hears how far indexing
        is. `wait` is how many seconds a write waits for another process, `ray` the address of a
        Ray cluster that embeds. Raises ConfigError and TrustError."""
        folder = Path(path).expanduser()
        if not folder.is_dir():
            raise ConfigError(f"{folder} is no folder. Name the folder of a project.")
        trusted = trust or is_trusted(folder, demo_path())
        given = {"model": model or None} | dict(overrides or {})
        layered = read_settings(folder, trusted=trusted, overrides=given)
        project = cls(folder, layered.settings, trusted)
        project.notices += layered.notices
        project.base_url = base_url
        project.approve = approve
        project.on_progress = on_progress or _silent
        project.wait, project.ray = wait, ray
        return project

    @property
    def agent(self) -> Agent:
        """The folder's agent, inside `async with`."""
        if self._agent is None:
            raise ConfigError("The project is not entered: use `async with Project.open(...)`.")
        return self._agent

    @property
    def knowledge(self) -> KnowledgeBase:
        """The folder's index, opened at first use. Raises KnowledgeError."""
        if self._knowledge is None:
            self._knowledge = KnowledgeBase.open(
                self.index_path,
                self._embedder(),
                chunk_tokens=self.settings.knowledge.chunk_tokens,
                store=self.settings.knowledge.store,
                wait=self.wait,
                reranker=get_reranker(self.settings.knowledge.rerank, self._rerank_model()),
            )
        return self._knowledge

    @property
    def index_path(self) -> Path:
        return self.path / ".agentkit" / "index"

    @property
    def collections(self) -> Collections:
        """The folder's indexes by name: "knowledge" is its own, others stand beside it."""
        known = self.settings.knowledge
        return Collections(
            self.path / ".agentkit",
            self._embedder,
            chunk_tokens=known.chunk_tokens,
            store=known.store,
        )

    @property
    def sessions(self) -> SessionStore:
        """The folder's conversations, opened at first use and closed with the project."""
        if self._sessions is None:
            self._make_own_folder()
            self._sessions = SessionStore(sessions_path(self.path))
            self._stack.callback(self._sessions.close)
        return self._sessions

    @property
    def embedder_name(self) -> str:
        """What the settings' embedder calls itself, "" where it cannot be made here."""
        try:
            return self._embedder().name
        except ConfigError:
            return ""

    def _embedder(self) -> Embedder:
        name, providers = self.settings.knowledge.embedder, self.settings.providers
        if self.ray:
            from agentkit.knowledge.embedders.ray import RayEmbedder

            return RayEmbedder(name, self.ray, providers=providers)
        return get_embedder(name, providers)

    async def __aenter__(self) -> Self:
        """Bring the index up to date, start the servers and make the agent."""
        try:
            knowledge = await self.ready_knowledge()
            model = self._model(knowledge)
            self._stack.push_async_callback(model.close)
            own = self._own_tools().tools
            tools = [*self._builtin_tools(own), *own, *await self._lent_tools(model)]
            self._agent = self._made_agent(model, tools, knowledge)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop the servers and let go of model and index."""
        self._agent = None
        await self._stack.aclose()
        if self._knowledge is not None:
            self._knowledge.close()
            await close_embedder(self._knowledge.embedder)
            self._knowledge = None

    async def index(self) -> IndexReport:
        """Make the index hold what knowledge/ holds. Raises KnowledgeError."""
        folder = self.path / "knowledge"
        if not await asyncio.to_thread(folder.is_dir):
            raise KnowledgeError(_no_knowledge(self.path))
        await asyncio.to_thread(self._make_own_folder)
        limit = self.settings.knowledge.max_file_mb
        return await self.knowledge.add_path(
            folder, max_file_mb=limit, on_progress=self.on_progress
        )

    async def collection(self, name: str = "", *, create: bool = True) -> KnowledgeBase:
        """An index by its name, "" for the folder's own; closed with the project. Raises
        KnowledgeError."""
        await asyncio.to_thread(self._make_own_folder)
        if not name or name == DEFAULT:
            return self.knowledge
        is_there = self.collections.path_of(name).is_dir()
        make = self.collections.create if create and not is_there else self.collections.open
        opened = await asyncio.to_thread(make, name)
        self._stack.callback(opened.close)
        return opened

    async def rebuild(self, name: str = "") -> None:
        """Embed an index anew from what it holds, with the settings' embedder. Those who search
        it meanwhile see the old vectors until all new ones are there. Raises KnowledgeError."""
        await asyncio.to_thread(self._make_own_folder)
        path = self.collections.path_of(name) if name else self.index_path
        rebuilt = await KnowledgeBase.rebuild(
            path,
            self._embedder(),
            chunk_tokens=self.settings.knowledge.chunk_tokens,
            store=self.settings.knowledge.store,
            wait=self.wait,
            on_progress=self.on_progress,
        )
        rebuilt.close()
        await close_embedder(rebuilt.embedder)

    async def ready_knowledge(self) -> KnowledgeBase | None:
        """The index, brought up to date, or as it is where it cannot be written. None where the
        folder has no knowledge/; `notices` says so."""
        if self.spares_documents:
            return None
        if not await asyncio.to_thread((self.path / "knowledge").is_dir):
            self.notices.append(_no_knowledge(self.path))
            return None
        try:
            self.notices += (await self.index()).warnings
        except KnowledgeError as error:
            if self._knowledge is None or not self._knowledge.chunk_count:
                raise
            self.notices.append(f"The index is used as it is: {error}")
        if not self.knowledge.chunk_count:
            self.notices.append(f"{self.path / 'knowledge'} holds no documents yet.")
        return self.knowledge

    def _make_own_folder(self) -> None:
        """.agentkit/, which tells git to leave it alone."""
        own = self.path / ".agentkit"
        try:
            own.mkdir(exist_ok=True)
            if not (own / ".gitignore").exists():
                (own / ".gitignore").write_text("*\n", encoding="utf-8")
        except OSError as error:
            if not self.index_path.is_dir():
                raise KnowledgeError(
                    f"{own} cannot be written ({error.strerror}). Change its permissions."
                ) from error

    def _rerank_model(self) -> Model | None:
        """The folder's model, where it shall order passages too."""
        return self._model(None) if self.settings.knowledge.rerank == "model" else None

    def _model(self, knowledge: KnowledgeBase | None) -> Model:
        if self.base_url and self.settings.model in ("auto", "extractive"):
            raise ConfigError("A base URL needs a model there: --model openai:NAME.")
        return get_model(
            self.settings.model,
            self.settings.providers,
            base_url=self.base_url,
            extractive=partial(ExtractiveModel, knowledge.similarity if knowledge else None),
        )

    def _builtin_tools(self, own: Sequence[Tool]) -> list[Tool]:
        """The tools that agentkit brings; one of the folder's own of the same name comes before."""
        chosen = self.settings.tools
        roots = [self.path / root for root in chosen.roots]
        private = self.settings.knowledge.allow_private_addresses
        taken = {tool.name for tool in own}
        found = builtin_tools(chosen.builtin, roots=roots, allow_private=private)
        return [tool for tool in found if tool.name not in taken]

    def _own_tools(self) -> LoadedTools:
        loaded = load_tools(self.path / "tools") if self.trusted else LoadedTools()
        self.notices += loaded.problems
        return loaded

    async def _lent_tools(self, model: Model) -> tuple[Tool, ...]:
        """The tools of the servers in mcp_servers/mcp.json, started now."""
        if not self.trusted:
            return ()
        if self.spares_servers and not (await model.capabilities()).instructions:
            return ()
        if not await asyncio.to_thread((self.path / "mcp_servers").is_dir):
            return ()
        from agentkit.project.lending import start_servers

        lent = await start_servers(
            self._stack,
            self.path,
            policy=self._policy(),
            elicit=self.elicit,
            approve=self.approve,
            model=lambda: self._agent.model if self._agent else model,
            on_change=self._relend,
        )
        self.notices += lent.notices
        self.servers = lent.servers
        self._lent = lent.servers.tools if lent.servers else ()
        return self._lent

    def _relend(self) -> None:
        """A server offers other tools than before: so does the agent, from its next request."""
        if self._agent is None or self.servers is None:
            return
        kept = [tool for tool in self._agent.tools if tool not in self._lent]
        names = {tool.name for tool in kept}
        self._lent = self.servers.tools
        self._agent.tools = (*kept, *(tool for tool in self._lent if tool.name not in names))

    def _policy(self) -> Policy:
        chosen = self.settings.approval
        return Policy(tuple(chosen.allow), tuple(chosen.ask), tuple(chosen.deny))

    def _made_agent(
        self, model: Model, tools: list[Tool], knowledge: KnowledgeBase | None
    ) -> Agent:
        settings = self.settings
        prices = {name: Price(p.input, p.output) for name, p in settings.prices.items()}
        known = settings.knowledge
        return Agent(
            model,
            tools=tools,
            knowledge=knowledge,
            instructions=settings.instructions,
            limits=Limits(**settings.limits.model_dump(), prices=prices),
            approve=self.approve,
            policy=self._policy(),
            retrieval=Retrieval(
                known.retrieve, known.results, known.expand, known.strict, tuple(known.sources)
            ),
            tracing=self._tracing(),
            folder=self.path,
        )

    def _tracing(self) -> Tracing | None:
        """Runs are written down where there is a folder of our own to write to."""
        keep = self.settings.traces.keep
        own = self.path / ".agentkit"
        if not keep or not os.access(own, os.W_OK):
            return None
        return Tracing(TraceFiles(traces_path(self.path), keep))


def sessions_path(folder: Path) -> Path:
    """The file of a folder's conversations."""
    return folder / ".agentkit" / "sessions.sqlite"


def traces_path(folder: Path) -> Path:
    """The folder of a folder's traces."""
    return folder / ".agentkit" / "traces"


def _no_knowledge(path: Path) -> str:
    return f"{path} has no folder knowledge/. Make one and put documents there."


def _silent(progress: Progress) -> None:
    return None


def _untrusted(path: Path) -> str:
    found = ", ".join(name for name in GUARDED if (path / name).exists())
    return (
        f"{found} of {path} are not used, for this folder is not trusted. "
        f"Look at them, then run: agentkit trust {path}"
    )
