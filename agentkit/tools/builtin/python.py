"""Python tool: run a model's code in a process of its own, in an empty folder, confined.

Time, memory, processes, output and files are limited, and the environment is empty. The code has no
network and sees no files of the user's and no other processes (`python_sandbox`); where the system
cannot confine it, the tool refuses to run it unless the user allows that. It is off by default and
asks for approval.
"""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from agentkit.errors import ToolError
from agentkit.messages import ImagePart, TextPart
from agentkit.tools.builtin.python_sandbox import WAYS, run_code
from agentkit.tools.context import ToolContext
from agentkit.tools.isolated import locate, run_isolated
from agentkit.tools.tool import Tool, tool

_TIMEOUT = 30.0
_MEMORY_MB = 2048
_MAX_IMAGES = 4
_MAX_IMAGE_BYTES = 4_000_000
_PNG = b"\x89PNG\r\n\x1a\n"


def python_tool(
    seconds: float = _TIMEOUT,
    memory_mb: int = _MEMORY_MB,
    unconfined: bool = False,
    ways: Sequence[str] = WAYS,
) -> Tool:
    """Return the tool, with its limits of time and of the memory of all processes of a call.
    `ways` to confine the code are tried in order; `unconfined` lets it run where none is possible.
    """

    @tool(needs_approval=True)
    async def run_python(
        code: Annotated[str, Field(min_length=1, max_length=50_000)], context: ToolContext
    ) -> str | list[str | ImagePart]:
        """Run Python code; returns its output and the value of its last line.

        Each call is a new process in an empty folder without network. A picture that the code saves
        there as PNG, such as plt.savefig("plot.png"), is shown.

        Args:
            code: A complete program.
        """
        location = locate(execute, memory_mb)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            limits = {"memory_mb": memory_mb, "unconfined": unconfined, "ways": list(ways)}
            arguments = {"code": code, "folder": folder, **limits}
            try:
                content = await run_isolated(location, arguments, seconds, context)
            except TimeoutError as error:
                raise ToolError(
                    f"The code did not end within {seconds:g} s and was stopped.", "run_python"
                ) from error
        if isinstance(content, str):
            return content
        return [part.text if isinstance(part, TextPart) else part for part in content]

    return run_python


def execute(
    code: str,
    folder: str,
    memory_mb: int,
    unconfined: bool,
    ways: list[str],
    context: ToolContext,
) -> str | list[str | ImagePart]:
    """Run the code in the sandbox, from this isolated process."""
    program = _print_last_value(code)
    outcome, warning = run_code(program, Path(folder), memory_mb, unconfined, ways)
    if warning:
        context.report(warning)
    text = "\n".join(part for part in (outcome.output, outcome.ending) if part)
    text = text or "[nothing was printed]"
    pictures = _pictures(outcome.folder)
    return [text, *pictures] if pictures else text


def _print_last_value(code: str) -> str:
    """Make the last statement print its value if it is an expression, as at a prompt."""
    try:
        last = ast.parse(code).body[-1]
    except (SyntaxError, ValueError, IndexError, RecursionError):
        return code
    if not isinstance(last, ast.Expr) or isinstance(last.value, (ast.Yield, ast.Await)):
        return code
    lines = code.encode().splitlines(keepends=True)
    start = sum(map(len, lines[: last.lineno - 1])) + last.col_offset
    end = sum(map(len, lines[: (last.end_lineno or 1) - 1])) + (last.end_col_offset or 0)
    whole = code.encode()
    printing = b"(lambda v: v is None or print(repr(v)))(" + whole[start:end] + b"\n)"
    return (whole[:start] + printing + whole[end:]).decode()


def _pictures(folder: Path) -> list[ImagePart]:
    """Read the first PNG files in the folder; skips others by content or size."""
    images = []
    for path in sorted(folder.glob("*.png")):
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= _MAX_IMAGE_BYTES:
            data = path.read_bytes()
            if data.startswith(_PNG):
                images.append(ImagePart(data))
    return images[:_MAX_IMAGES]
