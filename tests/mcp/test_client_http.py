"""Servers over HTTP that restart, forget sessions or refuse connections."""

from __future__ import annotations

import pytest

from agentkit.errors import ToolError
from agentkit.mcp.client import McpServers
from agentkit.mcp.config import ServerConfig
from tests.mcp.reading import inside
from tests.servers.http_sessions import SessionServer, serving


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
