"""Who may call what: every route with every kind of key."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from agentkit import Project, ScriptedModel
from agentkit.server.app import create_app
from agentkit.server.auth import ROLES, Role, RoleRequirement, current
from agentkit.server.guard import OPEN_PATHS
from agentkit.server.keys import PREFIX, KeyStore
from tests.server.conftest import Serve

WITHOUT_ROLE = {
    "/",
    "/api/events",
    "/api/state",
    "/docs",
    "/logout",
    "/metrics",
    "/openapi.json",
    "/ready",
    "/static/{path}",
    "/v1/audio/{rest}",
    "/v1/models",
    "/v1/models/{model_id}",
}
"""Routes that any valid key may call."""


def routes(folder: Path) -> list[tuple[str, str, frozenset[Role], bool]]:
    """Each route: its method, its path, the roles that it demands, and whether it demands a key."""
    app = create_app(Project.open(folder, model="extractive"))
    found = []
    for context in iter_route_contexts(app.routes):
        path = re.sub(r":\w+}", "}", context.path or "")
        route = context.original_route
        assert isinstance(route, APIRoute), path
        calls = [dependant.call for dependant in _all(route.dependant)]
        roles = frozenset(call.role for call in calls if isinstance(call, RoleRequirement))
        has_identity = bool(roles) or current in calls
        found += [(method, path, roles, has_identity) for method in sorted(route.methods or ())]
    return found


def _all(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for each in dependant.dependencies:
        yield from _all(each)


def filled(path: str) -> str:
    return re.sub(r"{\w+}", "1", path)


@pytest.fixture
async def guarded(serve: Serve) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a server that demands keys."""
    async with serve(ScriptedModel([]), needs_key=True) as client:
        yield client


async def test_every_route_refuses_whoever_has_no_valid_key(
    guarded: httpx2.AsyncClient, folder: Path
) -> None:
    store = KeyStore(folder)
    revoked = store.add("revoked")
    store.revoke("revoked")
    wrong = [{}, *({"authorization": f"Bearer {key}"} for key in (revoked, PREFIX + "x", "x", ""))]
    wrong += [{"cookie": f"agentkit_key={revoked}"}, {"authorization": "Basic YTpi"}]
    answered: dict[tuple[str, str], set[int]] = {}
    for method, path, _, _ in routes(folder):
        if path not in OPEN_PATHS:
            statuses = [
                (await guarded.request(method, filled(path), headers=headers)).status_code
                for headers in wrong
            ]
            answered[method, path] = set(statuses)
    assert len(answered) > 10
    assert {key: found for key, found in answered.items() if found != {401}} == {}


async def test_every_route_refuses_a_key_without_its_role(
    guarded: httpx2.AsyncClient, folder: Path
) -> None:
    store = KeyStore(folder)
    headers = {
        role: {"authorization": f"Bearer {store.add(f'all-but-{role}', ROLES - {role})}"}
        for role in ROLES
    }
    allowed = {}
    for method, path, roles, _ in routes(folder):
        for role in roles:
            response = await guarded.request(method, filled(path), headers=headers[role], json={})
            if response.status_code not in (403, 404):
                allowed[method, path, role] = response.status_code
    assert allowed == {}


def test_a_route_without_a_role_is_one_that_any_key_may_call(folder: Path) -> None:
    found = routes(folder)
    assert {path for _, path, roles, _ in found if not roles} - OPEN_PATHS == WITHOUT_ROLE
    assert {path for _, path, _, has_identity in found if not has_identity} == OPEN_PATHS


async def test_health_and_the_sign_in_form_are_open(guarded: httpx2.AsyncClient) -> None:
    assert (await guarded.get("/health")).json() == {"status": "ok"}
    page = await guarded.get("/", headers={"accept": "text/html"})
    assert page.status_code == 401
    assert 'action="/login"' in page.text


