"""Run the checks of a probe and derive a model's capabilities from their results."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

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
