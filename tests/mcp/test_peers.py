"""The official SDKs' clients for TypeScript and Python with our server over stdio and HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters

from tests.cli.process import SECONDS
from tests.node import FOLDER, with_node
from tests.servers.http_sessions import ACCEPT, INITIALIZE

pytestmark = pytest.mark.slow

AGENTKIT = (sys.executable, "-m", "agentkit")
KEY = "a key that is long enough"
NOTES = "# Cats\n\nCats purr.\n"

releases = pytest.mark.parametrize("release", ["1", "2"])


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("app")
    (folder / "knowledge").mkdir()
    (folder / "knowledge" / "pets.md").write_text(NOTES)
    return folder


def command(app: Path, *more: str) -> tuple[str, ...]:
    return (*AGENTKIT, "mcp", "serve", "-C", str(app), "-m", "extractive", *more)


@contextmanager
def over_http(
    app: Path, *more: str, env: Mapping[str, str] = {}
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The shipped command on a port of its own, and its address."""
    with subprocess.Popen(
        command(app, "--http", "0", *more),
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
    ) as child:
        try:
            log = ""
            while not (url := re.search(r"http://\S+/mcp", log)):
                assert child.stderr is not None
                line = child.stderr.readline()
                assert line, log
                log += line
            yield url[0], child
        finally:
            child.kill()


async def peer(release: str, *target: str) -> dict[str, Any]:
    child = await asyncio.create_subprocess_exec(
        *(FOLDER.node, str(Path(__file__).with_name("peer.mjs"))),
        *(str(FOLDER.modules), release, *target),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, errors = await child.communicate()
    assert child.returncode == 0, errors.decode()
    return dict(json.loads(out))


def check(given: Mapping[str, Any], app: Path) -> None:
    assert given["server"] == app.name
    assert {"search_knowledge", "read_document", "ask"} <= set(given["tools"])
    assert (given["hit"], given["text"]) == ("pets.md", NOTES)
    assert given["kinds"] == ["text"]
    assert (given["completed"], given["messages"]) == (["pets.md"], 2)


@with_node
@releases
async def test_the_typescript_client_uses_our_server_over_stdio(app: Path, release: str) -> None:
    check(await peer(release, *command(app)), app)


@with_node
@releases
async def test_the_typescript_client_uses_our_server_over_http(app: Path, release: str) -> None:
    with over_http(app) as (url, _):
        check(await peer(release, url), app)


async def test_the_python_client_uses_the_command_over_stdio(app: Path) -> None:
    python, *arguments = command(app)
    parameters = StdioServerParameters(command=python, args=arguments, env=dict(os.environ))
    async with Client(parameters) as client:
        steps: list[str | None] = []

        async def noted(progress: float, total: float | None, message: str | None) -> None:
            steps.append(message)

        asked = await client.call_tool(
            "ask", {"question": "What do cats do?"}, progress_callback=noted
        )
    assert asked.structured_content is not None
    (citation,) = asked.structured_content["citations"]
    assert f"Cats purr. [{citation['marker']}]" in asked.structured_content["answer"]
    assert steps == ["calls search_knowledge"]


async def test_the_command_requires_its_key_and_ends_with_open_streams(app: Path) -> None:
    with over_http(app, "--key-env", "THE_KEY", env={"THE_KEY": KEY}) as (url, child):
        async with httpx2.AsyncClient() as stranger:
            assert (await stranger.post(url, json={})).status_code == 401
        keyed = httpx2.AsyncClient(headers={"Authorization": f"Bearer {KEY}"})
        async with keyed:
            opened = await keyed.post(url, json=INITIALIZE, headers=ACCEPT)
            session = ACCEPT | {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
            async with keyed.stream("GET", url, headers=session) as stream:
                assert stream.status_code == 200
                child.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(child.wait, 30) == 0
        assert child.stderr is not None
        assert "Traceback" not in child.stderr.read()


@pytest.mark.parametrize(("stop", "code"), [("SIGTERM", 143), ("SIGINT", 130), ("EOF", 0)])
def test_the_command_leaves_quietly_while_a_question_is_asked(
    app: Path, stop: str, code: int
) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    model = ("-m", "openai:m", "--base-url", f"http://127.0.0.1:{silent.getsockname()[1]}/v1")
    with (
        silent,
        subprocess.Popen(
            (*AGENTKIT, "mcp", "serve", "-C", str(app), *model),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OPENAI_API_KEY": "key"},
        ) as child,
    ):
        assert child.stdin is not None
        assert child.stdout is not None
        ask = {"name": "ask", "arguments": {"question": "Why?"}, "_meta": {"progressToken": "t"}}
        for message in (
            INITIALIZE,
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": ask},
        ):
            print(json.dumps(message), file=child.stdin, flush=True)
        lines = [json.loads(child.stdout.readline()) for _ in range(3)]
        assert [line.get("method") for line in lines[1:]] == ["notifications/progress"] * 2
        if stop == "EOF":
            child.stdin.close()
        else:
            child.send_signal(getattr(signal, stop))
        assert child.wait(SECONDS) == code
        assert child.stderr is not None
        assert child.stderr.read() == ""


@pytest.mark.parametrize(
    ("options", "env", "code", "words"),
    [
        (("--http", "0.0.0.0:0"), {}, 3, "any machine could call"),
        (("--http", "0", "--key-env", "NO_KEY"), {}, 3, "NO_KEY has no key"),
        ((), {"AGENTKIT_MCP_DEPTH": "2"}, 10, "started each other"),
    ],
)
def test_invalid_serve_options_are_errors_in_a_line(
    app: Path, options: tuple[str, ...], env: dict[str, str], code: int, words: str
) -> None:
    done = subprocess.run(
        command(app, *options),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        timeout=SECONDS,
    )
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert done.stdout == ""
