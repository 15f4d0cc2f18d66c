"""A streamable HTTP server of the standard library that answers with what a test gives it."""

from __future__ import annotations

import json
import queue
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.servers.http_sessions import running

GREET = {
    "name": "greet",
    "inputSchema": {"type": "object", "properties": {}},
    "annotations": {"readOnlyHint": True},
}
HELLO = {"content": [{"type": "text", "text": "hello"}]}

Refusal = tuple[int, str, str]
"""A status, a content type and a body, in which ID stands for the request's id."""


class RawServer(ThreadingHTTPServer):
    """Answers each method with a result of `results`, exactly as it stands there.

    `forgotten` is how it refuses a session that it does not know, `redirect` the status and place
    to which it redirects /mcp; `sends_string_ids` returns every id as a string. `frame` changes an
    answer to a tool's call before it is sent, `content_type` is that of every answer; with that of
    event streams each answer is an event. `breaks_off` ends the connection within the next answer
    to a call."""

    daemon_threads = True

    def __init__(
        self,
        results: Mapping[str, Any],
        *,
        version: str = "2025-06-18",
        forgotten: Refusal = (404, "text/plain", ""),
        redirect: tuple[int, str] | None = None,
        sends_string_ids: bool = False,
        frame: Callable[[dict[str, Any]], Any] = lambda answer: answer,
        content_type: str = "application/json",
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.results: dict[str, Any] = {
            "initialize": {
                "protocolVersion": version,
                "capabilities": {"tools": {}, "prompts": {}, "resources": {}},
                "serverInfo": {"name": "raw", "version": "1"},
            },
            "tools/list": {"tools": [GREET]},
            "tools/call": HELLO,
            **results,
        }
        self.forgotten = forgotten
        self.redirect = redirect
        self.sends_string_ids = sends_string_ids
        self.frame, self.content_type = frame, content_type
        self.sessions: set[str] = set()
        self.calls = 0
        self.breaks_off = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/mcp"


def raw(results: Mapping[str, Any] = {}, **options: Any) -> AbstractContextManager[RawServer]:
    """A raw server, answering in a thread for as long as the block runs."""
    return running(RawServer(results, **options))


class _Handler(BaseHTTPRequestHandler):
    server: RawServer

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method, server = message["method"], self.server
        if server.redirect and self.path == "/mcp":
            status, place = server.redirect
            self._send((status, "text/plain", ""), {"Location": place})
            return
        is_new = method == "initialize"
        session = uuid.uuid4().hex if is_new else self.headers["Mcp-Session-Id"]
        if is_new:
            server.sessions.add(session)
        elif method.startswith("server/"):
            self._answer(message, {"error": {"code": -32601, "message": "Method not found"}})
            return
        elif session not in server.sessions:
            status, kind, body = server.forgotten
            self._send((status, kind, body.replace("ID", json.dumps(message.get("id")))))
            return
        if "id" not in message:
            self._send((202, "text/plain", ""))
            return
        server.calls += method == "tools/call"
        found = server.results.get(method)
        error = {"error": {"code": -32601, "message": "Method not found"}}
        answer = error if found is None else {"result": found}
        self._answer(message, answer, {"Mcp-Session-Id": session} if is_new else {})

    def do_GET(self) -> None:
        self._send((405, "text/plain", ""))

    def do_DELETE(self) -> None:
        self.do_GET()

    def _answer(
        self, message: Mapping[str, Any], answer: Mapping[str, Any], headers: Mapping[str, str] = {}
    ) -> None:
        id_ = str(message["id"]) if self.server.sends_string_ids else message["id"]
        whole = {"jsonrpc": "2.0", "id": id_, **answer}
        if message["method"] == "tools/call":
            whole = self.server.frame(whole)
        kind, text = self.server.content_type, json.dumps(whole)
        text = f"id: 1\r\ndata: {text}\r\n\r\n" if kind == "text/event-stream" else text
        self._send((200, kind, text), headers)

    def _send(self, answer: Refusal, headers: Mapping[str, str] = {}) -> None:
        status, kind, text = answer
        body = text.encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.server.calls and self.server.breaks_off:
            self.server.breaks_off = False
            self.close_connection = True
            body = body[: len(body) // 2]
        self.wfile.write(body)

    log_message: Callable[..., None] = lambda *_: None


class EventStreamServer(ThreadingHTTPServer):
    """A server of the protocol's first version: an event stream at /sse, messages elsewhere.
    `rejects` is the status of a message that is posted to the stream's address, `called` the
    result of each call."""

    daemon_threads = True

    def __init__(self, rejects: int, called: Any = HELLO) -> None:
        super().__init__(("127.0.0.1", 0), _EventHandler)
        self.rejects = rejects
        self.called = called
        self.streams: dict[str, queue.Queue[str]] = {}
        self.forgets_next = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/sse"


def event_stream(rejects: int, called: Any = HELLO) -> AbstractContextManager[EventStreamServer]:
    """An older server, answering in a thread for as long as the block runs."""
    return running(EventStreamServer(rejects, called))


class _EventHandler(BaseHTTPRequestHandler):
    server: EventStreamServer
    log_message: Callable[..., None] = lambda *_: None

    def do_GET(self) -> None:
        if self.path != "/sse":
            self.send_error(404)
            return
        session = uuid.uuid4().hex
        events = self.server.streams.setdefault(session, queue.Queue())
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        event = f"event: endpoint\ndata: /messages?session_id={session}"
        while event:
            self.wfile.write(f"{event}\n\n".encode())
            self.wfile.flush()
            event = events.get()

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        session = self.path.partition("session_id=")[2]
        forgets = self.server.forgets_next and message["method"] == "tools/call"
        if not session or forgets:
            self.server.forgets_next = False
            status = 404 if session else self.server.rejects
            self.send_response(status)
        else:
            self.send_response(202)
            self._answer(session, message)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer(self, session: str, message: Mapping[str, Any]) -> None:
        results: Mapping[str, Any] = {
            "initialize": {
                "protocolVersion": "2024-11-05",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "older", "version": "1"},
            },
            "tools/list": {"tools": [GREET]},
            "tools/call": self.server.called,
        }
        found = results.get(message["method"])
        error = {"error": {"code": -32601, "message": "Method not found"}}
        if "id" in message:
            answer = {"result": found} if found else error
            body = json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer})
            self.server.streams[session].put(f"event: message\ndata: {body}")
