"""The command of a server, held to the files that the user trusted.

A Python server starts through `agentkit/_code.py`, which imports of tools/ and mcp_servers/ only
what was checked. Of other commands the files are checked right before the start.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agentkit import _code
from agentkit._code import CODE_FOLDERS, Code
from agentkit.errors import AgentkitError, McpError
from agentkit.mcp.config import ServerConfig
from agentkit.settings.sources import cache_folder

_PYTHON = re.compile(r"(?:python|pypy)[w\d.]*(?:\.exe)?", re.IGNORECASE)


def trusted_command(config: ServerConfig) -> ServerConfig:
    """Check the files of a server, and return its entry with the command to start. Raises McpError
    that names what changed, or what trust does not cover."""
    if config.code is None:
        return config
    try:
        code = config.code()
    except AgentkitError as error:
        raise McpError(str(error), config.name) from error
    for argument in (config.command, *config.args):
        _require_checked(config, code, argument)
    launcher = Path(_code.__file__)
    split = split_python(config.args) if _PYTHON.fullmatch(Path(config.command).name) else None
    if split is None or not launcher.is_file():
        return _with_own_bytecode(config)
    options, program = split
    through = (str(launcher), os.path.abspath(code.folder), code.digest, json.dumps(code.names))
    config = replace(config, args=(*options, *through, *program))
    is_changed = any(name.startswith("PYTHON") for name in config.env)
    return _with_own_bytecode(config) if is_changed else config


def _with_own_bytecode(config: ServerConfig) -> ServerConfig:
    """Have every Python that the server starts keep its bytecode with the user's files, and read
    none beside the sources, where it could be planted."""
    own = {"PYTHONPYCACHEPREFIX": str(cache_folder() / "bytecode")}
    return replace(config, env={**config.env, **own})


def _require_checked(config: ServerConfig, code: Code, argument: str) -> None:
    path = (config.cwd or Path()) / argument
    own = code.only(*CODE_FOLDERS)
    try:
        is_inside = path.is_file() and own.covers(os.path.abspath(path), os.path.realpath(path))
    except (OSError, ValueError):  # An argument that is not a path.
        return
    if is_inside and (code.content(path) is None or path.suffix == ".pyc"):
        raise McpError(
            f"{path} is not started: trust does not cover it, since it is bytecode, a hidden file "
            "or part of another environment. Name a file that is none of these.",
            config.name,
        )


def split_python(arguments: Sequence[str]) -> tuple[list[str], list[str]] | None:
    """Split the arguments of Python into its options, and what it runs with a kind before it:
    "-m", "-c" or "script". None where it runs no program that is named."""
    options: list[str] = []
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "-" or (option.startswith("--") and option != "--check-hash-based-pycs"):
            return None
        match = re.fullmatch(r"-([^mcWX-]*)(?:([mcWX])(.*))?", option, re.DOTALL)
        if match is None:
            options += [option, *rest[:1]]
            del rest[:1]
            continue
        flags, kind, value = match.groups()
        if kind in ("m", "c"):
            found = [value, *rest] if value else rest
            return ([*options, f"-{flags}"] if flags else options), [f"-{kind}", *found]
        options.append(option)
        if kind and not value:
            options += rest[:1]
            del rest[:1]
    return (options, ["script", *rest]) if rest else None
