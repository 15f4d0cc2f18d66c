"""Tell from a server's refusal, in whatever words, whether it no longer knows the session."""

from __future__ import annotations

import json
import re
from http.client import responses

REFUSED = -32603
_NOT_ABOUT_SESSIONS = (-32601, -32602, -32603)
"""The codes of an unknown method, of invalid parameters and of an internal error."""

_SESSION_CODES = (-32000, -32600, -32001)
"""Codes for a closed connection or an unknown session. They have other meanings too, which the
message tells apart."""

_MAX_MESSAGE = 500
"""The part of a message that says what it is about. The pattern takes quadratic time."""

_FORGOTTEN = re.compile(
    r"(?=.*\b(?:session|transport)).*\b(?:no|not|unknown|invalid|missing|required|expired|closed"
    r"|terminated|unavailable|unrecognized|stale|gone|lost|ended|find|exist|inactive)\b"
    r"|\b(?:not|un)[ -]?(?:yet |been )*initiali[sz]ed\b|before initiali[sz]ation",
    re.IGNORECASE | re.DOTALL,
)
_TOO_MANY = re.compile(r"limit|too many|maximum|exceed|quota", re.IGNORECASE)


def is_session_error(error: Exception) -> bool:
    """Whether a failed request says that the connection or the session is gone."""
    message = str(error)
    is_closed = message.lower().startswith(("connection closed", "sse stream"))
    return getattr(error, "code", 0) in _SESSION_CODES and (is_closed or _is_forgotten(message))


def forgets_session(status: int, code: int | None, message: str) -> bool:
    """Whether an HTTP refusal of a request with a session id says that the session is gone."""
    is_gone = status in (404, 410) and code not in _NOT_ABOUT_SESSIONS
    return is_gone or _is_forgotten(message)


def read_refusal(text: str) -> tuple[int | None, str]:
    """The code of a JSON-RPC error, None for another body, and the server's own message."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None, "" if "<html" in text.lower() else text.strip()
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return None, str(error)
    code = error.get("code")
    is_rpc = isinstance(body, dict) and body.get("jsonrpc") == "2.0" and error is not body
    words = (error.get(key) for key in ("message", "detail", "error_description", "title", "error"))
    message = next((word for word in words if isinstance(word, str) and word), text.strip())
    return (code if is_rpc and isinstance(code, int) else None), message


def refusal_message(status: int, message: str) -> str:
    """A refusal's status in words, with the server's message."""
    phrase = f"HTTP {status} {responses.get(status, '')}".rstrip()
    return f"{phrase}: {message}" if message else phrase


def _is_forgotten(message: str) -> bool:
    words = message[:_MAX_MESSAGE].replace("_", " ").replace("sessionId", "session id")
    return bool(_FORGOTTEN.search(words)) and not _TOO_MANY.search(words)
