"""Serve a project over HTTP until the process is stopped, and open it again when it changed."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress

from fastapi import FastAPI

from agentkit._asgi_server import ServerLimits, bracket, listen, serve_app
from agentkit._code import forget_modules
from agentkit.addresses import is_loopback_host
from agentkit.errors import AgentkitError, ConfigError
from agentkit.project.project import Project
from agentkit.redaction import get_logger
from agentkit.server.app import create_app
from agentkit.server.guard import Keys
from agentkit.server.peers import Worker
from agentkit.server.service import Service

log = get_logger(__name__)

DRAIN_SECONDS = 20.0
"""Time that running answers have to end when the server stops or its project is opened again."""


async def serve_project(
    open_project: Callable[[], Project],
    host: str,
    port: int,
    *,
    keys: Keys | None = None,
    needs_key: bool = True,
    hosts: Sequence[str] = (),
    dev: bool = False,
    report: Callable[[str], None] = log.warning,
    limits: ServerLimits = ServerLimits(),
    on_ready: Callable[[str, Project], None] = lambda url, project: None,
    worker: Worker | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; `on_ready` gets the URL, `report` a line for each change
    of the files that need trust. A reload opens the project once more
    and then replaces the app on the same socket: connections wait meanwhile, and none is refused.
    A `worker` serves on the socket of its supervisor, and stops with it.
    Raises ConfigError where other machines could call without a key, or change code by `dev`."""
    is_local = is_loopback_host(host)
    if not (needs_key or is_local):
        raise ConfigError(f"At {host} any machine could call. Make a key: agentkit keys add NAME")
    if dev and not is_local:
        raise ConfigError(f"--dev trusts changed code, which is not possible at {host}.")

    def build(project: Project) -> FastAPI:
        return create_app(
            project,
            keys=keys,
            needs_key=needs_key,
            hosts=[*hosts, host],
            dev=dev,
            report=report,
            worker=worker,
        )

    with ExitStack() as opened:
        listener = worker.shared if worker else await asyncio.to_thread(listen, host, port)
        listeners = [opened.enter_context(listener)]
        stack, project = await _started(open_project())
        if worker:
            listeners.append(opened.enter_context(worker.listen()))
        on_ready(url_of(host, listener), project)
        try:
            while True:
                app = build(project)
                replacement = await _serve_once(app, listeners, limits, open_project)
                if replacement is None:
                    return
                await stack.aclose()
                stack, project = replacement
        finally:
            await stack.aclose()


def url_of(host: str, listener: socket.socket) -> str:
    """The URL of a server at a host."""
    return f"http://{bracket(host)}:{listener.getsockname()[1]}"


_Started = tuple[AsyncExitStack, Project]


async def _started(project: Project) -> _Started:
    """A project that is started, and the stack that closes it."""
    stack = AsyncExitStack()
    await stack.enter_async_context(project)
    return stack, project


async def _serve_once(
    app: FastAPI,
    listeners: Sequence[socket.socket],
    limits: ServerLimits,
    open_project: Callable[[], Project],
) -> _Started | None:
    """Serve an app until it is to be replaced; returns the project that replaces its own, None
    where the process is asked to stop."""
    server: Service = app.state.service
    listener, *further = (each.dup() for each in listeners)
    serving = asyncio.create_task(
        serve_app(app, listener, limits, *further, handle_signals=False), name="http server"
    )
    replacement: _Started | None = None
    with stop_signals(watch_stdin=bool(further)) as stopping:
        try:
            while await _first(serving, stopping, server.reload) is server.reload:
                server.reload.clear()
                forget_modules(server.project.path)
                try:
                    replacement = await _started(open_project())
                    break
                except AgentkitError as error:
                    log.warning("The changed project cannot be opened: %s", error)
                    server.changed = [{"path": "", "what": str(error)}]
                    server.changes.publish("trust", {"changed": server.changed})
            if not serving.done():
                stopping.clear()  # A second signal ends the wait.
                draining = asyncio.create_task(server.drain(DRAIN_SECONDS))
                await _first(draining, stopping)
                draining.cancel()
        finally:
            serving.cancel()
            await asyncio.wait({serving})
    if not serving.cancelled():
        await serving
    return replacement


async def _first(
    task: asyncio.Task[None], *events: asyncio.Event
) -> asyncio.Task[None] | asyncio.Event:
    """Whichever comes first: the end of the task or one of the events."""
    waits = {asyncio.create_task(event.wait()): event for event in events}
    try:
        done, _ = await asyncio.wait({task, *waits}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
    return task if task in done else next(waits[each] for each in waits if each in done)


@contextmanager
def stop_signals(*, watch_stdin: bool = False) -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set; where they cannot be caught, they end the process.
    With `watch_stdin` the end of standard input sets it too: a supervisor has died."""
    stopping, loop, caught = asyncio.Event(), asyncio.get_running_loop(), list[signal.Signals]()

    def on_end_of_input() -> None:
        loop.remove_reader(0)
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stopping.set)
            caught.append(number)
    if watch_stdin:
        loop.add_reader(0, on_end_of_input)
    try:
        yield stopping
    finally:
        if watch_stdin:
            loop.remove_reader(0)
        for number in caught:
            loop.remove_signal_handler(number)
