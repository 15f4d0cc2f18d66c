"""Errors of the HTTP server: one exception, one JSON shape, and the status of each kind of error.

The shape is OpenAI's, `{"error": {"message", "type", "param", "code"}}`, with `next`, the step
that helps, which OpenAI's clients ignore.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from agentkit.errors import (
    AgentkitError,
    AlreadyDecided,
    ConfigError,
    FaultKind,
    KnowledgeError,
    LimitReached,
    ModelError,
    SessionBusy,
    SessionNotFound,
    StorageFull,
    StorageUnavailable,
    TrustError,
    value_error,
)
from agentkit.redaction import get_logger

log = get_logger(__name__)

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_MODEL_FAULTS: dict[FaultKind, tuple[int, str]] = {
    "rate_limited": (429, "upstream_rate_limited"),
    "down": (502, "model_unreachable"),
    "timed_out": (504, "model_timeout"),
    "too_long": (400, "context_length_exceeded"),
    "refused_key": (502, "model_refused_key"),
    "bad_request": (400, "model_refused_request"),
    "other": (502, "model_error"),
}
_STATUSES: tuple[tuple[type[AgentkitError], int, str], ...] = (
    (SessionNotFound, 404, "session_not_found"),
    (SessionBusy, 409, "session_busy"),
    (StorageFull, 507, "disk_full"),
    (StorageUnavailable, 503, "sessions_unavailable"),
    (AlreadyDecided, 409, "already_decided"),
    (ConfigError, 400, "invalid_request"),
    (KnowledgeError, 503, "knowledge_unavailable"),
    (TrustError, 403, "not_trusted"),
)
_OPENAI_ROUTES = ("chat/completions", "responses", "embeddings", "models")
_OPENAI_PATHS = tuple(f"/{path}" for path in (*_OPENAI_ROUTES, "completions", "v1", "engines"))
_SENTENCE_END = re.compile(r"(?<=[.。])\s+(?=\S)")


class ApiError(HTTPException):
    """An error that a request is answered with."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str = "",
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, headers)
        self.code = code or _default_code(status)
        self.param = param

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object that describes the error."""
        kind = _TYPES.get(self.status_code, "invalid_request_error")
        message, _, step = self.detail.partition("\n")
        sentences = _SENTENCE_END.split(message)
        return {
            "error": {
                "message": message,
                "type": "api_error" if self.status_code >= 500 else kind,
                "param": self.param,
                "code": self.code,
                "next": step or (sentences[-1] if len(sentences) > 1 else ""),
            }
        }

    def response(self) -> Response:
        """The whole response."""
        content = json.dumps(self.body, ensure_ascii=False).encode("utf-8", "replace")
        headers = {"cache-control": "no-store", **(self.headers or {})}
        return Response(content, self.status_code, headers, "application/json")


def to_api_error(error: BaseException) -> ApiError:
    """The error that an exception is reported as. An unexpected one is logged, and reveals
    nothing of the server."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, LimitReached):
        return ApiError(422, str(error), "limit_reached")
    if isinstance(error, ModelError):
        status, code = _MODEL_FAULTS[error.kind]
        return ApiError(status, str(error), code)
    for kind, status, code in _STATUSES:
        if isinstance(error, kind):
            headers = {"retry-after": "2"} if status == 503 else None
            return ApiError(status, str(error), code, headers=headers)
    if isinstance(error, AgentkitError):
        return ApiError(500, str(error), "agent_error")
    if isinstance(error, HTTPException):
        return ApiError(error.status_code, str(error.detail), headers=error.headers)
    if isinstance(error, OSError) and error.errno == 28:
        return ApiError(507, "The disk is full. Free some disk space.", "disk_full")
    log.exception("A request failed unexpectedly", exc_info=error)
    return ApiError(500, "The server failed unexpectedly. Its log has the details.")


def install_handlers(app: FastAPI) -> None:
    """Answer every error of an app in the one shape; unexpected ones are left to the guard."""

    async def answer(request: Request, error: Exception) -> Response:
        path = request.url.path
        if isinstance(error, RequestValidationError):
            status = 400 if path.startswith("/v1/") else 422
            return _invalid(error.errors(), error.body, status).response()
        if isinstance(error, HTTPException) and not isinstance(error, ApiError):
            return _unrouted(request, error).response()
        return to_api_error(error).response()

    for kind in (HTTPException, RequestValidationError, AgentkitError, OSError):
        app.add_exception_handler(kind, answer)


def _unrouted(request: Request, error: HTTPException) -> ApiError:
    """An error that Starlette or FastAPI raised before a route ran."""
    path = request.url.path[:100]
    message, code = str(error.detail), ""
    if error.status_code == 404:
        step = "The API is described at /docs."
        if "/v1/" in path or path.startswith(_OPENAI_PATHS):
            step = f"OpenAI's API is at {request.base_url}v1, with {', '.join(_OPENAI_ROUTES)}."
        message = f"There is no path {path} here. {step}"
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        message = f"{request.method} is not possible at {path}. Use {allowed}."
    elif error.status_code == 400 and "parsing the body" in message:
        message, code = "The body is not JSON in UTF-8. Send a JSON object.", "invalid_json"
    return ApiError(error.status_code, message, code, headers=error.headers)


def _invalid(faults: Sequence[Any], body: Any, status: int) -> ApiError:
    """An error for a body or parameters that do not fit, from the first fault; where a value may
    have several types, from those of its type."""
    places = [_place(fault, body) for fault in faults]
    if faults[0]["type"] == "json_invalid":
        return ApiError(status, "The body is not JSON. Send a JSON object.", "invalid_json")
    if isinstance(body, bytes) and not places[0]:
        reason = "The body is not marked as JSON. Send the header content-type: application/json."
        return ApiError(status, reason, "invalid_json")
    place = max((p for p in places if p[: len(places[0])] == places[0]), key=len)
    param = ".".join(place)
    found = [value_error(f) for f, each in zip(faults, places, strict=True) if each == place]
    reason = " or ".join([found[0], *(r[5:] for r in found[1:] if r.startswith("must be "))])
    if "Expected UploadFile" in reason:
        reason = 'must be a file: give its part of the form a filename="NAME".'
    verb = "" if reason.startswith(("must", "is ")) else "is invalid: "
    named = f"{param or 'The body'} {verb}{reason}".rstrip(".")
    return ApiError(status, f"{named}.", "invalid_value", param=param or None)


def _place(fault: Mapping[str, Any], body: Any) -> tuple[str, ...]:
    """The path of a fault's value, without the types that pydantic tried there."""
    kind, *path = fault.get("loc") or ("",)
    if kind != "body":
        return tuple(map(str, path))
    missing = path[-1] if fault["type"] == "missing" and path else None
    place: list[str] = []
    for part in path:
        if isinstance(body, Mapping) and (part in body or part == missing):
            body = body.get(part)
        elif isinstance(body, list) and isinstance(part, int):
            body = body[part]
        elif not isinstance(body, UploadFile):
            continue
        place.append(str(part))
    return tuple(place)


def _default_code(status: int) -> str:
    known = {401: "invalid_api_key", 403: "not_allowed", 404: "not_found", 405: "wrong_method"}
    return known.get(status, "server_error" if status >= 500 else "invalid_request")
