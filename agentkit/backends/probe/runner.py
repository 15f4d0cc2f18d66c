"""Run the checks of a probe, and keep what they show of a model in the user's cache directory.

A file that cannot be read counts as missing; one that cannot be written is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from agentkit.backends.base import Capabilities
from agentkit.backends.probe.checks import CHECKS, Check
from agentkit.backends.probe.subject import Failed, Subject, Unsupported
from agentkit.errors import AgentkitError

Status = Literal["passed", "failed", "unsupported"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How a check ended, and why where it did not pass."""

    check: str
    status: Status
    reason: str = ""
    seconds: float = 0.0


async def run_check(name: str, subject: Subject, seconds: float = 90.0) -> CheckResult:
    """Run one check, for at most `seconds`."""
    begun = time.perf_counter()
    status, reason = await _run(CHECKS[name], subject, seconds)
    return CheckResult(name, status, " ".join(reason.split()), time.perf_counter() - begun)


def capabilities_from(results: Collection[CheckResult], claims: Capabilities) -> Capabilities:
    """Return what the results show; what no check shows is as claimed."""
    passed = {result.check for result in results if result.status == "passed"}
    return replace(
        claims,
        tools={"tool_offered", "tool_result"} <= passed,
        forced_tools={"forced_tool", "named_tool"} <= passed,
        json_schema="json_schema" in passed,
        images="image" in passed,
    )


def cached_capabilities(name: str, server: str = "") -> Capabilities | None:
    """Return what the last probe of the model found; None where there was none."""
    try:
        found = json.loads(_path(name, server).read_text(encoding="utf-8"))
        return Capabilities(**{key: bool(value) for key, value in found["capabilities"].items()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def save_capabilities(
    name: str, server: str, found: Capabilities, checks: Sequence[dict[str, Any]] = ()
) -> None:
    """Write what a probe found, atomically."""
    path = _path(name, server)
    body = {"model": name, "server": server, "capabilities": asdict(found), "checks": list(checks)}
    part = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(body, ensure_ascii=False, indent=2), encoding="utf-8")
        part.replace(path)


def _path(name: str, server: str) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    digest = hashlib.sha256(f"{name}\n{server}".encode()).hexdigest()[:32]
    return Path(base) / "agentkit" / "probes" / f"{digest}.json"


async def _run(check: Check, subject: Subject, seconds: float) -> tuple[Status, str]:
    try:
        async with asyncio.timeout(seconds):
            await check(subject)
    except Unsupported as reason:
        return "unsupported", str(reason)
    except (Failed, AgentkitError) as reason:
        return "failed", str(reason)
    except TimeoutError:
        return "failed", f"it took longer than {seconds:g} s"
    except Exception as error:
        return "failed", f"{type(error).__name__}: {error}"
    return "passed", ""
