"""A server's requests to the agent's model, each allowed by the user first.

The server gets text: no tools, nothing of the conversation, and at most `most_tokens`.
"""

from __future__ import annotations

from agentkit.agent.approval import Approve
from agentkit.backends.base import Model, Options
from agentkit.events import Done, TextDelta
from agentkit.mcp.hidden import visible
from agentkit.mcp.host import Sample, Sampled, Sampling
from agentkit.messages import Message, ToolCall
from agentkit.tools.tool import Tool

MOST_TOKENS = 2048
_SHOWN = 2000


def sampler(model: Model, approve: Approve, most_tokens: int = MOST_TOKENS) -> Sample:
    """Sampling by this model, where `approve` lets each request pass."""

    async def sample(wanted: Sampling) -> Sampled | None:
        verdict = await approve(_as_tool(wanted), _as_call(wanted))
        if not verdict.allowed:
            return None
        options = Options(
            temperature=wanted.temperature,
            max_tokens=max(1, min(wanted.max_tokens, most_tokens)),
            stop=wanted.stop,
        )
        system = [Message("system", wanted.system)] if wanted.system else []
        text, name = "", model.name
        async for part in model.stream([*system, *wanted.messages], (), options):
            if isinstance(part, TextDelta):
                text += part.text
            elif isinstance(part, Done):
                name = part.model or name
        return Sampled(text, name)

    return sample


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
    shown = "\n".join(f"{each.role}: {each.text}" for each in wanted.messages)
    arguments = {
        "system": visible(wanted.system)[:_SHOWN],
        "messages": visible(shown)[:_SHOWN],
        "max_tokens": wanted.max_tokens,
    }
    return ToolCall("sampling", f"{wanted.server}__sampling", arguments)
