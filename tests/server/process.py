"""`agentkit serve` as a process, before a scripted model server."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

_START_SECONDS = 120


@dataclass
class Served:
    """A running server. `lines` are what it printed to standard error."""

    process: subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


@contextmanager
def serve_process(
    folder: Path, *options: str, environ: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """Run `agentkit serve` on a free port until the block ends; ready when the block begins."""
    command = [sys.executable, "-m", "agentkit", "serve", "--folder", str(folder), *options]
    if "--port" not in options:
        command += ["--port", "0"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environ or {})}
    )
    served, ready = Served(process), threading.Event()

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            served.lines.append(line)
            if found := re.search(r"http://\S+", line):
                served.url = served.url or found[0]
                ready.set()
        ready.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        assert ready.wait(_START_SECONDS), served.lines
        assert served.url, "".join(served.lines)
        _wait_for_index(served)
        yield served
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join(10)
        assert process.stderr is not None
        process.stderr.close()


def _wait_for_index(served: Served) -> None:
    """Wait until questions can be answered."""
    with httpx2.Client(base_url=served.url, timeout=60) as client:
        for _ in range(600):
            if client.get("/ready").status_code in (200, 401):
                return
            threading.Event().wait(0.2)
    raise AssertionError("".join(served.lines))
