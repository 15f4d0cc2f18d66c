"""Requests to an Ollama server, in JSON or one JSON object a line, and its models.

The `ollama` package is not used: its types drop `anyOf`, `default` and nested `properties` of a
tool's schema, it sends a key to any address, and its import takes longer than most requests.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from agentkit.addresses import is_loopback
from agentkit.backends.faults import read_fault
from agentkit.errors import ModelError
from agentkit.redaction import display_url

if TYPE_CHECKING:
    import httpx2

Body = dict[str, Any]

_PULL_TIMEOUT = 300.0
"""Seconds without a sign of progress."""


class OllamaError(Exception):
    """A failed request to an Ollama server, before it is reported to the user.

    `status` is the HTTP status of a refused request, -1 for an error inside a stream.
    """

    def __init__(
        self,
        kind: Literal["refused", "unreachable", "timeout", "interrupted", "invalid", "unsendable"],
        text: str = "",
        status: int = -1,
    ) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.status = status

    def message(self, url: str, model: str, name: str, read_timeout: float) -> str:
        """Return what failed and the next step. `model` is the server's name for `name`."""
        place = display_url(url)
        if self.kind == "unreachable":
            return f"No Ollama server answers at {place}. Start it: ollama serve"
        if self.kind == "timeout":
            return (
                f"{place} sent nothing for {read_timeout:g} s while working for {name}. "
                "Try again, or raise read_timeout."
            )
        if self.kind == "interrupted":
            return f"The connection of {name} to {place} was interrupted. Try again."
        if self.kind == "unsendable":
            return "A message contains half of a surrogate pair: remove it."
        if self.kind == "invalid":
            return (
                f"{place} does not answer like an Ollama server ({self.text[:300]}). "
                "Check base_url."
            )
        if self.status == 404 and "model" in self.text.lower():
            return f"{model!r} is not on the Ollama server at {place}. Run: ollama pull {model}"
        if self.status in (404, 405):
            return f"{place} does not answer like an Ollama server ({self.text}). Check base_url."
        if self.status in (401, 403):
            return (
                f"{place} refuses {name} ({self.status}: {self.text[:200]}). For a model in the "
                "cloud run: ollama signin"
            )
        return f"{name} failed ({self.text[:300]}). See the server's log."


@dataclass(frozen=True, slots=True)
class PullProgress:
    """One step of a pull; of a file also how many of its bytes are there."""

    status: str
    total: int = 0
    completed: int = 0


def new_client(url: str, connect_timeout: float, read_timeout: float) -> httpx2.AsyncClient:
    """Return a client of a server. It follows no redirect, and no proxy to this machine."""
    import httpx2

    from agentkit._http_streams import close_completely

    return httpx2.AsyncClient(
        base_url=url,
        headers=authorization(url),
        timeout=httpx2.Timeout(read_timeout, connect=connect_timeout),
        trust_env=not is_loopback(url),
        event_hooks={"response": [close_completely]},
    )


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise the errors of a request in the block, and of reading its answer, as OllamaError."""
    import httpx2

    try:
        yield
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        raise OllamaError("unreachable") from error
    except httpx2.HTTPError as error:
        is_late = isinstance(error, httpx2.TimeoutException)
        raise OllamaError("timeout" if is_late else "interrupted") from error
    except UnicodeEncodeError as error:
        raise OllamaError("unsendable") from error
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise OllamaError("invalid", str(error)) from error


async def request_object(
    client: httpx2.AsyncClient, path: str, body: Mapping[str, Any] | None = None
) -> Body:
    """Post a body, or get without one, and return the JSON object of the answer. Raises
    OllamaError."""
    with translated_errors():
        response = await client.request("GET" if body is None else "POST", path, json=body)
        _check_status(response.status_code, response.content)
        return _json_object(response.content)


async def stream_objects(
    client: httpx2.AsyncClient, path: str, body: Mapping[str, Any]
) -> AsyncGenerator[Body, None]:
    """Post a body and yield the JSON objects of the answer, one a line. Lines are cut at newlines
    alone: a text may hold other characters that end a line. Raises OllamaError."""
    with translated_errors():
        async with client.stream("POST", path, json=body) as response:
            if response.status_code != 200:
                _check_status(response.status_code, await response.aread())
            rest = b""
            async for piece in response.aiter_bytes():
                *lines, rest = (rest + piece).split(b"\n")
                for line in filter(None, map(bytes.strip, lines)):
                    yield _json_object(line)
            if rest.strip():
                yield _json_object(rest)


def _check_status(status: int, content: bytes) -> None:
    if status != 200:
        raise OllamaError("refused", read_fault(content).message, status)


def _json_object(text: bytes) -> Body:
    """Read an object. Raises OllamaError for one that reports an error, and ValueError."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    if value.get("error"):
        fault = read_fault(value)
        raise OllamaError("refused", fault.message, fault.status or -1)
    return value


async def show_model(
    model: str, url: str, connect_timeout: float = 5.0, read_timeout: float = 120.0
) -> Body:
    """Return what the server knows of a model. Raises OllamaError."""
    async with new_client(url, connect_timeout, read_timeout) as client:
        return await request_object(client, "/api/show", {"model": model})


async def pull_model(model: str, url: str) -> AsyncGenerator[PullProgress, None]:
    """Download a model to the server; ends when it is there. Raises ModelError."""
    name, complete = f"ollama:{model}", False
    try:
        async with new_client(url, 5.0, _PULL_TIMEOUT) as client:
            async for step in stream_objects(client, "/api/pull", {"model": model}):
                complete = step.get("status") == "success"
                yield PullProgress(
                    step.get("status") or "", step.get("total") or 0, step.get("completed") or 0
                )
        if not complete:
            raise OllamaError("interrupted")
    except OllamaError as error:
        if "does not exist" in error.text or "not found" in error.text:
            raise ModelError(
                f"Ollama has no model {model!r} ({error.text}). "
                "Find its name at https://ollama.com/library.",
                name,
            ) from error
        text = error.message(url, model, name, _PULL_TIMEOUT)
        raise ModelError(f"Pulling {model!r} failed: {text}", name) from error


def context_length(facts: Body) -> int | None:
    """Return the context length of a model in tokens, from what /api/show tells of it."""
    info = facts.get("model_info")
    facts = info if isinstance(info, dict) else {}
    lengths = [value for key, value in facts.items() if key.endswith(".context_length")]
    return next((length for length in lengths if isinstance(length, int) and length > 0), None)


async def loaded_window(model: str, url: str) -> int | None:
    """Return the window in tokens that the server gave to a model in memory; None where it does
    not say."""
    try:
        async with new_client(url, 5.0, 5.0) as client:
            running = (await request_object(client, "/api/ps"))["models"]
        names = {model, f"{model}:latest"}
        return next((m.get("context_length") for m in running if m.get("model") in names), None)
    except (OllamaError, KeyError, TypeError, AttributeError):
        return None


def authorization(url: str) -> dict[str, str]:
    """Return the header with OLLAMA_API_KEY, for ollama.com alone."""
    key = os.environ.get("OLLAMA_API_KEY", "")
    parts = urlsplit(url)
    is_cloud = parts.scheme == "https" and parts.hostname in ("ollama.com", "www.ollama.com")
    return {"Authorization": f"Bearer {key}"} if key and is_cloud else {}
