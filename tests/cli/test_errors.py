"""Errors of the command line: the thing, the reason and the next step, in one line."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from agentkit.agent.session_store import SessionStore
from agentkit.cli.errors import report
from agentkit.cli.main import command_line
from agentkit.errors import ConfigError, KnowledgeError
from agentkit.knowledge.index.collections import Collections
from agentkit.project.scaffold import make_project
from agentkit.project.trust import trust
from tests.conftest import TermEmbedder


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new project, seen from the folder above it."""
    monkeypatch.chdir(tmp_path)
    return make_project(Path("app")).folder


def _run(*arguments: str) -> int:
    try:
        return int(command_line()(arguments, prog_name="agentkit", standalone_mode=False) or 0)
    except Exception as error:
        return report(error)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("ask", "x", "--schema", "no/such.json"),
            "no/such.json cannot be read: there is no directory no. Check the path.",
        ),
        (
            ("ask", "x", "--schema", "none.json"),
            "none.json cannot be read: it does not exist. Check the path.",
        ),
        (
            ("ask", "x", "--schema", "app"),
            "app cannot be read: it is a directory. Name a file.",
        ),
        (
            ("kb", "import", "app/agentkit.toml"),
            "app/agentkit.toml is not an agentkit archive: it is not a zip file. "
            "Write one with: agentkit kb export",
        ),
        (("kb", "import", "none.zip"), "none.zip cannot be read: it does not exist."),
        (("kb", "import", "app"), "app cannot be read: it is a directory. Name a file."),
        (
            ("kb", "show", "papers"),
            "There is no collection 'papers'. See: agentkit kb list -C app",
        ),
        (
            ("config", "set", "knowledge.results", "abc"),
            "app/agentkit.toml: knowledge.results: must be a whole number",
        ),
        (
            ("sessions", "show", "last"),
            "app has no sessions yet. Start one: agentkit chat -C app",
        ),
        ((), "Missing command. Choose one of: init, ask, chat, "),
        (("trace",), "Missing command. Choose one of: list, "),
        (("index", "--wait", "-1"), "Invalid value for '--wait': must be at least 0"),
        (("ask", "x", "-k", "a"), "Invalid value for '--k' / '-k': must be a whole number"),
        (
            ("eval", "mine.jsonl"),
            "mine.jsonl does not exist. Write it, with one question per line: "
            '{"question": "...", "answer": "...", "source": "notes.md"}',
        ),
        (
            ("trace", "show", "none.jsonl"),
            "No trace 'none.jsonl'. List them with: agentkit trace list -C app",
        ),
    ],
)
def test_error_has_a_reason_and_a_next_step(
    app: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(*arguments, "--folder", str(app)) > 1
    *_notes, error = capsys.readouterr().err.splitlines()
    assert message in error
    assert "Errno" not in error
    assert "Input should" not in error


@pytest.mark.parametrize(
    "cause",
    [
        MemoryError(),
        RuntimeError("can't start new thread"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("libx.so: failed to map segment from shared object"),
    ],
)
def test_lack_of_memory_is_reported_with_a_next_step(
    cause: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    error = RuntimeError("the model was not loaded")
    error.__cause__ = cause
    assert (report(cause), report(error)) == (6, 6)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("error: there is not enough memory: ")
        assert "raise the limit of memory (ulimit -v" in line


def test_settings_that_are_not_utf8_are_an_error_with_a_next_step(
    app: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (app / "agentkit.toml").write_bytes(b'model = "caf\xe9"\n')
    trust(app)
    assert _run("config", "show", "--folder", str(app)) == 3
    message = "agentkit.toml cannot be read: it is not UTF-8 text. Save it as UTF-8."
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [("--folder", "app", "kb", "list"), ("kb", "-C", "app", "list"), ("kb", "list", "-C", "app")],
)
def test_folder_is_named_before_or_after_the_command(
    app: Path, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(*arguments) == 0
    assert "agentkit index -C app" in capsys.readouterr().err


def test_folder_before_a_group_reaches_the_command_that_is_not_named(app: Path) -> None:
    assert _run("eval", "--folder", "app", "--only-retrieval") == 0
    assert _run("eval", "--folder", "app", "run", "--only-retrieval") == 0


def test_sample_questions_of_a_new_project_are_answered(
    app: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("eval", "-C", "app", "--model", "extractive", "--json", "-") == 0
    totals = json.loads(capsys.readouterr().out)["totals"]
    shares = {figure["name"]: figure["share"] for figure in totals}
    assert shares["all@5"] == shares["facts"] == shares["refusal_recall"] == 1


@pytest.mark.slow
def test_kb_doctor_names_the_project_in_its_next_step(
    app: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("index", "-C", "app") == 0
    (app / ".agentkit" / "index" / "chroma" / "chroma.sqlite3").write_bytes(b"damaged" * 900)
    assert _run("kb", "doctor", "-C", "app") == 8
    assert "agentkit kb doctor --repair -C app" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("servers", "message"),
    [
        (
            {},
            "There are no servers in app/mcp_servers/mcp.json. "
            "Add one: agentkit mcp add NAME -C app -- COMMAND, ",
        ),
        (
            {"clock": {"command": "x", "disabled": True}},
            "No server is enabled in app/mcp_servers/mcp.json; disabled: clock.",
        ),
    ],
)
def test_mcp_tools_says_what_to_do_without_servers(
    app: Path, servers: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _write_servers(app, servers)
    assert _run("mcp", "tools", "-C", "app") == 0
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("command", [("mcp", "tools"), ("mcp", "test", "one")])
def test_server_that_cannot_start_is_reported_once_with_the_cause(
    app: Path, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    script = ["-c", "echo no licence found >&2; exit 3"]
    _write_servers(app, {"one": {"command": "sh", "args": script}})
    trust(app)
    assert _run(*command, "-C", "app") == 10
    error = capsys.readouterr().err
    assert error.count("'one' ended before it was ready: no licence found.") == 1


def _write_servers(app: Path, servers: object) -> None:
    text = json.dumps({"mcpServers": servers})
    (app / "mcp_servers" / "mcp.json").write_text(text, encoding="utf-8")


def test_collection_that_cannot_be_read_names_the_project(tmp_path: Path) -> None:
    collections = Collections(tmp_path / ".agentkit", TermEmbedder)
    with pytest.raises(KnowledgeError, match=f"agentkit kb list -C {tmp_path}"):
        collections.find("papers")


def test_session_that_is_unknown_names_the_project(tmp_path: Path) -> None:
    with SessionStore(tmp_path / ".agentkit" / "sessions.sqlite") as store:
        store.create("thesis").close()
        with pytest.raises(ConfigError, match=f"agentkit sessions list -C {tmp_path}"):
            store.find("other")


def test_an_evaluation_names_expected_documents_that_are_not_indexed(
    app: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (app / "knowledge" / "note.md").write_text("# Whales\n\nA blue whale weighs 150 tonnes.\n")
    assert _run("eval", "-C", "app", "--only-retrieval") == 3
    assert "not indexed: welcome.md. Write questions about yours" in capsys.readouterr().err
    with (app / "questions.jsonl").open("a") as file:
        file.write('{"question": "How heavy?", "answer": "150", "source": "note.md"}\n')
    assert _run("eval", "-C", "app", "--only-retrieval") == 0
    assert "documents that are not indexed: welcome.md" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["ask x", "chat", "index", "search x", "eval", "eval generate", "index --rebuild"]
)
def test_a_folder_that_is_no_project_is_reported_alike_and_stays_empty(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(*command.split(), "-C", str(tmp_path)) == 3
    line = capsys.readouterr().err
    assert line.startswith(f"error: {tmp_path} is not a project yet: it has neither knowledge/ ")
    assert f"`agentkit init {tmp_path}`" in line
    assert list(tmp_path.iterdir()) == []


def test_trust_shows_first_what_changed_since_it_was_given(
    app: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (app / "tools" / "stock.py").write_text("x = 1")
    (app / "tools" / "split_bill.py").write_text("x = 2")
    assert _run("trust", "app") == 0
    first, second, third, *_rest = capsys.readouterr().out.splitlines()
    assert first == "  tools/split_bill.py (changed)"
    assert second == "  tools/stock.py (new)"
    assert third == "  agentkit.toml"
    assert _run("trust", "app") == 0
    assert "(new)" not in capsys.readouterr().out
