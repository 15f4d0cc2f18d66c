"""The command lines of `agentkit mcp` that concern the servers a folder uses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentkit.cli import complete
from agentkit.cli.options import Folder, Json, run

Server = Annotated[
    str,
    typer.Argument(help="A server that mcp.json names.", autocompletion=complete.servers),
]
Program = Annotated[str, typer.Argument(help="claude, cursor or vscode.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
"""With --json nobody is asked: without --yes it is only shown what would be done."""


def add_to(mcp: typer.Typer) -> None:
    """Put these commands beside the others of `agentkit mcp`."""
    mcp.command(name="list")(list_servers)
    for command in (tools, call, inspect, logs, approve):
        mcp.command()(command)
    mcp.command(name="test")(check)
    mcp.command(name="import")(import_servers)
    for change in (install, login, logout):
        mcp.command()(change)


def list_servers(folder: Folder = Path(), json: Json = False) -> None:
    """List the servers in mcp_servers/mcp.json and what each starts; none is started."""
    from agentkit.cli import mcp_clients as command

    run(command.list_servers(folder, json))


def tools(
    server: Annotated[
        str, typer.Argument(help="One server; all without it.", autocompletion=complete.servers)
    ] = "",
    folder: Folder = Path(),
    json: Json = False,
) -> None:
    """List the tools that the servers lend."""
    from agentkit.cli import mcp_clients as command

    run(command.list_tools(folder, server, json))


def call(
    tool: Annotated[str, typer.Argument(help="Such as time__convert_time.")],
    arguments: Annotated[str, typer.Argument(help='A JSON object, such as {"a": 1}.')] = "{}",
    folder: Folder = Path(),
    json: Json = False,
) -> None:
    """Call one tool and print its result."""
    from agentkit.cli import mcp_clients as command

    run(command.call(folder, tool, arguments, json))


def inspect(server: Server, folder: Folder = Path(), json: Json = False) -> None:
    """Show all that a server says of itself: version, tools, resources, prompts."""
    from agentkit.cli import mcp_clients as command

    run(command.inspect(folder, server, json))


def logs(
    server: Server,
    folder: Folder = Path(),
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many.")] = 50,
    json: Json = False,
) -> None:
    """Show the end of what a server wrote to standard error."""
    from agentkit.cli import mcp_clients as command

    run(command.logs(folder, server, lines, json))


def check(server: Server, folder: Folder = Path(), json: Json = False) -> None:
    """Check that a server behaves as any MCP server should."""
    from agentkit.cli import mcp_checks as command

    run(command.check_server(folder, server, json))


def approve(server: Server, folder: Folder = Path(), yes: Yes = False, json: Json = False) -> None:
    """Look at what a server's tools say now, and agree to it."""
    from agentkit.cli import mcp_changes as command

    run(command.approve(folder, server, yes, json))


def import_servers(
    program: Program,
    names: Annotated[list[str] | None, typer.Argument(help="Some of its servers; or all.")] = None,
    folder: Folder = Path(),
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Copy another program's servers into mcp_servers/mcp.json."""
    from agentkit.cli import mcp_changes as command

    run(command.import_servers(folder, program, names or [], yes, json))


def install(
    program: Program,
    folder: Folder = Path(),
    name: Annotated[str, typer.Option(help="What it is called there.")] = "",
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Make this folder a server of another program."""
    from agentkit.cli import mcp_changes as command

    run(command.install(folder, program, name, yes, json))


def login(server: Server, folder: Folder = Path(), json: Json = False) -> None:
    """Sign in at a server over HTTP that asks for it."""
    from agentkit.cli import mcp_changes as command

    run(command.login(folder, server, json))


def logout(server: Server, folder: Folder = Path(), json: Json = False) -> None:
    """Forget the sign-in at a server."""
    from agentkit.cli import mcp_changes as command

    run(command.logout(folder, server, json))
