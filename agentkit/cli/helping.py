"""What `--help` says beside the commands' own words: examples, and the user's language."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentkit.cli.examples import EXAMPLES
from agentkit.cli.language import language, speak, translated

OWN_WORDS = (
    "Usage: ", "Options", "Arguments", "Commands", "Examples:", "Show this message and exit.",
    "default: {default}", "required", "Missing command.", "No such command {name!r}.", "Aborted!",
)  # fmt: skip
"""What typer itself says, and what is put below it."""


def commands(root: Any, words: str = "") -> Iterator[tuple[str, Any]]:
    """A click command, and every command and group below it, by its words; `words` are its own."""
    waiting = [(words, root)]
    while waiting:
        words, command = waiting.pop(0)
        yield words, command
        below = getattr(command, "commands", {})
        waiting += [(f"{words} {name}".strip(), each) for name, each in below.items()]


def paragraphs(text: str | None) -> list[str]:
    """The paragraphs of a command's help, each on one line."""
    return [" ".join(part.split()) for part in (text or "").split("\n\n") if part.strip()]


def describe(command: Any, words: str) -> None:
    """Put examples below the help of a command, and let it speak the user's language."""
    if lines := EXAMPLES.get(words):
        shown = "\n".join(f"  {line}" for line in lines)
        command.epilog = f"\b\n{translated('Examples:')}\n{shown}"
    if language() != "en":
        _in_other_words(command)


def _in_other_words(command: Any) -> None:
    """Translate when help is asked for, by a formatter that knows how wide characters are."""
    from agentkit.cli.wide_help import WideContext

    speak()
    command.context_class = WideContext
    command.short_help = translated(next(iter(paragraphs(command.help)), ""))
