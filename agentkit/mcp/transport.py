"""Connect to an MCP server: through a child's pipes, streamable HTTP, or the older SSE.

Over HTTP an answer that is too large breaks off; redirects to other origins are not followed. What
a server answers is repaired before the SDK reads it. A refusal keeps the server's own message, and
one of an unknown session, in whatever words, ends the connection.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

from agentkit.mcp.config import ServerConfig
from agentkit.mcp.repairs import Repairs, read_message
from agentkit.mcp.stdio import MAX_LINE, ServerLog, child_process

if TYPE_CHECKING:
    import httpx2
    from mcp.client import Transport

CONNECT_SECONDS, IDLE_SECONDS = 30, 300

UNCOMPRESSED = "identity"
"""The only encoding accepted: a few compressed bytes may expand to gigabytes."""

MAX_PENDING_REQUESTS = 1000
"""Most requests of a server that wait for our answer; one that makes more is disconnected."""

SESSION_HEADER = "mcp-session-id"
_NO_ACCESS = (401, 403)
_KEEPING_METHOD = {301: 308, 302: 307}
"""Redirects that would turn a message's POST into a GET, and those that do not."""

_REPLACED_HEADERS = ("content-type", "content-length", "transfer-encoding")
_MAX_REFUSAL = 65_536
_MAX_MESSAGE = 500
"""The part of a message that says what it is about. The pattern takes quadratic time."""

_REFUSED = -32603
_NOT_ABOUT_SESSIONS = (-32601, -32602, -32603)
"""The codes of an unknown method, of invalid parameters and of an internal error."""

_FORGOTTEN = re.compile(
    r"(?=.*\b(?:session|transport)).*\b(?:no|not|unknown|invalid|missing|required|expired|closed"
    r"|terminated|unavailable|unrecognized|stale|gone|lost|ended|find|exist|inactive)\b"
    r"|\b(?:not|un)[ -]?(?:yet |been )*initiali[sz]ed\b|before initiali[sz]ation",
    re.IGNORECASE | re.DOTALL,
)
_TOO_MANY = re.compile(r"limit|too many|maximum|exceed|quota", re.IGNORECASE)


def is_forgotten_session(message: str) -> bool:
    """Whether a server's error message says that it does not know the session (any more)."""
    words = message[:_MAX_MESSAGE].replace("_", " ").replace("sessionId", "session id")
    return bool(_FORGOTTEN.search(words)) and not _TOO_MANY.search(words)


def transport(
    config: ServerConfig,
    log: ServerLog,
    on_end: Callable[[], None],
    auth: httpx2.Auth | None = None,
    repairs: Repairs | None = None,
) -> Transport:
    """The SDK's transport to a server; `on_end` is called when no more messages can come."""
    streams: AbstractAsyncContextManager[Any]
    if config.transport == "http":
        streams = _streamable_http(config, auth, on_end)
    elif config.transport == "sse":
        streams = _sse(config, auth, on_end)
    else:
        streams = child_process(config, log)
    return _watch(streams, on_end, repairs or Repairs())


