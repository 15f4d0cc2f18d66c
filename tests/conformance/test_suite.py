"""The runner of the published conformance suite."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agentkit.errors import McpError
from agentkit.mcp.client import McpServers
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.oauth import auth_for
from agentkit.mcp.server import build_server
from agentkit.mcp.server.http import mcp_app
from tests.conformance.suite import (
    GENERIC,
    NEW,
    OLD,
    Suite,
    Target,
    reach,
    reason_to_skip,
    run_generic,
)
from tests.mcp.server.test_http import served
from tests.mcp.test_oauth import browse
from tests.node import FOLDER, NodeFolder, with_node
from tests.servers.running import refused_url
from tests.servers.sign_in import signing_in

pytestmark = pytest.mark.slow

FULL_SERVER = Path(__file__).parents[1] / "servers" / "full_server.py"
SUITE = Suite(FOLDER)


def full_server(state: Path) -> ServerConfig:
    return ServerConfig("s", command=sys.executable, args=(str(FULL_SERVER), str(state)))


async def test_capabilities_are_read_in_each_revision_that_a_server_speaks(
    tmp_path: Path,
) -> None:
    able = frozenset({"tools", "resources", "prompts"})
    async with reach(full_server(tmp_path), None) as server:
        assert (server.capabilities, server.direct) == ({OLD: able}, False)
    async with served(mcp_app(build_server("empty"))) as url:
        config = ServerConfig("s", "http", url=url)
        async with reach(config, None) as server:
            assert set(server.capabilities) == {OLD, NEW}
            assert (server.url, server.direct) == (url, True)


async def test_a_server_that_is_not_running_is_an_error() -> None:
    config = ServerConfig("remote", "http", url=f"{refused_url()}/mcp")
    with pytest.raises(McpError, match="'remote' does not answer over HTTP"):
        async with reach(config, None):
            pass
    keyed = replace(config, headers={"Authorization": "Bearer key"})
    with pytest.raises(McpError, match="'remote' does not answer over HTTP"):
        async with reach(keyed, None):
            pass


async def test_a_server_that_speaks_neither_revision_skips_every_scenario() -> None:
    ancient = Target("http://127.0.0.1:1/x", {"2024-11-05": frozenset()}, False)
    async for checked in run_generic(ancient, SUITE):
        assert (checked.outcome, checked.detail) == ("skipped", "the server speaks 2024-11-05")


@pytest.mark.parametrize(
    ("scenario", "url", "direct", "detail"),
    [
        ("resources-list", "http://127.0.0.1:1/x", True, "the server has no resources"),
        ("caching", "http://127.0.0.1:1/x", True, "the server has no prompts and no resources"),
        ("server-sse-multiple-streams", "http://127.0.0.1:1/x", False, "through a bridge"),
        ("dns-rebinding-protection", "https://example.org/x", True, "on this machine"),
        ("http-header-validation", "http://127.0.0.1:1/x", True, "would call the server's first"),
        ("ping", "http://127.0.0.1:1/x", True, ""),
    ],
)
def test_scenarios_are_skipped_by_transport_and_capabilities(
    scenario: str, url: str, direct: bool, detail: str
) -> None:
    able = dict.fromkeys((OLD, NEW), frozenset({"tools"}))
    (found,) = [each for each in GENERIC if each.name == scenario]
    reason = reason_to_skip(found, found.revisions[-1], Target(url, able, direct))
    assert detail in reason
    assert bool(detail) == bool(reason)


async def test_a_server_with_oauth_is_reached_with_the_stored_tokens() -> None:
    with signing_in() as signed:
        config = ServerConfig("remote", "http", url=signed.url, timeout=10)
        async with McpServers([config], auths={"remote": auth_for(config, browse)}) as servers:
            assert servers.problems == {}
        async with reach(config, auth_for(config)) as server:
            assert server.capabilities
            assert not server.direct


@with_node
async def test_a_scenario_passes_fails_or_has_nothing_to_check(tmp_path: Path) -> None:
    async with reach(full_server(tmp_path), None) as server:
        good = await SUITE.server(server.url, "tools-list", OLD)
        bad = await SUITE.server(server.url, "ping", OLD)
    assert (good.name, good.outcome) == (f"tools-list ({OLD})", "ok")
    assert (bad.outcome, bad.detail) == ("failed", "Failed: no ping")
    async with served(mcp_app(build_server("empty"))) as url:
        empty = await SUITE.server(url, "tools-list", NEW)
    assert (empty.outcome, empty.detail) == ("skipped", "No tools advertised; nothing to validate")


@with_node
async def test_the_suite_lists_what_a_revision_requires() -> None:
    counts = [
        len(await SUITE.required(side, r)) for side in ("server", "client") for r in (OLD, NEW)
    ]
    assert counts == [30, 37, 18, 32]


def test_a_missing_npm_is_reported_with_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"npm is not installed\. Install Node 22 or newer"):
        NodeFolder(tmp_path / "node", ("x@1",)).install()


def test_an_npm_failure_is_reported_and_nothing_counts_as_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code E404' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin:/bin")
    folder = NodeFolder(tmp_path / "node", ("no-such-package@1",))
    with pytest.raises(RuntimeError, match="could not install no-such-package@1: code E404"):
        folder.install()
    assert not folder.is_ready


def test_packages_are_not_installed_again_until_a_pin_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm = tmp_path / "npm"
    npm.write_text(f"#!/bin/sh\necho once >> {tmp_path}/runs\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin:/bin")
    for release in ("1", "1", "2"):
        NodeFolder(tmp_path / "node", (f"x@{release}",)).install()
    assert (tmp_path / "runs").read_text() == "once\nonce\n"
