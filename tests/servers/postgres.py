"""A PostgreSQL server of a test's own, in a temporary folder, that can be stopped and started."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

_PLACES = "/usr/lib/postgresql"


def _program(name: str) -> str:
    """A program of PostgreSQL, the newest one; skips the test without one."""
    versions = sorted(Path(_PLACES).glob(f"*/bin/{name}"), key=lambda p: float(p.parts[-3]))
    found = str(versions[-1]) if versions else shutil.which(name)
    if not found:
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


@dataclass
class PostgresServer:
    """A server at a port of the loopback address."""

    folder: Path
    port: int
    user: str | None
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://tester@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [_program("postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-k", str(self.folder)]
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            command, stdout=log, stderr=log, user=self.user, cwd=self.folder
        )
        log.close()
        check = [_program("pg_isready"), "-h", "127.0.0.1", "-p", str(self.port)]
        for _ in range(200):
            if subprocess.run(check, capture_output=True).returncode == 0:
                return
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The server accepts connections and answers nothing until the block ends."""
        assert self.process
        running = psutil.Process(self.process.pid)
        held = [running, *running.children(recursive=True)]
        for each in held:
            each.suspend()
        try:
            yield
        finally:
            for each in held:
                each.resume()

    def stop(self) -> None:
        """Stop at once, as in a crash."""
        if self.process:
            self.process.send_signal(3)  # SIGQUIT: immediate shutdown
            self.process.wait()
            self.process = None


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server with an empty database, whose superuser `tester` needs no password."""
    # PostgreSQL refuses to run as root, and the path of a socket is short.
    user = "postgres" if os.name == "posix" and os.geteuid() == 0 else None
    initdb = _program("initdb")
    folder = Path(tempfile.mkdtemp(prefix="agentkit-pg-"))
    if user:
        shutil.chown(folder, user)
    command = [initdb, "-D", str(folder / "data"), "-U", "tester", "-A", "trust", "--no-sync"]
    subprocess.run(command, check=True, capture_output=True, user=user, cwd=folder)
    server = PostgresServer(folder, _free_port(), user)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
