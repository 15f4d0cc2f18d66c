"""Tools, resources and prompts of MCP servers, as `Tool`s and our plain values.

Nothing that a server says about itself decides whether its calls need approval. Its hints only say
whether a call that was lost may be repeated.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from agentkit.errors import ToolError
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.remote_server import RemoteServer
from agentkit.mcp.repairs import schema_mismatch
from agentkit.mcp.results import (
    convert_result,
    error_text,
    resource_content,
    visible_value,
)
from agentkit.mcp.session import all_pages, all_resources
from agentkit.messages import ImagePart, ToolResult
from agentkit.text.hidden import visible
from agentkit.tools.context import ToolContext
from agentkit.tools.tool import Tool

if TYPE_CHECKING:
    from mcp.shared.dispatcher import ProgressFnT
    from mcp_types import Tool as ServerTool

MAX_DESCRIPTION = 8000
MAX_LISTED = 200
MAX_NAME = 64

Result = str | list[str | ImagePart]


@dataclass(frozen=True, slots=True)
class RemoteResource:
    """A resource of a server. `is_template`: its `uri` contains `{names}` to fill."""

    server: str
    uri: str
    name: str
    description: str = ""
    mime_type: str = ""
    is_template: bool = False


@dataclass(frozen=True, slots=True)
class PromptArgument:
    """An argument of a prompt."""

    name: str
    description: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class RemotePrompt:
    """A prompt of a server."""

    server: str
    name: str
    description: str = ""
    arguments: tuple[PromptArgument, ...] = ()


def is_allowed(config: ServerConfig, tool: str) -> bool:
    """Whether `allow` and `deny` of the entry in mcp.json let this tool through."""

    def matches(patterns: tuple[str, ...]) -> bool:
        return any(fnmatchcase(tool, pattern) for pattern in patterns)

    return (not config.allow or matches(config.allow)) and not matches(config.deny)


def remote_tool(name: str, server: RemoteServer, remote: ServerTool, max_characters: int) -> Tool:
    """Convert a server's tool to our `Tool`, called `name`."""
    hints = remote.annotations
    repeatable = bool(hints and (hints.read_only_hint or hints.idempotent_hint))

    async def call(agentkit_context: ToolContext, **arguments: Any) -> ToolResult:
        result = await server.call(
            remote.name, arguments, repeatable=repeatable, on_progress=_reporter(agentkit_context)
        )
        if result.is_error:
            reason = error_text(result) or "no error message"
            raise ToolError(
                f"The MCP server {server.config.name!r}: {remote.name} failed: {reason}", name
            )
        mismatch = schema_mismatch(remote.output_schema, result.structured_content)
        return convert_result(
            result, server.config.name, max_characters, agentkit_context.cite, mismatch
        )

    return Tool(
        name=name,
        description=visible(remote.description or remote.title or "")[:MAX_DESCRIPTION],
        parameters=visible_value(remote.input_schema),
        function=call,
        needs_approval=server.config.approval != "never",
    )


def resource_tool(name: str, server: RemoteServer, max_characters: int) -> Tool:
    """A tool that reads a server's resources."""
    origin = f"the MCP server {server.config.name!r}"

    async def read(uri: str = "") -> Result:
        if not uri:
            return _format_resources(await list_resources(server))
        result = await server.request(uri, lambda client: client.read_resource(uri))
        return resource_content(result, origin, max_characters)

    return Tool(
        name=name,
        description=f"Read a resource of {origin} by its uri. Without a uri: list the resources.",
        parameters={"type": "object", "properties": {"uri": {"type": "string"}}},
        function=read,
        needs_approval=server.config.approval != "never",
        idempotent=True,
    )


async def list_resources(server: RemoteServer) -> list[RemoteResource]:
    """List a server's resources, templates last; empty where it does not support them."""
    if not _supports(server, "resources"):
        return []
    name = server.config.name

    resources, templates = await server.request("resources/list", all_resources)
    return [
        *(_resource(name, each, str(each.uri), False) for each in resources),
        *(_resource(name, each, each.uri_template, True) for each in templates),
    ]


async def list_prompts(server: RemoteServer) -> list[RemotePrompt]:
    """List a server's prompts; empty where it does not support them."""
    if not _supports(server, "prompts"):
        return []
    found = await server.request(
        "prompts/list", lambda client: all_pages(client.list_prompts, "prompts")
    )
    return [_prompt(server.config.name, each) for each in found]


def unique_names(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """A name for each (server, tool): `server__tool` in `[A-Za-z0-9_-]`, at most 64 characters, as
    every model provider accepts.

    A name that had to be cut, or that two tools share after cleaning, ends in a hash of both. A
    server may choose a name that is already such a one: it is hashed again.
    """
    plain = [_clean(f"{server}__{tool}") for server, tool in pairs]
    count = Counter(plain)
    names: dict[str, None] = {}
    for name, pair in zip(plain, pairs, strict=True):
        while len(name) > MAX_NAME or count[name] > 1 or name in names:
            name = f"{name[: MAX_NAME - 9]}_{_hash(name, *pair)}"
        names[name] = None
    return list(names)


def may_belong_to(server: str, name: str) -> bool:
    """Whether a name of `unique_names` can be that of a server's tool."""
    return name.startswith(_clean(f"{server}__")[: MAX_NAME - 9])


def _supports(server: RemoteServer, capability: str) -> bool:
    client = server.client
    return client is not None and getattr(client.server_capabilities, capability) is not None


def _format_resources(resources: list[RemoteResource]) -> str:
    """One line for each resource, for a model to choose from."""
    lines = [
        f"{each.uri}{' (template)' if each.is_template else ''}: {each.name} "
        f"{visible(each.description)[:200]}".rstrip()
        for each in resources[:MAX_LISTED]
    ]
    if len(resources) > MAX_LISTED:
        lines.append(f"and {len(resources) - MAX_LISTED} more")
    return "\n".join(lines) or "There are none."


def _resource(server: str, each: Any, uri: str, is_template: bool) -> RemoteResource:
    description = visible(each.description or "")[:MAX_DESCRIPTION]
    return RemoteResource(
        server, visible(uri), visible(each.name), description, each.mime_type or "", is_template
    )


def _prompt(server: str, each: Any) -> RemotePrompt:
    arguments = tuple(
        PromptArgument(one.name, visible(one.description or ""), bool(one.required))
        for one in each.arguments or ()
    )
    return RemotePrompt(server, each.name, visible(each.description or each.title or ""), arguments)


def _reporter(context: ToolContext) -> ProgressFnT:
    async def report(progress: float, total: float | None, message: str | None) -> None:
        fraction = min(1.0, max(0.0, progress / total)) if total else None
        context.report(visible(message or f"{progress:g}")[:500], fraction)

    return report


def _clean(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:8]
