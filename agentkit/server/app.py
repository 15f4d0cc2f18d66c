"""The ASGI app of a project folder: its routes, behind the guard, with its watchers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from agentkit import __version__
from agentkit.project.project import Project
from agentkit.redaction import get_logger
from agentkit.server import (
    documents_api,
    health,
    page,
    reference,
    runs_api,
    search_api,
    sessions_api,
    settings_api,
    state,
)
from agentkit.server.admission import Admission
from agentkit.server.errors import install_handlers
from agentkit.server.guard import Access, Guard, Keys
from agentkit.server.keys import KeyStore
from agentkit.server.mcp_api import project_mcp_app
from agentkit.server.metrics import Metrics
from agentkit.server.openai_api import chat, embeddings, models, responses
from agentkit.server.paused_sessions import PausedSessions
from agentkit.server.peers import Forward, Peers, Worker
from agentkit.server.reloading import TrustWatch
from agentkit.server.runs import Runs
from agentkit.server.service import Service
from agentkit.settings.schema import ServeSettings

log = get_logger(__name__)

UPLOAD_PATHS = ("/api/documents",)
"""Requests to these paths may have larger bodies."""


def create_app(
    project: Project,
    settings: ServeSettings | None = None,
    *,
    keys: Keys | None = None,
    needs_key: bool = True,
    hosts: Sequence[str] = (),
    start_project: bool = False,
    dev: bool = False,
    report: Callable[[str], None] = log.warning,
    worker: Worker | None = None,
) -> FastAPI:
    """The app of a project. With `start_project` the app's lifespan starts it, and with
    `dev` changed files of the folder count as trusted; `report` gets a line when some change.
    `settings` replace those of the folder. `keys` find whom a key belongs to, by default those of
    `agentkit keys`. Without `needs_key` this machine's own requests need none. A `worker` is one of
    several processes that serve together: it does its share of the answers."""
    chosen = settings or project.settings.serve
    count = worker.count if worker else 1
    running, queued = -(-chosen.running // count), -(-chosen.queued // count)
    admission = Admission(running, queued, chosen.queue_seconds, chosen.per_minute)
    metrics = Metrics(admission)
    access = Access(
        keys or KeyStore(project.path),
        needs_key or chosen.require_key,
        (*chosen.hosts, *hosts),
        chosen.origins,
    )
    cors = Middleware(
        CORSMiddleware,
        allow_origins=chosen.origins,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["retry-after"],
    )
    guard = Middleware(
        Guard,
        access,
        max_bytes=chosen.body_bytes,
        max_upload_bytes=chosen.upload_bytes,
        large_paths=UPLOAD_PATHS,
        count=metrics.count_response,
        sign_in=health.sign_in_page,
    )
    forward = [Middleware(Forward, worker)] if worker else []
    app = FastAPI(
        title="agentkit",
        version=__version__,
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        middleware=[*forward, cors, guard] if chosen.origins else [*forward, guard],
    )
    app.state.access = access
    app.state.start_project = start_project
    app.state.watch = partial(TrustWatch, dev=dev, report=report)
    paused = PausedSessions(worker.folder / "paused.sqlite" if worker else None)
    peers = Peers(worker)
    app.state.service = server = Service(project, chosen, admission, metrics, paused, peers)
    server.runs = Runs(server)
    install_handlers(app)
    for router in (
        health.router,
        state.router,
        models.router,
        chat.router,
        sessions_api.router,
        runs_api.router,
        documents_api.router,
        search_api.router,
        settings_api.router,
        page.router,
        reference.router,
        responses.router,
        embeddings.router,
    ):
        app.include_router(router)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start the project where it is not started, and what watches it."""
    server: Service = app.state.service
    async with AsyncExitStack() as stack:
        if app.state.start_project:
            await stack.enter_async_context(server.project)
        stack.callback(server.stores.close)
        stack.callback(server.page_images.close)
        await stack.enter_async_context(server.peers.connected(server))
        if server.peers.writes_index and not server.project.skip_index:
            await stack.enter_async_context(server.indexing.running())
        mcp = project_mcp_app(server.project, app.state.access)
        await stack.enter_async_context(mcp.router.lifespan_context(mcp))
        for route in mcp.routes:
            app.router.routes.append(route)
        watch = await asyncio.to_thread(app.state.watch, server)
        await stack.enter_async_context(watch.running())
        yield
        server.is_stopping = True
        await server.runs.close()
