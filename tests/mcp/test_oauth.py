"""OAuth: sign in once in the browser, then use and renew the stored tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2
import pytest

from agentkit.mcp.client import McpServers
from agentkit.mcp.config import OAuth, ServerConfig
from agentkit.mcp.oauth import Browse, auth_for, delete_tokens, token_path, uses_oauth
from tests.mcp.reading import inside
from tests.servers.raw_http import event_stream
from tests.servers.sign_in import SignInServer, signing_in


@pytest.fixture
def server() -> Iterator[SignInServer]:
    with signing_in() as server:
        yield server


def remote(server: SignInServer) -> ServerConfig:
    return ServerConfig("remote", "http", url=server.url, timeout=60)


async def browse(url: str) -> None:
    """A browser whose user agrees."""
    async with httpx2.AsyncClient(follow_redirects=True) as browser:
        assert (await browser.get(url)).text.count("You may close this page")


async def greeted(config: ServerConfig, browse: Browse | None = None) -> str:
    async with McpServers([config], auths={"remote": auth_for(config, browse)}) as servers:
        if servers.problems:
            return servers.problems["remote"]
        return inside((await servers.tools[0].run({})).content)


async def test_tokens_are_stored_after_signing_in(server: SignInServer) -> None:
    config = remote(server)
    assert await greeted(config, browse) == "greet"
    assert await greeted(config) == "greet"
    assert server.grants == ["authorization_code"]
    assert token_path(config).stat().st_mode & 0o777 == 0o600
    assert token_path(config).parent.stat().st_mode & 0o777 == 0o700


async def test_an_expired_token_is_renewed_without_the_user(server: SignInServer) -> None:
    config = remote(server)
    assert await greeted(config, browse) == "greet"
    kept = json.loads(token_path(config).read_text())
    token_path(config).write_text(json.dumps(kept | {"ends": 1.0}))
    server.granted.clear()
    assert await greeted(config) == "greet"
    assert server.grants == ["authorization_code", "refresh_token"]


async def test_a_missing_sign_in_is_an_error_with_the_command(server: SignInServer) -> None:
    assert "agentkit mcp login remote" in await greeted(remote(server))


async def test_a_server_that_registers_no_clients_is_an_error_with_what_to_set() -> None:
    with event_stream(401) as refusing:
        problem = await greeted(ServerConfig("remote", "http", url=refusing.url))
    assert f"'remote' at {refusing.url} wants a sign-in, and registers no clients" in problem
    assert '"headers" with an Authorization, or "oauth" with a clientId' in problem


async def test_stored_tokens_can_be_deleted(server: SignInServer) -> None:
    config = remote(server)
    assert await greeted(config, browse) == "greet"
    assert delete_tokens(config)
    assert not delete_tokens(config)
    assert "agentkit mcp login remote" in await greeted(config)


def test_an_authorization_header_replaces_oauth() -> None:
    config = ServerConfig("r", "http", url="https://x", headers={"authorization": "Bearer k"})
    assert not uses_oauth(config)
    assert uses_oauth(ServerConfig("r", "http", url="https://x"))
    assert uses_oauth(ServerConfig("r", "http", url="https://x", oauth=OAuth(clientId="me")))
    assert not uses_oauth(ServerConfig("r", command="x"))


def test_a_corrected_client_secret_replaces_the_stored_one() -> None:
    for secret in ("wrong", "right"):
        oauth = OAuth(clientId="me", clientSecret=secret)
        auth_for(ServerConfig("r", "http", url="https://x", oauth=oauth))
    kept = json.loads(
        token_path(ServerConfig("r", "http", url="https://x", oauth=oauth)).read_text()
    )
    assert kept["client"]["client_secret"] == "right"
