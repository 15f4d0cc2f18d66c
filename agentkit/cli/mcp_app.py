"""The command lines of `agentkit mcp`: a folder served to other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentkit.cli.mcp_clients_app import add_to
from agentkit.cli.options import BaseUrl, Folder, Model, group, run

mcp = group("Serve a folder to other programs over MCP, and use other servers in it.")
add_to(mcp)


@mcp.command()
def serve(
    folder: Folder = Path(),
    model: Model = None,
    base_url: BaseUrl = None,
    http: Annotated[
        str, typer.Option("--http", help="Serve at [HOST:]PORT, path /mcp, instead of stdio.")
    ] = "",
    key_env: Annotated[
        str, typer.Option("--key-env", help="The variable that holds the key callers must have.")
    ] = "",
    host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="A name this server may be called by, as a proxy does."),
    ] = None,
) -> None:
    """Offer the documents, the agent and the folder's tools over standard input and output, or
    over HTTP."""
    from agentkit.cli import mcp as command

    if not http and (key_env or host):
        raise typer.BadParameter("--key-env and --allow-host go with --http.")
    if not http:
        run(command.serve(folder, model, base_url))
    run(command.serve_http(folder, model, base_url, command.Http(http, key_env, tuple(host or ()))))
