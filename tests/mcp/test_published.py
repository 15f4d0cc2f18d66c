"""The published conformance scenarios, put to servers that mcp.json may name."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agentkit.errors import McpError
from agentkit.mcp.client import McpServers
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.http import mcp_app
from agentkit.mcp.node import NodeFolder
from agentkit.mcp.oauth import auth_for
from agentkit.mcp.published import GENERIC, NEW, OLD, Reached, not_for, published, reached
from agentkit.mcp.server import build_server
from agentkit.mcp.suite import Suite
from tests.mcp.test_http_server import served
from tests.mcp.test_oauth import browse
from tests.node import FOLDER, with_node
from tests.servers.running import refused_url
from tests.servers.sign_in import signing_in

LENDING = Path(__file__).parents[1] / "servers" / "lending.py"
SUITE = Suite(FOLDER)


def lending(state: Path) -> ServerConfig:
    return ServerConfig("s", command=sys.executable, args=(str(LENDING), str(state)))


async def test_what_a_server_can_do_is_found_in_each_revision_that_it_speaks(
    tmp_path: Path,
) -> None:
    able = frozenset({"tools", "resources", "prompts"})
    async with reached(lending(tmp_path), None) as server:
        assert (server.spoken, server.plain) == ({OLD: able}, False)
    async with served(mcp_app(build_server("empty"))) as url:
        config = ServerConfig("s", "http", url=url)
        async with reached(config, None) as server:
            assert set(server.spoken) == {OLD, NEW}
            assert (server.url, server.plain) == (url, True)


async def test_a_server_that_is_gone_is_an_error_in_a_line() -> None:
    config = ServerConfig("remote", "http", url=f"{refused_url()}/mcp")
    with pytest.raises(McpError, match="'remote' does not answer over HTTP"):
        async with reached(config, None):
            pass
    keyed = replace(config, headers={"Authorization": "Bearer key"})
    with pytest.raises(McpError, match="'remote' does not answer over HTTP"):
        async with reached(keyed, None):
            pass


async def test_of_a_server_that_speaks_neither_revision_nothing_is_claimed() -> None:
    ancient = Reached("http://127.0.0.1:1/x", {"2024-11-05": frozenset()}, False)
    async for checked in published(ancient, SUITE):
        assert (checked.outcome, checked.said) == ("skipped", "the server speaks 2024-11-05")


@pytest.mark.parametrize(
    ("scenario", "url", "plain", "said"),
    [
        ("resources-list", "http://127.0.0.1:1/x", True, "the server has no resources"),
        ("caching", "http://127.0.0.1:1/x", True, "the server has no prompts and no resources"),
        ("server-sse-multiple-streams", "http://127.0.0.1:1/x", False, "through a bridge"),
        ("dns-rebinding-protection", "https://example.org/x", True, "on this machine"),
        ("http-header-validation", "http://127.0.0.1:1/x", True, "would call the server's first"),
        ("ping", "http://127.0.0.1:1/x", True, ""),
    ],
)
def test_scenarios_apply_by_what_a_server_is_and_can_do(
    scenario: str, url: str, plain: bool, said: str
) -> None:
    able = dict.fromkeys((OLD, NEW), frozenset({"tools"}))
    (found,) = [each for each in GENERIC if each.name == scenario]
    why = not_for(found, found.revisions[-1], Reached(url, able, plain))
    assert said in why
    assert bool(said) == bool(why)


async def test_a_server_that_wants_a_sign_in_is_reached_with_what_is_kept_of_it() -> None:
    with signing_in() as signed:
        config = ServerConfig("remote", "http", url=signed.url, timeout=10)
        async with McpServers([config], auths={"remote": auth_for(config, browse)}) as servers:
            assert servers.problems == {}
        async with reached(config, auth_for(config)) as server:
            assert server.spoken
            assert not server.plain


@with_node
async def test_a_scenario_passes_fails_or_has_nothing_to_check(tmp_path: Path) -> None:
    async with reached(lending(tmp_path), None) as server:
        good = await SUITE.server(server.url, "tools-list", OLD)
        bad = await SUITE.server(server.url, "ping", OLD)
    assert (good.name, good.outcome) == (f"tools-list ({OLD})", "ok")
    assert (bad.outcome, bad.said) == ("failed", "Failed: no ping")
    async with served(mcp_app(build_server("empty"))) as url:
        empty = await SUITE.server(url, "tools-list", NEW)
    assert (empty.outcome, empty.said) == ("skipped", "No tools advertised; nothing to validate")


@with_node
async def test_the_suite_lists_what_a_revision_requires() -> None:
    counts = [len(await SUITE.required(leg, r)) for leg in ("server", "client") for r in (OLD, NEW)]
    assert counts == [30, 37, 18, 32]


def test_without_npm_people_are_told_what_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(McpError, match=r"npm is not found\. Install Node 22 or newer"):
        NodeFolder(tmp_path / "node", ("x@1",)).install()


def test_what_npm_complains_of_is_told_and_nothing_counts_as_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code E404' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin:/bin")
    folder = NodeFolder(tmp_path / "node", ("no-such-package@1",))
    with pytest.raises(McpError, match="could not install no-such-package@1: code E404"):
        folder.install()
    assert not folder.is_ready


def test_what_is_installed_is_not_installed_again_until_a_pin_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm = tmp_path / "npm"
    npm.write_text(f"#!/bin/sh\necho once >> {tmp_path}/runs\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin:/bin")
    for release in ("1", "1", "2"):
        NodeFolder(tmp_path / "node", (f"x@{release}",)).install()
    assert (tmp_path / "runs").read_text() == "once\nonce\n"
