"""Two tools in place of very many: one finds, one calls. A model that is offered hundreds of tools
at once chooses badly and pays for all of them at each step.

The one that calls asks the user if any tool behind it would; what a policy denies is not behind it.
Where a policy lets it run unasked, it runs no tool that asks.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agentkit.agent.approval import Policy
from agentkit.errors import ToolError
from agentkit.text import terms
from agentkit.tools.context import ToolContext
from agentkit.tools.tool import Tool

SEARCH, CALL = "search_tools", "call_tool"
MOST_FOUND = 8


def two_tools(current: Callable[[], Sequence[Tool]], policy: Policy) -> tuple[Tool, Tool]:
    """`search_tools` and `call_tool` over the tools that `current` gives at each call."""

    def behind() -> dict[str, Tool]:
        return {t.name: t for t in current() if policy.decide(t) != "deny"}

    async def search(query: str) -> str:
        return _described(best(query, list(behind().values())))

    async def call(name: str, agentkit_context: ToolContext, arguments: Any = None) -> Any:
        tools = behind()
        if name not in tools:
            near = ", ".join(tool.name for tool in best(name, list(tools.values()))) or "none"
            raise ToolError(f"There is no tool {name!r}. Near it: {near}.")
        if policy.decide(tools[name]) == "ask" and policy.decide(caller) != "ask":
            raise ToolError(f"{name} asks the user, and {CALL} does not: {_NEXT}")
        content = await tools[name].run(_object(arguments), agentkit_context)
        return content if isinstance(content, str) else _loose(content)

    asks = any(policy.decide(tool) == "ask" for tool in behind().values())
    caller = _call_tool(call, asks)
    return _search_tool(search, len(behind())), caller


def best(query: str, tools: Sequence[Tool]) -> list[Tool]:
    """The tools whose names and descriptions share most with the query, rare words first."""
    words = [set(terms(f"{t.name.replace('_', ' ')} {t.description}")) for t in tools]
    common = Counter(word for each in words for word in each)
    asked = set(terms(query.replace("_", " ")))
    scores = [sum(1 / common[word] for word in asked & each) for each in words]
    order = sorted(range(len(tools)), key=lambda index: -scores[index])
    return [tools[index] for index in order[:MOST_FOUND] if scores[index] > 0]


_NEXT = f'put "{CALL}" under "ask" in [approval], or the tool under "allow" by its own name.'


def _object(arguments: Any) -> Mapping[str, Any]:
    """The arguments of a call. Raises ToolError for what is none, which models write now and
    then."""
    if arguments is None or isinstance(arguments, dict):
        return arguments or {}
    raise ToolError('`arguments` must be an object, such as {"a": 1}. Call it again with one.')


def _described(tools: Sequence[Tool]) -> str:
    if not tools:
        return "No tool fits. Search with other words."
    found = [
        {"name": t.name, "description": t.description[:1000], "parameters": dict(t.parameters)}
        for t in tools
    ]
    return json.dumps(found, ensure_ascii=False)


def _loose(content: Any) -> list[Any]:
    return [each.text if hasattr(each, "text") else each for each in content]


def _search_tool(search: Callable[..., Any], count: int) -> Tool:
    return Tool(
        name=SEARCH,
        description=(
            f"Find tools among {count} by words of what they should do. Gives names, "
            f"descriptions and parameters; call one with {CALL}."
        ),
        parameters={
            "type": "object",
            "properties": {"query": {"type": "string"}},
            "required": ["query"],
        },
        function=search,
        idempotent=True,
    )


def _call_tool(call: Callable[..., Any], asks: bool) -> Tool:
    return Tool(
        name=CALL,
        description=f"Call a tool that {SEARCH} has found, with arguments that fit its parameters.",
        parameters={
            "type": "object",
            "properties": {"name": {"type": "string"}, "arguments": {"type": "object"}},
            "required": ["name"],
        },
        function=call,
        needs_approval=asks,
    )
