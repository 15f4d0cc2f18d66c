"""Ten checks that any MCP server should pass: read-only, a few seconds, no fixtures.

No tool is called except one that does not exist. `make conformance` runs the published suite.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from agentkit.mcp.session import all_pages, all_tools

if TYPE_CHECKING:
    from mcp import Client

SECONDS = 20.0
UNKNOWN = "agentkit_no_such_tool"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one check; `said` is what was found, or why it failed or was skipped."""

    name: str
    outcome: Literal["ok", "failed", "skipped"]
    said: str = ""


class CheckFailed(Exception):
    """The server does not do what the check expects."""


class CheckSkipped(Exception):
    """The check does not apply to the server."""


async def run_checks(client: Client) -> list[CheckResult]:
    """Run every check against a running server, one after another."""
    return [await _run(client, *check) for check in CHECKS]


Check = Callable[["Client"], Awaitable[str]]


async def _run(client: Client, name: str, capability: str, check: Check) -> CheckResult:
    if capability and getattr(client.server_capabilities, capability) is None:
        return CheckResult(name, "skipped", f"it has no {capability}")
    try:
        async with asyncio.timeout(SECONDS):
            return CheckResult(name, "ok", await check(client))
    except CheckSkipped as skipped:
        return CheckResult(name, "skipped", str(skipped))
    except TimeoutError:
        return CheckResult(name, "failed", f"no answer within {SECONDS:g} s")
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        return CheckResult(name, "failed", reason or type(error).__name__)


async def _identity(client: Client) -> str:
    info = client.server_info
    if info is None:
        raise CheckSkipped("it reports no name and version")
    if not info.name or not info.version:
        raise CheckFailed("its name or version is empty")
    return f"{info.name} {info.version}, protocol {client.protocol_version}"


async def _tools(client: Client) -> str:
    tools = await all_tools(client)
    invalid = [tool for tool in tools if not tool.name or len(tool.name) > 128]
    if invalid:
        raise CheckFailed(f"{len(invalid)} tools have no name or one of more than 128 characters")
    return f"{len(tools)} tools"


async def _schemas(client: Client) -> str:
    from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]
    from jsonschema.validators import validator_for  # type: ignore[import-untyped]

    tools = await all_tools(client)
    for tool in tools:
        for schema in filter(None, (tool.input_schema, tool.output_schema)):
            try:
                validator_for(schema).check_schema(schema)
            except SchemaError as error:
                raise CheckFailed(f"{tool.name}: {error.message}") from error
        if tool.input_schema.get("type") != "object":
            raise CheckFailed(f"{tool.name}: the type of its input schema is not object")
    return f"{len(tools)} valid"


async def _descriptions(client: Client) -> str:
    undescribed = [tool.name for tool in await all_tools(client) if not tool.description]
    if undescribed:
        raise CheckFailed(f"no description: {', '.join(undescribed[:5])}")
    return "all have one"


async def _unknown_tool(client: Client) -> str:
    result, refusal = await _refusal(client.call_tool(UNKNOWN, {}))
    if refusal:
        return refusal
    if not result.is_error:
        raise CheckFailed("a call of an unknown tool succeeded")
    return "refused in the result"


async def _concurrent_requests(client: Client) -> str:
    results: list[Any] = await asyncio.gather(
        *(client.list_tools(cache_mode="bypass") for _ in range(8))
    )
    if len({len(each.tools) for each in results}) != 1:
        raise CheckFailed("eight equal concurrent requests had different results")
    return "8 concurrent"


async def _resources(client: Client) -> str:
    found = await all_pages(lambda cursor: client.list_resources(cursor=cursor), "resources")
    return f"{len(found)} resources"


async def _unknown_resource(client: Client) -> str:
    _, refusal = await _refusal(client.read_resource("agentkit-no-such://resource"))
    if not refusal:
        raise CheckFailed("reading an unknown resource succeeded")
    return refusal


async def _prompts(client: Client) -> str:
    found = await all_pages(lambda cursor: client.list_prompts(cursor=cursor), "prompts")
    return f"{len(found)} prompts"


async def _unknown_prompt(client: Client) -> str:
    _, refusal = await _refusal(client.get_prompt(UNKNOWN))
    if not refusal:
        raise CheckFailed("getting an unknown prompt succeeded")
    return refusal


async def _refusal(request: Awaitable[Any]) -> tuple[Any, str]:
    """Return a request's result and how it was refused ("" where it was not). A server that ends
    has not refused it."""
    from mcp import MCPError
    from mcp_types import CONNECTION_CLOSED

    try:
        return await request, ""
    except MCPError as error:
        if error.code == CONNECTION_CLOSED:
            raise CheckFailed("the server ended instead of answering") from error
        return None, f"refused with {error.code}"


CHECKS: tuple[tuple[str, str, Check], ...] = (
    ("reports its name and version", "", _identity),
    ("lists tools", "tools", _tools),
    ("tools have valid schemas", "tools", _schemas),
    ("tools have descriptions", "tools", _descriptions),
    ("refuses an unknown tool", "tools", _unknown_tool),
    ("answers concurrent requests", "tools", _concurrent_requests),
    ("lists resources", "resources", _resources),
    ("refuses an unknown resource", "resources", _unknown_resource),
    ("lists prompts", "prompts", _prompts),
    ("refuses an unknown prompt", "prompts", _unknown_prompt),
)
"""Each with the server's capability that it needs."""
