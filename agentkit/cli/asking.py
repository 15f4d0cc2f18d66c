"""One question with yes or no, on standard error: standard output is for results."""

from __future__ import annotations

import sys

from agentkit.cli.language import translated
from agentkit.errors import ConfigError


def agreed(question: str, yes: bool) -> bool:
    """Whether the user says yes; without a terminal only --yes does. Raises ConfigError."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigError(f"{question} Nobody is there to ask: give --yes.")
    print(translated(question), end=" [y/N] ", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
