"""`agentkit serve --workers 2`: two processes at one address, each reached by its own socket."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import openai
import psutil
import pytest

from agentkit.agent.pending import PausedRun, Pending
from agentkit.agent.session import Session
from agentkit.errors import AgentkitError
from agentkit.messages import Message, ToolCall
from agentkit.server.keys import KeyStore
from agentkit.server.paused_sessions import PausedSessions
from agentkit.server.peers import Worker
from agentkit.server.supervisor import MOST_DEATHS, Supervisor
from tests.server.process import Served, serve_process
from tests.servers.openai_server import OpenAIServer, Reply, text
from tests.servers.running import serving

Json = dict[str, Any]


@dataclass
class Workers:
    """Two workers, with a client of each one's own socket."""

    served: Served
    clients: list[httpx2.Client]

    def pid(self, index: int) -> int:
        """The process of a worker."""
        return next(pid for pid, worker in _workers(self.served) if worker.index == index)

    def owner(self, session: str) -> int:
        """The worker that answers in a session."""
        return Worker(0, 2, Path()).answers(f"/api/sessions/{session}")

    def session_of(self, index: int) -> str:
        """A new session in which a worker answers, made by the other one."""
        while True:
            created = self.clients[1 - index].post("/api/sessions", json={}).json()["id"]
            if self.owner(created) == index:
                return str(created)

    def ask(self, through: int, session: str, question: str = "When is a backup made?") -> str:
        """Ask through a worker, and give the run's id."""
        path = f"/api/sessions/{session}/turns"
        answer = self.clients[through].post(path, json={"question": question})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["run"])

    def events(self, through: int, run: str, after: int = 0) -> Iterator[tuple[int, str, Json]]:
        """The numbers, kinds and data of a run's events, read through a worker."""
        headers = {"last-event-id": str(after)} if after else {}
        path = f"/api/runs/{run}/events"
        with self.clients[through].stream("GET", path, headers=headers) as answer:
            number, kind = 0, ""
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    number = int(value)
                elif name == "event":
                    kind = value
                elif name == "data":
                    yield number, kind, json.loads(value)


@contextmanager
def two_workers(folder: Path, upstream: OpenAIServer, *options: str) -> Iterator[Workers]:
    """The folder served by two workers, with a model server."""
    with serving(upstream.app) as url:
        model = ("--model", "openai:small", "--base-url", f"{url}/v1")
        environ = {"OPENAI_API_KEY": "test"}
        with serve_process(folder, "--workers", "2", *model, *options, environ=environ) as served:
            found = sorted(_workers(served), key=lambda each: each[1].index)
            places = [str(worker.socket_path(worker.index)) for _, worker in found]
            clients = [
                httpx2.Client(
                    transport=httpx2.HTTPTransport(uds=place),
                    base_url="http://127.0.0.1",
                    timeout=60,
                )
                for place in places
            ]
            try:
                yield Workers(served, clients)
            finally:
                served.stop()
                for client in clients:
                    client.close()


def _workers(served: Served) -> Iterator[tuple[int, Worker]]:
    """The processes of the workers, and which they are."""
    for process in psutil.Process(served.process.pid).children():
        for argument in process.cmdline():
            if found := re.fullmatch("--worker=(.*)", argument):
                yield process.pid, Worker.parse(found[1])


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def answers(*pieces: str, **more: Any) -> Callable[[Json], Reply]:
    return lambda body: Reply(text(*pieces), **more)


@pytest.mark.slow
def test_openai_clients_and_metrics_see_one_server(folder: Path) -> None:
    upstream = OpenAIServer()
    upstream.answer = answers("Every ", "Sunday.")
    with two_workers(folder, upstream) as workers:
        ways: list[tuple[str, Any]] = [(workers.served.url, None)]
        ways += [("http://127.0.0.1", client) for client in workers.clients]
        for address, http in ways:
            client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", http_client=http)
            stream = client.chat.completions.create(
                model="notes", messages=[{"role": "user", "content": "When?"}], stream=True
            )
            pieces = [c.choices[0].delta.content or "" for c in stream if c.choices]
            assert "".join(pieces) == "Every Sunday."
        for each in workers.clients:
            assert 'agentkit_answers_total{stop_reason="stop"} 3.0' in each.get("/metrics").text


@pytest.mark.slow
def test_an_upload_through_one_worker_is_found_ways(folder: Path) -> None:
    upstream = OpenAIServer()
    upstream.answer = answers("Blue [1].")
    with two_workers(folder, upstream) as workers:
        notice = workers.clients[1].post(
            "/api/documents",
            files={"files": ("vault.md", b"# Vault\n\nThe vault is painted blue.")},
        )
        assert notice.status_code == 202, notice.text
        for client in workers.clients:
            until(partial(_is_indexed, client, "vault.md"))
            hits = client.get("/api/search", params={"q": "What colour is the vault?"}).json()
            assert hits["hits"][0]["passage"]["source"] == "vault.md"
        for index in (0, 1):
            session = workers.session_of(index)
            turn = [
                d for _, kind, d in workers.events(0, workers.ask(1, session)) if kind == "turn"
            ]
            assert turn[-1]["text"] == "Blue [1]."
            assert turn[-1]["passages"]


