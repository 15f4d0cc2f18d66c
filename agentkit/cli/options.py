"""What the command lines share: options, groups of commands, and the way a command is run."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

Folder = Annotated[
    Path, typer.Option("--folder", "-C", help="The project: a folder that holds knowledge/.")
]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Such as ollama:qwen3:8b, openai:NAME, hf:ID, extractive."),
]
BaseUrl = Annotated[
    str | None, typer.Option("--base-url", help="The address of an OpenAI-compatible server.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Plain = Annotated[bool, typer.Option("--plain", help="Text alone: no colours, nothing drawn over.")]
SessionName = Annotated[
    str, typer.Option("--session", "-s", help="Go on in the session of this name, or begin it.")
]
Resume = Annotated[bool, typer.Option("--continue", help="Go on in the last session.")]

InCollection = Annotated[
    str, typer.Option("--collection", "-c", help="A collection of the folder; default: its own.")
]


def group(about: str) -> typer.Typer:
    """Commands under one name."""
    return typer.Typer(help=about, no_args_is_help=True)


def run(command: Coroutine[Any, Any, int]) -> NoReturn:
    """Run a command to its end, and leave with its exit code. Who reads the output may stop reading
    at any time: that is no failure."""
    try:
        code = asyncio.run(command)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    raise typer.Exit(code)
