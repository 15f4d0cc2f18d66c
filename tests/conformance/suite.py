"""Run scenarios of the published conformance suite, each in a process of its own.

A scenario passes where at least one of its own checks ran and none failed: one that found nothing
to check is skipped. `GENERIC` are the scenarios that fit any server; the others need the suite's
fixtures, and a server without those would fail them or pass them by refusing an unknown tool.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agentkit.addresses import is_loopback
from agentkit.errors import McpError
from agentkit.mcp.config import ServerConfig
from tests.conformance.bridge import bridge
from tests.node import NodeFolder

if TYPE_CHECKING:
    import httpx2

PACKAGE = "@modelcontextprotocol/conformance"
REVISIONS = ("2025-11-25", "2026-07-28")
"""The protocol revisions that the suite has scenarios for."""

OLD, NEW = REVISIONS
SECONDS = 120
"""Time limit of a scenario, for a busy machine; a quiet one needs two or three seconds."""

_MARGIN = 30
_WIRE = "wire-schema"
_HARNESS = "wire-schema-harness-error"
_LENGTHS = ("toolCount", "resourceCount", "promptCount")

Side = Literal["server", "client"]
Outcome = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a scenario, and why."""

    name: str
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Suite:
    """The suite as installed in a directory of Node packages. `cwd` is where clients run."""

    folder: NodeFolder
    cwd: Path | None = None

    async def server(self, url: str, scenario: str, revision: str) -> Result:
        """Run one scenario against the server at a URL."""
        return await self._run("server", ["--url", url], scenario, revision)

    async def client(self, command: str, scenario: str, revision: str) -> Result:
        """Run one scenario against a client: the command gets the URL as its last argument."""
        return await self._run("client", ["--command", command], scenario, revision)

    async def required(self, side: Side, revision: str) -> list[str]:
        """List the scenarios that a revision requires, frozen at its release."""
        output = await self._execute("list", "--requirements", revision)
        part = output.partition(f"{side.capitalize()} scenarios")[2].partition("\n\n")[0]
        return re.findall(r"^  - (\S+)$", part, re.MULTILINE)

    async def _run(self, side: Side, target: Sequence[str], scenario: str, revision: str) -> Result:
        name = f"{scenario} ({revision})"
        options = ("--scenario", scenario, "--spec-version", revision, "--force")
        with tempfile.TemporaryDirectory() as folder:
            limits = ("--timeout", str(SECONDS * 1000), "--output-dir", folder)
            output = await self._execute(side, *target, *options, *limits)
            files = list(Path(folder).rglob("checks.json"))
            if not files:
                return Result(name, "failed", _last_line(output))
            checks = json.loads(files[0].read_text(encoding="utf-8"))
        if side == "client" and "OVERALL: FAILED" in output and _judge("", checks).outcome == "ok":
            return Result(name, "failed", _last_line(output.partition("OVERALL")[0]))
        return _judge(name, checks)

    async def _execute(self, *arguments: str) -> str:
        """Return the suite's output without colours. Raises McpError."""
        from mcp.client.stdio import get_default_environment

        script = self.folder.modules / PACKAGE / "dist" / "index.js"
        try:
            child = await asyncio.create_subprocess_exec(
                *(self.folder.node, str(script), *arguments),
                stdout=PIPE,
                stderr=asyncio.subprocess.STDOUT,
                cwd=self.cwd,
                env=get_default_environment(),
            )
        except OSError as error:
            raise McpError(f"Cannot run {self.folder.node}: {error.strerror}.") from error
        try:
            async with asyncio.timeout(SECONDS + _MARGIN):
                out, _ = await child.communicate()
        except TimeoutError:
            return "it did not end in time"
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        return re.sub(r"\x1b\[[0-9;]*m", "", out.decode("utf-8", "replace"))


