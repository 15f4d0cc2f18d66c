"""What the command lines share: options, groups of commands, and the way a command is run."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from agentkit.cli import complete

Folder = Annotated[
    Path,
    typer.Option(
        "--folder",
        "-C",
        metavar="FOLDER",
        help="The project: a folder that holds knowledge/.",
        file_okay=False,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="Such as ollama:qwen3:8b, openai:NAME, hf:ID, extractive.",
        autocompletion=complete.models,
    ),
]
BaseUrl = Annotated[
    str | None,
    typer.Option("--base-url", metavar="URL", help="The address of an OpenAI-compatible server."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Plain = Annotated[bool, typer.Option("--plain", help="Text alone: no colours, nothing drawn over.")]
SessionName = Annotated[
    str,
    typer.Option(
        "--session",
        "-s",
        metavar="NAME",
        help="Go on in the session of this name, or begin it.",
        autocompletion=complete.sessions,
    ),
]
Resume = Annotated[bool, typer.Option("--continue", help="Go on in the last session.")]
Source = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        metavar="SOURCE",
        help='Only from these: "notes.md", "papers/**".',
        autocompletion=complete.sources,
    ),
]
InCollection = Annotated[
    str,
    typer.Option(
        "--collection",
        "-c",
        metavar="NAME",
        help="A collection of the folder; default: its own.",
        autocompletion=complete.collections,
    ),
]


def group(about: str) -> typer.Typer:
    """Commands under one name."""
    return typer.Typer(help=about, no_args_is_help=True)


def run(command: Coroutine[Any, Any, int]) -> NoReturn:
    """Run a command to its end, and leave with its exit code."""
    import asyncio

    finish(lambda: asyncio.run(command))


def finish(command: Callable[[], int]) -> NoReturn:
    """Call a command, and leave with its exit code. What was loaded for it stays, so that the
    garbage collector need not look at it. Who reads the output may stop reading at any time: that
    is no failure."""
    gc.freeze()
    gc.enable()
    try:
        code = command()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    raise typer.Exit(code)
