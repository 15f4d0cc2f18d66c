"""Report an error in one line on standard error, and map it to an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from shutil import get_terminal_size

import typer
from typer._click.exceptions import ClickException, NoArgsIsHelpError, UsageError

from agentkit.cli.i18n import MISSING_COMMAND, _
from agentkit.cli.text import strip_controls, wrap
from agentkit.errors import (
    MORE_MEMORY,
    NO_MEMORY,
    AgentkitError,
    ConfigError,
    KnowledgeError,
    LimitReached,
    McpError,
    ModelError,
    ToolError,
    TrustError,
    lacks_memory,
    value_error,
)
from agentkit.redaction import redact

UNEXPECTED, USAGE, REFUSED, LIMIT, DENIED, INTERRUPTED = 1, 2, 5, 6, 7, 130
MISSED = 12
"""An evaluation below what --fail-under asks for."""

EXIT_CODES: dict[type[AgentkitError], int] = {
    ConfigError: 3,
    LimitReached: LIMIT,
    ModelError: 4,
    KnowledgeError: 8,
    ToolError: 9,
    McpError: 10,
    TrustError: 11,
}


def report(error: BaseException) -> int:
    """Print an error and its next step in one line. Returns the exit code."""
    if isinstance(error, ClickException):
        return _report_usage(error)
    if isinstance(error, typer.Abort):
        return INTERRUPTED
    if isinstance(error, AgentkitError):
        _print_error(str(error))
        if isinstance(error, ModelError) and error.report:
            print(strip_controls(error.report), file=sys.stderr)
        return exit_code_of(error)
    if os.environ.get("AGENTKIT_DEBUG"):
        text = "".join(traceback.format_exception(error))
        print(strip_controls(redact(text)), file=sys.stderr)
        return UNEXPECTED
    if lacks_memory(error):
        reason = str(error) or type(error).__name__
        _print_error(f"{NO_MEMORY}: {reason}. {MORE_MEMORY}")
        return LIMIT
    hint = _("unexpected: AGENTKIT_DEBUG=1 shows the traceback")
    _print_error(redact(f"{type(error).__name__}: {error} ({hint})"))
    return UNEXPECTED


def _report_usage(error: ClickException) -> int:
    """Report a command line that cannot be parsed; print the help where no command is given."""
    if error.__cause__ is not None:
        from pydantic import ValidationError

        if isinstance(error.__cause__, ValidationError):
            error.message = value_error(error.__cause__.errors()[0])
    message = error.format_message()
    if isinstance(error, NoArgsIsHelpError):
        print(strip_controls(message), file=sys.stderr)
        return USAGE
    context = error.ctx if isinstance(error, UsageError) else None
    command = context.command_path if context else "agentkit"
    commands = getattr(context.command, "commands", {}) if context else {}
    if commands and message in (MISSING_COMMAND, _(MISSING_COMMAND)):
        message = _("{message} Choose one of: {names}").format(
            message=message, names=", ".join(commands)
        )
    _print_error(_("{message} (see: {command} --help)").format(message=message, command=command))
    return USAGE


def exit_code_of(error: AgentkitError) -> int:
    return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), UNEXPECTED)


def _print_error(message: str) -> None:
    line = _("error: {message}").format(message=strip_controls(" ".join(message.split())))
    if sys.stderr.isatty():
        line = "\n".join(wrap(line, get_terminal_size().columns))
    print(line, file=sys.stderr)