def _is_indexed(client: httpx2.Client, source: str) -> bool:
    found = client.get("/api/documents").json()["documents"]
    return (source, "indexed") in {(each["source"], each["state"]) for each in found}


@pytest.mark.slow
def test_an_answer_is_followed_resumed_and_stopped_through_the_other_worker(folder: Path) -> None:
    upstream = OpenAIServer()
    upstream.answer = answers("Half an ", "answer", stalls=True)
    with two_workers(folder, upstream) as workers:
        session = workers.session_of(0)
        run = workers.ask(1, session)
        before, so_far = 0, ""
        for number, kind, data in workers.events(1, run):
            if kind != "text":
                before = number
            elif (so_far := so_far + data["delta"]).endswith("answer"):
                break
        again = ""
        for number, kind, data in workers.events(1, run, after=before):
            assert (kind, number > before) == ("text", True)
            if (again := again + data["delta"]).endswith("answer"):
                break
        assert so_far == again == "Half an answer"
        for client in workers.clients:
            until(partial(_is_running, client, session))
        stopped = workers.clients[1].post(f"/api/runs/{run}/stop", json={}).json()
        assert (stopped["state"], stopped["text"]) == ("stopped", "Half an answer")
        assert upstream.left.wait(10)


def _is_running(client: httpx2.Client, session: str) -> bool:
    listed = client.get("/api/sessions").json()["sessions"]
    return [each["id"] for each in listed if each["running"]] == [session]


@pytest.mark.slow
def test_a_worker_that_is_killed_in_mid_answer_is_started_again_and_its_sessions_are_whole(
    folder: Path,
) -> None:
    upstream = OpenAIServer()
    upstream.answer = answers("Half an ", "answer", stalls=True)
    with two_workers(folder, upstream) as workers:
        session, other = workers.session_of(1), workers.session_of(0)
        run = workers.ask(0, session)
        for _, _, data in workers.events(0, run):
            if data.get("delta", "").endswith("answer"):
                break
        time.sleep(0.3)  # The last piece is on its way to the disk.
        killed = workers.pid(1)
        os.kill(killed, signal.SIGKILL)
        upstream.answer = answers("Every Sunday.")
        turns = [d for _, kind, d in workers.events(0, workers.ask(0, other)) if kind == "turn"]
        assert turns[-1]["text"] == "Every Sunday."
        turn = workers.clients[0].get(f"/api/sessions/{session}").json()["turns"][-1]
        assert (turn["state"], turn["text"]) == ("stopped", "Half an answer")
        again = [d for _, kind, d in workers.events(0, workers.ask(0, session)) if kind == "turn"]
        assert again[-1]["text"] == "Every Sunday."
        assert workers.pid(1) != killed


@pytest.mark.slow
def test_a_revoked_key_is_refused_by_all_workers(folder: Path) -> None:
    keys = KeyStore(folder)
    headers = {"authorization": f"Bearer {keys.add('alice')}"}
    (folder / "agentkit.toml").write_text("[serve]\nrequire_key = true\n")
    with two_workers(folder, OpenAIServer(), "--dev") as workers:
        paths = ("/api/state", "/api/documents", "/api/sessions/none")
        for client in workers.clients:
            for path in paths:
                assert client.get(path).status_code == 401
                assert client.get(path, headers=headers).status_code in (200, 404)
        keys.revoke("alice")
        for client in workers.clients:
            for path in paths:
                assert client.get(path, headers=headers).status_code == 401


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_supervisor(folder: Path, number: int) -> None:
    with serve_process(folder, "--workers", "2", "--model", "extractive") as served:
        workers = [psutil.Process(pid) for pid, _ in _workers(served)]
        assert len(workers) == 2
        served.stop(number)
        _, alive = psutil.wait_procs(workers, timeout=30)
        assert not alive


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise SystemExit(3)", "before it could serve"),
        (
            "import pathlib, sys; index, _, _, folder = sys.argv[-1].split('=')[1].split(':');"
            "pathlib.Path(folder, index + '.sock').touch(); import time; time.sleep(.3)",
            f"{MOST_DEATHS} workers ended within",
        ),
    ],
)
async def test_a_supervisor_gives_up_on_workers_that_die_at_once(program: str, reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        supervisor = Supervisor([sys.executable, "-c", program], 2, listener)
        with pytest.raises(AgentkitError, match=reason):
            await asyncio.wait_for(supervisor.run(), 60)


def test_a_paused_session_is_found_by_another_worker_for_its_own_client_alone(
    tmp_path: Path,
) -> None:
    history = [Message("user", "What is the weather?")]
    session = Session()
    session.add(history)
    calling = Message("assistant", "", tool_calls=(ToolCall("c1", "weather", {}),))
    session.pause(Pending(calling, (None,), PausedRun(begun=0)))
    PausedSessions(tmp_path / "paused").keep("alice", history, ["c1"], session)
    other = PausedSessions(tmp_path / "paused")
    found = other.find("alice", history, ["c1"])
    assert found is not None
    assert [call.id for call in found.waiting] == ["c1"]
    assert other.find("bob", history, ["c1"]) is None


def test_a_worker_that_starts_does_not_let_the_others_block_in_accept() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        inherited = os.dup(listener.fileno())
        with Worker(0, 2, Path(), inherited).shared as shared, shared.dup():
            assert not os.get_blocking(listener.fileno())
