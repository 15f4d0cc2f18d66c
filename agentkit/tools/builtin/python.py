"""Python tool: run a model's code in a process of its own, in an empty temporary folder.

Time, memory, output and files are limited, and the environment is empty. On Linux, user namespaces
and Landlock close the network and forbid writing outside the folder; where they cannot, the user
gets a warning. This is not a sandbox: the code can read what the user can read. Therefore the tool
is off by default and asks for approval.
"""

from __future__ import annotations

import ast
import ctypes
import os
import signal
import struct
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Annotated

from pydantic import Field

from agentkit.errors import ToolError
from agentkit.messages import ImagePart, TextPart
from agentkit.tools.context import ToolContext
from agentkit.tools.isolated import locate, run_isolated
from agentkit.tools.tool import Tool, tool

_TIMEOUT = 30.0
_MEMORY_MB = 2048
_OUTPUT_HEAD = 6000
_OUTPUT_TAIL = 2000
_MAX_IMAGES = 4
_MAX_IMAGE_BYTES = 4_000_000
_PNG = b"\x89PNG\r\n\x1a\n"
_NO_NETWORK, _NO_WRITING = b"n", b"w"
"""What `_confine` reports through its pipe."""

_FILE_BYTES = 50_000_000
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_SET_PARENT_DEATH_SIGNAL, _SET_NO_NEW_PRIVILEGES = 1, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_WRITE_FILE, _REFER, _TRUNCATE = 1 << 1, 1 << 13, 1 << 14
_CHANGES = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
"""Writing, removing and creating files of any kind."""
_UNCONFINED = {
    _NO_NETWORK: "This system cannot block the code's network access: it is open.",
    _NO_WRITING: "This system cannot keep the code from writing outside its folder.",
}


def python_tool(seconds: float = _TIMEOUT, memory_mb: int = _MEMORY_MB) -> Tool:
    """Return the tool, with its limits of time and memory."""

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
            arguments = {"code": code, "folder": folder}
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


def execute(code: str, folder: str, context: ToolContext) -> str | list[str | ImagePart]:
    """Run the code in the folder, in a child of this isolated process."""
    where = Path(folder)
    own = Path(tempfile.mkdtemp(dir=where, prefix="."))
    program, output = own / "program.py", own / "output.txt"
    program.write_text(_print_last_value(code), encoding="utf-8")
    with output.open("wb") as file:
        exit_code = _run(program, where, file, context)
    printed = _read_shortened(output).replace(str(program), "program.py").strip()
    ending = f"[ended with code {exit_code}]" if exit_code else ""
    text = "\n".join(part for part in (printed, ending) if part)
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
        preexec_fn=(lambda: _confine(folder, writing)) if os.name == "posix" else None,
    )
    os.close(writing)
    confined = os.read(reading, len(_UNCONFINED))
    for measure, warning in _UNCONFINED.items():
        if measure not in confined:
            context.report(warning)
    return process.wait()


def _environment(folder: Path) -> dict[str, str]:
    """Return only what the system needs; one thread, to save memory."""
    system = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
    own = dict.fromkeys(("HOME", "TMPDIR", "TEMP"), str(folder))
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**system, **own, **threads, "PATH": os.defpath, "LANG": "C.UTF-8", "MPLBACKEND": "Agg"}


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


def _read_shortened(path: Path) -> str:
    """Read an output, only the beginning and end of a long one."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _OUTPUT_HEAD + _OUTPUT_TAIL:
            return file.read().decode("utf-8", "replace")
        head = file.read(_OUTPUT_HEAD).decode("utf-8", "replace")
        file.seek(-_OUTPUT_TAIL, os.SEEK_END)
        tail = file.read().decode("utf-8", "replace")
    return f"{head}\n[... {size - _OUTPUT_HEAD - _OUTPUT_TAIL} bytes omitted ...]\n{tail}"


def _pictures(folder: Path) -> list[ImagePart]:
    """Read the first PNG files in the folder; skips others by content or size."""
    images = []
    for path in sorted(folder.glob("*.png")):
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= _MAX_IMAGE_BYTES:
            data = path.read_bytes()
            if data.startswith(_PNG):
                images.append(ImagePart(data))
    return images[:_MAX_IMAGES]


def _confine(folder: Path, report: int) -> None:
    """Confine this process irrevocably and end it with its parent. What the system supports is
    written to the pipe `report`; nothing is raised for what it lacks."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if _block_network(libc):
        os.write(report, _NO_NETWORK)
    if _block_writing(libc, folder):
        os.write(report, _NO_WRITING)
    libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def _block_network(libc: ctypes.CDLL) -> bool:
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEW_USER | _NEW_NETWORK) != 0:
        return False
    with suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return True


def _block_writing(libc: ctypes.CDLL, folder: Path) -> bool:
    """Forbid changes outside the folder by Landlock: whatever a ruleset handles is forbidden except
    below the paths of its rules."""
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    files = _WRITE_FILE | (_TRUNCATE if version >= 3 else 0)
    changes = _CHANGES | files | (_REFER if version >= 2 else 0)
    ruleset = libc.syscall(_CREATE_RULESET, struct.pack("=Q", changes), ctypes.c_size_t(8), 0)
    for path, allowed in ((folder, changes), (Path(os.devnull), files)):
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        libc.syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", allowed, opened), 0)
        os.close(opened)
    libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
