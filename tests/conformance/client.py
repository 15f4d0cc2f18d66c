"""Our client under the published conformance suite, which runs it once for each scenario.

Run as `python -m tests.conformance.client URL`. MCP_CONFORMANCE_SCENARIO names the scenario and
MCP_CONFORMANCE_CONTEXT holds what it needs. All goes through McpServers, as in a project.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import httpx2

from agentkit.errors import AgentkitError
from agentkit.mcp.client import McpServers
from agentkit.mcp.client_features import ClientFeatures, ElicitationRequest
from agentkit.mcp.config import OAuth, ServerConfig
from agentkit.mcp.oauth import auth_for

METADATA_URL = "https://conformance-test.local/client-metadata.json"
CALLS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "tools_call": [("add_numbers", {"a": 5, "b": 3})],
}


async def browse(url: str) -> None:
    """Visit a page and follow it back to us, as a browser does."""
    async with httpx2.AsyncClient(follow_redirects=True) as browser:
        await browser.get(url)


async def elicit(question: ElicitationRequest) -> Mapping[str, Any]:
    """Answer with what the server proposes."""
    fields = question.schema.get("properties", {})
    return {name: each["default"] for name, each in fields.items() if "default" in each}


async def main(url: str) -> None:
    scenario = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    oauth = OAuth(
        clientId=context.get("client_id", ""),
        clientSecret=context.get("client_secret", ""),
        clientMetadataUrl=METADATA_URL,
    )
    config = ServerConfig("peer", "http", url=url, oauth=oauth, timeout=25, approval="never")
    auths = {"peer": auth_for(config, browse)} if scenario.startswith("auth/") else {}
    async with McpServers(
        [config], features=ClientFeatures(elicit=elicit), auths=auths, connect_timeout=120
    ) as servers:
        for problem in servers.problems.values():
            print(problem, file=sys.stderr)
        remote = servers.server_tools("peer")
        given = [(each["name"], each["arguments"]) for each in context.get("toolCalls", ())]
        calls = given or CALLS.get(scenario) or [(each.name, {}) for each in remote]
        tools = dict(zip((each.name for each in remote), servers.tools, strict=False))
        for name, arguments in calls:
            if name not in tools:
                continue
            try:
                print((await tools[name].run(arguments)).content, file=sys.stderr)
            except AgentkitError as error:
                print(error, file=sys.stderr)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CONFIG_HOME"] = folder
        asyncio.run(main(sys.argv[-1]))
