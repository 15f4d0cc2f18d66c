"""Trust covers the code outside of tools/ and mcp_servers/ that mcp.json names."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentkit._code import CodeTooLarge, read_code
from agentkit._named_code import code_names
from agentkit.errors import TrustError
from agentkit.project.trust import guarded_files, is_trusted, take, trust

Entry = Mapping[str, Any]


def _write_servers(folder: Path, text: str) -> None:
    path = folder / "mcp_servers" / "mcp.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#! before\n" if not path.suffix else "before\n", encoding="utf-8")


_NAMED: dict[str, tuple[Entry, str]] = {
    "a script": ({"command": "python", "args": ["server.py"]}, "server.py"),
    "a script without a suffix": ({"command": "sh", "args": ["bin/serve"]}, "bin/serve"),
    "a command": ({"command": "./run"}, "run"),
    "a name with spaces": ({"command": "sh", "args": ["my server.sh"]}, "my server.sh"),
    "a script in the working folder": (
        {"command": "sh", "args": ["s.sh"], "cwd": "app"},
        "app/s.sh",
    ),
    "a script in the folder of an option": (
        {"command": "uv", "args": ["--directory", "app", "run", "s.py"]},
        "app/s.py",
    ),
    "the value of an option": (
        {"command": "node", "args": ["--import=./pre.mts", "x"]},
        "pre.mts",
    ),
    "a shell command": ({"command": "sh", "args": ["-c", "cd app && cd src; ./s"]}, "app/src/s"),
    "a path after a shell variable": ({"command": "sh", "args": ["-c", '"$PWD"/s.sh']}, "s.sh"),
    "a path below the folder's variable": (
        {"command": "node", "args": ["${workspaceFolder}/build/index.js"]},
        "build/index.js",
    ),
    "the default of a variable": ({"command": "sh", "args": ["${DIR:-lib}/s.sh"]}, "lib/s.sh"),
    "a module": ({"command": "python", "args": ["-m", "app.server"]}, "app/server.py"),
    "a package": ({"command": "python", "args": ["-m", "app"]}, "app/__main__.py"),
    "a package of Node": ({"command": "node", "args": ["app"]}, "app/index.js"),
    "a file of variables": ({"command": "x", "envFile": ".env"}, ".env"),
    "a variable": ({"command": "node", "env": {"NODE_OPTIONS": "--require ./p.cjs"}}, "p.cjs"),
    "a list of paths": ({"command": "x", "env": {"RUBYOPT": "a:lib/b.rb"}}, "lib/b.rb"),
    "a recipe": ({"command": "make", "args": ["-f", "serve.mk"]}, "serve.mk"),
    "bytecode": ({"command": "python", "args": ["s.pyc"]}, "s.pyc"),
    "escapes of JSON": ({"command": "sh", "args": ["bin/ü.sh"]}, "bin/ü.sh"),
}


@pytest.mark.parametrize(("entry", "name"), _NAMED.values(), ids=_NAMED)
def test_a_changed_file_that_a_server_names_waits_for_trust(
    tmp_path: Path, entry: Entry, name: str
) -> None:
    _write_servers(tmp_path, json.dumps({"mcpServers": {"a": entry}}))
    _write(tmp_path, name)
    assert tmp_path / name in guarded_files(tmp_path)
    trust(tmp_path)
    known = take(tmp_path).code
    (tmp_path / name).write_text("#! after\n", encoding="utf-8")
    assert not is_trusted(tmp_path)
    assert known.differences(take(tmp_path).code) == [name]


@pytest.mark.parametrize(("entry", "name"), _NAMED.values(), ids=_NAMED)
def test_a_file_that_appears_where_a_server_looks_waits_for_trust(
    tmp_path: Path, entry: Entry, name: str
) -> None:
    _write_servers(tmp_path, json.dumps({"mcpServers": {"a": entry}}))
    trust(tmp_path)
    _write(tmp_path, name)
    assert not is_trusted(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        '{"mcpServers": {"a": {"command": "sh", // " starts it\n "args": ["s.sh",]}}}',
        '/* " */ {"servers": {"a": {"command": "sh", "args": ["s.sh"]}}}',
        '\ufeff{"mcpServers": {"a": {"command": "sh", "args": ["\\u0073.sh"]}}}',
        '{"mcpServers": {"a": {"command": "sh", "args": [".\\/s.sh"], "disabled": true}}}',
    ],
    ids=["comment", "quote in a comment", "byte order mark", "escaped slash"],
)
def test_names_are_found_in_every_notation_that_is_accepted(tmp_path: Path, text: str) -> None:
    _write_servers(tmp_path, text)
    _write(tmp_path, "s.sh")
    assert "s.sh" in code_names(tmp_path)


def test_an_absolute_path_is_found_through_a_link_to_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    _write(folder, "s.sh")
    (tmp_path / "link").symlink_to(folder)
    for named in ("real", "link"):
        args = [str(tmp_path / named / "s.sh")]
        _write_servers(folder, json.dumps({"mcpServers": {"a": {"command": "sh", "args": args}}}))
        assert "s.sh" in code_names(tmp_path / "link")


@pytest.mark.parametrize(
    "name", ["data.sqlite", "memory.json", "state.kv", "state", "knowledge/a.md"]
)
def test_data_that_a_server_names_is_not_covered(tmp_path: Path, name: str) -> None:
    _write_servers(tmp_path, json.dumps({"mcpServers": {"a": {"command": "x", "args": [name]}}}))
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("before\n", encoding="utf-8")
    trust(tmp_path)
    path.write_text("after\n", encoding="utf-8")
    assert is_trusted(tmp_path)


_RUN: dict[str, tuple[Entry, str, str]] = {
    "module beside a script": ({"command": "python", "args": ["src/s.py"]}, "src/s.py", "src/h.py"),
    "module below a script": ({"command": "node", "args": ["src/s.js"]}, "src/s.js", "src/a/b.js"),
    "name of a library beside a script": (
        {"command": "python", "args": ["s.py"]},
        "s.py",
        "csv.py",
    ),
    "submodule": ({"command": "python", "args": ["-m", "app"]}, "app/__main__.py", "app/core.py"),
    "name of a library beside a module": (
        {"command": "python", "args": ["-m", "app"]},
        "app/__main__.py",
        "csv.py",
    ),
    "module of a command": (
        {"command": "python", "args": ["-c", "__import__('app')"]},
        "app/__init__.py",
        "app/x.py",
    ),
    "module beside a script that is linked": (
        {"command": "python", "args": ["mcp_servers/s.py"]},
        "mcp_servers/s.py -> impl/s.py",
        "impl/h.py",
    ),
    "sitecustomize": (
        {"command": "python", "args": ["mcp_servers/s.py"], "env": {"PYTHONPATH": "lib:."}},
        "lib/h.py",
        "lib/sitecustomize.py",
    ),
    "path file of a user site": (
        {"command": "python", "env": {"PYTHONUSERBASE": "user"}},
        "user/lib/h.py",
        "user/lib/python3.11/site-packages/a.pth",
    ),
    "search path in a file of variables": (
        {"command": "python", "envFile": "conf/vars"},
        "conf/vars: export PYTHONPATH=lib",
        "lib/h.py",
    ),
    "program on a path": (
        {"command": "node", "env": {"PATH": "bin:/usr/bin"}},
        "bin/x.sh",
        "bin/node",
    ),
    "library of a loader": ({"command": "x", "env": {"LD_PRELOAD": "a.so.1"}}, "b.so", "a.so.1"),
    "library on a loader's path": (
        {"command": "x", "env": {"LD_LIBRARY_PATH": "lib"}},
        "lib/a.so",
        "lib/libc.so.6",
    ),
    "class on a class path": (
        {"command": "java", "args": ["-cp", "lib/*"]},
        "lib/a.jar",
        "lib/b.jar",
    ),
    "module of an option": ({"command": "perl", "args": ["-Ilib"]}, "lib/A.pm", "lib/B.pm"),
    "script of any ending": ({"command": "python", "args": ["-u", "s.txt"]}, "x.txt", "s.txt"),
    "script without any mark": ({"command": "sh", "args": ["bin/s"]}, "bin/x", "bin/s"),
    "script after other programs": (
        {"command": "env", "args": ["A=1", "timeout", "5", "sh", "bin/s"]},
        "bin/x",
        "bin/s",
    ),
    "sourced file": ({"command": "sh", "args": ["-c", ". conf/rc"]}, "conf/x", "conf/rc"),
    "file beside a shell script": (
        {"command": "sh", "args": ["bin/s.sh"]},
        "bin/s.sh",
        "bin/common",
    ),
    "start file of a shell": ({"command": "bash", "env": {"BASH_ENV": "rc"}}, "x", "rc"),
    "target of make": ({"command": "make", "args": ["serve"]}, "Makefile", "GNUmakefile"),
    "target of make elsewhere": ({"command": "make", "args": ["-C", "a"]}, "a/x.md", "a/Makefile"),
    "script of a package": (
        {"command": "npm", "args": ["run", "serve"]},
        "package.json",
        "scripts/serve.js",
    ),
    "settings of npm": ({"command": "npx", "args": ["-y", "x"]}, "package.json", ".npmrc"),
    "program of a local package": (
        {"command": "npx", "args": ["-y", "./srv"]},
        "srv/package.json",
        "srv/dist/cli.js",
    ),
    "build hook": (
        {"command": "uvx", "args": ["--from", "./pkg", "serve"]},
        "pkg/pyproject.toml",
        "pkg/hooks/build.py",
    ),
    "project of uv": ({"command": "uv", "args": ["run", "serve"]}, "uv.toml", "pyproject.toml"),
    "override of compose": (
        {"command": "docker", "args": ["compose", "up"]},
        "compose.yaml",
        "compose.override.yaml",
    ),
    "variables of compose": (
        {"command": "docker", "args": ["compose", "up"]},
        "compose.yaml",
        ".env",
    ),
    "code in a container": (
        {"command": "docker", "args": ["run", "-v", "./app:/app", "x", "/app/s.js"]},
        "app/s.js",
        "app/lib/x.js",
    ),
    "preloaded code": ({"command": "bun", "args": ["src/s.ts"]}, "src/s.ts", "bunfig.toml"),
    "build script": ({"command": "cargo", "args": ["run"]}, "Cargo.toml", "build.rs"),
    "fixture of tests": (
        {"command": "python", "args": ["-m", "pytest", "checks"]},
        "checks/test_a.py",
        "checks/conftest.py",
    ),
    "program of an environment": (
        {"command": "venv/bin/serve"},
        "venv/pyvenv.cfg",
        "venv/bin/serve",
    ),
    "application of a web server": (
        {"command": "uvicorn", "args": ["pkg.web:app"]},
        "pkg/web.py",
        "csv.py",
    ),
    "search path on the command line": (
        {"command": "sh", "args": ["-c", "PYTHONPATH=lib exec python3 mcp_servers/s.py"]},
        "lib/h.py",
        "lib/csv.py",
    ),
    "module of an option in a variable": (
        {"command": "ruby", "env": {"RUBYOPT": "-r./hooks/h"}},
        "hooks/x.md",
        "hooks/h.rb",
    ),
    "project of an option": (
        {"command": "dotnet", "args": ["run", "--project", "srv/S.csproj"]},
        "srv/S.csproj",
        "srv/P.cs",
    ),
    "code beside a program without ending": (
        {"command": "php", "args": ["artisan", "serve"]},
        "artisan",
        "app/X.php",
    ),
    "start file of a home": (
        {"command": "bash", "args": ["-ic", "x"], "env": {"HOME": "${workspaceFolder}/home"}},
        "home/a.txt",
        "home/.bashrc",
    ),
    "folder of a variable's default": (
        {"command": "sh", "args": ["../${workspaceFolderBasename}/${input:dir}/s"]},
        "bin/x",
        "bin/s",
    ),
}


@pytest.mark.parametrize(("entry", "present", "planted"), _RUN.values(), ids=_RUN)
def test_code_that_a_server_runs_without_naming_it_waits_for_trust(
    tmp_path: Path, entry: Entry, present: str, planted: str
) -> None:
    inputs = [{"id": "dir", "default": "bin"}]
    _write_servers(tmp_path, json.dumps({"mcpServers": {"srv": entry}, "inputs": inputs}))
    name, _, target = present.partition(" -> ")
    name, _, text = name.partition(": ")
    _write(tmp_path, target or name)
    if target:
        (tmp_path / name).symlink_to(tmp_path / target)
    if text:
        (tmp_path / name).write_text(text, encoding="utf-8")
    trust(tmp_path)
    assert is_trusted(tmp_path)
    planted_path = tmp_path / planted
    planted_path.parent.mkdir(parents=True, exist_ok=True)
    planted_path.write_text("after\n", encoding="utf-8")
    if planted == "bin/node":
        planted_path.chmod(0o755)
    assert not is_trusted(tmp_path)


_HARMLESS: dict[str, tuple[Entry, list[str]]] = {
    "documents of a file server": (
        {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-filesystem", "./docs"]},
        ["docs/a.md", "docs/x.py"],
    ),
    "project of a file server": (
        {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-filesystem", "./site"]},
        ["site/a.js"],
    ),
    "repository of a Git server": (
        {"command": "uvx", "args": ["mcp-server-git", "--repository", "."]},
        ["a.py", "src/b.py"],
    ),
    "database": (
        {"command": "uvx", "args": ["mcp-server-sqlite", "--db-path", "./data/x.db"]},
        ["data/x.db", "data/x"],
    ),
    "application beside a server of the folder": (
        {"command": "python", "args": ["mcp_servers/s.py", "--out", "out"]},
        ["app.py", "src/b.py", "Makefile", "package.json", "out/plot.py"],
    ),
    "application beside a module of a library": (
        {"command": "python", "args": ["-m", "mcp_server_git", "--repository", "."]},
        ["app.py", "src/b.py"],
    ),
    "data beside a script": (
        {"command": "python", "args": ["src/s.py", "--data", "data"]},
        ["src/cache.sqlite", "src/notes.txt", "data/a.csv"],
    ),
    "documents beside a script": ({"command": "python", "args": ["s.py"]}, ["knowledge/a.py"]),
    "cache below a home": (
        {"command": "npx", "args": ["-y", "x"], "env": {"HOME": "${workspaceFolder}/home"}},
        ["home/.cache/x.js"],
    ),
    "server elsewhere": ({"url": "http://localhost:1/src/s.py"}, ["src/s.py", "Makefile"]),
}


@pytest.mark.parametrize(("entry", "names"), _HARMLESS.values(), ids=_HARMLESS)
def test_files_that_no_server_runs_are_changed_without_trust(
    tmp_path: Path, entry: Entry, names: list[str]
) -> None:
    _write_servers(tmp_path, json.dumps({"mcpServers": {"srv": entry}}))
    _write(tmp_path, "site/package.json", "home/.npmrc", "s.py", *({"src/s.py"} - {*names}))
    trust(tmp_path)
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("after\n", encoding="utf-8")
    assert is_trusted(tmp_path)


def test_files_that_no_server_names_are_not_covered(tmp_path: Path) -> None:
    _write_servers(tmp_path, '{"mcpServers": {"a": {"command": "sh", "args": ["s.sh"]}}}')
    _write(tmp_path, "s.sh", "setup.py", "src/other.sh")
    assert code_names(tmp_path) == ("tools", "mcp_servers", "s.sh")


def test_a_large_program_is_compared_by_its_hash(tmp_path: Path) -> None:
    _write_servers(tmp_path, '{"mcpServers": {"a": {"command": "./run"}}}')
    (tmp_path / "run").write_bytes(bytes(3_000_000))
    (tmp_path / "run").chmod(0o755)
    code = take(tmp_path).code
    assert len(code.files["run"]) == 32
    (tmp_path / "run").write_bytes(bytes(2_999_999) + b"\1")
    assert code.differences(read_code(tmp_path, code.names)) == ["run"]


def test_an_mcp_json_that_names_too_much_is_refused_with_the_reason(tmp_path: Path) -> None:
    folders = [f"d{number}" for number in range(600)]
    for name in folders:
        (tmp_path / name).mkdir()
    _write_servers(tmp_path, json.dumps({"mcpServers": {"a": {"command": "x", "args": folders}}}))
    with pytest.raises(CodeTooLarge):
        code_names(tmp_path)
    for read in (take, guarded_files):
        with pytest.raises(TrustError, match="too large to be checked"):
            read(tmp_path)


@pytest.mark.slow
@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(sorted(_NAMED)),
        st.sampled_from(["keep", "change", "add", "remove"]),
        min_size=1,
        max_size=5,
    )
)
def test_what_servers_name_is_a_subset_of_what_was_fingerprinted(
    tmp_path_factory: pytest.TempPathFactory, kinds: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("random")
    entries = {kind: _NAMED[kind][0] for kind in kinds}
    _write_servers(folder, json.dumps({"mcpServers": entries}))
    files = {_NAMED[kind][1]: change for kind, change in kinds.items()}
    _write(folder, *(name for name, change in files.items() if change != "add"))
    before = take(folder).code
    for name, change in files.items():
        if change == "remove":
            (folder / name).unlink()
        elif change != "keep":
            _write(folder, name)
            (folder / name).write_text("#! after\n", encoding="utf-8")
    after = take(folder).code
    assert {name for name in files if (folder / name).exists()} <= set(after.files)
    changed = sorted(name for name, change in files.items() if change != "keep")
    assert before.differences(after) == changed
    assert (before.digest == after.digest) == (not changed)
