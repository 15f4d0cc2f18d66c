"""A server's tools, resources and prompts as this program has them: Tools and plain values.

Nothing that a server says of itself decides whether its calls ask the user. Its hints only tell
whether a call that was lost may be made again.

Names that every model's provider accepts, for tools of many servers.

Two tools in place of very many: one finds, one calls. A model that is offered hundreds of tools
at once chooses badly and pays for all of them at each step.

The one that calls asks the user if any tool behind it would; what a policy denies is not behind it.
Where a policy lets it run unasked, it runs no tool that asks.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from agentkit.agent.approval import Policy
from agentkit.errors import ToolError
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.connection import Connection
from agentkit.mcp.results import (
    error_text,
    resource_content,
    result_content,
    visible,
    visible_value,
)
from agentkit.mcp.session import Report, all_pages
from agentkit.messages import ImagePart
from agentkit.text.terms import terms
from agentkit.tools.context import ToolContext
from agentkit.tools.tool import Tool

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import Tool as ServedTool

LONGEST_DESCRIPTION = 8000
MOST_NAMED = 200

Returned = str | list[str | ImagePart]


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that a server lets us read. `is_template`: its `uri` holds `{names}` to fill."""

    server: str
    uri: str
    name: str
    description: str = ""
    mime_type: str = ""
    is_template: bool = False


@dataclass(frozen=True, slots=True)
class PromptArgument:
    """A blank in a prompt."""

    name: str
    description: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt that a server has ready."""

    server: str
    name: str
    description: str = ""
    arguments: tuple[PromptArgument, ...] = ()


def is_lent(config: ServerConfig, tool: str) -> bool:
    """Whether the entry in mcp.json lets this tool through."""

    def matches(patterns: tuple[str, ...]) -> bool:
        return any(fnmatchcase(tool, pattern) for pattern in patterns)

    return (not config.allow or matches(config.allow)) and not matches(config.deny)


def lent_tool(name: str, connection: Connection, served: ServedTool, most_characters: int) -> Tool:
    """A server's tool as one of ours."""
    config, hints = connection.config, served.annotations
    repeatable = bool(hints and (hints.read_only_hint or hints.idempotent_hint))
    origin = f"the MCP server {config.name!r}"

    async def call(agentkit_context: ToolContext, **arguments: Any) -> Returned:
        result = await connection.call(
            served.name, arguments, repeatable=repeatable, report=_report(agentkit_context)
        )
        if result.is_error:
            said = error_text(result) or "it failed and did not say why"
            raise ToolError(f"{origin} says of {served.name}: {said}", name)
        return result_content(result, origin, most_characters)

    return Tool(
        name=name,
        description=visible(served.description or served.title or "")[:LONGEST_DESCRIPTION],
        parameters=visible_value(served.input_schema),
        function=call,
        needs_approval=config.approval != "never",
    )


def resource_tool(name: str, connection: Connection, most_characters: int) -> Tool:
    """Reading a server's resources, as a tool."""
    config = connection.config

    async def read(uri: str = "") -> Returned:
        if not uri:
            return resource_list(await listed_resources(connection))
        result = await connection.ask(uri, lambda client: client.read_resource(uri))
        return resource_content(result, f"the MCP server {config.name!r}", most_characters)

    return Tool(
        name=name,
        description=(
            f"Read a resource of the MCP server {config.name!r} by its uri. "
            "Without a uri: list what there is."
        ),
        parameters={"type": "object", "properties": {"uri": {"type": "string"}}},
        function=read,
        needs_approval=config.approval != "never",
        idempotent=True,
    )


def resource_list(resources: list[Resource]) -> str:
    """Resources, a line each, for a model to choose from."""
    lines = [
        f"{each.uri}{' (template)' if each.is_template else ''}: {each.name} "
        f"{visible(each.description)[:200]}".rstrip()
        for each in resources[:MOST_NAMED]
    ]
    if len(resources) > MOST_NAMED:
        lines.append(f"and {len(resources) - MOST_NAMED} more")
    return "\n".join(lines) or "There are none."


async def listed_resources(connection: Connection) -> list[Resource]:
    """What a server lets us read, templates last; nothing where it knows no resources."""
    if not offers(connection, "resources"):
        return []
    server = connection.config.name

    async def both(client: Client) -> tuple[list[Any], list[Any]]:
        return (
            await all_pages(lambda cursor: client.list_resources(cursor=cursor), "resources"),
            await _or_none(
                lambda cursor: client.list_resource_templates(cursor=cursor), "resource_templates"
            ),
        )

    plain, templates = await connection.ask("resources/list", both)
    return [
        *(_resource(server, each, str(each.uri), False) for each in plain),
        *(_resource(server, each, each.uri_template, True) for each in templates),
    ]


async def listed_prompts(connection: Connection) -> list[Prompt]:
    """The prompts that a server has ready."""
    if not offers(connection, "prompts"):
        return []
    found = await connection.ask(
        "prompts/list",
        lambda client: all_pages(lambda cursor: client.list_prompts(cursor=cursor), "prompts"),
    )
    return [_prompt(connection.config.name, each) for each in found]


def offers(connection: Connection, what: str) -> bool:
    """Whether a server that runs said that it has resources, prompts or the like."""
    client = connection.client
    return client is not None and getattr(client.server_capabilities, what, None) is not None


async def _or_none(fetch: Callable[[str | None], Awaitable[Any]], name: str) -> list[Any]:
    """A list that many servers do not have, though they say so of its like."""
    from mcp import MCPError

    try:
        return await all_pages(fetch, name)
    except MCPError:
        return []


def _resource(server: str, each: Any, uri: str, is_template: bool) -> Resource:
    description = visible(each.description or "")[:LONGEST_DESCRIPTION]
    return Resource(
        server, visible(uri), visible(each.name), description, each.mime_type or "", is_template
    )


def _prompt(server: str, each: Any) -> Prompt:
    arguments = tuple(
        PromptArgument(one.name, visible(one.description or ""), bool(one.required))
        for one in each.arguments or ()
    )
    return Prompt(server, each.name, visible(each.description or each.title or ""), arguments)


def _report(context: ToolContext) -> Report:
    async def report(progress: float, total: float | None, message: str | None) -> None:
        fraction = min(1.0, max(0.0, progress / total)) if total else None
        context.report(visible(message or f"{progress:g}")[:500], fraction)

    return report


LONGEST_NAME = 64


def unique_names(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """A name for each (server, tool): `server__tool` in `[A-Za-z0-9_-]`, at most 64 characters.

    A name that had to be cut, or that two tools share after cleaning, ends in a hash of both. A
    server may choose a name that is already such a one: it is hashed again.
    """
    plain = [_cleaned(f"{server}__{tool}") for server, tool in pairs]
    count = Counter(plain)
    names: dict[str, None] = {}
    for name, pair in zip(plain, pairs, strict=True):
        while len(name) > LONGEST_NAME or count[name] > 1 or name in names:
            name = f"{name[: LONGEST_NAME - 9]}_{_hash(name, *pair)}"
        names[name] = None
    return list(names)


def may_lend(server: str, name: str) -> bool:
    """Whether a name of `unique_names` can be that of a server's tool."""
    return name.startswith(_cleaned(f"{server}__")[: LONGEST_NAME - 9])


def _cleaned(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:8]


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
