"""From an error to one line on standard error and an exit code of its own."""

from __future__ import annotations

import os
import sys
from shutil import get_terminal_size

import typer
from typer._click.exceptions import ClickException, NoArgsIsHelpError, UsageError

from agentkit.cli.language import spoken, translated
from agentkit.errors import (
    AgentkitError,
    ConfigError,
    KnowledgeError,
    LimitReached,
    McpError,
    ModelError,
    ToolError,
    TrustError,
)

UNEXPECTED, USAGE, REFUSED, LIMIT, DENIED, INTERRUPTED = 1, 2, 5, 6, 7, 130
MISSED = 12
"""An evaluation below what --fail-under asks for."""

EXIT_CODES: dict[type[AgentkitError], int] = {
    ConfigError: 3,
    ModelError: 4,
    LimitReached: LIMIT,
    KnowledgeError: 8,
    ToolError: 9,
    McpError: 10,
    TrustError: 11,
}


def report(error: BaseException) -> int:
    """Say what went wrong and the next step, in one line. Returns the exit code."""
    if isinstance(error, ClickException):
        return _misused(error)
    if isinstance(error, typer.Abort):
        return INTERRUPTED
    if isinstance(error, AgentkitError):
        _say(str(error))
        if isinstance(error, ModelError) and error.report:
            print("\n".join(map(_reported, error.report.splitlines())), file=sys.stderr)
        return code_of(error)
    if os.environ.get("AGENTKIT_DEBUG"):
        raise error
    _say(f"{type(error).__name__}: {error} (unexpected: AGENTKIT_DEBUG=1 shows where)")
    return UNEXPECTED


def _misused(error: ClickException) -> int:
    """A command line that cannot be understood; one without a command is answered with help."""
    said = error.format_message()
    if isinstance(error, NoArgsIsHelpError):
        print(said, file=sys.stderr)
        return USAGE
    context = error.ctx if isinstance(error, UsageError) else None
    command = context.command_path if context else "agentkit"
    _say(translated(f"{said} (see: {command} --help)"))
    return USAGE


def code_of(error: AgentkitError) -> int:
    """The exit code of an error."""
    return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), UNEXPECTED)


def _reported(line: str) -> str:
    """A line of a model's report: the cause is ours, the rest is what was sent and came back."""
    return translated(line) if line.startswith("likely cause: ") else line


def _say(text: str) -> None:
    """One line; in a terminal it is folded between words."""
    line = spoken("error:", " ".join(text.split()))
    if sys.stderr.isatty():
        from agentkit.cli.folding import wrap

        line = "\n".join(wrap(line, get_terminal_size().columns))
    print(line, file=sys.stderr)
