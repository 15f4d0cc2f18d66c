"""The command lines that concern a folder and a machine as such: init, doctor, trust, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentkit.cli.options import Folder, Json, run


def init(
    folder: Annotated[Path, typer.Argument(help="Where; made if it is not there.")] = Path(),
    from_demo: Annotated[
        bool, typer.Option("--from-demo", help="Copy the lecture notes, their tools and servers.")
    ] = False,
) -> None:
    """Make a folder a project. It gets settings, knowledge/, a sample tool and server."""
    from agentkit.cli import init as command

    run(command.init(folder, from_demo))


def doctor(
    folder: Folder = Path(),
    start: Annotated[
        bool, typer.Option("--start", help="Start the MCP servers too, and stop them again.")
    ] = False,
    json: Json = False,
) -> None:
    """Check the machine and the folder. Each finding has a next step; 3 if one is a problem."""
    from agentkit.cli import doctor as command

    run(command.doctor(folder, start, json))


def trust(folder: Annotated[Path, typer.Argument(help="The project.")] = Path()) -> None:
    """Allow a folder's agentkit.toml, tools/ and mcp_servers/ as they are now."""
    from agentkit.cli import trust as command

    run(command.trust_folder(folder))


def demo(
    folder: Folder = Path("agentkit-demo"),
    model: Annotated[str, typer.Option("--model", "-m")] = "extractive",
) -> None:
    """Copy the lecture notes to a folder and answer five questions about them."""
    from agentkit.cli import demo as command

    run(command.demo(folder, model))
