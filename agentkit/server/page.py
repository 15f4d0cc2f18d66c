"""The web page: its document and its static files, which the browser checks for a newer version."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from agentkit.server.auth import current

FOLDER = Path(__file__).with_name("static")
INDEX = "index.html"

# Some systems register other types for these suffixes, which `nosniff` then refuses.
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}

router = APIRouter(include_in_schema=False, dependencies=[Depends(current)])
_files = StaticFiles(directory=FOLDER)


@router.api_route("/", methods=["GET", "HEAD"])
async def index(request: Request) -> Response:
    """The page."""
    return await static(INDEX, request)


@router.api_route("/static/{path:path}", methods=["GET", "HEAD"])
async def static(path: str, request: Request) -> Response:
    """A file of the page, or 304 where the browser has it."""
    response = await _files.get_response(path, request.scope)
    response.headers["cache-control"] = "no-cache"
    if "content-type" in response.headers and (kind := _TYPES.get(Path(path).suffix)):
        response.headers["content-type"] = kind
    return response
