"""Our server over HTTP with the SDK's client, in both versions of the protocol, and attacks."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.subscriptions import ResourcesListChanged, ResourceUpdated
from starlette.applications import Starlette
from starlette.routing import Mount

from agentkit.documents import Document
from agentkit.errors import ConfigError
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.mcp.server import build_server
from agentkit.mcp.server.http import (
    Access,
    KeyVerifier,
    McpLimits,
    host_and_port,
    mcp_app,
    serve_http,
)
from agentkit.tools.tool import tool
from tests.servers.http_sessions import ACCEPT, INITIALIZE

KEY = "a key that is long enough"


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    knowledge = KnowledgeBase.open(tmp_path_factory.mktemp("index"))
    knowledge.add_sync([Document(source="pets.md", title="Pets", text="# Cats\n\nCats purr.\n")])
    yield knowledge
    knowledge.close()


@asynccontextmanager
async def served(app: Starlette, **options: Any) -> AsyncIterator[str]:
    """The app on a port of its own, ended the way a signal ends it."""
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve_http(app, "127.0.0.1", 0, on_ready=ready.set_result, **options)
    )
    waiting: set[asyncio.Future[Any]] = {serving, ready}
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield await ready
    finally:
        serving.cancel()
        await asyncio.wait({serving})


def caller(
    app: Starlette, client: tuple[str, int] = ("127.0.0.1", 1)
) -> AbstractAsyncContextManager[httpx2.AsyncClient]:
    """Requests to an app without a socket, from any address."""

    @asynccontextmanager
    async def entered() -> AsyncIterator[httpx2.AsyncClient]:
        transport = httpx2.ASGITransport(app=app, client=client)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(
                transport=transport, base_url="http://localhost", headers=ACCEPT
            ) as requests,
        ):
            yield requests

    return entered()


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_a_client_searches_and_reads_over_http(notes: KnowledgeBase, era: str) -> None:
    async with (
        served(mcp_app(build_server("demo", knowledge=notes))) as url,
        Client(url, mode=era) as client,
    ):
        found = await client.call_tool("search_knowledge", {"query": "cats"})
        assert found.structured_content is not None
        assert found.structured_content["hits"][0]["source"] == "pets.md"
        (listed,) = (await client.list_resources()).resources
        (read,) = (await client.read_resource(listed.uri)).contents
        assert read.text == "# Cats\n\nCats purr.\n"  # type: ignore[union-attr]


async def test_a_listener_of_the_stateless_protocol_is_notified_of_changes(tmp_path: Path) -> None:
    with closing(KnowledgeBase.open(tmp_path)) as knowledge:
        await knowledge.add([Document(source="pets.md", text="Cats purr.\n")])
        app = mcp_app(build_server("demo", knowledge=knowledge, watch_seconds=0.05))
        async with served(app) as url, Client(url) as client:
            uri = (await client.list_resources()).resources[0].uri
            async with (
                client.listen(resources_list_changed=True, resource_subscriptions=[uri]) as changes,
                asyncio.timeout(60),
            ):
                await knowledge.add([Document(source="pets.md", text="Cats purr. Dogs bark.\n")])
                assert await anext(changes) == ResourceUpdated(uri)
                await knowledge.add([Document(source="new.md", text="New.\n")])
                assert await anext(changes) == ResourcesListChanged()


async def test_the_app_works_within_another() -> None:
    inner = mcp_app(build_server("demo"))
    outer = Starlette(routes=[Mount("/tools", app=inner)], lifespan=inner.router.lifespan_context)
    async with caller(outer) as requests:
        assert (await requests.post("/tools/mcp", json=INITIALIZE)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "evil.example.org"}, 421),
        ({"Host": "localhost.evil.example.org"}, 421),
        ({"Host": "localhost@evil.example.org"}, 421),
        ({"Host": "10.0.0.1"}, 421),
        ({"Host": ""}, 421),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "https://evil.example.org"}, 403),
        ({"Origin": "http://localhost.evil.example.org"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://app.example.org"}, 403),
    ],
)
async def test_a_foreign_host_or_origin_is_refused(headers: dict[str, str], status: int) -> None:
    async with caller(mcp_app(build_server("demo"))) as requests:
        assert (await requests.post("/mcp", json=INITIALIZE, headers=headers)).status_code == status


async def test_configured_hosts_and_origins_may_call() -> None:
    access = Access(hosts=("notes.example.org",), origins=("https://app.example.org",))
    async with caller(mcp_app(build_server("demo"), access)) as requests:
        for headers in (
            {"Host": "notes.example.org"},
            {"Origin": "https://app.example.org"},
            {"Origin": "https://notes.example.org"},
        ):
            answer = await requests.post("/mcp", json=INITIALIZE, headers=headers)
            assert answer.status_code == 200


async def test_without_a_key_only_this_machine_may_call() -> None:
    async with caller(mcp_app(build_server("demo")), client=("10.0.0.7", 5)) as requests:
        assert (await requests.post("/mcp", json=INITIALIZE)).status_code == 403


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (None, 401),
        ("Bearer", 401),
        ("Bearer wrong", 401),
        (f"Bearer {KEY} ", 200),
        (f"Bearer {KEY}x", 401),
        (f"Basic {KEY}", 401),
        (f"bearer {KEY}", 200),
    ],
)
async def test_a_wrong_key_is_refused(given: str | None, status: int) -> None:
    app = mcp_app(build_server("demo"), Access(verifier=KeyVerifier(KEY)))
    headers = {"Authorization": given} if given else {}
    async with caller(app, client=("10.0.0.7", 5)) as requests:
        answer = await requests.post("/mcp", json=INITIALIZE, headers=headers)
    assert answer.status_code == status
    assert status == 200 or answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_client_with_the_key_is_served(notes: KnowledgeBase) -> None:
    app = mcp_app(build_server("demo", knowledge=notes), Access(verifier=KeyVerifier(KEY)))
    async with (
        served(app, has_verifier=True) as url,
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}) as keyed,
        Client(streamable_http_client(url, http_client=keyed)) as client,
    ):
        assert (await client.list_tools()).tools


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_that_is_too_large_is_refused(declared: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b" " * 1000

    body: Any = b" " * 5000 if declared else pieces()
    async with caller(mcp_app(build_server("demo"), limits=McpLimits(body_bytes=4096))) as requests:
        answer = await requests.post(
            "/mcp", content=body, headers={"Content-Type": "application/json"}
        )
    assert answer.status_code == 413


async def test_a_form_of_a_web_page_is_refused() -> None:
    async with caller(mcp_app(build_server("demo"))) as requests:
        answer = await requests.post("/mcp", content="{}", headers={"Content-Type": "text/plain"})
    assert answer.status_code in (400, 415)


async def test_sessions_cannot_be_guessed() -> None:
    async with caller(mcp_app(build_server("demo"))) as requests:
        opened = [(await requests.post("/mcp", json=INITIALIZE)) for _ in range(2)]
        names = {answer.headers["mcp-session-id"] for answer in opened}
        assert len(names) == 2
        assert all(re.fullmatch("[0-9a-f]{32}", name) for name in names)
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        headers = {"Mcp-Session-Id": "0" * 32}
        assert (await requests.post("/mcp", json=ping, headers=headers)).status_code == 404


async def test_an_idle_session_makes_room_and_one_in_use_does_not() -> None:
    ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
    app = mcp_app(build_server("demo"), limits=McpLimits(sessions=2))
    async with served(app) as url, httpx2.AsyncClient(headers=ACCEPT) as requests:

        async def open_session() -> dict[str, str]:
            opened = await requests.post(url, json=INITIALIZE)
            return {"Mcp-Session-Id": opened.headers.get("mcp-session-id", "")}

        async def status(session: dict[str, str]) -> int:
            return (await requests.post(url, json=ping, headers=session)).status_code

        first, second = await open_session(), await open_session()
        assert await status(first) == 200
        third = await open_session()
        assert [await status(each) for each in (first, second, third)] == [200, 404, 200]
        async with (
            requests.stream("GET", url, headers=first),
            requests.stream("GET", url, headers=third),
        ):
            refused = await requests.post(url, json=INITIALIZE)
            assert refused.status_code == 503
            assert await status(first) == 200


async def test_a_client_is_bounded_in_running_requests_and_rate() -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def wait() -> str:
        """Wait."""
        started.set()
        await release.wait()
        return "done"

    server = build_server("demo", tools=[tool(wait)])
    key = Access(verifier=KeyVerifier(KEY))
    headers = ACCEPT | {"Authorization": f"Bearer {KEY}"}
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "wait"}}
    async with (
        served(mcp_app(server, key, McpLimits(running=1)), has_verifier=True) as url,
        httpx2.AsyncClient(headers=headers) as requests,
    ):
        opened = await requests.post(url, json=INITIALIZE)
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
        running = asyncio.create_task(requests.post(url, json=call, headers=session))
        await started.wait()
        refused = await requests.post(url, json=INITIALIZE)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        release.set()
        assert "done" in (await running).text
        assert (await requests.post(url, json=INITIALIZE)).status_code == 200
    async with caller(mcp_app(build_server("demo"), limits=McpLimits(per_minute=20))) as requests:
        answers = [await requests.post("/mcp", json=INITIALIZE) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 0 < int(answers[2].headers["retry-after"]) <= 3


async def test_half_sent_bodies_do_not_count_against_a_client() -> None:
    app = mcp_app(build_server("demo"), limits=McpLimits(sessions=1, running=1))
    async with served(app) as url, httpx2.AsyncClient(headers=ACCEPT) as requests:
        port = int(re.findall(r":(\d+)/", url)[0])
        head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n\r\n{"
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for _, writer in slow:
            writer.write(head.encode())
            await writer.drain()
        assert (await requests.post(url, json=INITIALIZE)).status_code == 200
        for _, writer in slow:
            writer.close()


async def test_a_client_that_leaves_in_the_middle_of_a_body_opens_no_session(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = mcp_app(build_server("demo"), limits=McpLimits(sessions=1))
    async with served(app) as url, httpx2.AsyncClient(headers=ACCEPT) as requests:
        opened = await requests.post(url, json=INITIALIZE)
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
        port = int(re.findall(r":(\d+)/", url)[0])
        accept = "".join(f"{name}: {value}\r\n" for name, value in ACCEPT.items())
        head = (
            f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{accept}"
        )
        for framing in ("Content-Length: 999\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n5\r\n{"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"{head}{framing}".encode())
            await writer.drain()
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        assert (await requests.post(url, json=ping, headers=session)).status_code == 200
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("host", ["0.0.0.0", "example.org", "10.0.0.1", "::"])
async def test_other_addresses_need_a_key(host: str) -> None:
    with pytest.raises(ConfigError, match="--key-env"):
        await serve_http(mcp_app(build_server("demo")), host, 0)


async def test_a_port_in_use_is_an_error_with_the_next_step() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f":{port}: .*Choose another port"):
            await serve_http(mcp_app(build_server("demo")), "127.0.0.1", port)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="fewer than 16"):
        KeyVerifier("secret")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("8000", ("127.0.0.1", 8000)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("[::1]:80", ("::1", 80)),
        ("localhost:8000", ("localhost", 8000)),
    ],
)
def test_an_address_is_parsed(written: str, read: tuple[str, int]) -> None:
    assert host_and_port(written) == read


@pytest.mark.parametrize("written", ["", "x", "a:b", "host:", "1:2:3", "a@b:1", "h:1/x", "h:99999"])
def test_an_invalid_address_is_refused(written: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        host_and_port(written)
