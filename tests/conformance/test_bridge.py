"""The bridge from any configured server to plain HTTP."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx2
import pytest
from mcp import Client, MCPError

from agentkit.errors import McpError
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.server import build_server
from agentkit.mcp.server.http import Access, KeyVerifier, mcp_app
from tests.conformance.bridge import SPARE, Relay, bridge
from tests.mcp.processes import any_running, eventually, soon
from tests.mcp.server.test_http import served

pytestmark = pytest.mark.slow

SERVERS = Path(__file__).parents[1] / "servers"
KEY = "a key that is long enough"


def full_server(state: Path) -> ServerConfig:
    return ServerConfig(
        "s", command=sys.executable, args=(str(SERVERS / "full_server.py"), str(state))
    )


def faulty(state: Path, mode: str = "good", timeout: float = 60) -> ServerConfig:
    args = (str(SERVERS / "faulty.py"), mode, str(state))
    return ServerConfig("s", command=sys.executable, args=args, timeout=timeout)


async def test_a_stdio_server_is_reachable_over_http(tmp_path: Path) -> None:
    async with bridge(full_server(tmp_path), None) as url, Client(url, mode="legacy") as client:
        assert client.server_info is not None
        assert client.server_info.name == "full_server"
        assert (await client.list_tools()).tools[0].name == "greet"
        with pytest.raises(MCPError, match="no resources/read"):
            await client.read_resource("notes://c")
    assert await soon(lambda: not any_running(tmp_path))


async def test_a_server_of_the_stateless_protocol_is_used_without_sessions() -> None:
    config = ServerConfig("s", command=sys.executable, args=("-m", "mcp_server_time"))
    async with bridge(config, None) as url, Client(url) as client:
        assert client.protocol_version == "2026-07-28"
        assert [tool.name for tool in (await client.list_tools()).tools]


async def test_each_session_has_its_own_server_which_ends_with_the_session(tmp_path: Path) -> None:
    async with bridge(faulty(tmp_path), None) as url:
        for _ in range(2):
            async with Client(url, mode="legacy") as client:
                await client.list_tools()
        assert await soon(lambda: len((tmp_path / "pids").read_text().split()) == 2 + SPARE)
        unknown = {"mcp-session-id": "unknown"}
        async with httpx2.AsyncClient(headers=unknown) as stranger:
            answer = await stranger.post(url, json={"method": "ping", "id": 1})
            assert answer.status_code == 404
            assert (await stranger.get(url)).status_code == 405


async def test_requests_without_the_secret_path_or_from_another_origin_are_refused(
    tmp_path: Path,
) -> None:
    async with bridge(faulty(tmp_path), None) as url, httpx2.AsyncClient() as stranger:
        assert (await stranger.post(url.rpartition("/")[0] + "/mcp")).status_code == 404
        rebound = await stranger.post(url, headers={"Host": "evil.example.com"})
        assert rebound.status_code == 421
        page = await stranger.post(url, headers={"Origin": "https://evil.example.com"})
        assert page.status_code == 403
        assert (await stranger.post(url, content=b"no JSON")).status_code == 400


async def test_configured_headers_are_sent_to_a_remote_server() -> None:
    app = mcp_app(build_server("keyed"), Access(verifier=KeyVerifier(KEY)))
    async with served(app, has_verifier=True) as url:
        headers = {"Authorization": f"Bearer {KEY}"}
        config = ServerConfig("s", "http", url=url, headers=headers)
        for mode in ("legacy", "auto"):
            async with bridge(config, None) as open_url, Client(open_url, mode=mode) as client:
                assert (await client.list_tools()).tools == []


async def test_a_server_that_does_not_start_is_an_error(tmp_path: Path) -> None:
    config = ServerConfig("s", command=sys.executable, cwd=tmp_path / "nowhere")
    with pytest.raises(McpError, match="'s' does not start"):
        async with bridge(config, None):
            pass


async def test_a_request_without_a_response_gets_an_error_in_time(tmp_path: Path) -> None:
    async def called(relay: Relay, tool: str) -> str:
        params = {"name": tool, "arguments": {}}
        request = {"jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": params}
        answer = await relay.request(request)
        assert answer["id"] == "a"
        return str(answer["error"]["message"])

    relay = Relay(faulty(tmp_path, timeout=0.5))
    await relay.open()
    assert await called(relay, "hang") == "no response in time"
    await relay.close()
    relay = Relay(faulty(tmp_path))
    await relay.open()
    assert await called(relay, "crash") == "the server ended"
    await relay.close()
    assert eventually(lambda: not any_running(tmp_path))
