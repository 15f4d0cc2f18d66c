"""How quickly `agentkit chat` answers in a terminal: a key to its echo, a streamed token to the
screen.

    python benchmarks/terminal.py [--keys 100] [--answers 20]

The program runs in a pseudo-terminal. A model server of the standard library in this process notes
when it sends the first token of an answer, and the clock stops when the token's text comes out of
the terminal: HTTP, the loop and the drawing are all in it. Times are in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import threading
import time
from fcntl import ioctl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from termios import TIOCSWINSZ

_MOST = 60.0
_CURSOR_ASKED, _CURSOR = b"\x1b[6n", b"\x1b[1;1R"


def main() -> None:
    options = _options()
    server = _Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        terminal = _Terminal(Path(folder), server.server_port)
        try:
            terminal.until(b"\xe2\x80\xba")
            time.sleep(1.0)
            _report("key to echo", [_echoed(terminal, n) for n in range(options.keys)])
            _report("key to echo, completing", _completed(terminal, options.keys // 10))
            tokens = [_painted(terminal, server, n) for n in range(options.answers)]
            _report("first token to screen", tokens)
        finally:
            terminal.end()
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    """Answers in the OpenAI format: one token with the number of the answer, then the end."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        time.sleep(0.3)
        number = sum(message["role"] == "user" for message in asked["messages"])
        self.server.sent = time.perf_counter()
        self._event({"content": f"token-{number}."})
        time.sleep(0.2)
        self._event({}, "stop")
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, delta: dict[str, str], finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m",
                 "choices": [choice]}  # fmt: skip
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return None


class _Server(ThreadingHTTPServer):
    """`sent` is when the last first token went out."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sent = 0.0


class _Terminal:
    """The chat in a terminal of 80 by 24."""

    def __init__(self, folder: Path, port: int) -> None:
        self._out, child = pty.openpty()
        ioctl(child, TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        (folder / "knowledge").mkdir()
        url = f"http://127.0.0.1:{port}/v1"
        arguments = ("chat", "-C", str(folder), "-m", "openai:m", "--base-url", url)
        self._child = subprocess.Popen(
            [sys.executable, "-m", "agentkit", *arguments],
            stdin=child, stdout=child, stderr=child, start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "OPENAI_API_KEY": "none"},
        )  # fmt: skip
        os.close(child)

    def type(self, text: bytes) -> float:
        """Press keys; when that was."""
        now = time.perf_counter()
        os.write(self._out, text)
        return now

    def until(self, wanted: bytes) -> float:
        """Read until this was written; when that was."""
        seen, end = b"", time.perf_counter() + _MOST
        while wanted not in seen:
            ready, _, _ = select.select([self._out], [], [], 1.0)
            if ready:
                read = os.read(self._out, 65536)
                seen += read
                os.write(self._out, _CURSOR * read.count(_CURSOR_ASKED))
            elif time.perf_counter() > end:
                raise SystemExit(f"{wanted!r} did not come; there was {seen[-300:]!r}")
        return time.perf_counter()

    def quiet(self) -> None:
        """Read until nothing comes any more."""
        while select.select([self._out], [], [], 0.15)[0]:
            read = os.read(self._out, 65536)
            os.write(self._out, _CURSOR * read.count(_CURSOR_ASKED))

    def end(self) -> None:
        self._child.kill()
        self._child.wait()
        os.close(self._out)


def _echoed(terminal: _Terminal, number: int) -> float:
    """Milliseconds from a key to its echo."""
    key = b"abcdefghijklmnopqrstuvwxyz"[number % 26 : number % 26 + 1]
    if number % 26 == 0:
        terminal.type(b"\x15\x1b\x7f")
        terminal.quiet()
    began = terminal.type(key)
    took = terminal.until(key) - began
    terminal.quiet()
    return took * 1000


def _completed(terminal: _Terminal, count: int) -> list[float]:
    """The same, where commands are offered below at each key."""
    found = []
    for _ in range(count):
        terminal.type(b"\x03")
        terminal.quiet()
        terminal.type(b"/")
        terminal.quiet()
        began = terminal.type(b"s")
        found.append((terminal.until(b"s") - began) * 1000)
        terminal.quiet()
    terminal.type(b"\x03")
    terminal.quiet()
    return found


def _painted(terminal: _Terminal, server: _Server, number: int) -> float:
    """Milliseconds from the server's first token to the screen."""
    terminal.type(b"hello\r")
    seen = terminal.until(f"token-{number + 1}.".encode())
    took = (seen - server.sent) * 1000
    terminal.until(b"\xe2\x80\xba")
    terminal.quiet()
    return took


def _report(name: str, times: list[float]) -> None:
    times = sorted(times)
    tail = times[int(0.95 * (len(times) - 1))]
    print(f"{name:26} median {median(times):6.1f}  p95 {tail:6.1f}  worst {times[-1]:6.1f} ms")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=100, help="keys to press")
    parser.add_argument("--answers", type=int, default=20, help="answers to wait for")
    return parser.parse_args()


if __name__ == "__main__":
    main()