def _sse(
    config: ServerConfig, auth: httpx2.Auth | None, on_forgotten: Callable[[], None]
) -> AbstractAsyncContextManager[Any]:
    from mcp.client.sse import sse_client

    def client(
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        return http_client(
            config, headers=headers, timeout=timeout, auth=auth, on_forgotten=on_forgotten
        )

    return sse_client(config.url, dict(config.headers), httpx_client_factory=client, auth=auth)


@asynccontextmanager
async def _streamable_http(
    config: ServerConfig, auth: httpx2.Auth | None, on_forgotten: Callable[[], None]
) -> AsyncIterator[Any]:
    from mcp.client.streamable_http import streamable_http_client

    headers = dict(config.headers)
    async with (
        http_client(config, headers=headers, auth=auth, on_forgotten=on_forgotten) as http,
        streamable_http_client(config.url, http_client=http) as streams,
    ):
        yield streams


def http_client(
    config: ServerConfig,
    *,
    headers: dict[str, str] | None = None,
    timeout: httpx2.Timeout | None = None,
    auth: httpx2.Auth | None = None,
    on_forgotten: Callable[[], None] = lambda: None,
) -> httpx2.AsyncClient:
    """An HTTP client whose responses are bounded in size. It posts messages again where a server
    redirects them within its origin, and calls `on_forgotten` where one refuses the session."""
    import httpx2

    class BoundedStream(httpx2.AsyncByteStream):
        """A response body that breaks off when it grows too large."""

        def __init__(self, stream: httpx2.AsyncByteStream) -> None:
            self._stream = stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for piece in self._stream:
                size += len(piece)
                if size > MAX_LINE:
                    raise httpx2.ReadError(f"the answer is larger than {MAX_LINE >> 20} MiB")
                yield piece

        async def aclose(self) -> None:
            await self._stream.aclose()

    class BoundedTransport(httpx2.AsyncHTTPTransport):
        """Bounds every response except event streams, whose events the SDK bounds."""

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            response = await super().handle_async_request(request)
            if response.headers.get("content-encoding", UNCOMPRESSED).lower() != UNCOMPRESSED:
                await response.aclose()
                raise httpx2.ReadError("the answer is compressed, which was not requested")
            is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
            if not is_stream and isinstance(response.stream, httpx2.AsyncByteStream):
                response.stream = BoundedStream(response.stream)
            if request.method == "POST" and b'"jsonrpc"' in await request.aread():
                return await _answer_to_message(config, request, response, on_forgotten)
            return response

    default = httpx2.Timeout(CONNECT_SECONDS, read=max(IDLE_SECONDS, config.timeout))
    return httpx2.AsyncClient(
        headers={**(headers or {}), "Accept-Encoding": UNCOMPRESSED},
        timeout=timeout or default,
        auth=auth,
        transport=BoundedTransport(),
    )


async def _answer_to_message(
    config: ServerConfig,
    request: httpx2.Request,
    response: httpx2.Response,
    on_forgotten: Callable[[], None],
) -> httpx2.Response:
    """The answer to a posted message: a redirect as one that keeps the method, and a refusal as a
    JSON-RPC error with the server's own words, which the SDK passes on. Calls `on_forgotten` where
    the session is refused."""
    import httpx2

    status = response.status_code
    response.status_code = _KEEPING_METHOD.get(status, status)
    if status == HTTPStatus.OK:
        return await _readable(request, response)
    if status < 400:
        return response
    code, message = _read_refusal((await response.aread())[:_MAX_REFUSAL].decode(errors="replace"))
    if config.transport == "sse":  # The SDK sends nothing more after a refusal.
        is_forgotten = status not in _NO_ACCESS
    else:
        has_session = SESSION_HEADER in request.headers
        is_forgotten = has_session and _forgets_session(status, code, message)
    if is_forgotten:
        on_forgotten()
    if code is not None:
        return response
    error = {"code": _REFUSED, "message": _refusal_message(status, message)}
    headers = {k: v for k, v in response.headers.items() if k not in _REPLACED_HEADERS}
    body = {"jsonrpc": "2.0", "id": None, "error": error}
    return httpx2.Response(status, headers=headers, json=body, request=request)


async def _readable(request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
    """An answer that the SDK reads: a message that breaks the rules is repaired, and one of another
    content type named JSON."""
    import httpx2

    kind = response.headers.get("content-type", "").lower()
    if kind.startswith("text/event-stream"):
        return response
    message = read_message(await response.aread())
    if message is None:
        return response
    headers = {k: v for k, v in response.headers.items() if k not in _REPLACED_HEADERS}
    text = message.model_dump_json(by_alias=True, exclude_unset=True)
    headers["content-type"] = "application/json"
    return httpx2.Response(200, headers=headers, content=text.encode(), request=request)


def _read_refusal(text: str) -> tuple[int | None, str]:
    """The code and message of a JSON-RPC error, or None and the message of another one: JSON with a
    message, or plain text."""
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


def _refusal_message(status: int, message: str) -> str:
    with suppress(ValueError):
        return f"HTTP {status} {HTTPStatus(status).phrase}{': ' if message else ''}{message}"
    return f"HTTP {status}: {message}"


def _forgets_session(status: int, code: int | None, message: str) -> bool:
    """Whether a refusal of a request with a session id says that the session is gone."""
    if status in _NO_ACCESS:
        return False
    is_gone = status in (404, 410) and code not in _NOT_ABOUT_SESSIONS
    return is_gone or is_forgotten_session(message)


@asynccontextmanager
async def _watch(
    transport: AbstractAsyncContextManager[Any], on_end: Callable[[], None], repairs: Repairs
) -> AsyncIterator[Any]:
    async with transport as (read, write):
        watched = _WatchedReadStream(read, on_end, repairs)
        yield watched, _WatchedWriteStream(write, watched)


class _WrappedStream:
    """Wrap a stream of the SDK in our own."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> Any:
        return await self._stream.__aexit__(*exception)


class _WatchedReadStream(_WrappedStream):
    """Reports its end, which the SDK does not. It ends too at a server with too many pending
    requests: each is our own task."""

    def __init__(self, stream: Any, on_end: Callable[[], None], repairs: Repairs) -> None:
        super().__init__(stream)
        self._on_end = on_end
        self.repairs = repairs
        self.pending_requests = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        return await self._next(self._stream.__anext__(), StopAsyncIteration)

    async def receive(self) -> Any:
        import anyio

        return await self._next(self._stream.receive(), anyio.EndOfStream)

    async def _next(self, item: Coroutine[Any, Any, Any], end: type[Exception]) -> Any:
        try:
            received = await item
            message = getattr(received, "message", None)  # a transport also passes on errors
            self.pending_requests += hasattr(message, "method") and hasattr(message, "id")
            if self.pending_requests > MAX_PENDING_REQUESTS:
                raise end
            self.repairs.received(message)
        except BaseException:
            self._on_end()
            raise
        return received


class _WatchedWriteStream(_WrappedStream):
    """Counts the answers to the server's requests, and notes our own."""

    def __init__(self, stream: Any, read: _WatchedReadStream) -> None:
        super().__init__(stream)
        self._read = read

    async def send(self, item: Any) -> None:
        self._read.repairs.sent(item.message)
        await self._stream.send(item)
        if not hasattr(item.message, "method"):
            self._read.pending_requests -= 1
