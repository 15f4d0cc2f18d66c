"""A server of documents, an agent and tools over MCP, on stdio or HTTP."""

from agentkit.mcp.server.app import build_server, claim_stdout, serve_stdio

__all__ = ["build_server", "claim_stdout", "serve_stdio"]
