"""The published conformance scenarios that fit any server, put to one that mcp.json names.

Scenarios that want fixtures of the suite's are none of them: a server without those would fail
them, or pass them by refusing an unknown tool. Those about HTTP are put to servers that speak it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agentkit.errors import McpError
from agentkit.mcp.access import is_loopback
from agentkit.mcp.bridge import bridged
from agentkit.mcp.checks import Checked
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.suite import REVISIONS, Suite

if TYPE_CHECKING:
    import httpx2

OLD, NEW = REVISIONS


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario that fits any server with the capabilities of `needs`.

    One `about_http` says nothing of a server behind a bridge. One that `calls` calls the server's
    first tool, with no arguments. What `may_refuse` asks for something of the suite's own.
    """

    name: str
    revisions: tuple[str, ...] = REVISIONS
    needs: tuple[str, ...] = ()
    about_http: bool = False
    is_local: bool = False
    calls: bool = False
    may_refuse: bool = False


GENERIC = (
    Scenario("server-initialize", (OLD,)),
    Scenario("ping", (OLD,)),
    Scenario("tools-list", needs=("tools",)),
    Scenario("resources-list", needs=("resources",)),
    Scenario("prompts-list", needs=("prompts",)),
    Scenario("completion-complete", needs=("completions",), may_refuse=True),
    Scenario("sep-2164-resource-not-found", (NEW,), needs=("resources",)),
    Scenario("caching", (NEW,), needs=("tools", "prompts", "resources")),
    Scenario("server-session-lifecycle", (OLD,), about_http=True),
    Scenario("server-sse-multiple-streams", needs=("tools",), about_http=True),
    Scenario("dns-rebinding-protection", about_http=True, is_local=True),
    Scenario("http-header-validation", (NEW,), needs=("tools",), about_http=True, calls=True),
)


@dataclass(frozen=True, slots=True)
class Reached:
    """A server where the suite finds it: its URL, and what it can do in each revision. `plain`:
    no bridge of ours stands between."""

    url: str
    spoken: Mapping[str, frozenset[str]]
    plain: bool


async def published(reached: Reached, suite: Suite) -> AsyncIterator[Checked]:
    """Put every scenario to a server, in each revision, and say why where it does not apply."""
    for scenario in GENERIC:
        for revision in scenario.revisions:
            if why := not_for(scenario, revision, reached):
                yield Checked(f"{scenario.name} ({revision})", "skipped", why)
                continue
            checked = await suite.server(reached.url, scenario.name, revision)
            yield _fair(scenario, checked)


@asynccontextmanager
async def reached(config: ServerConfig, auth: httpx2.Auth | None) -> AsyncIterator[Reached]:
    """A server at a URL that the suite can use, which sends no headers, signs in nowhere, starts
    no commands, and tells its own command line to everybody. Raises McpError."""
    has_secret = bool(config.headers) or auth is not None or "?" in config.url
    if config.transport == "http" and not has_secret:
        yield Reached(config.url, await _spoken(config.name, config.url), True)
        return
    async with bridged(config, auth) as url:
        yield Reached(url, await _spoken(config.name, url), False)


async def _spoken(name: str, url: str) -> dict[str, frozenset[str]]:
    """The capabilities of a server in each revision that it speaks. Raises McpError where that is
    none."""
    from mcp import Client

    found = {}
    for mode in ("legacy", "auto"):
        with suppress(Exception):  # it may speak the one era and not the other
            async with Client(url, mode=mode) as client:
                told = client.server_capabilities.model_dump(exclude_none=True)
                found[client.protocol_version] = frozenset(told)
    if not found:
        raise McpError(
            f"The MCP server {name!r} does not answer over HTTP as it did before. Try again, or "
            "leave the published scenarios out with --quick.",
            name,
        )
    return found


def not_for(scenario: Scenario, revision: str, reached: Reached) -> str:
    """Why a scenario does not apply to a server, "" where it does."""
    if revision not in reached.spoken:
        return f"the server speaks {', '.join(sorted(reached.spoken))}"
    if lacking := [need for need in scenario.needs if need not in reached.spoken[revision]]:
        return f"the server has no {' and no '.join(lacking)}"
    if scenario.about_http and not reached.plain:
        return "it is about HTTP, and the suite reaches this server through a bridge"
    if scenario.is_local and not is_loopback(urlsplit(reached.url).hostname or ""):
        return "it is about servers on this machine"
    if scenario.calls:
        return "it would call the server's first tool"
    return ""


def _fair(scenario: Scenario, checked: Checked) -> Checked:
    """A server may refuse, as an invalid parameter, what only the suite's fixtures know."""
    if scenario.may_refuse and checked.outcome == "failed" and "-32602" in checked.said:
        said = "the server refuses what only the suite's fixtures know, as it may"
        return replace(checked, outcome="skipped", said=said)
    return checked