def _judge(name: str, checks: Sequence[dict[str, Any]]) -> Result:
    """Compute the outcome of a scenario from those of its checks."""
    own = [each for each in checks if each["id"] != _HARNESS]
    failed = [each for each in own if each["status"] == "FAILURE"]
    if failed:
        return Result(name, "failed", _reason(failed[0]))
    passed = [each for each in own if _is_meaningful(each)]
    if not passed:
        reasons = [_reason(c) for c in own if c["status"] in ("WARNING", "INFO", "SKIPPED")]
        return Result(name, "skipped", reasons[0] if reasons else "there was nothing to check")
    warnings = [_reason(each) for each in own if each["status"] == "WARNING"]
    more = f"; but {warnings[0]}" if warnings else ""
    return Result(name, "ok", f"{len(passed)} check{'s' * (len(passed) > 1)}{more}")


def _is_meaningful(check: dict[str, Any]) -> bool:
    """Whether a check passed and checked something: any statement holds for an empty list."""
    details = check.get("details") or {}
    is_empty = any(details.get(name) == 0 for name in _LENGTHS)
    return check["status"] == "SUCCESS" and not check["id"].startswith(_WIRE) and not is_empty


def _reason(check: dict[str, Any]) -> str:
    details = check.get("details") or {}
    text = check.get("errorMessage") or details.get("message") or check.get("description") or ""
    return " ".join(str(text).split())[:300]


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no output"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario that fits any server with the capabilities of `needs`.

    One `about_http` tells nothing about a server behind a bridge. One that `calls` calls the
    server's first tool, without arguments. One that `may_refuse` asks for a fixture of the suite.
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
class Target:
    """A server that the suite can reach: its URL, and its capabilities in each revision.
    `direct`: not through the bridge."""

    url: str
    capabilities: Mapping[str, frozenset[str]]
    direct: bool


async def run_generic(target: Target, suite: Suite) -> AsyncIterator[Result]:
    """Run every generic scenario in each revision; those that do not apply are skipped."""
    for scenario in GENERIC:
        for revision in scenario.revisions:
            if reason := reason_to_skip(scenario, revision, target):
                yield Result(f"{scenario.name} ({revision})", "skipped", reason)
                continue
            result = await suite.server(target.url, scenario.name, revision)
            if scenario.may_refuse and result.outcome == "failed" and "-32602" in result.detail:
                detail = "the server refuses what only the suite's fixtures have, as it may"
                result = replace(result, outcome="skipped", detail=detail)
            yield result


@asynccontextmanager
async def reach(config: ServerConfig, auth: httpx2.Auth | None) -> AsyncIterator[Target]:
    """Yield a server at a URL that the suite can use: the suite sends no headers, does not sign
    in, starts no commands, and its command line is public. Raises McpError."""
    has_secret = bool(config.headers) or auth is not None or "?" in config.url
    if config.transport == "http" and not has_secret:
        yield Target(config.url, await _read_capabilities(config.name, config.url), True)
        return
    async with bridge(config, auth) as url:
        yield Target(url, await _read_capabilities(config.name, url), False)


async def _read_capabilities(name: str, url: str) -> dict[str, frozenset[str]]:
    """Read the capabilities in each revision that a server speaks. Raises McpError."""
    from mcp import Client

    found = {}
    for mode in ("legacy", "auto"):
        with suppress(Exception):  # it may speak only one kind of the protocol
            async with Client(url, mode=mode) as client:
                capabilities = client.server_capabilities.model_dump(exclude_none=True)
                found[client.protocol_version] = frozenset(capabilities)
    if not found:
        raise McpError(f"The MCP server {name!r} does not answer over HTTP.", name)
    return found


def reason_to_skip(scenario: Scenario, revision: str, target: Target) -> str:
    """Why a scenario does not apply to a server, "" where it does."""
    if revision not in target.capabilities:
        return f"the server speaks {', '.join(sorted(target.capabilities))}"
    if lacking := [need for need in scenario.needs if need not in target.capabilities[revision]]:
        return f"the server has no {' and no '.join(lacking)}"
    if scenario.about_http and not target.direct:
        return "it is about HTTP, and the suite reaches this server through a bridge"
    if scenario.is_local and not is_loopback(target.url):
        return "it is about servers on this machine"
    if scenario.calls:
        return "it would call the server's first tool"
    return ""
