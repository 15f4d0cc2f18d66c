"""The contents of mcp.json, and the errors for invalid ones."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from agentkit.errors import McpError
from agentkit.mcp.config import McpConfig, OAuth, ServerConfig, read_config


def written(project: Path, content: Any) -> Path:
    folder = project / "mcp_servers"
    folder.mkdir(exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "mcp.json").write_text(text, encoding="utf-8")
    return project


def only_server(project: Path, entry: dict[str, Any]) -> ServerConfig:
    (server,) = read_config(written(project, {"mcpServers": {"demo": entry}})).servers
    return server


def test_a_missing_file_means_no_servers(tmp_path: Path) -> None:
    assert read_config(tmp_path) == McpConfig()


def test_a_command_is_read_as_other_programs_write_it(tmp_path: Path) -> None:
    entry = {"command": "npx", "args": ["-y", "thing"], "env": {"KEY": "1"}, "timeout": 5}
    server = only_server(tmp_path, entry)
    assert (server.transport, server.command, server.args) == ("stdio", "npx", ("-y", "thing"))
    assert (server.env, server.timeout, server.disabled) == ({"KEY": "1"}, 5.0, False)
    assert server.cwd == tmp_path


@pytest.mark.parametrize(
    ("written_type", "transport"),
    [(None, "http"), ("http", "http"), ("streamable-http", "http"), ("sse", "sse")],
)
def test_a_url_is_read_with_its_headers_and_type(
    tmp_path: Path, written_type: str | None, transport: str
) -> None:
    entry: dict[str, Any] = {"url": "https://example.org/mcp", "headers": {"X-Key": "1"}}
    server = only_server(tmp_path, entry | ({"type": written_type} if written_type else {}))
    assert (server.transport, server.url) == (transport, "https://example.org/mcp")
    assert server.headers == {"X-Key": "1"}


def test_variables_are_expanded_in_every_string(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEMO_TOKEN", "secret")
    monkeypatch.delenv("DEMO_HOME", raising=False)
    entry = {
        "command": "${agentkit:python}",
        "args": ["${workspaceFolder}/x", "--key=${DEMO_TOKEN}", "${DEMO_HOME:-/home/d}"],
        "env": {"TOKEN": "${DEMO_TOKEN}"},
    }
    server = only_server(tmp_path, entry)
    assert server.command == sys.executable
    assert server.args == (f"{tmp_path}/x", "--key=secret", "/home/d")
    assert server.env == {"TOKEN": "secret"}


@pytest.mark.parametrize(
    ("key", "entry"),
    [
        ("command", {"command": "${DEMO_UNSET}"}),
        ("args[1]", {"command": "x", "args": ["a", "${DEMO_UNSET}"]}),
        ("env.KEY", {"command": "x", "env": {"KEY": "${DEMO_UNSET}"}}),
        ("cwd", {"command": "x", "cwd": "${DEMO_UNSET}"}),
        ("headers.Key", {"url": "http://x", "headers": {"Key": "${DEMO_UNSET}"}}),
    ],
)
def test_an_unset_variable_is_a_fault_that_names_server_key_and_variable(
    tmp_path: Path, key: str, entry: dict[str, Any]
) -> None:
    fault = only_server(tmp_path, entry).fault
    assert all(word in fault for word in ("'demo'", f"{key}:", "DEMO_UNSET is not set. Set it"))


def test_a_disabled_server_may_name_a_variable_that_is_not_set(tmp_path: Path) -> None:
    server = only_server(tmp_path, {"command": "x", "args": ["${DEMO_UNSET}"], "disabled": True})
    assert (server.disabled, server.fault, server.args) == (True, "", ("${DEMO_UNSET}",))


def test_a_relative_cwd_is_resolved_in_the_project_folder(tmp_path: Path) -> None:
    assert only_server(tmp_path, {"command": "x", "cwd": "sub"}).cwd == tmp_path / "sub"


def test_unknown_keys_are_collected_as_warnings(tmp_path: Path) -> None:
    content = {"mcp": {}, "mcpServers": {"demo": {"command": "x", "gallery": True}}}
    warnings = read_config(written(tmp_path, content)).warnings
    assert len(warnings) == 2
    assert "'mcp'" in warnings[0]
    assert "'demo'" in warnings[1]
    assert "'gallery'" in warnings[1]


def test_the_format_of_vs_code_is_read_with_inputs_and_comments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """{
      // the user's own
      "inputs": [
        {"id": "api-key", "type": "promptString", "password": true},
        {"id": "region", "type": "promptString", "default": "eu"},
      ],
      "servers": {"demo": {"type": "http", "url": "https://example.org/${input:region}", /* no */
        "headers": {"Authorization": "Bearer ${input:api-key}"}}},
    }"""
    project = written(tmp_path, text)
    assert "AGENTKIT_INPUT_API_KEY is not set" in read_config(project).servers[0].fault
    monkeypatch.setenv("AGENTKIT_INPUT_API_KEY", "k//ey")
    (server,) = read_config(project).servers
    assert (server.url, server.transport) == ("https://example.org/eu", "http")
    assert server.headers == {"Authorization": "Bearer k//ey"}


def test_a_server_under_both_keys_is_an_error(tmp_path: Path) -> None:
    content = {"servers": {"a": {"command": "x"}}, "mcpServers": {"a": {"command": "y"}}}
    with pytest.raises(McpError, match="'a' is defined twice"):
        read_config(written(tmp_path, content))


def test_variables_of_the_entry_override_those_of_the_env_file(tmp_path: Path) -> None:
    text = "# keys\nexport A=1\nB='two words' \nC=3 # three\nnonsense\n"
    (tmp_path / ".env").write_text(text)
    server = only_server(tmp_path, {"command": "x", "envFile": ".env", "env": {"A": "mine"}})
    assert server.env == {"A": "mine", "B": "two words", "C": "3"}


def test_a_missing_env_file_is_a_fault_of_its_server(tmp_path: Path) -> None:
    server = only_server(tmp_path, {"command": "x", "envFile": "${workspaceFolder}/.env"})
    assert re.search(r"'demo': envFile: .*\.env cannot be read: it does not exist", server.fault)


def test_environment_variables_may_be_written_as_other_programs_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEMO_TOKEN", "secret")
    args = ["${env:DEMO_TOKEN}", "${env:DEMO_UNSET:-no}", "${workspaceFolderBasename}"]
    assert only_server(tmp_path, {"command": "x", "args": args}).args == (
        "secret",
        "no",
        tmp_path.name,
    )


def test_our_own_keys_limit_the_tools_and_what_needs_approval(tmp_path: Path) -> None:
    entry = {"command": "x", "allow": ["read_*"], "deny": ["*_all"], "approval": "never"}
    server = only_server(tmp_path, entry)
    assert (server.allow, server.deny, server.approval) == (("read_*",), ("*_all",), "never")
    assert server.sampling == "never"
    assert only_server(tmp_path, {"command": "x", "sampling": "ask"}).sampling == "ask"


def test_oauth_is_read_as_written_or_discovered(tmp_path: Path) -> None:
    oauth = {"clientId": "me", "scope": "read", "redirectPort": 8765}
    server = only_server(tmp_path, {"url": "https://example.org", "oauth": oauth})
    assert server.oauth == OAuth(clientId="me", scope="read", redirectPort=8765)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{\n  oops\n}", "line 2, column 3: "),
        ('{"mcpServers": {"a": {"timeout": %s}}}' % ("9" * 5000), "it has a number of more than"),
        ('{"mcpServers": %s' % ("[" * 100_000), "it is nested too deeply"),
    ],
)
def test_malformed_json_is_an_error_that_names_the_file_and_the_reason(
    tmp_path: Path, content: str, reason: str
) -> None:
    with pytest.raises(McpError, match=rf"mcp\.json: {reason}"):
        read_config(written(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        ([], "must contain an object"),
        ({"mcpServers": {"demo": {"command": "x", "approval": "always"}}}, "approval: "),
        ({"mcpServers": {}, "inputs": [1]}, '"inputs" must be a list'),
        ({"mcpServers": []}, '"mcpServers" must be an object'),
        ({"mcpServers": {"demo": 1}}, "'demo': entry"),
        ({"mcpServers": {"demo": {}}}, 'either "command" or "url"'),
        ({"mcpServers": {"demo": {"command": "x", "url": "http://x"}}}, "either"),
        ({"mcpServers": {"demo": {"command": "x", "type": "sse"}}}, "does not fit"),
        ({"mcpServers": {"demo": {"url": "http://x", "type": "stdio"}}}, "does not fit"),
        ({"mcpServers": {"demo": {"command": "x", "args": "-y"}}}, "args: "),
        ({"mcpServers": {"demo": {"command": "x", "env": {"A": 1}}}}, r"env\.A: "),
        ({"mcpServers": {"demo": {"command": "x", "timeout": 0}}}, "timeout: "),
    ],
)
def test_an_invalid_entry_is_an_error_with_the_reason(
    tmp_path: Path, content: Any, advice: str
) -> None:
    with pytest.raises(McpError, match=advice):
        read_config(written(tmp_path, content))


def test_the_servers_of_the_demo_are_disabled() -> None:
    config = read_config(Path(__file__).parents[2])
    commands = {server.name: server.command for server in config.servers}
    assert all(server.disabled for server in config.servers)
    assert {commands["lecture_notes"], commands["llm_math"]} == {sys.executable}
    assert commands.keys() >= {"time", "git", "filesystem", "memory"}
    assert config.warnings == ()
