"""`agentkit eval` as a user meets it: tables, files, exit codes; and questions that it writes."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from agentkit.cli.errors import MISSED
from agentkit.evaluation.questions import load_questions
from tests.cli.process import run_agentkit
from tests.cli.terminals import Terminal

pytestmark = pytest.mark.slow

NOTES = {
    "sea.md": "# Sea\n\n## Whales\n\nBlue whales weigh 150 tonnes and eat krill all summer long, "
    "four tonnes of it on a good day off the coast.\n",
    "sky.md": "# Sky\n\n## Swallows\n\nSwallows cross the Sahara in four days and come back in "
    "April, when the first insects rise over the ponds.\n",
}
QUESTIONS = [
    {"question": "How heavy are blue whales?", "answer": "150", "source": "sea.md"},
    {"question": "When do swallows come back?", "answer": "April", "source": "sky.md"},
    {"question": "What does a violin cost?", "answer": None},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of two notes and three questions, indexed once."""
    project = tmp_path_factory.mktemp("eval")
    (project / "knowledge").mkdir()
    for name, text in NOTES.items():
        (project / "knowledge" / name).write_text(text, encoding="utf-8")
    lines = [json.dumps(question) for question in QUESTIONS]
    (project / "questions.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return project


def test_a_run_prints_a_table_and_writes_result_and_page(folder: Path, tmp_path: Path) -> None:
    result, shown = tmp_path / "result.json", tmp_path / "page.html"
    done = run_agentkit("eval", "-C", folder, "--legs", "--json", result, "--html", shown)
    assert done.returncode == 0, done.stderr
    assert "all expected places in the top 5" in done.stdout
    assert "retrievers side by side" in done.stdout
    written = json.loads(result.read_text(encoding="utf-8"))
    totals = {row["name"]: row for row in written["totals"]}
    assert (totals["first"]["reached"], totals["first"]["count"]) == (2, 2)
    assert totals["first"]["asked"] is None
    assert set(written["legs"]) == {"dense", "keyword", "hybrid"}
    assert [row["id"] for row in written["questions"]] == ["line-1", "line-2", "line-3"]
    assert written["questions"][0]["answer"]["citations"]
    assert "</html>" in shown.read_text(encoding="utf-8")


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal of its own")
def test_the_count_of_questions_is_redrawn_on_one_line_of_a_terminal(folder: Path) -> None:
    screen = Terminal("eval", "-C", folder, "--only-retrieval")
    assert screen.close() == 0
    (line,) = [line for line in screen.whole.splitlines() if "questions: " in line]
    assert line.rstrip() == "questions: 3 of 3"


def test_an_earlier_run_is_compared_and_a_bound_that_is_met_ends_well(
    folder: Path, tmp_path: Path
) -> None:
    earlier = tmp_path / "earlier.json"
    assert run_agentkit("eval", "-C", folder, "--only-retrieval", "--json", earlier).returncode == 0
    done = run_agentkit(
        "eval", "-C", folder, "--only-retrieval", "--compare", earlier, "--fail-under", "first=1"
    )
    assert done.returncode == 0, done.stderr
    assert "compared with the earlier run" in done.stdout


def test_a_pipe_gets_json_alone_of_as_many_questions_and_hits_as_asked_for(folder: Path) -> None:
    done = run_agentkit(
        "eval", "-C", folder, "--only-retrieval", "--limit", 1, "-k", 1, "--json", "-"
    )
    result = json.loads(done.stdout)
    assert [len(question["hits"]) for question in result["questions"]] == [1]
    assert "recall@1" in result["questions"][0]["scores"]
    assert result["questions"][0]["answer"] is None


def test_a_figure_below_its_bound_is_named(folder: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"question": "How heavy are whales?", "source": "sky.md"}', encoding="utf-8")
    done = run_agentkit(
        "eval", wrong, "-C", folder, "--only-retrieval", "--fail-under", "first=0.5", "--misses"
    )
    assert done.returncode == MISSED
    assert "missed: first is 0.0%, required is >= 50%" in done.stderr
    assert "line-1 (fact): not ranked first" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--fail-under", "firts=1"), "not measure 'firts'"),
        (("--kind", "riddle"), "is not a kind"),
        (("--kind", "sum"), "no question of kind sum"),
        (("--compare", "nowhere.json"), "cannot be read"),
        (("--json", "other.jsonl"), "is not overwritten"),
        (("--html", "nowhere/page.html"), "not a directory"),
        (("generate",), "exists. Name another"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_asked(
    arguments: tuple[str, ...], expected: str, folder: Path
) -> None:
    done = run_agentkit("eval", *arguments, "-C", folder)
    assert (done.returncode, done.stdout) == (3, "")
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_extractive_model_writes_no_questions(folder: Path, tmp_path: Path) -> None:
    done = run_agentkit(
        "eval", "generate", "-C", folder, "-m", "extractive", "--out", tmp_path / "new.jsonl"
    )
    assert done.returncode == 3
    assert "cannot write questions" in done.stderr
    assert not (tmp_path / "new.jsonl").exists()


class _Writer(BaseHTTPRequestHandler):
    """A model server that asks about whales, whatever it is shown."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        output = '{"question": "How heavy do the largest animals get?", "facts": ["150 tonnes"]}'
        parts: list[dict[str, Any]] = [
            {"delta": {"content": output}},
            {"delta": {}, "finish_reason": "stop"},
        ]
        chunks = [{"id": "1", "model": "m", "choices": [{"index": 0, **part}]} for part in parts]
        body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments: Any) -> None:
        pass


def test_generated_questions_can_be_asked_at_once(folder: Path, tmp_path: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), _Writer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    new = tmp_path / "new.jsonl"
    try:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        done = run_agentkit(
            "eval",
            "generate",
            "-n",
            1,
            "--out",
            new,
            "-C",
            folder,
            "-m",
            "openai:m",
            "--base-url",
            url,
        )
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr
    assert "1 question from" in done.stdout
    (question,) = load_questions(new)
    assert question.generated
    assert question.expected[0][0].source == "sea.md"
    asked = run_agentkit(
        "eval", new, "-C", folder, "--only-retrieval", "--fail-under", "recall@5=1"
    )
    assert asked.returncode == 0, asked.stderr
