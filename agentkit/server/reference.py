"""/docs: the HTTP API as one page without scripts, made from its OpenAPI description."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import HTMLResponse

from agentkit.server.auth import current

router = APIRouter(include_in_schema=False, dependencies=[Depends(current)])


@router.get("/openapi.json")
def openapi(request: Request) -> dict[str, Any]:
    """The OpenAPI description."""
    found: dict[str, Any] = request.app.openapi()
    return found


@router.get("/docs")
def reference(request: Request) -> HTMLResponse:
    """The routes with their parameters, bodies and responses."""
    description = request.app.openapi()
    title = f"{escape(description['info']['title'])} {escape(description['info']['version'])}"
    routes = "\n".join(_routes(description))
    return HTMLResponse(
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}: HTTP API</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<main><h1>{title}: HTTP API</h1>"
        "<p>Send a key as a bearer token where the server demands one. The description for "
        'programs: <a href="/openapi.json">openapi.json</a>.</p>'
        f"{routes}</main></html>"
    )


def _routes(description: Mapping[str, Any]) -> Iterator[str]:
    tag = ""
    for path, methods in description["paths"].items():
        for method, route in methods.items():
            if (found := " ".join(route.get("tags", ()))) != tag:
                tag = found
                yield f"<h2>{escape(tag)}</h2>"
            yield f"<h3><code>{escape(method.upper())} {escape(path)}</code></h3>"
            yield f"<p>{escape(route.get('description') or route.get('summary', ''))}</p>"
            yield from _parameters(route.get("parameters", ()))
            for schema in _bodies(route, description):
                yield f"<pre>{escape(json.dumps(schema, ensure_ascii=False, indent=1))}</pre>"


def _parameters(parameters: Any) -> Iterator[str]:
    for each in parameters:
        kind = each.get("schema", {}).get("type", "")
        about = f"{each['in']} {kind}".strip() + (", required" if each.get("required") else "")
        yield f"<p><code>{escape(each['name'])}</code> ({escape(about)})</p>"


def _bodies(route: Mapping[str, Any], description: Mapping[str, Any]) -> Iterator[Any]:
    """The schemas of a route's body, each with the names and types of its fields."""
    schemas = description.get("components", {}).get("schemas", {})
    for media in route.get("requestBody", {}).get("content", {}).values():
        name = media.get("schema", {}).get("$ref", "").rpartition("/")[2]
        schema = schemas.get(name, media.get("schema", {}))
        yield {
            key: value.get("type") or value.get("anyOf") or value.get("$ref") or value
            for key, value in schema.get("properties", {}).items()
        }
