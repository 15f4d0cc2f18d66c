"""`agentkit ask` in pipes and scripts: what goes in, what comes out where, and how it ends."""

import json
import signal
import subprocess
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from agentkit.project.trust import trust
from tests.cli.process import AGENTKIT, SECONDS
from tests.cli.terminals import Terminal
from tests.servers.openai_server import OpenAIServer, Reply, call, calls, text

pytestmark = pytest.mark.slow

CATS = "# Cats\n\nCats purr at 25 hertz.\n"
DOGS = "# Dogs\n\nDogs bark at night.\n"
TOOL = '''
from agentkit import tool

@tool(needs_approval=True)
def send(to: str) -> str:
    """Send a letter."""
    return f"sent to {to}"
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pets"
    (folder / "knowledge").mkdir(parents=True)
    (folder / "knowledge" / "cats.md").write_text(CATS, encoding="utf-8")
    (folder / "knowledge" / "dogs.md").write_text(DOGS, encoding="utf-8")
    (folder / "tools").mkdir()
    (folder / "tools" / "mail.py").write_text(TOOL, encoding="utf-8")
    trust(folder)
    return folder


@pytest.fixture
def server(openai_server: OpenAIServer) -> OpenAIServer:
    return openai_server


def _ask(
    folder: Path,
    *arguments: str | int | Path,
    stdin: str | bytes | None = None,
    server: OpenAIServer | None = None,
) -> CompletedProcess[bytes]:
    model = ("-m", "openai:small", "--base-url", server.url) if server else ("-m", "extractive")
    given = stdin.encode() if isinstance(stdin, str) else stdin
    source: dict[str, Any] = {"stdin": subprocess.DEVNULL} if given is None else {"input": given}
    return subprocess.run(
        [*AGENTKIT, "ask", *map(str, arguments), *model, "-C", str(folder)],
        capture_output=True, timeout=SECONDS, check=False,
        **source,
    )  # fmt: skip


def _sends(to: str) -> Reply:
    return Reply(calls(call(f'{{"to": "{to}"}}', "send", 0, "call_1")), "tool_calls")


def test_what_is_piped_in_is_cited_like_a_document(tmp_path: Path) -> None:
    note = "# Minutes\n\nWe keep the index in SQLite.\n\n## Lunch\n\nThere was soup."
    done = _ask(tmp_path, "Where do we keep the index?", "--json", stdin=note)
    [citation, *_] = json.loads(done.stdout)["citations"]
    assert citation["source"] == "standard input"
    assert citation["quote"] == "We keep the index in SQLite."
    assert note[citation["start"] : citation["end"]] == citation["quote"]
    assert list(tmp_path.iterdir()) == []


def test_the_model_sees_what_is_piped_in_and_the_documents_are_searched_for_the_question(
    folder: Path, server: OpenAIServer
) -> None:
    _ask(folder, "How do cats sound?", stdin="The vet wrote: louder.", server=server)
    messages = server.requests[-1]["messages"]
    [searched] = [c for m in messages for c in m.get("tool_calls", ())]
    assert json.loads(searched["function"]["arguments"]) == {"query": "How do cats sound?"}
    assert '<passage id="1" source="standard input"' in json.dumps(
        messages, ensure_ascii=False
    ).replace("\\", "")


def test_without_a_question_what_is_piped_in_is_the_question(folder: Path) -> None:
    done = _ask(folder, stdin="At how many hertz do cats purr?")
    assert "Cats purr at 25 hertz. [1]" in done.stdout.decode()


def test_the_answer_goes_to_standard_output_and_the_rest_elsewhere(folder: Path) -> None:
    done = _ask(folder, "At how many hertz do cats purr?")
    assert done.stdout.decode().splitlines()[-1] == "[1] cats.md (characters 8-30)"
    assert b"search_knowledge" not in done.stdout
    assert b"search_knowledge" in done.stderr


def test_json_lines_are_the_events_and_end_with_the_answer(folder: Path) -> None:
    done = _ask(folder, "At how many hertz do cats purr?", "--jsonl")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = [record["event"] for record in records]
    assert kinds[:2] == ["tool_started", "tool_finished"]
    assert kinds[-1] == "finished"
    output = "".join(record["text"] for record in records if record["event"] == "text")
    assert output == records[-1]["answer"]


def test_json_lines_end_with_the_error_where_there_is_one(folder: Path) -> None:
    done = _ask(folder, "x", "--jsonl", "--base-url", "http://127.0.0.1:9/v1", "-m", "openai:x")
    assert done.returncode in (3, 4)
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["event"] == "error"
    assert last["exit_code"] == done.returncode


def test_a_session_goes_on_in_the_next_process(folder: Path, server: OpenAIServer) -> None:
    _ask(folder, "How do cats sound?", "--session", "pets", server=server)
    _ask(folder, "And dogs?", "--continue", server=server)
    asked = [m["content"] for m in server.requests[-1]["messages"] if m["role"] == "user"]
    assert asked == ["How do cats sound?", "And dogs?"]


def test_an_answer_by_a_schema_is_the_value_alone_and_a_misfit_goes_back(
    folder: Path, server: OpenAIServer, tmp_path: Path
) -> None:
    schema = tmp_path / "hertz.json"
    schema.write_text('{"type": "object", "properties": {"hertz": {"type": "integer"}}}')
    server.replies(Reply(text('{"hertz": "many"}')), Reply(text('{"hertz": 25}')))
    done = _ask(folder, "How do cats purr?", "--schema", schema, "--no-retrieve", server=server)
    assert json.loads(done.stdout) == {"hertz": 25}
    assert "not of type 'integer'" in str(server.requests[-1]["messages"])


def test_a_schema_that_is_none_and_a_reader_that_only_quotes_are_reported(
    folder: Path, server: OpenAIServer, tmp_path: Path
) -> None:
    schema = tmp_path / "wrong.json"
    schema.write_text('{"type": "nothing"}')
    done = _ask(folder, "x", "--schema", schema, server=server)
    assert (done.returncode, b"JSON Schema" in done.stderr) == (3, True)
    schema.write_text('{"type": "object"}')
    done = _ask(folder, "x", "--schema", schema)
    assert (done.returncode, b"extractive" in done.stderr) == (4, True)


def test_without_retrieval_no_document_is_read(folder: Path, server: OpenAIServer) -> None:
    _ask(folder, "How do cats sound?", "--no-retrieve", server=server)
    offered = [tool["function"]["name"] for tool in server.requests[-1]["tools"]]
    assert "search_knowledge" not in offered
    assert not (folder / ".agentkit" / "index").exists()


def test_passages_are_as_many_and_from_where_the_user_says(
    folder: Path, server: OpenAIServer
) -> None:
    _ask(folder, "What do pets do?", "-k", 1, "--source", "d*.md", server=server)
    found = next(m["content"] for m in server.requests[-1]["messages"] if m["role"] == "tool")
    assert found.count("<passage") == 1
    assert 'source="dogs.md"' in found
    done = _ask(folder, "What?", "--source", "birds/**")
    assert (done.returncode, b"birds/**" in done.stderr) == (8, True)


@pytest.mark.parametrize(
    ("arguments", "replies", "code"),
    [
        ((), [Reply()], 0),
        (("--json", "--plain"), [Reply()], 2),
        (("--session", "a", "--continue"), [Reply()], 2),
        (("-k", "0"), [Reply()], 2),
        (("--strict",), [Reply(text("The moon is made of cheese."))], 5),
        ((), [Reply(text("cut"), "length")], 6),
        ((), [_sends("Ada"), Reply()], 7),
        (("--allow", "se*"), [_sends("Ada"), Reply()], 0),
    ],
)
def test_the_exit_code_says_how_it_ended(
    folder: Path, server: OpenAIServer, arguments: Any, replies: list[Reply], code: int
) -> None:
    server.replies(*replies)
    assert _ask(folder, "How do cats sound?", *arguments, server=server).returncode == code


def test_a_call_that_nobody_could_be_asked_about_is_followed_by_the_option_that_allows_it(
    folder: Path, server: OpenAIServer
) -> None:
    server.replies(_sends("Ada"), Reply())
    done = _ask(folder, "How do cats sound?", server=server)
    assert b"To allow: --allow send" in done.stderr
    server.replies(_sends("Ada"), Reply())
    allowed = _ask(folder, "How do cats sound?", "--allow", "send", server=server)
    assert b"--allow" not in allowed.stderr


def test_too_much_or_no_text_on_standard_input_is_reported_and_not_cut(folder: Path) -> None:
    done = _ask(folder, "x", stdin=b"a" * 4_000_001)
    assert (done.returncode, b"longer than 4 MB" in done.stderr) == (3, True)
    done = _ask(folder, "x", stdin=bytes(range(256)) * 9)
    assert (done.returncode, b"binary" in done.stderr) == (3, True)


def test_who_stops_reading_early_is_no_failure(folder: Path) -> None:
    ask = [*AGENTKIT, "ask", "How do cats sound?", "-m", "extractive", "--jsonl", "-C", str(folder)]
    with subprocess.Popen(
        ask, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read().decode().count("rror") == 0
        assert child.wait(timeout=60) == 0


def test_ctrl_c_keeps_in_the_session_what_was_stated(folder: Path, server: OpenAIServer) -> None:
    server.replies(Reply(text("Cats ", "purr"), stalls=True))
    ask = [*AGENTKIT, "ask", "How?", "-m", "openai:small", "--base-url", server.url,
           "--session", "cut", "--jsonl", "-C", str(folder)]  # fmt: skip
    with subprocess.Popen(
        ask, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as child:  # fmt: skip
        assert child.stdout is not None
        assert child.stderr is not None
        while "purr" not in child.stdout.readline():
            assert child.poll() is None
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=60) == 130
        assert "Traceback" not in child.stderr.read()
    server.replies(Reply())
    _ask(folder, "Go on.", "--session", "cut", server=server)
    assert "Cats purr" in str(server.requests[-1]["messages"])


def test_on_a_terminal_markdown_is_drawn_and_plain_is_as_written(
    folder: Path, server: OpenAIServer
) -> None:
    server.replies(Reply(text("Cats are **loud**.")))
    options = ("How?", "-m", "openai:small", "--base-url", server.url, "-C", folder)
    drawn = Terminal("ask", *options)
    assert drawn.close() == 0
    assert "Cats are loud." in drawn.text
    plain = Terminal("ask", *options, "--plain")
    assert plain.close() == 0
    assert "Cats are **loud**." in plain.text
    assert b"\x1b[" not in plain.written


def test_on_a_terminal_a_call_is_asked_about(folder: Path, server: OpenAIServer) -> None:
    server.replies(_sends("Ada"), Reply(text("Done.")))
    talk = Terminal("ask", "Write.", "-m", "openai:small", "--base-url", server.url, "-C", folder)
    talk.expect("allow this call? [y/N]")
    assert '"to": "Ada"' in talk.text
    talk.child.send("y\r")
    assert talk.close() == 0
    assert "sent to Ada" in str(server.requests[-1]["messages"])
