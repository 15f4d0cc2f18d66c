"""Signing in: once in the browser, then by what is kept, renewed when it has ended."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2
import pytest

from agentkit.mcp.client import McpServers
from agentkit.mcp.config import OAuth, ServerConfig
from agentkit.mcp.oauth import Browse, auth_for, delete_tokens, token_path, uses_oauth
from tests.mcp.reading import inside
from tests.servers.sign_in import SignInServer, signing_in


@pytest.fixture
def server() -> Iterator[SignInServer]:
    with signing_in() as server:
        yield server


def remote(server: SignInServer) -> ServerConfig:
    return ServerConfig("remote", "http", url=server.url, timeout=10)


async def browse(url: str) -> None:
    """A browser whose user agrees."""
    async with httpx2.AsyncClient(follow_redirects=True) as browser:
        assert (await browser.get(url)).text.count("You may close this page")


async def greeted(config: ServerConfig, browse: Browse | None = None) -> str:
    async with McpServers([config], auths={"remote": auth_for(config, browse)}) as servers:
        if servers.problems:
            return servers.problems["remote"]
        return inside(await servers.tools[0].run({}))


async def test_a_sign_in_is_kept_for_later(server: SignInServer) -> None:
    config = remote(server)
    assert await greeted(config, browse) == "greet"
    assert await greeted(config) == "greet"
    assert server.grants == ["authorization_code"]
    assert token_path(config).stat().st_mode & 0o777 == 0o600
    assert token_path(config).parent.stat().st_mode & 0o777 == 0o700


async def test_a_token_that_has_ended_is_renewed_without_the_user(server: SignInServer) -> None:
    config = remote(server)
    assert await greeted(config, browse) == "greet"
    kept = json.loads(token_path(config).read_text())
    token_path(config).write_text(json.dumps(kept | {"ends": 1.0}))
    server.granted.clear()
    assert await greeted(config) == "greet"
    assert server.grants == ["authorization_code", "refresh_token"]


async def test_without_a_sign_in_people_are_told_how(server: SignInServer) -> None:
    assert "agentkit mcp login remote" in await greeted(remote(server))


async def test_a_sign_in_can_be_forgotten(server: SignInServer) -> None:
    config = remote(server)
    assert await greeted(config, browse) == "greet"
    assert delete_tokens(config)
    assert not delete_tokens(config)
    assert "agentkit mcp login remote" in await greeted(config)


def test_a_header_of_the_users_own_comes_before_any_sign_in() -> None:
    config = ServerConfig("r", "http", url="https://x", headers={"authorization": "Bearer k"})
    assert not uses_oauth(config)
    assert uses_oauth(ServerConfig("r", "http", url="https://x"))
    assert uses_oauth(ServerConfig("r", "http", url="https://x", oauth=OAuth(client_id="me")))
    assert not uses_oauth(ServerConfig("r", command="x"))


def test_a_secret_that_was_corrected_is_the_one_that_is_used() -> None:
    for secret in ("wrong", "right"):
        oauth = OAuth(client_id="me", client_secret=secret)
        auth_for(ServerConfig("r", "http", url="https://x", oauth=oauth))
    kept = json.loads(
        token_path(ServerConfig("r", "http", url="https://x", oauth=oauth)).read_text()
    )
    assert kept["client"]["client_secret"] == "right"
