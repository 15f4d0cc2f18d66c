"""Python code of a model's, run in a process of its own in an empty folder that is then removed.

Time, memory, output and files are bounded and the environment is empty; there is no network, and
nothing is written elsewhere, where the system can forbid it (`confined`); where it cannot, the user
is told. It is no sandbox: the code may read what its user may read. Hence it is off by default and
asks.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Annotated

from pydantic import Field

from agentkit.errors import ToolError
from agentkit.messages import ImagePart, TextPart
from agentkit.tools.builtin.confined import NO_NETWORK, NO_WRITING, confine
from agentkit.tools.context import ToolContext
from agentkit.tools.isolated import order, run_isolated
from agentkit.tools.tool import Tool, tool

_SECONDS = 30.0
_MEMORY_MB = 2048
_OUTPUT_HEAD = 6000
_OUTPUT_TAIL = 2000
_IMAGES = 4
_IMAGE_BYTES = 4_000_000
_PNG = b"\x89PNG\r\n\x1a\n"
_UNCONFINED = {
    NO_NETWORK: "This system cannot close the code's network: it is open.",
    NO_WRITING: "This system cannot keep the code from writing outside its folder.",
}


def python_tool(seconds: float = _SECONDS, memory_mb: int = _MEMORY_MB) -> Tool:
    """The tool; code may take so many seconds and so much memory."""

    @tool(needs_approval=True)
    async def run_python(
        code: Annotated[str, Field(min_length=1, max_length=50_000)], context: ToolContext
    ) -> str | list[str | ImagePart]:
        """Run Python code and give what it prints, and the value of its last line.

        Each call starts anew, in an empty folder without network. A picture that the code saves
        there as PNG, such as plt.savefig("plot.png"), is shown.

        Args:
            code: A whole program.
        """
        told = order(execute, memory_mb)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            given = {"code": code, "folder": folder}
            try:
                content = await run_isolated(told, given, seconds, context)
            except TimeoutError as error:
                raise ToolError(
                    f"The code did not end within {seconds:g} s and was stopped.", "run_python"
                ) from error
        if isinstance(content, str):
            return content
        return [part.text if isinstance(part, TextPart) else part for part in content]

    return run_python


def execute(code: str, folder: str, context: ToolContext) -> str | list[str | ImagePart]:
    """Run the code in the folder, in a process below this one, which is isolated."""
    where = Path(folder)
    own = Path(tempfile.mkdtemp(dir=where, prefix="."))
    program, output = own / "program.py", own / "output.txt"
    program.write_text(_showing_last(code), encoding="utf-8")
    with output.open("wb") as file:
        ended = _run(program, where, file, context)
    said = _ends_of(output).replace(str(program), "program.py").strip()
    ending = f"[ended with code {ended}]" if ended else ""
    text = "\n".join(part for part in (said, ending) if part)
    text = text or "[nothing was printed]"
    pictures = _pictures(where)
    return [text, *pictures] if pictures else text


def _run(program: Path, folder: Path, output: IO[bytes], context: ToolContext) -> int:
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-I", "-B", "-X", "utf8", str(program)],
        cwd=folder,
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        preexec_fn=(lambda: confine(folder, writing)) if os.name == "posix" else None,
    )
    os.close(writing)
    forbidden = os.read(reading, len(_UNCONFINED))
    for what, warning in _UNCONFINED.items():
        if what not in forbidden:
            context.report(warning)
    return process.wait()


def _environment(folder: Path) -> dict[str, str]:
    """Nothing of the user's but what the system needs; one thread, so that memory holds."""
    kept = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
    own = dict.fromkeys(("HOME", "TMPDIR", "TEMP"), str(folder))
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**kept, **own, **threads, "PATH": os.defpath, "LANG": "C.UTF-8", "MPLBACKEND": "Agg"}


def _showing_last(code: str) -> str:
    """The code, its last line printing its value where it is an expression, as at a prompt."""
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


def _ends_of(path: Path) -> str:
    """A long output's beginning and end."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _OUTPUT_HEAD + _OUTPUT_TAIL:
            return file.read().decode("utf-8", "replace")
        head = file.read(_OUTPUT_HEAD).decode("utf-8", "replace")
        file.seek(-_OUTPUT_TAIL, os.SEEK_END)
        tail = file.read().decode("utf-8", "replace")
    return f"{head}\n[... {size - _OUTPUT_HEAD - _OUTPUT_TAIL} bytes left out ...]\n{tail}"


def _pictures(folder: Path) -> list[ImagePart]:
    """The first PNG files of the folder that are what they are called, and not too large."""
    images = []
    for path in sorted(folder.glob("*.png")):
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= _IMAGE_BYTES:
            data = path.read_bytes()
            if data.startswith(_PNG):
                images.append(ImagePart(data))
    return images[:_IMAGES]
