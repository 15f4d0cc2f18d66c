"""A server's requests to the agent's model, each allowed by the policy or by the user first.

The server gets text: no tools, nothing of the conversation, and at most `most_tokens`. The user
sees what the model would read, and may change it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from agentkit.agent.approval import Approve, Policy
from agentkit.backends.base import Model, Options
from agentkit.errors import ToolError
from agentkit.events import Done, TextDelta
from agentkit.mcp.hidden import visible
from agentkit.mcp.host import Sample, Sampled, Sampling
from agentkit.mcp.results import cut, plain_text
from agentkit.messages import Message, ToolCall
from agentkit.tools.tool import Tool

MOST_TOKENS = 2048
MOST_CHARACTERS = 100_000
MOST_REQUESTS = 100
"""Most requests of one server, so that one which is always allowed cannot spend without end."""

_SHOWN = 2000


def sampler(
    model: Callable[[], Model],
    approve: Approve,
    policy: Policy = Policy(),
    most_tokens: int = MOST_TOKENS,
) -> Sample:
    """Sampling by the model of the moment. The policy knows each request as `server__sampling`;
    unless it decides, `approve` does."""
    requests: dict[str, int] = {}

    async def sample(wanted: Sampling) -> Sampled | None:
        requests[wanted.server] = requests.get(wanted.server, 0) + 1
        _check(wanted, requests[wanted.server])
        tool, call = _as_tool(wanted), _as_call(wanted)
        decision = policy.decide(tool)
        if decision == "ask":
            verdict = await approve(tool, call)
            decision = "allow" if verdict.allowed else "deny"
            wanted = _as_changed(wanted, verdict.arguments)
        return None if decision == "deny" else await _written(model(), wanted, most_tokens)

    return sample


async def _written(model: Model, wanted: Sampling, most_tokens: int) -> Sampled:
    options = Options(
        temperature=wanted.temperature,
        max_tokens=max(1, min(wanted.max_tokens, most_tokens)),
        stop=wanted.stop,
    )
    system = [Message("system", wanted.system)] if wanted.system else []
    text, name, is_cut = "", model.name, False
    async for part in model.stream([*system, *wanted.messages], (), options):
        if isinstance(part, TextDelta):
            text += part.text
        elif isinstance(part, Done):
            name, is_cut = part.model or name, part.stop_reason == "length"
    return Sampled(text, name, is_cut)


def _check(wanted: Sampling, count: int) -> None:
    if count > MOST_REQUESTS:
        raise ToolError(f"{wanted.server!r} asked the model more than {MOST_REQUESTS} times.")
    if len(wanted.system) + sum(len(each.text) for each in wanted.messages) > MOST_CHARACTERS:
        raise ToolError(f"{wanted.server!r} asks the model with too long a text.")


def _as_tool(wanted: Sampling) -> Tool:
    """What the user is asked about, in the form that every other question has."""
    return Tool(
        name=f"{wanted.server}__sampling",
        description=f"The MCP server {wanted.server!r} wants the model to write for it.",
        parameters={"type": "object"},
        function=sampler,
        needs_approval=True,
    )


def _as_call(wanted: Sampling) -> ToolCall:
    shown = "\n".join(f"{each.role}: {plain_text(each.content)}" for each in wanted.messages)
    arguments = {
        "system": cut(visible(wanted.system), _SHOWN),
        "messages": cut(visible(shown), _SHOWN),
        "max_tokens": wanted.max_tokens,
    }
    return ToolCall("sampling", f"{wanted.server}__sampling", arguments)


def _as_changed(wanted: Sampling, changed: Mapping[str, Any] | None) -> Sampling:
    """The request as the user would have it: one message that holds what stood there."""
    if not changed:
        return wanted
    tokens = changed.get("max_tokens")
    return replace(
        wanted,
        system=str(changed.get("system") or ""),
        messages=(Message("user", str(changed.get("messages") or "")),),
        max_tokens=tokens if isinstance(tokens, int) else wanted.max_tokens,
    )
