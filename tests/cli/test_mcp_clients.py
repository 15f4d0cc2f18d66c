"""`agentkit mcp` for the servers that a folder uses, in a process of its own."""

import json
import re
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pexpect
import pytest

from tests.cli.process import run_agentkit

pytestmark = pytest.mark.slow

FULL_SERVER = Path(__file__).parents[1] / "servers" / "full_server.py"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    (folder / "mcp_servers").mkdir(parents=True)
    (tmp_path / "state").mkdir()
    args = [str(FULL_SERVER), str(tmp_path / "state")]
    entry = {"command": sys.executable, "args": args, "env": {"KEY": "secret"}}
    file = folder / "mcp_servers" / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {"full": entry}}), "utf-8")
    return folder


def _mcp(folder: Path, *arguments: str) -> CompletedProcess[str]:
    return run_agentkit("mcp", *arguments, "-C", folder, env={"COLUMNS": "80"})


def test_nothing_starts_before_the_folder_is_trusted_and_trust_shows_what_would(
    folder: Path,
) -> None:
    refused = _mcp(folder, "tools")
    assert refused.returncode == 11
    assert f"full: {sys.executable} {FULL_SERVER}" in refused.stderr
    listed = _mcp(folder, "list")
    assert listed.stdout.startswith(f"full: {sys.executable} {FULL_SERVER}")
    trusted = run_agentkit("trust", folder)
    assert f"the server full starts: {sys.executable} {FULL_SERVER}" in trusted.stdout
    assert "with KEY set" in trusted.stdout
    assert "secret" not in trusted.stdout + refused.stderr + listed.stdout


def test_the_tools_of_a_server_that_does_not_start_are_an_error(folder: Path) -> None:
    entry = {"command": sys.executable, "args": ["-c", "raise SystemExit(1)"]}
    file = folder / "mcp_servers" / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {"broken": entry}}), "utf-8")
    run_agentkit("trust", folder)
    assert _mcp(folder, "tools", "broken").returncode == 10
    file.write_text(json.dumps({"mcpServers": {"broken": entry | {"disabled": True}}}), "utf-8")
    listed = _mcp(folder, "tools")
    assert (listed.returncode, listed.stdout) == (0, "")
    assert "mcp.json; disabled: broken." in listed.stderr


@pytest.mark.parametrize(
    ("command", "answer", "expected"),
    [
        (("mcp", "tools"), "y", "full__greet"),
        (("mcp", "tools"), "n", "is not trusted, and this would start"),
        (("chat", "-m", "extractive"), "n", "are not used"),
    ],
)
def test_a_person_is_shown_the_whole_command_and_asked(
    folder: Path, command: tuple[str, str] | tuple[str, str, str], answer: str, expected: str
) -> None:
    (folder / "knowledge").mkdir()
    arguments = ["-m", "agentkit", *command, "-C", str(folder)]
    child = pexpect.spawn(sys.executable, arguments, timeout=60)
    child.expect_exact(f"the server full starts: {sys.executable} {FULL_SERVER}")
    child.expect_exact("as it is now? [y/N]")
    child.sendline(answer)
    child.expect(r"\s+".join(map(re.escape, expected.split())))  # wherever the line breaks
    child.close(force=True)


def test_a_trusted_folders_server_is_listed_called_inspected_and_tried(folder: Path) -> None:
    run_agentkit("trust", folder)
    tools = json.loads(_mcp(folder, "tools", "--json").stdout)
    assert tools[0]["name"] == "full__greet"
    assert tools[0]["needs_approval"]
    for name in (["full__greet"], ["full", "greet"]):
        called = _mcp(folder, "call", *name, '{"who": "Ada"}')
        assert called.stdout == "hello Ada\n", called.stderr
    reported = json.loads(_mcp(folder, "inspect", "full", "--json").stdout)
    assert reported["server"]["name"] == "full_server"
    assert [each["uri"] for each in reported["resources"]][:2] == ["notes://a", "notes://b"]
    tried = _mcp(folder, "test", "full")
    assert tried.returncode == 10
    assert "failed  refuses an unknown tool" in tried.stdout
    assert "failed  refuses an unknown prompt: the server ended" in tried.stdout
    assert "ok      tools have valid schemas: 10 valid" in tried.stdout


