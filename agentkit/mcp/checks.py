"""What any MCP server should do, tried on one: a few seconds, no fixture, nothing changed there.

No tool is called but one that does not exist. The published conformance suite asks more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentkit.mcp.session import all_tools, pages

if TYPE_CHECKING:
    from mcp import Client

SECONDS = 20.0
UNKNOWN = "agentkit_no_such_tool"


@dataclass(frozen=True, slots=True)
class Checked:
    """One thing tried: `said` is why it failed or was passed over, or what was seen."""

    name: str
    outcome: str
    said: str = ""


class Unfit(Exception):
    """A check that failed, and why."""


class Passed(Exception):
    """A check that does not apply, and why."""


async def check(client: Client) -> list[Checked]:
    """Try everything on a server that runs; "ok", "failed" or "skipped" for each."""
    return [await _tried(name, one, client) for name, one in CHECKS]


async def _tried(name: str, one: Callable[[Client], Awaitable[str]], client: Client) -> Checked:
    try:
        async with asyncio.timeout(SECONDS):
            return Checked(name, "ok", await one(client))
    except Passed as passed:
        return Checked(name, "skipped", str(passed))
    except TimeoutError:
        return Checked(name, "failed", f"no answer within {SECONDS:g} s")
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        return Checked(name, "failed", said or type(error).__name__)


async def _identity(client: Client) -> str:
    info = client.server_info
    if info is None:
        raise Passed("it does not say who it is")
    if not info.name or not info.version:
        raise Unfit("it has no name or no version")
    return f"{info.name} {info.version}, protocol {client.protocol_version}"


async def _tools(client: Client) -> str:
    if client.server_capabilities.tools is None:
        raise Passed("it has no tools")
    tools = await all_tools(client)
    nameless = [tool for tool in tools if not tool.name or len(tool.name) > 128]
    if nameless:
        raise Unfit(f"{len(nameless)} tools have no name or one of more than 128 characters")
    return f"{len(tools)} tools"


async def _schemas(client: Client) -> str:
    from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]
    from jsonschema.validators import validator_for  # type: ignore[import-untyped]

    if client.server_capabilities.tools is None:
        raise Passed("it has no tools")
    tools = await all_tools(client)
    for tool in tools:
        for schema in filter(None, (tool.input_schema, tool.output_schema)):
            try:
                validator_for(schema).check_schema(schema)
            except SchemaError as error:
                raise Unfit(f"{tool.name}: {error.message}") from error
        if tool.input_schema.get("type") != "object":
            raise Unfit(f"{tool.name}: the type of its input schema is not object")
    return f"{len(tools)} valid"


async def _descriptions(client: Client) -> str:
    if client.server_capabilities.tools is None:
        raise Passed("it has no tools")
    silent = [tool.name for tool in await all_tools(client) if not tool.description]
    if silent:
        raise Unfit(f"no description: {', '.join(silent[:5])}")
    return "all there"


async def _unknown_tool(client: Client) -> str:
    if client.server_capabilities.tools is None:
        raise Passed("it has no tools")
    result, refusal = await _refusal(client.call_tool(UNKNOWN, {}))
    if refusal:
        return refusal
    if not result.is_error:
        raise Unfit("a tool that does not exist was called with success")
    return "refused in the result"


async def _resources(client: Client) -> str:
    if client.server_capabilities.resources is None:
        raise Passed("it has no resources")
    found = await pages(lambda cursor: client.list_resources(cursor=cursor), "resources")
    return f"{len(found)} resources"


async def _unknown_resource(client: Client) -> str:
    if client.server_capabilities.resources is None:
        raise Passed("it has no resources")
    _, refusal = await _refusal(client.read_resource("agentkit-no-such://resource"))
    if not refusal:
        raise Unfit("a resource that does not exist was read with success")
    return refusal


async def _prompts(client: Client) -> str:
    if client.server_capabilities.prompts is None:
        raise Passed("it has no prompts")
    found = await pages(lambda cursor: client.list_prompts(cursor=cursor), "prompts")
    return f"{len(found)} prompts"


async def _unknown_prompt(client: Client) -> str:
    if client.server_capabilities.prompts is None:
        raise Passed("it has no prompts")
    _, refusal = await _refusal(client.get_prompt(UNKNOWN))
    if not refusal:
        raise Unfit("a prompt that does not exist was given with success")
    return refusal


async def _refusal(request: Awaitable[Any]) -> tuple[Any, str]:
    """What a request gave, and how it was refused, "" where it was not. A server that ends at it
    has not refused."""
    from mcp import MCPError
    from mcp_types import CONNECTION_CLOSED

    try:
        return await request, ""
    except MCPError as error:
        if error.code == CONNECTION_CLOSED:
            raise Unfit("the server ended instead of an answer") from error
        return None, f"refused with {error.code}"


async def _side_by_side(client: Client) -> str:
    """Requests made at once are each answered."""
    if client.server_capabilities.tools is None:
        raise Passed("it has no tools")
    many: list[Any] = await asyncio.gather(
        *(client.list_tools(cache_mode="bypass") for _ in range(8))
    )
    if len({len(each.tools) for each in many}) != 1:
        raise Unfit("eight equal requests at once had different answers")
    return "8 at once"


CHECKS: tuple[tuple[str, Callable[[Client], Awaitable[str]]], ...] = (
    ("says who it is", _identity),
    ("lists tools", _tools),
    ("tools have valid schemas", _schemas),
    ("tools are described", _descriptions),
    ("refuses an unknown tool", _unknown_tool),
    ("answers side by side", _side_by_side),
    ("lists resources", _resources),
    ("refuses an unknown resource", _unknown_resource),
    ("lists prompts", _prompts),
    ("refuses an unknown prompt", _unknown_prompt),
)
