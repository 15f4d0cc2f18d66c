"""What a model and its server can do, found out by asking: live checks over any backend.

They assert structure, never wording, so that a model of 135 million parameters can pass. What a
model claims must hold; what it does not claim may be missing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from typing import Literal

from agentkit.backends.base import Capabilities
from agentkit.backends.probe import checks as limits
from agentkit.backends.probe import checks as texts
from agentkit.backends.probe import checks as tools
from agentkit.backends.probe.kit import Failed, Subject, Unsupported
from agentkit.errors import AgentkitError

Check = Callable[[Subject], Awaitable[None]]
Status = Literal["passed", "failed", "unsupported"]

_CHECKS: tuple[Check, ...] = (
    *(texts.text, texts.streaming, texts.one_ending, texts.system_message, texts.several_turns),
    *(texts.unicode_read, texts.unicode_written, texts.stop_string, texts.max_tokens, texts.seed),
    *(tools.tool_offered, tools.tool_result, tools.parallel_calls, tools.odd_history),
    *(tools.forced_tool, tools.named_tool, tools.forbidden_tools),
    *(texts.json_schema, texts.usage, texts.empty_input, texts.image),
    *(limits.leaving, limits.cancelling, limits.three_at_once),
    *(limits.window_known, limits.long_prompt, limits.too_long_a_prompt, limits.counting),
    *(limits.unknown_model, limits.closing),
)

CHECKS = {check.__name__: check for check in _CHECKS}
"""The checks by name, in the order in which they are made; the docstring of each says what it
shows."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a check ended, and why where it did not pass."""

    check: str
    status: Status
    reason: str = ""
    seconds: float = 0.0


async def conform(
    subject: Subject, checks: Collection[str] = CHECKS.keys(), seconds: float = 90.0
) -> AsyncGenerator[Outcome, None]:
    """Make the checks one after another; each may take `seconds`."""
    for name in checks:
        yield await outcome_of(name, subject, seconds)


async def outcome_of(name: str, subject: Subject, seconds: float = 90.0) -> Outcome:
    """How one check ends."""
    begun = time.perf_counter()
    status, reason = await _tried(CHECKS[name], subject, seconds)
    return Outcome(name, status, " ".join(reason.split()), time.perf_counter() - begun)


def capabilities_of(outcomes: Collection[Outcome], claims: Capabilities) -> Capabilities:
    """What the outcomes show; what no check shows is as claimed."""
    passed = {outcome.check for outcome in outcomes if outcome.status == "passed"}
    return replace(
        claims,
        tools={"tool_offered", "tool_result"} <= passed,
        forced_tools={"forced_tool", "named_tool"} <= passed,
        json_schema="json_schema" in passed,
        images="image" in passed,
    )


async def _tried(check: Check, subject: Subject, seconds: float) -> tuple[Status, str]:
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
