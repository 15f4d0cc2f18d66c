"""Start the worker processes of a server on one address, restart those that die, and stop them."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client.multiprocess import mark_process_dead

from agentkit.errors import AgentkitError, ConfigError
from agentkit.redaction import get_logger
from agentkit.server.metrics import SHARED_FOLDER
from agentkit.server.peers import Worker
from agentkit.server.serving import stop_signals

log = get_logger(__name__)

MOST_WORKERS = 64
MOST_DEATHS = 10
"""Deaths of workers within DEATHS_SECONDS after which the server gives up."""

DEATHS_SECONDS = 60.0
STOP_SECONDS = 35.0
"""Time that workers have to end their answers and to stop; then they are killed."""

_RESTART_SECONDS = 0.5


class Supervisor:
    """Keeps `count` processes of a command running that serve on one socket. The command gets the
    option --worker. `on_ready` is called once, when all serve."""

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        listener: socket.socket,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        if sys.platform == "win32":
            raise ConfigError("--workers needs Unix sockets. Run one server on Windows.")
        if not 1 <= count <= MOST_WORKERS:
            raise ConfigError(f"--workers must be from 1 to {MOST_WORKERS}.")
        self._command, self._count, self._listener = command, count, listener
        self._on_ready = on_ready
        listener.setblocking(False)
        self._deaths: deque[float] = deque(maxlen=MOST_DEATHS)
        self._folder = Path()
        self._is_ready = False
        self._processes: dict[int, asyncio.subprocess.Process] = {}

    async def run(self) -> None:
        """Run until SIGINT or SIGTERM. Raises AgentkitError where workers die again and again, or
        before they have ever served."""
        self._folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="agentkit-"))
        keepers = [asyncio.create_task(self._keep(index)) for index in range(self._count)]
        with stop_signals() as stopping:
            stop = asyncio.create_task(stopping.wait())
            waits = {stop, asyncio.create_task(self._announce()), *keepers}
            try:
                await _first_of(stop, waits)
            finally:
                for task in waits:
                    task.cancel()
                stopping.clear()
                await self._stop(stopping)
                await asyncio.wait(waits)
                await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _announce(self) -> None:
        """Call `on_ready` when all workers listen."""
        places = [self._worker(index).socket_path(index) for index in range(self._count)]
        while True:
            if await asyncio.to_thread(lambda: all(path.exists() for path in places)):
                break
            await asyncio.sleep(0.05)
        self._is_ready = True
        self._on_ready()

    async def _keep(self, index: int) -> None:
        """Keep one worker running. Raises AgentkitError."""
        while True:
            process = self._processes[index] = await self._start(index)
            code = await process.wait()
            for path in self._folder.glob(f"{index}.*"):
                path.unlink(missing_ok=True)
            mark_process_dead(process.pid, str(self._folder))  # type: ignore[no-untyped-call]
            if not self._is_ready:
                raise AgentkitError("A worker ended before it could serve; the log has the reason.")
            if len(self._deaths) == MOST_DEATHS and _now() - self._deaths[0] < DEATHS_SECONDS:
                raise AgentkitError(
                    f"{MOST_DEATHS} workers ended within {DEATHS_SECONDS:.0f} seconds. The log has "
                    "the reasons; start with one worker to see more."
                )
            self._deaths.append(_now())
            log.warning("Worker %d ended with code %d; it is started again.", index, code)
            await asyncio.sleep(_RESTART_SECONDS)

    def _worker(self, index: int) -> Worker:
        return Worker(index, self._count, self._folder, self._listener.fileno())

    async def _start(self, index: int) -> asyncio.subprocess.Process:
        """Start a worker. In a group of its own it gets no Ctrl-C of the terminal; its standard
        input tells it when this process has died."""
        return await asyncio.create_subprocess_exec(
            *self._command,
            f"--worker={self._worker(index).format()}",
            stdin=asyncio.subprocess.PIPE,
            pass_fds=[self._listener.fileno()],
            process_group=0,
            env={**os.environ, SHARED_FOLDER: str(self._folder)},
        )

    async def _stop(self, stopping: asyncio.Event) -> None:
        """Ask the workers to stop, once more at a second signal, and kill those that take long."""
        alive = [each for each in self._processes.values() if each.returncode is None]
        ending = [asyncio.create_task(each.wait()) for each in alive]
        second = asyncio.create_task(stopping.wait())
        for process in alive:
            _signal(process.terminate)
        deadline = _now() + STOP_SECONDS
        while left := {task for task in ending if not task.done()}:
            waits = left if second.done() else {*left, second}
            was_asked, wait = second.done(), max(0.0, deadline - _now())
            await asyncio.wait(waits, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            for process in alive if second.done() and not was_asked else ():
                _signal(process.terminate)
            if _now() >= deadline:
                for process in alive:
                    _signal(process.kill)
        second.cancel()


async def _first_of(stop: asyncio.Task[Any], waiting: set[asyncio.Task[Any]]) -> None:
    """Wait for `stop`, or raise what another one raises."""
    while not stop.done():
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


def _signal(send: Callable[[], None]) -> None:
    with suppress(ProcessLookupError):
        send()


def _now() -> float:
    return time.monotonic()
