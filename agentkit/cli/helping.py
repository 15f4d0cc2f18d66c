"""What `--help` says beside the commands' own words: examples, and the user's language."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentkit.cli.examples import EXAMPLES


def commands(root: Any) -> Iterator[tuple[str, Any]]:
    """Every command and group below a click command, by its words; the root by ""."""
    waiting = [("", root)]
    while waiting:
        words, command = waiting.pop(0)
        yield words, command
        below = getattr(command, "commands", {})
        waiting += [(f"{words} {name}".strip(), each) for name, each in below.items()]


def describe(root: Any) -> None:
    """Put examples below the help of each command."""
    for words, command in commands(root):
        if lines := EXAMPLES.get(words):
            shown = "\n".join(f"  {line}" for line in lines)
            command.epilog = f"\b\nExamples:\n{shown}"
