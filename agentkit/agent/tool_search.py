"""The tools of a request: all of them, or as many as leave room, and a search for the others.

A model that gets many tools chooses badly, and pays for all of them at each step. So where they
take more than a third of its window, or are more than MAX_OFFERED, the first ones are offered with
`search_tools` and `call_tool`. What is offered stays the same for a whole conversation, so that a
server's prefix cache applies. A call of `call_tool` becomes a call of the tool that it names, with
the approval that this one needs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from agentkit.backends.base import CountTokens, tool_tokens
from agentkit.messages import ToolCall
from agentkit.text.terms import terms
from agentkit.tools.repair import repair_arguments
from agentkit.tools.tool import Tool

SEARCH_TOOLS, CALL_TOOL = "search_tools", "call_tool"
MAX_OFFERED = 40
SHARE = 3
"""The tools take at most one part in so many of the window."""

_MAX_FOUND = 8
_MAX_NAMED = 30
_MAX_DESCRIPTION = 1000


def offered_tools(
    tools: Sequence[Tool], window: int | None, count: CountTokens
) -> tuple[Tool, ...]:
    """All tools, or the first ones that leave room in a window of so many tokens, and those that
    find and call the others. The very first is offered always."""
    room = None if window is None else window // SHARE
    sizes = [tool_tokens([tool], count) for tool in tools] if room is not None else []
    fits = room is None or sum(sizes) <= room
    names = {tool.name for tool in tools}
    if (fits and len(tools) <= MAX_OFFERED) or names & {SEARCH_TOOLS, CALL_TOOL}:
        return tuple(tools)
    if room is not None:
        room -= tool_tokens(_search_tools(tools), count)
    kept: list[Tool] = []
    hidden: list[Tool] = []
    for at, tool in enumerate(tools):
        size = sizes[at] if room is not None else 0
        if not kept or (len(kept) < MAX_OFFERED - 2 and (room is None or size <= room)):
            kept.append(tool)
            room = None if room is None else room - size
        else:
            hidden.append(tool)
    return (*kept, *_search_tools(hidden))


def direct_call(call: ToolCall) -> ToolCall:
    """The call that a call of `call_tool` asks for; arguments that cannot be read stay text."""
    given = repair_arguments(call.arguments) if isinstance(call.arguments, str) else call.arguments
    if given is None or not (name := str(given.get("name", ""))):
        return call
    arguments = given.get("arguments")
    if arguments is None:  # Some models put the arguments beside the name.
        arguments = {key: value for key, value in given.items() if key not in ("name", "arguments")}
    if not isinstance(arguments, dict | str):
        arguments = json.dumps(arguments)
    return replace(call, name=name, arguments=arguments)


def _search_tools(hidden: Sequence[Tool]) -> tuple[Tool, Tool]:
    named = ", ".join(tool.name for tool in hidden[:_MAX_NAMED])
    more = f" and {len(hidden) - _MAX_NAMED} more" if len(hidden) > _MAX_NAMED else ""

    def search(query: str) -> str:
        found = _rank(query, hidden)
        if not found:
            return f"No tool matches. Search with other words. There are: {named}{more}."
        return "\n".join(
            json.dumps(
                {
                    "name": tool.name,
                    "description": tool.description[:_MAX_DESCRIPTION],
                    "parameters": dict(tool.parameters),
                },
                ensure_ascii=False,
            )
            for tool in found
        )

    async def call(name: str, arguments: object = None) -> str:
        return f"Give the name of a tool that {SEARCH_TOOLS} found, and its arguments."

    return (
        Tool(
            name=SEARCH_TOOLS,
            description=(
                f"Find further tools by what they do, with their parameters. Then call one with "
                f"{CALL_TOOL}. There are: {named}{more}."
            ),
            parameters=_object(query=("string", "What the tool should do, in a few words.")),
            function=search,
            idempotent=True,
        ),
        Tool(
            name=CALL_TOOL,
            description=f"Call a tool that {SEARCH_TOOLS} found.",
            parameters=_object(
                name=("string", "The name of the tool."),
                arguments=("object", "Its arguments, as its parameters say."),
            ),
            function=call,
        ),
    )


def _object(**properties: tuple[str, str]) -> dict[str, object]:
    """The schema of required arguments by name: type and description of each."""
    described = {
        name: {"type": kind, "description": about} for name, (kind, about) in properties.items()
    }
    return {"type": "object", "properties": described, "required": list(properties)}


def _rank(query: str, tools: Sequence[Tool]) -> list[Tool]:
    """The tools whose names and descriptions share most with the query, rare words first; one that
    is named comes first of all."""
    words = [set(terms(f"{t.name.replace('_', ' ')} {t.description}")) for t in tools]
    common = Counter(word for each in words for word in each)
    wanted = set(terms(query.replace("_", " ")))
    scores = [
        sum(1 / common[word] for word in wanted & each) + len(tools) * (tool.name in query)
        for tool, each in zip(tools, words, strict=True)
    ]
    order = sorted(range(len(tools)), key=lambda index: -scores[index])
    return [tools[index] for index in order[:_MAX_FOUND] if scores[index] > 0]
