"""What `--help` says beside the commands' own words: examples, and the user's language."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentkit.cli.examples import EXAMPLES
from agentkit.cli.language import language, translated

OWN_WORDS = (
    "Options:", "Arguments:", "Commands:", "Show this message and exit.",
    "default: {0}", "default: (asks)", "required", "Missing command.", "No such command {0}.",
    "No such command {0}. Did you mean {1}?", "No such option: {0}",
    "No such option: {0} (Possible options: {1})", "Missing argument {0}.", "Missing option {0}.",
    "Missing parameter: {0}", "Option {0} requires an argument.",
    "Option {0} does not take a value.", "Got unexpected extra argument(s) ({0})",
    "Invalid value: {0}", "Invalid value for {0}: {1}", "Value {0} is not a valid {1}.",
    "Value error, {0} is not one of {1}.", "Input should be {0}",
    "Input should be a valid datetime or date, {0}",
    "Input should be less than or equal to {0}",
    "Input should be greater than or equal to {0}",
    "Input should be a valid integer, unable to parse string as an integer",
    "Input should be a valid number, unable to parse string as a number",
    "file {0} does not exist.", "file {0} is a directory.", "file {0} is not readable.",
    "dir {0} is a file.", "dir {0} is not readable.", "path {0} is not readable.",
)  # fmt: skip
"""What typer itself says."""


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

    command.context_class = WideContext
    command.short_help = translated(next(iter(paragraphs(command.help)), ""))
