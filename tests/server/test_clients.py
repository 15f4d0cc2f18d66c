"""Clients that people use, against `agentkit serve` as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from agentkit import Agent, OpenAIModel, tool
from tests.node import FOLDER, with_node
from tests.server.conftest import NOTES
from tests.server.process import Served, serve_process
from tests.servers.openai_server import OpenAIServer, Reply, call, calls, text
from tests.servers.running import serving

pytestmark = pytest.mark.slow

ANSWER = "A backup is kept for 90 days [1]."
QUESTION: Any = [{"role": "user", "content": "How long is a backup kept?"}]
LOCATION = "You are in Basel."


def answer(body: dict[str, Any]) -> Reply:
    """The reply of a scripted model: a call of the client's tool, or an answer."""
    last = body["messages"][-1]
    tools = [each["function"]["name"] for each in body.get("tools", ())]
    if last["role"] == "tool" and last["content"].endswith("Basel"):
        return Reply(text(LOCATION))
    if "locate" in tools:
        return Reply(calls(call("{}", "locate", 0, "c1")), finish="tool_calls")
    return Reply(text(*ANSWER.split(" ")[:1], *(f" {word}" for word in ANSWER.split(" ")[1:])))


@pytest.fixture(scope="module")
def upstream() -> Iterator[OpenAIServer]:
    """The model's server."""
    server = OpenAIServer()
    with serving(server.app) as url:
        server.url = f"{url}/v1"
        yield server


@pytest.fixture(scope="module")
def served(upstream: OpenAIServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A served folder whose model is the scripted one."""
    folder = tmp_path_factory.mktemp("served") / "notes"
    (folder / "knowledge").mkdir(parents=True)
    (folder / "knowledge" / "storage.md").write_text(NOTES, encoding="utf-8")
    options = ("--model", "openai:small", "--base-url", upstream.url)
    environ = {"OPENAI_API_KEY": "test", "XDG_CONFIG_HOME": str(folder.parent / "config")}
    with serve_process(folder, *options, environ=environ) as found:
        yield found


@pytest.fixture(autouse=True)
def _answers(upstream: OpenAIServer) -> None:
    upstream.reset()
    upstream.answer = answer


@with_node
def test_openais_node_sdk(served: Served) -> None:
    script = FOLDER.path / "client.mjs"
    script.write_text(Path(__file__).with_name("client.mjs").read_text("utf-8"), "utf-8")
    done = subprocess.run(
        [FOLDER.node, str(script), f"{served.url}/v1"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["models"] == ["notes"]
    assert found["text"] == found["streamed"] == found["response"] == ANSWER
    assert found["cited"] == 1
    assert found["tokens"] > 0
    assert found["called"] == "locate"
    assert found["answered"] == LOCATION
    assert found["events"][0] == "response.created"
    assert found["events"][-1] == "response.completed"
    assert found["dimensions"] == [384, 384]
    assert found["error"] == [404, "model_not_found"]


def test_langchain_openai(served: Served) -> None:
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="notes", base_url=f"{served.url}/v1", api_key="none")  # type: ignore[arg-type]
    assert model.invoke("How long is a backup kept?").content == ANSWER
    pieces = [str(chunk.content) for chunk in model.stream("How long is a backup kept?")]
    assert "".join(pieces) == ANSWER
    assert len(pieces) > 3

    def locate() -> str:
        """Where the user is."""
        return "Basel"

    bound, question = model.bind_tools([locate]), HumanMessage("Where am I?")
    called: Any = bound.invoke([question])
    assert [each["name"] for each in called.tool_calls] == ["locate"]
    result = ToolMessage(locate(), tool_call_id=called.tool_calls[0]["id"])
    assert bound.invoke([question, called, result]).content == LOCATION


def test_llm(served: Served, tmp_path: Path) -> None:
    settings = {"model_id": "ours", "model_name": "notes", "api_base": f"{served.url}/v1"}
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps([settings]), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "llm", "-m", "ours", "--no-log", "How long is a backup kept?"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={
            **os.environ,
            "LLM_USER_PATH": str(tmp_path),
            "LLM_LOAD_PLUGINS": "",
            "OPENAI_API_KEY": "none",
        },
    )
    assert done.stdout.strip() == ANSWER, done.stderr


async def test_our_own_backend(served: Served) -> None:
    model = OpenAIModel("notes", base_url=f"{served.url}/v1", api_key="none")

    @tool
    def locate() -> str:
        """Where the user is."""
        return "Basel"

    async with Agent(model, [locate]) as agent:
        assert (await agent.run("Where am I?")).text == LOCATION
    await model.close()


async def test_an_mcp_client(served: Served) -> None:
    from mcp import Client

    async with Client(f"{served.url}/mcp") as client:
        tools = {each.name for each in (await client.list_tools()).tools}
        found: Any = await client.call_tool("search_knowledge", {"query": "How long is it kept?"})
    assert {"ask", "search_knowledge", "read_document"} <= tools
    assert "90 days" in found.content[0].text


def test_the_model_is_stopped_when_the_client_goes(served: Served, upstream: OpenAIServer) -> None:
    upstream.answer = None
    upstream.replies(Reply(text("One", "Two"), stalls=True))
    body = {"messages": QUESTION, "stream": True}
    with httpx2.Client(base_url=served.url, timeout=30) as client:
        with client.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = response.iter_lines()
            while '"Two"' not in next(lines):
                pass
        assert upstream.left.wait(20)
        assert "agentkit_running 0.0" in client.get("/metrics").text


def test_the_model_is_stopped_when_a_client_that_waits_goes(
    served: Served, upstream: OpenAIServer
) -> None:
    upstream.answer = None
    upstream.replies(Reply(text("One"), stalls=True))
    with pytest.raises(httpx2.TimeoutException):
        httpx2.post(f"{served.url}/v1/chat/completions", json={"messages": QUESTION}, timeout=3)
    assert upstream.left.wait(20)


def test_a_model_that_breaks_in_mid_stream_is_an_error_event(
    served: Served, upstream: OpenAIServer
) -> None:
    upstream.answer = None
    upstream.replies(Reply(text("One", "Two"), reset=True))
    body = {"messages": QUESTION, "stream": True}
    answer = httpx2.post(f"{served.url}/v1/chat/completions", json=body, timeout=60)
    events = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    assert json.loads(events[-1].removeprefix("data: "))["error"]["message"]


def test_a_stopped_server_finishes_the_answer_that_is_being_written(
    upstream: OpenAIServer, tmp_path: Path
) -> None:
    (tmp_path / "notes" / "knowledge").mkdir(parents=True)
    upstream.answer = lambda body: Reply(text(*["word "] * 3))
    options = ("--model", "openai:small", "--base-url", upstream.url)
    with serve_process(tmp_path / "notes", *options, environ={"OPENAI_API_KEY": "x"}) as found:
        client = OpenAI(api_key="none", base_url=f"{found.url}/v1", max_retries=0)
        stream = client.chat.completions.create(model="notes", messages=QUESTION, stream=True)
        first = next(iter(stream))
        found.process.send_signal(signal.SIGTERM)
        written = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        began = time.monotonic()
        assert found.process.wait(30) == 0
    assert first.object == "chat.completion.chunk"
    assert written == "word word word "
    assert time.monotonic() - began < 30