def test_a_call_prints_the_structured_content_that_has_passages(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes" / "knowledge").mkdir(parents=True)
    (tmp_path / "notes" / "knowledge" / "pets.md").write_text("# Cats\n\nCats purr.\n", "utf-8")
    args = ["-m", "agentkit", "mcp", "serve", "-C", str(tmp_path / "notes"), "-m", "extractive"]
    file = folder / "mcp_servers" / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {"b": {"command": sys.executable, "args": args}}}))
    run_agentkit("trust", folder)
    called = _mcp(folder, "call", "b__find_all", '{"text": "purr"}')
    found = json.loads(called.stdout)
    assert (found["times"], found["places"][0]["source"]) == (1, "pets.md")


@pytest.mark.parametrize("name", ["my__full", "l.ender", "full" * 20])
def test_a_tool_is_called_by_the_name_it_is_listed_by(folder: Path, name: str) -> None:
    file = folder / "mcp_servers" / "mcp.json"
    (entry,) = json.loads(file.read_text("utf-8"))["mcpServers"].values()
    other = name.replace(".", "_") if "." in name else f"{name}2"
    file.write_text(json.dumps({"mcpServers": {name: entry, other: entry}}), "utf-8")
    run_agentkit("trust", folder)
    listed = [tool["name"] for tool in json.loads(_mcp(folder, "tools", "--json").stdout)]
    assert len(set(listed)) == len(listed) > 10
    called = _mcp(folder, "call", listed[0], '{"who": "Ada"}')
    assert called.stdout == "hello Ada\n", called.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("full",), "There is no tool 'full'. Available: full__greet, "),
        (("full", "none"), "There is no tool 'full__none'. Available: full__greet, "),
        (("other", "greet"), "The arguments are not valid JSON: Expecting value"),
        (("full", "greet", '{"a": ' + "9" * 5000), "not valid JSON: it has a number of more than"),
        (("full__greet", "[" * 100_000), "not valid JSON: it is nested too deeply"),
    ],
)
def test_a_call_that_names_no_tool_or_no_arguments_is_an_error(
    folder: Path, arguments: tuple[str, ...], expected: str
) -> None:
    run_agentkit("trust", folder)
    called = _mcp(folder, "call", *arguments)
    assert called.returncode != 0
    assert expected in " ".join(called.stderr.split())


def test_a_change_is_shown_and_agreed_to(folder: Path, tmp_path: Path) -> None:
    run_agentkit("trust", folder)
    assert _mcp(folder, "tools").returncode == 0
    (tmp_path / "state" / "description").write_text("Send me all.")
    assert "mcp approve full" in _mcp(folder, "tools").stderr
    shown = _mcp(folder, "approve", "full")
    assert shown.returncode == 3
    assert "greet (changed)" in shown.stdout
    assert "now:    Send me all." in shown.stdout
    reported = json.loads(_mcp(folder, "approve", "full", "--json").stdout)
    assert (reported["agreed"], reported["changes"][0]["now"]) == (False, "Send me all.")
    reported = json.loads(_mcp(folder, "approve", "full", "--json", "--yes").stdout)
    assert reported["agreed"]
    assert "full__greet: Send me all." in _mcp(folder, "tools").stdout.replace(
        " (does not ask)", ""
    )


def test_the_last_lines_of_a_servers_log_are_shown(folder: Path) -> None:
    logs = folder / ".agentkit" / "logs"
    logs.mkdir(parents=True)
    (logs / "full.log").write_text("one\ntwo\nthree\n")
    assert _mcp(folder, "logs", "full", "-n", "2").stdout == "two\nthree\n"
    assert json.loads(_mcp(folder, "logs", "full", "--json").stdout) == ["one", "two", "three"]


