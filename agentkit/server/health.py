"""Whether the server lives and is ready, its measurements, and the form that takes a key."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Scope

from agentkit.server.auth import current
from agentkit.server.errors import ApiError
from agentkit.server.guard import CONTENT_POLICY, COOKIE, Access
from agentkit.server.metrics import CONTENT_TYPE
from agentkit.server.service import Server

router = APIRouter(tags=["server"])

FORM = Path(__file__).with_name("static") / "sign-in.html"
_REFUSED = '<p class="refused" role="alert">This key is not known.</p>'


@router.get("/health")
def health() -> dict[str, str]:
    """Whether the process answers."""
    return {"status": "ok"}


@router.get("/ready", dependencies=[Depends(current)])
def ready(server: Server) -> dict[str, str]:
    """Whether questions can be answered: the index is up to date, the server is not stopping."""
    if server.is_stopping or server.is_indexing:
        reason = "The server is stopping." if server.is_stopping else "The index is being updated."
        raise ApiError(503, reason, "not_ready", headers={"retry-after": "5"})
    return {"status": "ready"}


@router.get("/metrics", dependencies=[Depends(current)])
def metrics(server: Server) -> Response:
    """The measurements, in Prometheus' text format."""
    return Response(server.metrics.text(), headers={"content-type": CONTENT_TYPE})


@router.post("/login", include_in_schema=False)
def login(request: Request, key: Annotated[str, Form(max_length=200)]) -> Response:
    """Take a key from the form, and keep it in a cookie that scripts cannot read."""
    access: Access = request.app.state.access
    if access.keys.find(key) is None:
        return _sign_in(_REFUSED)
    response = RedirectResponse("/", 303)
    is_secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, key, httponly=True, samesite="strict", secure=is_secure)
    return response


@router.post("/logout", include_in_schema=False, dependencies=[Depends(current)])
def logout() -> Response:
    """Forget the key of the page."""
    response = RedirectResponse("/", 303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


def sign_in_page(scope: Scope, headers: Headers) -> ASGIApp | None:
    """The form that takes a key, for a browser that asks for a page without one."""
    if scope["method"] != "GET" or "text/html" not in headers.get("accept", ""):
        return None
    return _sign_in()


def _sign_in(note: str = "") -> Response:
    """The form, whose own style the content policy allows by its hash: nothing else can be loaded
    without a key."""
    form, style_hash = _form()
    policy = f"{CONTENT_POLICY}; style-src 'sha256-{style_hash}'"
    page = form.replace("<!-- note -->", note)
    return HTMLResponse(page, 401, {"content-security-policy": policy})


@cache
def _form() -> tuple[str, str]:
    """The HTML of the form, and the SHA-256 of its style in base64."""
    form = FORM.read_text(encoding="utf-8")
    style = form.partition("<style>")[2].partition("</style>")[0]
    return form, b64encode(sha256(style.encode()).digest()).decode()
