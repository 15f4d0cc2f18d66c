"""Servers over HTTP that restart, forget sessions, redirect or refuse connections."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from agentkit.errors import ToolError
from agentkit.mcp.client import McpServers
from agentkit.mcp.config import ServerConfig
from tests.mcp.reading import inside
from tests.servers.http_sessions import SessionServer, serving
from tests.servers.raw_http import GREET, event_stream, raw


def remote(server: SessionServer) -> ServerConfig:
    return ServerConfig(
        name="remote", transport="http", url=server.url, headers={"X-Key": "1"}, timeout=60
    )


async def test_tools_are_called_with_the_configured_headers() -> None:
    with serving() as server:
        async with McpServers([remote(server)]) as servers:
            assert servers.problems == {}
            greet, _ = servers.tools
            assert inside((await greet.run({})).content) == "greet"
    assert all(headers["X-Key"] == "1" for headers in server.headers_seen)


@pytest.mark.parametrize("code", [0, -32600, -32001, -32000])
async def test_a_lost_session_is_reopened_and_a_read_only_call_repeated(code: int) -> None:
    with serving() as server:
        server.refusal = {"code": code, "message": "Session not found"} if code else None
        async with McpServers([remote(server)]) as servers:
            greet, _ = servers.tools
            server.sessions.clear()
            assert inside((await greet.run({})).content) == "greet"


async def test_a_lost_session_fails_another_call_once() -> None:
    with serving() as server:
        async with McpServers([remote(server)]) as servers:
            _, count = servers.tools
            server.sessions.clear()
            with pytest.raises(ToolError, match="'remote' was lost during the call of count"):
                await count.run({})
            assert inside((await count.run({})).content) == "count"


async def test_an_invalid_call_does_not_count_as_a_lost_session() -> None:
    with serving() as server:
        async with McpServers([remote(server)]) as servers:
            _, count = servers.tools
            with pytest.raises(ToolError, match="count failed: No arguments, please"):
                await count.run({"a": 1})
        assert len(server.sessions) == 1


async def test_a_refused_connection_is_a_tool_error_until_the_server_is_back() -> None:
    with serving() as server:
        port = server.server_port
        servers = McpServers([remote(server)])
        await servers.__aenter__()
    try:
        greet, count = servers.tools
        with pytest.raises(ToolError, match="'remote'"):
            await count.run({})
        with pytest.raises(ToolError, match="'remote' cannot be used at "):
            await greet.run({})
        with serving(port):
            assert inside((await greet.run({})).content) == "greet"
    finally:
        await servers.__aexit__(None, None, None)


async def test_an_answer_that_is_too_large_breaks_off() -> None:
    with serving() as server:
        async with McpServers([remote(server)]) as servers:
            greet, count = servers.tools
            server.padding = 50_000_000
            with pytest.raises(ToolError, match="'remote'"):
                await count.run({})
            server.padding = 0
            assert inside((await greet.run({})).content) == "greet"


async def test_a_compressed_answer_is_refused() -> None:
    with serving() as server:
        async with McpServers([remote(server)]) as servers:
            greet, count = servers.tools
            server.padding, server.compresses = 10_000_000, True
            with pytest.raises(ToolError, match="'remote'"):
                await count.run({})
            server.padding, server.compresses = 0, False
            assert inside((await greet.run({})).content) == "greet"
        assert all(seen["Accept-Encoding"] == "identity" for seen in server.headers_seen)


async def test_hidden_characters_of_an_error_are_escaped() -> None:
    with serving() as server:
        server.refusal = {"code": -32603, "message": "no\u202e\x1b[31m luck"}
        async with McpServers([remote(server)]) as servers:
            _, count = servers.tools
            server.sessions.clear()
            with pytest.raises(ToolError) as caught:
                await count.run({})
    assert str(caught.value).endswith("count failed: no<U+202E><U+001B>[31m luck")


def refusal(status: int, code: int, message: str) -> tuple[int, str, str]:
    error = json.dumps({"code": code, "message": message})
    return status, "application/json", f'{{"jsonrpc": "2.0", "id": ID, "error": {error}}}'


def plain(status: int, words: str) -> tuple[int, str, str]:
    return status, "text/plain", words


def body(status: int, /, **fields: Any) -> tuple[int, str, str]:
    return status, "application/json", json.dumps(fields)


FORGOTTEN = {
    "empty 404": plain(404, ""),
    "Python SDK": refusal(404, -32600, "Session not found"),
    "Python SDK before 1.24": plain(400, "Bad Request: No valid session ID provided"),
    "Python SDK, missing": refusal(400, -32600, "Bad Request: Missing session ID"),
    "Python SDK, ended": refusal(404, -32600, "Not Found: Session has been terminated"),
    "TypeScript SDK": refusal(404, -32001, "Session not found"),
    "TypeScript SDK, header": refusal(
        400, -32000, "Bad Request: Mcp-Session-Id header is required"
    ),
    "TypeScript examples": refusal(400, -32000, "Bad Request: No valid session ID provided"),
    "TypeScript examples, text": plain(400, "Invalid or missing session ID"),
    "TypeScript, restarted": refusal(400, -32000, "Bad Request: Server not initialized"),
    "C# SDK": refusal(404, -32001, "Session not found"),
    "Go SDK": plain(404, "session not found"),
    "mcp-go": plain(400, "Invalid session ID"),
    "mcp-go, ended": plain(404, "Session terminated"),
    "Java SDK": body(404, message="Session not found: 4f"),
    "Java SDK, header": body(400, message="Session ID required in mcp-session-id header"),
    "Spring": body(400, timestamp="2026-11-28", status=400, error="Session ID missing"),
    "FastAPI": body(400, detail="Unknown session"),
    "FastAPI, nested": body(422, error={"message": "session_id is invalid"}),
    "expired": refusal(400, -32000, "Session expired, please re-initialize"),
    "gone": plain(410, "Gone"),
    "gateway": refusal(503, -32000, "Session unavailable"),
    "gateway, text": plain(503, "upstream session is gone"),
    "gateway, 500": body(500, error="No such session"),
    "own words": refusal(404, -32000, "Unknown client"),
    "no transport": plain(400, "No transport found for sessionId"),
    "early": refusal(400, -32602, "Received request before initialization was complete"),
    "accepted": refusal(200, -32600, "Session not found"),
    "accepted, TypeScript": refusal(200, -32001, "Session does not exist"),
    "accepted, own": refusal(200, -32000, "Server not initialized"),
}
OTHER = {
    "no access": plain(401, "Session not found"),
    "forbidden": body(403, detail="Invalid session"),
    "limit": refusal(503, -32000, "Too many sessions: no more than 10"),
    "rate": refusal(429, -32000, "Session limit exceeded"),
    "method": refusal(404, -32601, "Method not found"),
    "tool": refusal(404, -32602, "Unknown tool: greet"),
    "failed": plain(500, "disk full"),
    "closed page": plain(502, "<html><body>Bad gateway</body></html>"),
    "of the tool": refusal(200, -32602, "Unknown session of the browser"),
    "busy": refusal(200, -32000, "Rate limited"),
}


DEEP: Any = "end"
for _level in range(300):
    DEEP = [DEEP]


def config(url: str) -> ServerConfig:
    return ServerConfig("raw", transport="http", url=url, timeout=10)


@pytest.mark.parametrize("forgotten", FORGOTTEN.values(), ids=FORGOTTEN.keys())
async def test_a_forgotten_session_is_opened_again_whatever_the_words(forgotten: Any) -> None:
    with raw(forgotten=forgotten) as server:
        async with McpServers([config(server.url)]) as servers:
            server.sessions.clear()
            for _ in range(2):
                assert inside((await servers.tools[0].run({})).content) == "hello"
        assert len(server.sessions) == 1
        assert server.calls == 2


@pytest.mark.parametrize("forgotten", OTHER.values(), ids=OTHER.keys())
async def test_another_refusal_is_an_error_with_the_servers_words(forgotten: Any) -> None:
    status, _, words = forgotten
    with raw(forgotten=forgotten) as server:
        async with McpServers([config(server.url)]) as servers:
            server.sessions.clear()
            with pytest.raises(ToolError, match="greet failed") as caught:
                await servers.tools[0].run({})
        assert len(server.sessions) == 0
    parsed = json.loads(words.replace("ID", "1")) if words.startswith("{") else {}
    error = parsed.get("error", parsed)
    expected = error.get("message") or error.get("detail") or (words if "<" not in words else "")
    assert expected in str(caught.value)
    assert status == 200 or "jsonrpc" in parsed or f"HTTP {status} " in str(caught.value)


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
@pytest.mark.parametrize(
    "fault", [{"error": {"code": -32603, "message": "busy"}}, {"result": DEEP}]
)
async def test_answers_without_an_id_are_those_of_their_requests(
    kind: str, fault: dict[str, Any]
) -> None:
    answer = {"jsonrpc": "2.0", "id": None, **fault}
    with raw(frame=lambda _: answer, content_type=kind) as server:
        async with McpServers([config(server.url)]) as servers:
            calls = (servers.tools[0].run({}) for _ in range(3))
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
    expected = r"'raw': greet failed: (busy|the answer is nested too deeply)"
    assert all(re.search(expected, str(outcome)) for outcome in outcomes)


@pytest.mark.parametrize("scheme", ["http://", ""])
async def test_a_server_is_reached_through_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    with raw() as proxy:
        monkeypatch.setenv("http_proxy", f"{scheme}127.0.0.1:{proxy.server_port}")
        async with McpServers([config("http://mcp.invalid/mcp")]) as servers:
            assert inside((await servers.tools[0].run({})).content) == "hello"
        monkeypatch.setenv("no_proxy", "mcp.invalid")
        async with McpServers([config("http://mcp.invalid/mcp")]) as servers:
            assert "cannot be used at" in servers.problems["raw"]


async def test_a_server_on_this_machine_needs_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with raw() as server:
        async with McpServers([config(server.url)]) as servers:
            assert servers.problems == {}


async def test_a_call_that_may_have_had_an_effect_is_not_repeated() -> None:
    listed = {"tools/list": {"tools": [{**GREET, "annotations": {}}]}}
    with raw(listed, forgotten=refusal(404, -32001, "Session not found")) as server:
        async with McpServers([config(server.url)]) as servers:
            server.sessions.clear()
            with pytest.raises(ToolError, match="may or may not have taken effect"):
                await servers.tools[0].run({})
            assert inside((await servers.tools[0].run({})).content) == "hello"
        assert server.calls == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_messages_follow_redirects_within_an_origin(status: int) -> None:
    with raw(redirect=(status, "/mcp/")) as server:
        async with McpServers([config(server.url)]) as servers:
            assert servers.problems == {}
            assert inside((await servers.tools[0].run({})).content) == "hello"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_messages_do_not_follow_redirects_to_another_origin(status: int, host: str) -> None:
    with raw() as other:
        place = f"http://{host}:{other.server_port}/mcp"
        with raw(redirect=(status, place)) as server:
            async with McpServers([config(server.url)]) as servers:
                assert servers.tools == ()
                assert f"Redirect to {place} not followed" in servers.problems["raw"]
        assert other.sessions == set()


@pytest.mark.parametrize("status", [400, 404, 405])
async def test_an_older_server_is_used_over_its_event_stream(status: int) -> None:
    with event_stream(status) as server:
        async with McpServers([config(server.url)]) as servers:
            assert servers.problems == {}
            assert inside((await servers.tools[0].run({})).content) == "hello"
            server.forgets_next = True
            assert inside((await servers.tools[0].run({})).content) == "hello"


@pytest.mark.parametrize("status", [401, 403, 500])
async def test_a_server_that_refuses_otherwise_is_not_tried_as_an_older_one(status: int) -> None:
    with event_stream(status) as server:
        async with McpServers([config(server.url)]) as servers:
            assert f"HTTP {status} " in servers.problems["raw"]
        assert server.streams == {}


async def test_a_wrong_address_is_reported_as_the_server_refused_it() -> None:
    with event_stream(405) as server:
        wrong = server.url.replace("/sse", "/nothing")
        async with McpServers([config(wrong)]) as servers:
            assert "cannot be used at" in servers.problems["raw"]
            assert "HTTP 405 Method Not Allowed" in servers.problems["raw"]
