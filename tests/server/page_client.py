"""A client of the page's API that reads the events of an answer as they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from fastapi import FastAPI

from agentkit import Model, Project, Tool
from agentkit.server.app import create_app
from agentkit.settings.schema import ServeSettings

Json = dict[str, Any]


@dataclass(frozen=True)
class PageEvent:
    """An event of an answer."""

    number: int
    kind: str
    data: Json


@dataclass
class Page:
    """A served folder as the page of one identity sees it."""

    app: FastAPI
    client: httpx2.AsyncClient
    headers: dict[str, str] = field(default_factory=dict)

    async def request(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        """The JSON of a response of this status."""
        answer = await self.client.request(method, path, headers=self.headers, **options)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def get(self, path: str, status: int = 200, **options: Any) -> Any:
        return await self.request("GET", path, status, **options)

    async def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        return await self.request("POST", path, status, json=body)

    async def session(self) -> str:
        """A new session's id."""
        return str((await self.post("/api/sessions", {}, 201))["id"])

    async def ask(self, session: str, question: str, **options: Any) -> str:
        """Ask, and give the run's id."""
        body = {"question": question, **options}
        return str((await self.post(f"/api/sessions/{session}/turns", body, 202))["run"])

    async def turns(self, session: str) -> list[Json]:
        """The turns of a session."""
        found: list[Json] = (await self.get(f"/api/sessions/{session}"))["turns"]
        return found

    async def answered(self, session: str, question: str, **options: Any) -> Json:
        """The turn of a question, when it has ended or calls wait."""
        return await self.ended(await self.ask(session, question, **options))

    async def ended(self, run: str) -> Json:
        """The last turn of a run's events, when it has ended or calls wait."""
        found: Json = {}
        async with self.events(run) as events:
            async for event in events:
                if event.kind == "turn" and event.data["state"] != "running":
                    found = event.data
                    break
        return found

    async def finished(self, run: str) -> Json:
        """The last turn of a run's events, which may have paused before."""
        async with self.events(run) as events:
            return [event.data async for event in events if event.kind == "turn"][-1]

    @asynccontextmanager
    async def events(self, run: str, after: int = 0) -> AsyncIterator[AsyncIterator[PageEvent]]:
        """The events of a run, as they come."""
        body: asyncio.Queue[bytes] = asyncio.Queue()
        gone = asyncio.Event()
        statuses: list[int] = []

        async def receive() -> Json:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
                return
            await body.put(message.get("body", b""))
            if not message.get("more_body"):
                await body.put(b"")

        headers = {"host": "127.0.0.1", **self.headers}
        if after:
            headers["last-event-id"] = str(after)
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": f"/api/runs/{run}/events",
            "raw_path": f"/api/runs/{run}/events".encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }

        async def read() -> AsyncIterator[PageEvent]:
            held = b""
            while piece := await body.get():
                held += piece
                while b"\n\n" in held:
                    block, _, held = held.partition(b"\n\n")
                    if event := _parse(block.decode()):
                        yield event
            assert statuses == [200], held

        task = asyncio.create_task(self.app(scope, receive, send))
        try:
            yield read()
        finally:
            gone.set()
            await asyncio.wait({task})


def _parse(block: str) -> PageEvent | None:
    """An event of a stream, None for a comment."""
    fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
    if not fields:
        return None
    return PageEvent(int(fields["id"]), fields["event"], json.loads(fields["data"]))


@asynccontextmanager
async def open_page(
    folder: Path,
    model: Model | None = None,
    tools: tuple[Tool, ...] = (),
    settings: ServeSettings | None = None,
    *,
    in_background: bool = False,
    **options: Any,
) -> AsyncIterator[Page]:
    """Serve a folder. `model` answers in place of the extractive one, with further tools; with
    `in_background` the documents are indexed after the start, as `agentkit serve` does it."""
    opened = Project.open(folder, model="extractive", trust=True)
    opened.in_background = in_background
    async with opened as project:
        if model is not None:
            project.agent.model = model
        project.agent.tools = (*project.agent.tools, *tools)
        app = create_app(project, settings, **{"needs_key": False, **options})
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
        ):
            yield Page(app, client)


OpenPage = Callable[..., Any]
