"""A served folder in a process of its own: killed, without its model, its disk or its database."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from agentkit.agent.query_rewriting import STANDALONE_QUESTION
from tests.servers.openai_server import OpenAIServer, Reply, text
from tests.servers.postgres import postgres_server
from tests.servers.running import serving

pytestmark = pytest.mark.slow

Json = dict[str, Any]
QUESTION = "When is a backup made?"


class Served:
    """`agentkit serve` for a folder, and a client of it."""

    def __init__(self, folder: Path, upstream: str, most_bytes: int = 0) -> None:
        self._folder, self._upstream, self._most_bytes = folder, upstream, most_bytes
        self.start()

    def start(self) -> None:
        arguments = ["serve", "--folder", str(self._folder), "--port", "0"]
        arguments += ["--model", "openai:small", "--base-url", self._upstream]
        run = "import runpy; runpy.run_module('agentkit', run_name='__main__')"
        if self._most_bytes:  # A file cannot grow beyond this: a disk that is full.
            limits = (self._most_bytes, self._most_bytes)
            run = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, {limits}); {run}"
        env = {**os.environ, "OPENAI_API_KEY": "test", "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-c", run, *arguments]
        self._log = self._folder.with_name("server.log").open("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, env=env
        )
        deadline = time.monotonic() + 60
        while not (found := re.search(r"http://[\d.]+:\d+", self.log())):
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)
        self.client = httpx2.Client(base_url=found[0], timeout=60)

    def log(self) -> str:
        return self._folder.with_name("server.log").read_text(encoding="utf-8")

    def kill(self) -> None:
        self.process.kill()
        self.end()

    def end(self) -> None:
        self.client.close()
        self.process.wait(30)
        self._log.close()

    def get(self, path: str, status: int = 200) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == status, answer.text
        return answer.json()

    def post(self, path: str, body: Json, status: int = 200) -> Any:
        answer = self.client.post(path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def session(self) -> str:
        return str(self.post("/api/sessions", {}, 201)["id"])

    def ask(self, session: str, question: str = QUESTION) -> str:
        return str(self.post(f"/api/sessions/{session}/turns", {"question": question}, 202)["run"])

    def events(self, run: str) -> Iterator[tuple[str, Json]]:
        """The events of a run, as they come."""
        with self.client.stream("GET", f"/api/runs/{run}/events") as answer:
            kind = ""
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    yield kind, json.loads(line.removeprefix("data: "))

    def until_text(self, run: str, wanted: str) -> None:
        """Read until the answer so far ends with a text."""
        so_far = ""
        for kind, data in self.events(run):
            so_far += data.get("delta", "") if kind == "text" else ""
            if so_far.endswith(wanted):
                return
        raise AssertionError(f"{so_far!r} does not end with {wanted!r}")

    def finished(self, run: str) -> Json:
        return [data for kind, data in self.events(run) if kind == "turn"][-1]

    def turns(self, session: str) -> list[Json]:
        found: list[Json] = self.get(f"/api/sessions/{session}")["turns"]
        return found


@contextmanager
def served(folder: Path, upstream: OpenAIServer, **options: Any) -> Iterator[Served]:
    with serving(upstream.app) as url:
        server = Served(folder, f"{url}/v1", **options)
        try:
            yield server
        finally:
            if server.process.poll() is None:
                server.process.send_signal(signal.SIGINT)
            server.end()


def answers(*pieces: str, **more: Any) -> Reply:
    return Reply(text(*pieces), **more)


def half_an_answer(body: Json) -> Reply:
    """An answer that does not end; a request to rewrite a question is answered."""
    if STANDALONE_QUESTION in body["messages"][-1]["content"]:
        return answers("How long is a backup kept?")
    return answers("Half an ", "answer", stalls=True)


def test_after_a_kill_in_mid_answer_sessions_are_whole_and_the_text_so_far_is_kept(
    folder: Path,
) -> None:
    upstream = OpenAIServer()
    upstream.answer = lambda body: answers("Every Sunday [1].")
    with served(folder, upstream) as server:
        session = server.session()
        first = server.finished(server.ask(session))
        upstream.answer = half_an_answer
        run = server.ask(session, "And how long is it kept?")
        server.until_text(run, "answer")
        time.sleep(0.3)  # The last piece is on its way to the disk.
        server.kill()
        upstream.answer = lambda body: answers("For 90 days [1].")
        server.start()
        turns = server.turns(session)
        assert turns[0] == first
        assert (turns[1]["state"], turns[1]["text"]) == ("stopped", "Half an answer")
        assert turns[1]["passages"]
        assert turns[1]["error"]["code"] == "interrupted"
        last = server.finished(run)
        assert (last["state"], last["text"]) == ("stopped", "Half an answer")
        again = server.finished(server.ask(session, "Go on"))
        assert again["text"] == "For 90 days [1]."
        assert [turn["state"] for turn in server.turns(session)] == ["done", "stopped", "done"]


def test_a_server_that_is_stopped_keeps_the_text_so_far_and_says_so(folder: Path) -> None:
    upstream = OpenAIServer()
    upstream.answer = half_an_answer
    with served(folder, upstream) as server:
        session = server.session()
        server.until_text(server.ask(session), "answer")
        server.process.send_signal(signal.SIGTERM)
        server.end()
        server.start()
        turn = server.turns(session)[0]
    assert (turn["state"], turn["text"]) == ("stopped", "Half an answer")
    assert turn["error"]["message"]


@pytest.mark.parametrize(
    "reply",
    [
        answers("Half an ", "answer", reset=True),
        answers("Half an ", "answer", truncated=True, done=False),
        answers("Half an ", "answer", stalls=True),
        answers("Half an ", "answer", error={"message": "out of memory"}, done=False),
        Reply(raw="<html>Bad gateway</html>", status=502, content_type="text/html"),
        Reply(raw='{"error": {"message": "no such model"}}', status=404),
    ],
    ids=["reset", "truncated", "silent", "error event", "502", "404"],
)
def test_a_model_server_that_fails_is_an_error_and_the_next_question_is_answered(
    folder: Path, reply: Reply
) -> None:
    (folder / "agentkit.toml").write_text("[providers.openai]\nmax_retries = 0\nread_timeout = 3\n")
    _trust(folder)
    upstream = OpenAIServer()
    upstream.answer = lambda body: reply
    with served(folder, upstream) as server:
        session = server.session()
        run = server.ask(session)
        kinds = [kind for kind, _ in server.events(run)]
        turn = server.turns(session)[0]
        assert turn["question"] == QUESTION
        assert turn["state"] == "failed"
        assert kinds[-3:] == ["error", "turn", "done"]
        assert turn["error"]["message"]
        upstream.answer = lambda body: answers("Every Sunday [1].")
        assert server.finished(server.ask(session, QUESTION))["text"] == "Every Sunday [1]."


def test_an_answer_that_hangs_is_stopped_and_its_request_is_cancelled(folder: Path) -> None:
    upstream = OpenAIServer()
    upstream.answer = half_an_answer
    with served(folder, upstream) as server:
        session = server.session()
        run = server.ask(session)
        server.until_text(run, "answer")
        stopped = server.post(f"/api/runs/{run}/stop", {})
        assert (stopped["state"], stopped["text"]) == ("stopped", "Half an answer")
        assert upstream.left.wait(10)
        assert server.get("/api/state")["name"] == "notes"


def test_a_flood_of_text_ends_with_an_error_and_others_are_answered_meanwhile(
    folder: Path,
) -> None:
    upstream = OpenAIServer()
    flood = Reply([{"content": "x" * 50_000}] * 50)
    upstream.answer = lambda body: (
        flood if "flood" in json.dumps(body["messages"]) else answers("Sunday.")
    )
    with served(folder, upstream) as server:
        session, other = server.session(), server.session()
        run = server.ask(session, "flood")
        assert server.finished(server.ask(other))["text"] == "Sunday."
        turn = server.finished(run)
        assert (turn["state"], turn["error"]["code"]) == ("failed", "too_long")
        assert len(server.turns(session)[0]["text"]) <= 2_100_000


def test_a_full_disk_is_a_clear_error_and_the_server_goes_on(folder: Path) -> None:
    upstream = OpenAIServer()
    with served(folder, upstream, most_bytes=1_500_000) as server:
        session = server.session()
        upstream.answer = lambda body: answers("Every Sunday.")
        first = server.finished(server.ask(session))
        upstream.answer = lambda body: answers(*["y" * 50_000] * 36)
        events = list(server.events(server.ask(session)))
        errors = [data for kind, data in events if kind == "error"]
        assert errors
        assert "cannot be written" in errors[0]["message"]
        assert errors[0]["code"] == "disk_full"
        assert server.turns(session)[0] == first


def test_while_its_database_is_gone_the_server_says_so_and_then_all_is_well(folder: Path) -> None:
    upstream = OpenAIServer()
    with postgres_server() as database:
        (folder / "agentkit.toml").write_text(f'[serve]\nsessions = "{database.url}"\n')
        _trust(folder)
        upstream.answer = lambda body: answers("Every Sunday [1].")
        with served(folder, upstream) as server:
            session = server.session()
            first = server.finished(server.ask(session))
            upstream.answer = half_an_answer
            run = server.ask(session, "And then?")
            server.until_text(run, "answer")
            database.stop()
            refused = server.client.get("/api/sessions")
            assert refused.status_code == 503
            assert refused.headers["retry-after"]
            assert refused.json()["error"]["code"] == "sessions_unavailable"
            assert server.get("/health") == {"status": "ok"}
            database.start()
            deadline = time.monotonic() + 30
            while server.client.get("/api/sessions").status_code != 200:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            server.post(f"/api/runs/{run}/stop", {})
            turns = server.turns(session)
            assert turns[0] == first
            assert (turns[1]["state"], turns[1]["text"]) == ("stopped", "Half an answer")
            server.kill()
            server.start()
            assert server.turns(session) == turns
            upstream.answer = lambda body: answers("Done.")
            assert server.finished(server.ask(session, "Go on"))["text"] == "Done."


def test_a_database_that_does_not_answer_is_unavailable_and_the_server_goes_on(
    folder: Path,
) -> None:
    upstream = OpenAIServer()
    upstream.answer = lambda body: answers("Every Sunday [1].")
    with postgres_server() as database:
        (folder / "agentkit.toml").write_text(f'[serve]\nsessions = "{database.url}"\n')
        _trust(folder)
        with served(folder, upstream) as server:
            session = server.session()
            first = server.finished(server.ask(session))
            with database.frozen():
                for _ in range(2):
                    refused = server.client.get("/api/sessions")
                    assert refused.status_code == 503
                    assert refused.headers["retry-after"]
                assert server.get("/health") == {"status": "ok"}
            deadline = time.monotonic() + 30
            while server.client.get("/api/sessions").status_code != 200:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            assert server.turns(session) == [first]
            assert server.finished(server.ask(session))["text"] == "Every Sunday [1]."


def _trust(folder: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "agentkit", "trust", str(folder)],
        check=True,
        capture_output=True,
    )
