"""The server lists of other programs are read and added to."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from agentkit.errors import McpError
from agentkit.mcp.config import read_config
from agentkit.mcp.external_configs import (
    PROGRAMS,
    Program,
    add_to_project,
    config_paths,
    find_servers,
    hide_secrets,
    install,
    own_entry,
)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv("APPDATA", str(tmp_path / "home"))


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")


@pytest.mark.parametrize("program", PROGRAMS)
def test_servers_are_read_from_every_file_of_a_program(tmp_path: Path, program: Program) -> None:
    project = tmp_path / "app"
    key = "servers" if program == "vscode" else "mcpServers"
    assert find_servers(program, project) == {}
    for number, path in enumerate(config_paths(program, project)):
        write(path, {"other": 1, key: {f"s{number}": {"command": "x"}, "same": {"url": str(path)}}})
    found = find_servers(program, project)
    assert len(found) == len(config_paths(program, project)) + 1
    assert found["same"] == {"url": str(config_paths(program, project)[-1])}


def test_imported_servers_are_added_and_existing_ones_stay(tmp_path: Path) -> None:
    write(tmp_path / "mcp_servers" / "mcp.json", {"mcpServers": {"a": {"command": "mine"}}})
    theirs = {"a": {"command": "theirs"}, "b": {"url": "https://example.org"}}
    assert add_to_project(tmp_path, theirs) == ["b"]
    found = {server.name: server.command or server.url for server in read_config(tmp_path).servers}
    assert found == {"a": "mine", "b": "https://example.org"}
    assert add_to_project(tmp_path, theirs) == []


def test_inputs_keep_their_defaults(tmp_path: Path) -> None:
    text = """{"inputs": [{"id": "region", "default": "eu"}, {"id": "key"}], // comment
    "servers": {"s": {"url": "https://${input:region}/${input:key}"}}}"""
    write(tmp_path / ".vscode" / "mcp.json", text)
    found = find_servers("vscode", tmp_path)
    assert found == {"s": {"url": "https://${input:region:-eu}/${input:key}"}}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_project_is_installed_beside_existing_servers(tmp_path: Path, program: Program) -> None:
    project = tmp_path / "app"
    project.mkdir()
    key = "servers" if program == "vscode" else "mcpServers"
    path = config_paths(program, project)[0]
    write(path, {"theme": "dark", key: {"old": {"command": "x"}}})
    assert install(program, project, "notes") == path
    written = json.loads(path.read_text("utf-8"))
    assert written["theme"] == "dark"
    assert set(written[key]) == {"old", "notes"}
    assert written[key]["notes"]["command"] == sys.executable
    assert written[key]["notes"]["args"][-1] == str(project)
    with pytest.raises(McpError, match="already has a server 'notes'"):
        install(program, project, "notes")


def test_a_file_with_comments_is_not_written_to(tmp_path: Path) -> None:
    path = config_paths("vscode", tmp_path)[0]
    write(path, '{"servers": {} /* mine */}')
    with pytest.raises(McpError, match="has comments"):
        install("vscode", tmp_path, "notes")
    assert "mine" in path.read_text("utf-8")


def test_a_project_file_with_comments_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "mcp_servers" / "mcp.json"
    write(path, '{"mcpServers": {} /* mine */}')
    with pytest.raises(McpError, match="Add b by hand"):
        add_to_project(tmp_path, {"b": {"command": "x"}})
    assert "mine" in path.read_text("utf-8")


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ({"command": "x", "env": {"PORT": 8080}}, "'b': env.PORT: "),
        ({"serverUrl": "https://example.org"}, "'b': give either"),
        ("npx", "'b': entry: "),
    ],
)
def test_an_invalid_entry_is_not_imported(tmp_path: Path, entry: Any, fault: str) -> None:
    with pytest.raises(McpError, match=fault):
        add_to_project(tmp_path, {"a": {"command": "x"}, "b": entry})
    assert read_config(tmp_path).servers == ()


@pytest.mark.parametrize("content", ["", '{"servers": {}, "inputs": null}'])
def test_an_empty_file_is_written_to(tmp_path: Path, content: str) -> None:
    path = config_paths("vscode", tmp_path)[0]
    write(path, content)
    assert find_servers("vscode", tmp_path) == {}
    install("vscode", tmp_path, "notes")
    assert set(find_servers("vscode", tmp_path)) == {"notes"}


def test_a_file_that_is_a_link_stays_one(tmp_path: Path) -> None:
    kept = tmp_path / "dotfiles" / "cursor.json"
    write(kept, {"mcpServers": {}})
    kept.chmod(0o640)
    path = config_paths("cursor", tmp_path)[0]
    path.parent.mkdir(parents=True)
    path.symlink_to(kept)
    install("cursor", tmp_path, "notes")
    assert path.is_symlink()
    assert "notes" in kept.read_text("utf-8")
    assert kept.stat().st_mode & 0o777 == 0o640


def test_servers_that_claude_keeps_for_one_folder_are_found_only_there(tmp_path: Path) -> None:
    project = tmp_path / "app"
    local = {"mcpServers": {"local": {"command": "x"}}}
    content = {"projects": {str(project): local}, "mcpServers": {"all": {"command": "y"}}}
    write(tmp_path / "home" / ".claude.json", content)
    assert set(find_servers("claude", project)) == {"local", "all"}
    assert set(find_servers("claude", tmp_path / "other")) == {"all"}


def test_secrets_of_an_entry_are_hidden() -> None:
    entry = {"command": "x", "args": ["-y"], "env": {"TOKEN": "secret", "KEY": "${KEY}"}}
    assert hide_secrets(entry) == {**entry, "env": {"TOKEN": "…", "KEY": "${KEY}"}}


def test_claude_code_gets_the_project_with_a_model_and_variables(tmp_path: Path) -> None:
    write(
        tmp_path / "home" / ".claude.json", {"theme": "dark", "mcpServers": {"a": {"command": "x"}}}
    )
    entry = own_entry(
        "claude-code",
        tmp_path,
        model="openai:gpt-5-mini",
        base_url="http://127.0.0.1:1/v1",
        env={"OPENAI_API_KEY": "secret"},
    )
    path = install("claude-code", tmp_path, "notes", entry)
    content = json.loads(path.read_text("utf-8"))
    assert path == tmp_path / "home" / ".claude.json"
    assert (content["theme"], set(content["mcpServers"])) == ("dark", {"a", "notes"})
    written = content["mcpServers"]["notes"]
    assert written["type"] == "stdio"
    assert written["args"][:3] == ["-P", "-m", "agentkit"]  # imports nothing of where it starts
    assert written["args"][-4:] == [
        *("--model", "openai:gpt-5-mini"),
        *("--base-url", "http://127.0.0.1:1/v1"),
    ]
    assert written["env"] == {"OPENAI_API_KEY": "secret"}
