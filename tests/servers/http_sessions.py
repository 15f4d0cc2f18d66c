"""A streamable HTTP server, of the standard library only, whose sessions can be dropped."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
"""A client's first request."""
ACCEPT = {"Accept": "application/json, text/event-stream"}

S = TypeVar("S", bound=ThreadingHTTPServer)


class SessionServer(ThreadingHTTPServer):
    """One tool, `greet`, read-only, and one, `count`, that is not; neither takes arguments.
    `refusal` is the error that a session gets which is not known."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.sessions: list[str] = []
        self.headers_seen: list[dict[str, str]] = []
        self.padding = 0
        self.compresses = False
        self.refusal: dict[str, Any] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/mcp"


def serving(port: int = 0) -> AbstractContextManager[SessionServer]:
    return running(SessionServer(port))


@contextmanager
def running(server: S) -> Iterator[S]:
    """The server, answering in a thread for as long as the block runs."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: SessionServer

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.headers_seen.append(dict(self.headers))
        if message["method"] == "initialize":
            session = f"session-{len(self.server.sessions)}-{id(self.server)}"
            self.server.sessions.append(session)
            self._send(200, message, _initialized(message["params"]), session)
        elif self.headers["Mcp-Session-Id"] not in self.server.sessions:
            self._send(404, error=self.server.refusal)
        elif "id" not in message:
            self._send(202)
        elif message.get("params", {}).get("arguments"):
            self._send(400, error={"code": -32600, "message": "No arguments, please."})
        else:
            self._send(200, message, _result(message, self.server.padding))

    def do_GET(self) -> None:
        self._send(405)

    def do_DELETE(self) -> None:
        self._send(200)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        return None

    def _send(
        self,
        status: int,
        request: Any = None,
        result: Any = None,
        session: str = "",
        error: Any = None,
    ) -> None:
        answer = {"jsonrpc": "2.0", "id": request["id"], "result": result} if request else None
        if error:
            answer = {"jsonrpc": "2.0", "id": None, "error": error}
        body = json.dumps(answer).encode() if answer else b""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if self.server.compresses:
            body = gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        if session:
            self.send_header("Mcp-Session-Id", session)
        self.end_headers()
        self.wfile.write(body)


def _initialized(params: dict[str, Any]) -> dict[str, Any]:
    return {
        "protocolVersion": params["protocolVersion"],
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "sessions", "version": "1"},
    }


def _result(message: dict[str, Any], padding: int) -> dict[str, Any]:
    if message["method"] == "tools/list":
        schema = {"type": "object"}
        greet = {"name": "greet", "inputSchema": schema, "annotations": {"readOnlyHint": True}}
        return {"tools": [greet, {"name": "count", "inputSchema": schema}]}
    text = message["params"]["name"] + "x" * padding
    return {"content": [{"type": "text", "text": text}]}
