"""What a server's entry would do, written out for the person who decides on it."""

from __future__ import annotations

import shlex

from agentkit.mcp.config import ServerConfig
from agentkit.mcp.hidden import visible


def what_it_does(server: ServerConfig) -> str:
    """The exact, whole command, or the URL; of variables and headers the names alone."""
    if server.url:
        told = f" with the headers {', '.join(server.headers)}" if server.headers else ""
        return visible(f"{server.url}{told}")
    line = shlex.join([server.command, *server.args])
    told = f" with {', '.join(server.env)} set" if server.env else ""
    return visible(f"{line}{told}")
