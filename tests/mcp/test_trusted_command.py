"""The command of a server, held to the files that were trusted."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agentkit._code import read_code
from agentkit.errors import McpError
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.trusted_command import split_python, trusted_command
from agentkit.project.trust import take, trust, trusted_code


@pytest.mark.parametrize(
    ("arguments", "options", "program"),
    [
        (["s.py", "-m"], [], ["script", "s.py", "-m"]),
        (["-u", "-X", "utf8", "s.py"], ["-u", "-X", "utf8"], ["script", "s.py"]),
        (
            ["-Xutf8", "-W", "ignore", "s.py", "a"],
            ["-Xutf8", "-W", "ignore"],
            ["script", "s.py", "a"],
        ),
        (["-m", "server", "--port", "1"], [], ["-m", "server", "--port", "1"]),
        (["-um", "server"], ["-u"], ["-m", "server"]),
        (["-Ic", "print(1)", "x"], ["-I"], ["-c", "print(1)", "x"]),
        (["-mserver"], [], ["-m", "server"]),
        (
            ["--check-hash-based-pycs", "never", "s.py"],
            ["--check-hash-based-pycs", "never"],
            ["script", "s.py"],
        ),
    ],
)
def test_the_options_of_python_are_split_from_what_it_runs(
    arguments: list[str], options: list[str], program: list[str]
) -> None:
    assert split_python(arguments) == (options, program)


@pytest.mark.parametrize("arguments", [[], ["-"], ["-u"], ["--version"], ["-i", "-"]])
def test_a_python_that_runs_no_named_program_stays_as_it_is(arguments: list[str]) -> None:
    assert split_python(arguments) is None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    servers = tmp_path / "mcp_servers"
    servers.mkdir()
    (servers / "mcp.json").write_text("{}", encoding="utf-8")
    (servers / "s.py").write_text(
        "import os, sys\nimport helper_of_server\n"
        "print(__name__, __file__, sys.argv, os.path.abspath(sys.path[0]))\n",
        encoding="utf-8",
    )
    (servers / "helper_of_server.py").write_text("print('helper')\n", encoding="utf-8")
    return tmp_path


def _config(folder: Path, *args: str, command: str = sys.executable) -> ServerConfig:
    return ServerConfig("s", command=command, args=args, cwd=folder, code=lambda: read_code(folder))


def _run(config: ServerConfig) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [config.command, *config.args], cwd=config.cwd, capture_output=True, text=True, check=False
    )


def _plain(config: ServerConfig) -> ServerConfig:
    return replace(config, code=None)


@pytest.mark.slow
@pytest.mark.parametrize(
    "args",
    [
        ("mcp_servers/s.py", "a", "-b"),
        ("-m", "mcp_servers.other", "a"),
        ("-c", "import sys, mcp_servers; print(__name__, sys.argv, sys.path[0])", "a"),
        ("-I", "-c", "import sys; print(sys.argv, sys.path[0])"),
        ("mcp_servers/package", "a"),
        ("-m", "mcp_servers.package"),
    ],
)
def test_a_python_server_sees_what_it_sees_without_the_launcher(
    folder: Path, args: tuple[str, ...]
) -> None:
    print_all = (
        "import os, sys\nprint(__name__, os.path.abspath(__file__), sys.argv)\n"
        "print(os.path.abspath(sys.path[0]))\n"
    )
    (folder / "mcp_servers" / "other.py").write_text(print_all, encoding="utf-8")
    (folder / "mcp_servers" / "package").mkdir()
    (folder / "mcp_servers" / "package" / "__main__.py").write_text(print_all, encoding="utf-8")
    config = _config(folder, *args)
    through = _run(trusted_command(config))
    assert (through.returncode, through.stderr) == (0, "")
    assert through.stdout == _run(_plain(config)).stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "args",
    [("-m", "json.tool", "--help"), ("-c", "__import__('arg' + 'parse')")],
)
def test_a_module_planted_where_a_server_of_a_library_starts_does_not_run(
    folder: Path, args: tuple[str, ...]
) -> None:
    (folder / "argparse.py").write_text("print('evil')\n", encoding="utf-8")
    config = _config(folder, *args)
    assert "evil" in _run(_plain(config)).stdout
    assert "evil" not in _run(trusted_command(config)).stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["s.py", "helper_of_server.py"])
def test_a_server_swapped_after_the_check_does_not_start(folder: Path, name: str) -> None:
    started = trusted_command(_config(folder, "mcp_servers/s.py"))
    (folder / "mcp_servers" / name).write_text("print('evil')\n", encoding="utf-8")
    done = _run(started)
    assert done.returncode != 0
    assert done.stdout == ""
    assert "changed while a server was started" in done.stderr


@pytest.mark.parametrize("command", [sys.executable, "node"])
def test_a_changed_server_is_named_and_waits_for_trust(folder: Path, command: str) -> None:
    trust(folder)
    known = take(folder).code
    config = replace(
        _config(folder, "mcp_servers/s.py", command=command),
        code=lambda: trusted_code(folder, known),
    )
    trusted_command(config)
    (folder / "mcp_servers" / "s.py").write_text("print('new')\n", encoding="utf-8")
    with pytest.raises(McpError, match=r"mcp_servers/s\.py changed after .* agentkit trust"):
        trusted_command(config)
    trust(folder)
    trusted_command(config)


@pytest.mark.parametrize("name", ["s.pyc", ".cache/run"])
def test_a_file_that_trust_does_not_cover_is_not_started(folder: Path, name: str) -> None:
    path = folder / "mcp_servers" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    for command in (sys.executable, "node"):
        with pytest.raises(McpError, match="trust does not cover it"):
            trusted_command(_config(folder, str(path), command=command))
