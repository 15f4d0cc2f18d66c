"""Bytecode that is planted beside trusted sources does not run, however a server is started."""

import os
import py_compile
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentkit._code import read_code
from agentkit._named_code import code_names
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.trusted_command import trusted_command

pytestmark = pytest.mark.slow

_SCRIPT = (
    "import os, sys\nsys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))\n"
    "import planted_helper\nprint('done')\n"
)


@dataclass(frozen=True)
class _Start:
    """How a server starts: its command, its variables, and where the helper is that it imports."""

    command: str
    args: tuple[str, ...]
    helper: str = "mcp_servers/planted_helper.py"
    env: tuple[tuple[str, str], ...] = ()


_STARTS = {
    "env": _Start("env", (sys.executable, "mcp_servers/s.py")),
    "shell": _Start("sh", ("mcp_servers/run.sh",)),
    "link to Python": _Start("./run", ("mcp_servers/s.py",)),
    "own place of bytecode": _Start(
        "env", (sys.executable, "mcp_servers/s.py"), env=(("PYTHONPYCACHEPREFIX", ""),)
    ),
    "module with options": _Start(
        sys.executable,
        ("-X", "utf8", "-Wignore", "-um", "mcp_servers.app"),
        "mcp_servers/app/planted_helper.py",
    ),
    "folder": _Start(sys.executable, ("mcp_servers/app",), "mcp_servers/app/planted_helper.py"),
    "isolated code": _Start(
        sys.executable,
        (
            "-I",
            "-c",
            "import sys; sys.path[:0] = ['mcp_servers']; import planted_helper; print('done')",
        ),
    ),
    "module of PYTHONPATH": _Start(
        sys.executable,
        ("-c", "print('done')"),
        "mcp_servers/lib/sitecustomize.py",
        (("PYTHONPATH", "mcp_servers/lib"),),
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("app", "lib"):
        (tmp_path / "mcp_servers" / name).mkdir(parents=True)
    for script in ("s.py", "app/__main__.py"):
        (tmp_path / "mcp_servers" / script).write_text(_SCRIPT, encoding="utf-8")
    start = f"exec '{sys.executable}' mcp_servers/s.py\n"
    (tmp_path / "mcp_servers" / "run.sh").write_text(start, encoding="utf-8")
    (tmp_path / "run").symlink_to(sys.executable)
    return tmp_path


def _plant(helper: Path, harmful: str) -> None:
    """Leave harmful bytecode beside a harmless source of the same size and time."""
    helper.write_text(harmful, encoding="utf-8")
    py_compile.compile(str(helper), doraise=True)
    before = helper.stat()
    helper.write_text("#" * (len(harmful) - 1) + "\n", encoding="utf-8")
    os.utime(helper, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.skipif(sys.platform == "win32", reason="commands of POSIX")
@pytest.mark.parametrize("start", _STARTS.values(), ids=_STARTS)
def test_planted_bytecode_does_not_run(folder: Path, start: _Start) -> None:
    mark = folder / "ran"
    _plant(folder / start.helper, f"open({str(mark)!r}, 'w').close()\n")
    config = ServerConfig(
        "s",
        command=start.command,
        args=start.args,
        env=dict(start.env),
        cwd=folder,
        code=lambda: read_code(folder, code_names(folder)),
    )
    started = trusted_command(config)
    done = subprocess.run(
        [started.command, *started.args],
        cwd=folder,
        env={**os.environ, **started.env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("done\n", "")
    assert not mark.exists()
