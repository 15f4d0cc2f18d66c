"""Every program of examples/ runs and prints what it is about."""

from __future__ import annotations

import os
import runpy
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
OUTPUT = {
    "custom_model_and_embedder": ["Green tea brews at 75 degrees. [1] tea.md > Tea"],
    "langchain_interop": ["Hello from LangChain.", "word_count", "The fans start at 60 degrees."],
    "mcp_client": ["units__convert", "68 degrees."],
    "own_documents": ["Descale the machine every 200 cups.", "[1] coffee.md > Coffee machine"],
    "router": ["Invoice 7 is due. 3"],
    "structured_output": ["product='X200' urgency='high'"],
    "support_agent": ["Two are open. False 2"],
    "tenants": [
        "The office of Acme opens at 8. [1] acme/hours.md",
        "The office of Globex opens at 10. [1] globex/hours.md",
    ],
}
STARTS_PROCESSES = {"mcp_client"}
SERVED = {"approval_http", "fastapi_sse"}
COLLECTED = {"test_support_agent"}
"""Those that pytest runs where they are."""


def test_every_example_is_tested_and_listed() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert names == OUTPUT.keys() | SERVED | COLLECTED
    assert all(f"({name}.py)" in listed for name in names)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in STARTS_PROCESSES else [])
        for name in OUTPUT
    ],
)
def test_example_prints_its_result(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    output = capsys.readouterr()
    assert output.err == ""
    assert [part for part in OUTPUT[name] if part not in output.out] == []


async def test_endpoint_streams_tool_calls_text_and_the_end() -> None:
    async with _client("fastapi_sse") as client:
        response = await client.post("/ask", json={"text": "How is the weather?"})
    assert response.headers["content-type"].startswith("text/event-stream")
    events = [line for line in response.text.splitlines() if line]
    assert events[:2] == ["event: tool", 'data: "weather"']
    assert events[2:4] == ["event: text", 'data: "It is su"']
    assert events[-2:] == ["event: done", 'data: {"requests": 2}']


async def test_endpoint_takes_each_decision_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESSIONS", str(tmp_path / "sessions.sqlite"))
    async with _client("approval_http") as client:
        asked = (await client.post("/ask", params={"question": "Refund Ada."})).json()
        decisions = f"/sessions/{asked['session']}/decisions"
        verdict = {"call-1": {"allowed": True, "arguments": {"customer": "ada", "euros": 59}}}
        done = await client.post(decisions, json=verdict)
        again = await client.post(decisions, json=verdict)
        unknown = await client.post("/sessions/none/decisions", json=verdict)
    (call,) = asked["waiting"]
    assert (call["id"], call["arguments"]) == ("call-1", {"customer": "ada"})
    assert (done.json()["text"], done.json()["waiting"]) == ("Done.", [])
    assert [response.status_code for response in (done, again, unknown)] == [200, 409, 404]


@pytest.mark.slow
def test_another_process_resumes_what_the_first_paused(tmp_path: Path) -> None:
    with _served(tmp_path) as url:
        asked = httpx2.post(f"{url}/ask", params={"question": "Refund Ada."}).json()
    with _served(tmp_path) as url:
        decisions = f"{url}/sessions/{asked['session']}/decisions"
        done = httpx2.post(decisions, json={"call-1": {"allowed": True}}).json()
    assert (asked["text"], done["text"]) == ("", "Done.")


@asynccontextmanager
async def _client(name: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of an example's application, in this process."""
    app = runpy.run_path(str(EXAMPLES / f"{name}.py"))["app"]
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://app") as client:
        yield client


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """The address of a process that serves approval_http.py with the sessions of a folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "approval_http:app"]
    server = subprocess.Popen(
        [*command, "--port", str(port), "--log-level", "error"],
        env={**os.environ, "SESSIONS": str(folder / "sessions.sqlite")},
    )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while True:
            with suppress(httpx2.TransportError):
                httpx2.get(url)
                break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait()
