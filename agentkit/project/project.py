"""A project folder as an agent: its settings, index, tools and MCP servers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from agentkit._code import Code, forget_modules, read_code
from agentkit._sync import in_background
from agentkit.agent.agent import Agent
from agentkit.agent.approval import Approve, Policy, deny
from agentkit.agent.limits import Limits, Price
from agentkit.agent.session_store import SessionStore
from agentkit.agent.setup import Retrieval
from agentkit.answering.extractive import ExtractiveModel
from agentkit.backends.base import Model
from agentkit.backends.registry import get_model, require_keys
from agentkit.errors import (
    AgentkitError,
    ConfigError,
    KnowledgeError,
    TrustError,
    require_directory,
)
from agentkit.findings import join_names
from agentkit.knowledge.embedders.base import Embedder
from agentkit.knowledge.embedders.registry import close_embedder, get_embedder
from agentkit.knowledge.index.collections import DEFAULT, Collections
from agentkit.knowledge.index.report import IndexReport, Progress, describe_empty
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.knowledge.search.filters import Filters
from agentkit.knowledge.search.rerank import Reranker, get_reranker
from agentkit.project.builtin_tools import builtin_tools
from agentkit.project.demo import demo_path
from agentkit.project.trust import take, trusted_code, untrusted_notice
from agentkit.settings.schema import FILE_NAME, GENERATED, Settings, make_generated_folder
from agentkit.settings.sources import read_settings
from agentkit.tools.loading import LoadedTools, load_tools
from agentkit.tools.tool import Tool
from agentkit.tracing.trace import TraceFiles, Tracing

if TYPE_CHECKING:
    from agentkit.mcp.client import McpServers
    from agentkit.mcp.client_features import Elicit

__all__ = ["Project", "demo_path"]

OnProgress = Callable[[Progress], None]


class Project:
    """An open project folder. As an async context manager it starts `agent` and its servers.

    `notices` lists what is skipped and why: files, tools, servers, trust. Set before entering,
    `skip_index` leaves the index alone, `skip_unused_servers` starts no MCP server for a model
    that cannot call tools, and `in_background` does not wait: the agent gets the servers' tools
    when those have started, and the caller updates the index.
    """

    def __init__(self, path: Path, settings: Settings, trusted: bool, code: Code) -> None:
        self.path = path
        self.settings = settings
        self.trusted, self._code = trusted, code
        self._checks_trust = False
        self.notices: list[str] = []
        self.base_url: str | None = None
        self.approve: Approve = deny
        self.on_progress: OnProgress = _ignore_progress
        self.wait, self.ray = 5.0, ""
        self._stack = AsyncExitStack()
        self._knowledge: KnowledgeBase | None = None
        self._agent: Agent | None = None
        self._own_tools: tuple[Tool, ...] = ()
        self._remote_tools: tuple[Tool, ...] = ()
        self._starting = asyncio.Lock()
        self.servers: McpServers | None = None
        self.elicit: Elicit | None = None
        self.skip_index = self.skip_unused_servers = self.in_background = False
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
        """Open a folder. `trust` uses its agentkit.toml, tools/ and mcp_servers/ even if the user
        has not trusted them; `model`, `base_url` and `overrides`, such as
        {"knowledge.results": 8}, take precedence over all settings; `on_progress` receives the
        progress of indexing. `wait` is how many seconds a write waits for another process, `ray`
        the address of a Ray cluster for embedding. Raises ConfigError and TrustError."""
        folder = require_directory(Path(path).expanduser())
        found = take(folder)
        trusted = trust or found.is_trusted
        options = {"model": model or None} | dict(overrides or {})
        resolved = read_settings(
            folder,
            trusted=trusted and found.settings is not None,
            overrides=options,
            content=found.settings,
        )
        project = cls(folder, resolved.settings, trusted, found.code)
        project._checks_trust = not trust
        if not trusted:
            project.notices.append(untrusted_notice(found))
        project.notices += resolved.notices
        project.base_url, project.approve, project.wait, project.ray = base_url, approve, wait, ray
        project.on_progress = on_progress or _ignore_progress
        return project

    @staticmethod
    def exists(folder: Path) -> bool:
        """Whether a folder is a project: it has knowledge/, settings, or an index."""
        places = (folder / "knowledge", folder / ".agentkit" / "index")
        return any(map(os.path.isdir, places)) or os.path.isfile(folder / FILE_NAME)

    @property
    def agent(self) -> Agent:
        """The agent, inside `async with`. Raises ConfigError outside."""
        if self._agent is None:
            raise ConfigError("The project is not started. Use `async with Project.open(...)`.")
        return self._agent

    @property
    def knowledge(self) -> KnowledgeBase:
        """The index, opened at first use. Raises KnowledgeError."""
        if self._knowledge is None:
            rerank = self.settings.knowledge.rerank
            self._knowledge = KnowledgeBase.open(
                self.index_path,
                self._embedder(),
                chunk_tokens=self.settings.knowledge.chunk_tokens,
                store=self.settings.knowledge.store,
                wait=self.wait,
                reranker=self._reranker(rerank) if rerank else None,
                late_interaction=self.settings.knowledge.late_interaction,
                token_cache_mb=self.settings.knowledge.token_cache_mb,
            )
        return self._knowledge

    def _reranker(self, name: str) -> Reranker | None:
        return get_reranker(name, self._model(None) if name == "model" else None)

    @property
    def index_path(self) -> Path:
        return self.path / GENERATED / "index"

    @property
    def collections(self) -> Collections:
        """The named collections; "knowledge" is the index of knowledge/."""
        known = self.settings.knowledge
        return Collections(
            self.path / GENERATED,
            self._embedder,
            chunk_tokens=known.chunk_tokens,
            store=known.store,
        )

    @property
    def sessions(self) -> SessionStore:
        """The stored sessions, opened at first use and closed with the project."""
        if self._sessions is None:
            self._make_own_folder()
            self._sessions = SessionStore(sessions_path(self.path))
            self._stack.callback(self._sessions.close)
        return self._sessions

    @property
    def embedder_name(self) -> str:
        """The name of the configured embedder, "" if it is not available."""
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
        """Update the index, start the MCP servers and create the agent."""
        try:
            knowledge = await self.ready_knowledge()
            model = self._model(knowledge)
            self._stack.push_async_callback(model.close)
            if not self.in_background:
                await self._start_servers(model)
            self._own_tools = tuple(self._local_tools())
            self._agent = self._create_agent(
                model, [*self._own_tools, *self._remote_tools], knowledge
            )
            self._stack.push_async_callback(self._agent.close)
            if self.in_background:
                await self._stack.enter_async_context(in_background(self._add_servers(model)))
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
        """Stop the servers and close the model and the index."""
        self._agent = None
        await self._stack.aclose()
        if self._knowledge is not None:
            self._knowledge.close()
            await close_embedder(self._knowledge.embedder)
            self._knowledge = None

    async def index(self) -> IndexReport:
        """Index the documents in knowledge/. Raises KnowledgeError."""
        folder = self.path / "knowledge"
        if not await asyncio.to_thread(folder.is_dir):
            raise KnowledgeError(_no_knowledge(self.path))
        await asyncio.to_thread(self._make_own_folder)
        limit = self.settings.knowledge.max_file_mb
        return await self.knowledge.add_path(
            folder, max_file_mb=limit, on_progress=self.on_progress
        )

    async def collection(self, name: str = "", *, create: bool = True) -> KnowledgeBase:
        """Open a collection by name, "" for the index of knowledge/; closed with the project.
        Raises KnowledgeError."""
        await asyncio.to_thread(self._make_own_folder)
        if not name or name == DEFAULT:
            return self.knowledge
        exists = self.collections.path_of(name).is_dir()
        open_ = self.collections.create if create and not exists else self.collections.open
        knowledge = await asyncio.to_thread(open_, name)
        self._stack.callback(knowledge.close)
        return knowledge

    async def rebuild(self, name: str = "") -> None:
        """Embed a collection again with the configured embedder, from the texts that it holds.
        Searches use the old vectors until all new ones are stored. Raises KnowledgeError."""
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
        """Update and return the index, or return it as it is where it cannot be written. None,
        with a notice, where the folder has no knowledge/."""
        if self.skip_index:
            return None
        if not await asyncio.to_thread((self.path / "knowledge").is_dir):
            self.notices.append(_no_knowledge(self.path))
            return None
        if self.in_background:
            await asyncio.to_thread(self._make_own_folder)
            return self.knowledge
        try:
            self.notices += (await self.index()).notes
        except KnowledgeError as error:
            if self._knowledge is None or not self._knowledge.chunk_count:
                raise
            self.notices.append(f"The index is used without an update: {error}")
        if not await asyncio.to_thread(lambda: self.knowledge.chunk_count):
            unread = (await self.knowledge.unread()).values()
            self.notices.append(describe_empty(self.path / "knowledge", unread))
        return self.knowledge

    def _make_own_folder(self) -> None:
        """Create .agentkit/; where that fails, an existing index can still be read."""
        try:
            make_generated_folder(self.path)
        except OSError as error:
            if not self.index_path.is_dir():
                raise KnowledgeError(
                    f"{self.path / GENERATED} cannot be written ({error.strerror}). "
                    "Change its permissions."
                ) from error

    def _model(self, knowledge: KnowledgeBase | None) -> Model:
        if self.base_url and self.settings.model in ("auto", "extractive"):
            raise ConfigError("A base URL needs a model name, such as --model openai:NAME.")
        chosen, providers = self.settings.model, self.settings.providers
        require_keys(chosen, providers, base_url=self.base_url)
        extractive = partial(ExtractiveModel, knowledge)
        return self.open_model(chosen, extractive, self.base_url)

    def open_model(
        self,
        name: str | Sequence[str],
        extractive: Callable[..., Model],
        base_url: str | None = None,
    ) -> Model:
        """Open a model by its name with the providers and the refusal threshold of the settings."""
        extractive = partial(extractive, refuse_below=self.settings.knowledge.refuse_below)
        return get_model(name, self.settings.providers, base_url=base_url, extractive=extractive)

    def read_code(self) -> Code:
        """Read the code that may run now. Raises TrustError where the user must trust it first."""
        if not self._checks_trust:
            return read_code(self.path)
        return trusted_code(self.path, self._code if self.trusted else None)

    async def refresh_tools(self) -> str:
        """Load tools/ and start the servers of mcp_servers/ again where they changed and the user
        trusts it, for the next request of the agent. Returns a notice: what is loaded, or what
        waits for trust; "" without changes."""
        if not self.trusted:
            return ""
        try:
            code = await asyncio.to_thread(self.read_code)
        except TrustError as error:
            return str(error)
        changed = self._code.differences(code)
        self._code = code
        if not changed:
            return ""
        noticed = len(self.notices)
        if any(each.startswith("mcp_servers/") for each in changed):
            await self._restart_servers()
        if any(each.startswith("tools/") for each in changed):
            forget_modules(self.path)
            before, self._own_tools = self._own_tools, tuple(self._local_tools())
            names = {tool.name for tool in self._own_tools}
            kept = (x for x in self.agent.tools if x not in before and x.name not in names)
            self.agent.tools = (*self._own_tools, *kept)
        return " ".join(
            (f"Loaded again, since it changed: {join_names(changed)}.", *self.notices[noticed:])
        )

    def _local_tools(self) -> list[Tool]:
        """Load the built-in tools and those in tools/, which replace built-in ones by name."""
        folder = self.path / "tools"
        loaded = load_tools(folder, self._code) if self.trusted else LoadedTools()
        self.notices += loaded.problems
        settings = self.settings.tools
        builtin = builtin_tools(
            settings.builtin,
            roots=[self.path / root for root in settings.roots],
            allow_private=self.settings.knowledge.allow_private_addresses,
            python_unconfined=settings.python_unconfined,
        )
        own = {tool.name for tool in loaded.tools}
        return [*(tool for tool in builtin if tool.name not in own), *loaded.tools]

    async def _start_servers(self, model: Model) -> None:
        """Start the servers of mcp_servers/mcp.json. Raises ConfigError."""
        if not self.trusted:
            return
        if self.skip_unused_servers and not (await model.capabilities()).instructions:
            return
        if not await asyncio.to_thread((self.path / "mcp_servers").is_dir):
            return
        # Loading what speaks MCP takes some 50 ms, so only a folder with servers does.
        from agentkit.mcp.client import folder_servers
        from agentkit.mcp.client_features import sampler
        from agentkit.mcp.config import read_config

        config = read_config(self.path, self._code)
        self.notices += config.warnings
        if all(server.disabled for server in config.servers):
            return
        policy = self._policy()
        servers = folder_servers(
            self.path,
            config.servers,
            elicit=self.elicit,
            sample=sampler(
                lambda: self._agent.model if self._agent else model, self.approve, policy
            ),
            on_change=self._update_remote_tools,
            code=self.read_code,
        )
        self.servers = await self._stack.enter_async_context(servers)
        self.notices += servers.problems.values()
        self._update_remote_tools()

    async def _add_servers(self, model: Model) -> None:
        """Start the servers while the agent is used already, and add their tools to it."""
        async with self._starting:
            try:
                await self._start_servers(model)
            except AgentkitError as error:
                self.notices.append(str(error))
            self._update_remote_tools()

    async def _restart_servers(self) -> None:
        """End the servers, and start those that mcp.json names now."""
        async with self._starting:
            before, self.servers = self.servers, None
        if before is not None:
            await before.__aexit__(None, None, None)
        await self._add_servers(self.agent.model)

    def _update_remote_tools(self) -> None:
        """Replace the tools of the servers, from the next request on."""
        before, self._remote_tools = self._remote_tools, self.servers.tools if self.servers else ()
        if self._agent is not None:
            kept = [tool for tool in self._agent.tools if tool not in before]
            names = {tool.name for tool in kept}
            new = (tool for tool in self._remote_tools if tool.name not in names)
            self._agent.tools = (*kept, *new)

    def _policy(self) -> Policy:
        approval = self.settings.approval
        return Policy(tuple(approval.allow), tuple(approval.ask), tuple(approval.deny))

    def _create_agent(
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
                known.retrieve,
                known.results,
                known.expand,
                known.strict,
                Filters(sources=tuple(known.sources)),
                refuse_below=known.refuse_below,
            ),
            tracing=self._tracing(),
            folder=self.path,
            open_model=self.open_model,
        )

    def _tracing(self) -> Tracing | None:
        """Trace runs where .agentkit/ can be written."""
        keep = self.settings.traces.keep
        own = self.path / GENERATED
        if not keep or not os.access(own, os.W_OK):
            return None
        return Tracing(TraceFiles(traces_path(self.path), keep))


def sessions_path(folder: Path) -> Path:
    """Return the file of a project's sessions."""
    return folder / GENERATED / "sessions.sqlite"


def traces_path(folder: Path) -> Path:
    """Return the directory of a project's traces."""
    return folder / GENERATED / "traces"


def _no_knowledge(path: Path) -> str:
    return f"{path} has no folder knowledge/. Create it and put documents there."


def _ignore_progress(progress: Progress) -> None:
    return None