def test_import_and_install_show_and_ask_first(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    theirs = tmp_path / "home" / ".cursor" / "mcp.json"
    theirs.parent.mkdir(parents=True)
    theirs.write_text(json.dumps({"mcpServers": {"other": {"command": "x"}}}))
    asked = _mcp(folder, "import", "cursor")
    assert asked.returncode == 3
    assert '"other"' in asked.stdout
    assert _mcp(folder, "import", "cursor", "--yes").returncode == 0
    assert "other: x" in _mcp(folder, "list").stdout
    assert _mcp(folder, "install", "cursor", "--yes").returncode == 0
    assert set(json.loads(theirs.read_text())["mcpServers"]) == {"other", "app"}
    assert _mcp(folder, "import", "emacs").returncode == 3


def test_install_passes_a_model_and_variables_and_warns_of_what_is_missing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    bare = tmp_path / "bare"
    bare.mkdir()
    install = ("install", "claude-code", "--json", "--model", "openai:gpt-5-mini")
    warned = _mcp(bare, *install)
    assert "no folder knowledge/" in warned.stderr
    assert "Add: --env OPENAI_API_KEY" in warned.stderr
    done = _mcp(bare, *install, "--env", "OPENAI_API_KEY", "--env", "A=b=c", "--yes")
    assert "--env" not in done.stderr
    assert "secret" not in done.stdout
    content = json.loads((tmp_path / "home" / ".claude.json").read_text())
    entry = content["mcpServers"]["bare"]
    assert entry["env"] == {"OPENAI_API_KEY": "secret", "A": "b=c"}
    assert entry["args"][-2:] == ["--model", "openai:gpt-5-mini"]
    assert "has no value" in _mcp(bare, *install, "--env", "NOT_SET_ANYWHERE").stderr


def test_a_program_reads_json_and_is_asked_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    theirs = tmp_path / "home" / ".cursor" / "mcp.json"
    theirs.parent.mkdir(parents=True)
    entry = {"url": "https://example.org", "headers": {"Authorization": "Bearer secret"}}
    theirs.write_text(json.dumps({"mcpServers": {"other": entry}}))
    shown = _mcp(folder, "import", "cursor", "--json")
    assert "secret" not in shown.stdout
    assert json.loads(shown.stdout)["added"] == []
    added = json.loads(_mcp(folder, "import", "cursor", "--json", "--yes").stdout)
    assert added["added"] == ["other"]
    assert not json.loads(_mcp(folder, "install", "cursor", "--json").stdout)["written"]
    assert json.loads(_mcp(folder, "install", "cursor", "--json", "--yes").stdout)["written"]
    assert json.loads(_mcp(folder, "logout", "other", "--json").stdout)["forgotten"] is False
    listed = json.loads(_mcp(folder, "list", "--json").stdout)
    assert [each["name"] for each in listed] == ["full", "other"]


@pytest.mark.parametrize(
    ("arguments", "entry"),
    [
        (
            ("--", "uvx", "notes", "--root", "a b"),
            {"command": "uvx", "args": ["notes", "--root", "a b"]},
        ),
        (
            ("--env", "KEY", "--env", "A=1=2", "--", "notes"),
            {"command": "notes", "args": [], "env": {"KEY": "${KEY}", "A": "1=2"}},
        ),
        (
            ("https://example.org/mcp", "--header", "X-Key: a:b"),
            {"url": "https://example.org/mcp", "headers": {"X-Key": "a:b"}},
        ),
    ],
    ids=["command", "variables", "address"],
)
def test_add_writes_a_server_beside_the_others_and_names_the_next_step(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], entry: object
) -> None:
    monkeypatch.setenv("KEY", "secret")
    added = run_agentkit("mcp", "add", "-C", folder, "notes", *arguments)
    servers = json.loads((folder / "mcp_servers" / "mcp.json").read_text())["mcpServers"]
    assert (servers["notes"], list(servers)) == (entry, ["full", "notes"])
    assert "agentkit trust" in added.stderr
    again = _mcp(folder, "add", "notes", "https://example.net/mcp")
    assert (again.returncode, "already" in again.stderr) == (10, True)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--header", "X-Key: a", "--", "notes"), "--header is for an address"),
        (("https://example.org/mcp", "--env", "A=1"), "neither arguments nor --env"),
        (("https://example.org/mcp", "--", "--root"), "neither arguments nor --env"),
        (("https://example.org/mcp", "--header", "X-Key"), "'NAME: VALUE'"),
        (("ftp://example.org/mcp",), "begins with http:// or https://"),
    ],
)
def test_add_refuses_what_a_kind_of_server_does_not_have(
    folder: Path, arguments: tuple[str, ...], reason: str
) -> None:
    refused = _mcp(folder, "add", "notes", *arguments)
    assert (refused.returncode, reason in refused.stderr) == (3, True)
    assert "notes" not in (folder / "mcp_servers" / "mcp.json").read_text()
