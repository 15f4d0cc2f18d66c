"""The published conformance suite of the protocol, a scenario at a time, each in its own process.

A scenario counts as passed where at least one of its own checks ran and none failed: one that
found nothing to check has shown nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agentkit.errors import McpError
from agentkit.mcp.checks import Checked
from agentkit.mcp.node import NodeFolder

PACKAGE = "@modelcontextprotocol/conformance"
SUITE = f"{PACKAGE}@0.2.0-alpha.12"
REVISIONS = ("2025-11-25", "2026-07-28")
"""The revisions of the protocol that the suite has scenarios for."""

SECONDS = 120
"""How long a scenario may take on a busy machine; a quiet one needs two or three."""

_MORE = 30
_WIRE = "wire-schema"
_HARNESS = "wire-schema-harness-error"
_LENGTHS = ("toolCount", "resourceCount", "promptCount")

Leg = Literal["server", "client"]


@dataclass(frozen=True, slots=True)
class Suite:
    """The suite as it lies in a folder of Node's packages. `cwd` is where clients are run."""

    folder: NodeFolder
    cwd: Path | None = None

    async def server(self, url: str, scenario: str, revision: str) -> Checked:
        """Put one scenario to the server at a URL."""
        return await self._run("server", ["--url", url], scenario, revision)

    async def client(self, command: str, scenario: str, revision: str) -> Checked:
        """Put one scenario to a client: the command gets a server's URL as its last argument."""
        return await self._run("client", ["--command", command], scenario, revision)

    async def required(self, leg: Leg, revision: str) -> list[str]:
        """The scenarios that a revision requires, frozen at its release."""
        said = await self._said("list", "--requirements", revision)
        part = said.partition(f"{leg.capitalize()} scenarios")[2].partition("\n\n")[0]
        return re.findall(r"^  - (\S+)$", part, re.MULTILINE)

    async def _run(self, leg: Leg, target: Sequence[str], scenario: str, revision: str) -> Checked:
        name = f"{scenario} ({revision})"
        wanted = ("--scenario", scenario, "--spec-version", revision, "--force")
        with tempfile.TemporaryDirectory() as folder:
            bounds = ("--timeout", str(SECONDS * 1000), "--output-dir", folder)
            said = await self._said(leg, *target, *wanted, *bounds)
            found = list(Path(folder).rglob("checks.json"))
            if not found:
                return Checked(name, "failed", _last(said))
            checks = json.loads(found[0].read_text(encoding="utf-8"))
        if leg == "client" and "OVERALL: FAILED" in said and _judged("", checks).outcome == "ok":
            return Checked(name, "failed", _last(said.partition("OVERALL")[0]))
        return _judged(name, checks)

    async def _said(self, *arguments: str) -> str:
        """What the suite prints, its colours left out. Raises McpError."""
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
            raise McpError(f"{self.folder.node} cannot be run: {error.strerror}.") from error
        try:
            async with asyncio.timeout(SECONDS + _MORE):
                out, _ = await child.communicate()
        except TimeoutError:
            return "it did not end in time"
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        return re.sub(r"\x1b\[[0-9;]*m", "", out.decode("utf-8", "replace"))


def _judged(name: str, checks: Sequence[dict[str, Any]]) -> Checked:
    """What came of a scenario, from what came of its checks."""
    told = [each for each in checks if each["id"] != _HARNESS]
    failed = [each for each in told if each["status"] == "FAILURE"]
    if failed:
        return Checked(name, "failed", _why(failed[0]))
    passed = [each for each in told if _has_shown(each)]
    if not passed:
        said = [_why(each) for each in told if each["status"] in ("WARNING", "INFO", "SKIPPED")]
        return Checked(name, "skipped", said[0] if said else "there was nothing to check")
    warned = [_why(each) for each in told if each["status"] == "WARNING"]
    more = f"; but {warned[0]}" if warned else ""
    return Checked(name, "ok", f"{len(passed)} check{'s' * (len(passed) > 1)}{more}")


def _has_shown(check: dict[str, Any]) -> bool:
    """Whether a check says something of the server. Of an empty list all is true."""
    details = check.get("details") or {}
    is_empty = any(details.get(name) == 0 for name in _LENGTHS)
    return check["status"] == "SUCCESS" and not check["id"].startswith(_WIRE) and not is_empty


def _why(check: dict[str, Any]) -> str:
    details = check.get("details") or {}
    said = check.get("errorMessage") or details.get("message") or check.get("description") or ""
    return " ".join(str(said).split())[:300]


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "the suite said nothing"