async def test_a_browser_signs_in_with_a_key_and_signs_out(
    guarded: httpx2.AsyncClient, folder: Path
) -> None:
    key = KeyStore(folder).add("alice")
    assert (await guarded.post("/login", data={"key": "wrong"})).status_code == 401
    signed_in = await guarded.post("/login", data={"key": key})
    cookie = signed_in.headers["set-cookie"]
    assert signed_in.status_code == 303
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    state = await guarded.get("/api/state")
    assert state.json()["identity"]["name"] == "alice"
    guarded.cookies.clear()
    assert (await guarded.get("/api/state")).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [{"x-forwarded-for": "203.0.113.9"}, {"forwarded": "for=203.0.113.9"}, {"host": "notes.lan"}],
)
async def test_a_request_through_a_proxy_needs_a_key(serve: Serve, headers: Any) -> None:
    async with serve(hosts=["notes.lan"]) as client:
        assert (await client.get("/v1/models")).status_code == 200
        assert (await client.get("/v1/models", headers=headers)).status_code == 401


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_beyond_the_bound_is_refused(serve: Serve, chunked: bool) -> None:
    body = b'{"messages": [{"role": "user", "content": "' + b"x" * 17 * 2**20 + b'"}]}'

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    async with serve() as client:
        response = await client.post(
            "/v1/chat/completions",
            content=pieces() if chunked else body,
            headers={"content-type": "application/json"},
        )
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "too_large"


async def test_every_response_has_the_headers_that_protect_a_browser(serve: Serve) -> None:
    async with serve() as client:
        for path in ("/v1/models", "/nothing", "/health", "/"):
            headers = (await client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert "default-src 'self'" in headers["content-security-policy"]
            assert "unsafe-inline" not in headers["content-security-policy"]
            assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(("roles", "status"), [(ROLES, 200), (ROLES - {"approve"}, 401)])
async def test_mcp_needs_a_key_that_may_ask_and_approve(
    folder: Path, roles: frozenset[Role], status: int
) -> None:
    key = KeyStore(folder).add("alice", roles)
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    project = Project.open(folder, model="extractive", trust=True)
    project.in_background = True
    app = create_app(project, start_project=True)
    headers = {"accept": "application/json, text/event-stream", "authorization": f"Bearer {key}"}
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1"
        ) as client,
    ):
        assert (await client.post("/mcp", json=hello)).status_code == 401
        assert (await client.post("/mcp", json=hello, headers=headers)).status_code == status


async def test_every_route_of_a_session_and_its_runs_is_closed_to_another_key(
    guarded: httpx2.AsyncClient, folder: Path
) -> None:
    store = KeyStore(folder)
    alice, bob = ({"authorization": f"Bearer {store.add(name)}"} for name in ("alice", "bob"))
    session = (await guarded.post("/api/sessions", json={}, headers=alice)).json()["id"]
    asked = {"question": "Hello?"}
    turns = f"/api/sessions/{session}/turns"
    run = (await guarded.post(turns, json=asked, headers=alice)).json()["run"]
    for own in (f"/api/sessions/{session}", f"/api/runs/{run}/events"):
        assert (await guarded.get(own, headers=alice)).status_code == 200
    rest = {"turns": asked, "fork": {"turn": 0}, "": {"title": "Mine"}}
    bodies = {f"/api/sessions/{{session_id}}/{name}".rstrip("/"): rest[name] for name in rest}
    bodies["/api/runs/{run_id}/calls/{call_id}"] = {"decision": "allow"}
    answered = {}
    for method, path, _, _ in routes(folder):
        if "{session_id}" in path or "{run_id}" in path:
            target = filled(path.replace("{session_id}", session).replace("{run_id}", run))
            response = await guarded.request(method, target, headers=bob, json=bodies.get(path))
            answered[method, path] = response.status_code
    assert len(answered) >= 10
    assert {key: status for key, status in answered.items() if status != 404} == {}
    assert (await guarded.get("/api/sessions", headers=bob)).json()["sessions"] == []
