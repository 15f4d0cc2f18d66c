"""What the commands that serve a folder share: options, the key of callers, and what they log."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from agentkit.cli.i18n import _
from agentkit.cli.text import strip_controls
from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from agentkit.project.project import Project

KeyEnv = Annotated[
    str, Option("--key-env", help=_("The variable with the key that callers must send."))
]
AllowHost = Annotated[
    list[str] | None,
    Option("--allow-host", help=_("Another host name to accept, such as a proxy's.")),
]


def open_served(
    folder: Path, model: str | None, base_url: str | None, *, dev: bool = False
) -> Project:
    """A project that is indexed, and whose servers start, while it is served already. `dev` trusts
    it. Raises ConfigError and TrustError."""
    from agentkit.project.project import Project

    project = Project.open(folder, model=model, base_url=base_url, trust=dev)
    project.in_background = True
    return project


def read_key(variable: str) -> str:
    """The key in an environment variable. Raises ConfigError where it is missing or too short."""
    from agentkit.mcp.server.http import MIN_KEY_LENGTH

    key = os.environ.get(variable, "")
    if len(key) < MIN_KEY_LENGTH:
        raise ConfigError(
            f"The variable {variable} has no key of at least {MIN_KEY_LENGTH} characters. "
            "Set it, or drop --key-env."
        )
    return key


def log(line: str) -> None:
    """Print a line to standard error; standard output may be a protocol's."""
    print(strip_controls(line), file=sys.stderr, flush=True)


def log_notices(project: Project) -> None:
    """Print what a project noticed while it was opened."""
    for notice in project.notices:
        log(f"note: {notice}")
