"""Manage the models of an Ollama server through the `ollama` package."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from agentkit.addresses import is_loopback
from agentkit.errors import ModelError
from agentkit.redaction import display_url

if TYPE_CHECKING:
    import ollama

_PULL_TIMEOUT = 300.0
"""Seconds without a sign of progress."""


class OllamaError(Exception):
    """A failed request to an Ollama server, before it is reported to the user.

    `status` is the HTTP status of a refused request, -1 for an error inside a stream.
    """

    def __init__(
        self,
        kind: Literal["refused", "unreachable", "timeout", "interrupted", "invalid"],
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


def new_client(url: str, connect_timeout: float, read_timeout: float) -> ollama.AsyncClient:
    """Return a client of the package. It follows no redirect, and no proxy to this machine."""
    import httpx
    import ollama

    return ollama.AsyncClient(
        host=url,
        follow_redirects=False,
        timeout=httpx.Timeout(read_timeout, connect=connect_timeout),
        trust_env=not is_loopback(url),
        auth=_checked_key,
    )


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise the errors of the package in the block as OllamaError."""
    import httpx
    import ollama

    try:
        yield
    except ollama.ResponseError as error:
        raise OllamaError("refused", str(error.error), error.status_code) from error
    except (ConnectionError, httpx.HTTPError) as error:
        raise http_error(error, httpx) from error
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise OllamaError("invalid", str(error)) from error


def http_error(error: Exception, http: Any) -> OllamaError:
    """Return an error of a connection, by `http`: httpx, or httpx2 with its interface."""
    if isinstance(error, (ConnectionError, http.ConnectError, http.ConnectTimeout)):
        return OllamaError("unreachable")
    return OllamaError("timeout" if isinstance(error, http.TimeoutException) else "interrupted")


async def show_model(
    model: str, url: str, connect_timeout: float = 5.0, read_timeout: float = 120.0
) -> ollama.ShowResponse:
    """Return what the server knows of a model. Raises OllamaError."""
    with translated_errors():
        async with new_client(url, connect_timeout, read_timeout) as client:
            facts: ollama.ShowResponse = await client.show(model)
            return facts


async def pull_model(model: str, url: str) -> AsyncGenerator[PullProgress, None]:
    """Download a model to the server; ends when it is there. Raises ModelError."""
    name, complete = f"ollama:{model}", False
    try:
        with translated_errors():
            async with new_client(url, 5.0, _PULL_TIMEOUT) as client:
                async for step in await client.pull(model, stream=True):
                    complete = step.status == "success"
                    yield PullProgress(step.status or "", step.total or 0, step.completed or 0)
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


def context_length(model_info: Mapping[str, Any] | None) -> int | None:
    """Return the context length of a model in tokens, from the `model_info` of /api/show."""
    facts = (model_info or {}).items()
    lengths = [value for key, value in facts if key.endswith(".context_length")]
    return next((length for length in lengths if isinstance(length, int) and length > 0), None)


async def loaded_window(model: str, url: str) -> int | None:
    """Return the window in tokens that the server gave to a model in memory; None where it does
    not say."""
    try:
        with translated_errors():
            async with new_client(url, 5.0, 5.0) as client:
                running = (await client.ps()).models
    except OllamaError:
        return None
    names = {model, f"{model}:latest"}
    return next((each.context_length for each in running if each.model in names), None)


def authorization(url: str) -> dict[str, str]:
    """Return the header with OLLAMA_API_KEY, for ollama.com alone."""
    key = os.environ.get("OLLAMA_API_KEY", "")
    parts = urlsplit(url)
    is_cloud = parts.scheme == "https" and parts.hostname in ("ollama.com", "www.ollama.com")
    return {"Authorization": f"Bearer {key}"} if key and is_cloud else {}


def _checked_key(request: Any) -> Any:
    """Leave out OLLAMA_API_KEY where it does not belong: the package sends it to any address."""
    if not authorization(str(request.url)):
        request.headers.pop("authorization", None)
    return request
