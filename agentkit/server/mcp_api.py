"""/mcp: the documents, the agent and the folder's tools for MCP clients, behind the same guard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette

from agentkit.mcp.server import build_server
from agentkit.mcp.server.http import Access as McpAccess
from agentkit.mcp.server.http import mcp_app
from agentkit.project.project import Project
from agentkit.server.auth import Identity
from agentkit.server.guard import Access, Keys

if TYPE_CHECKING:
    from mcp.server.auth.provider import AccessToken

MCP_PATH = "/mcp"
ROLES = frozenset({"ask", "approve"})
"""An MCP client asks its own user to approve calls, so its key needs the role for that too."""


class _Verifier:
    """Accepts the keys of the server that have the roles."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def verify_token(self, token: str) -> AccessToken | None:
        from mcp.server.auth.provider import AccessToken

        found: Identity | None = self._keys.find(token)
        if found is None or not found.roles >= ROLES:
            return None
        return AccessToken(token="", client_id=found.name, scopes=[])


def project_mcp_app(project: Project, access: Access) -> Starlette:
    """A started project as an MCP server at MCP_PATH. Its lifespan must be entered."""
    agent = project.agent
    server: Any = build_server(
        project.path.resolve().name,
        knowledge=agent.knowledge,
        agent=agent,
        # A remote tool has no model of its arguments; its own server offers it.
        tools=[tool for tool in agent.tools if tool.model is not None],
        policy=agent.policy,
        links=project.settings.mcp.resource_links,
    )
    verifier = _Verifier(access.keys) if access.needs_key else None
    allowed = McpAccess(tuple(access.hosts), tuple(access.origins), verifier)
    return mcp_app(server, allowed, path=MCP_PATH)
