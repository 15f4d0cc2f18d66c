"""A server's tools, resources and prompts as this program has them: Tools and plain values.

Nothing that a server says of itself decides whether its calls ask the user. Its hints only tell
whether a call that was lost may be made again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from agentkit.errors import ToolError
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.connection import Connection
from agentkit.mcp.hidden import visible, visible_value
from agentkit.mcp.results import error_text, resource_content, result_content
from agentkit.mcp.session import Report, all_pages
from agentkit.messages import ImagePart
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
