"""An OpenAI-compatible server, and its errors as a ModelError of one line with the next step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentkit.addresses import is_loopback, normalize_url, without_credentials
from agentkit.backends.retry import TransientError, retry_after
from agentkit.errors import FaultKind, ModelError

if TYPE_CHECKING:
    import openai

OPENAI_URL = "https://api.openai.com/v1"

_NO_KEY = "none"
"""Sent where no key is needed, since the SDK requires one."""

TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 524, 529})
"""Statuses after which the same request may succeed."""

_TRANSIENT_KINDS: dict[int, FaultKind] = {
    429: "rate_limited",
    408: "timed_out",
    504: "timed_out",
    522: "timed_out",
    524: "timed_out",
}

_TOO_LONG = re.compile(
    r"context.?(length|window|size)|exceed_context|too many tokens|maximum.{0,20}tokens"
    r"|prompt is too long|input is too long|string_above_max_length",
    re.IGNORECASE,
)
_START = (
    "Start the server (LM Studio: Developer, Start Server; llama.cpp: llama-server -m FILE; "
    "vLLM: vllm serve MODEL), or correct base_url"
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model and its server, as error messages name them. The key is replaced in messages."""

    name: str
    model: str
    url: str
    key_env: str = ""
    key: str = field(default="", repr=False)

    @classmethod
    def of(
        cls, provider: str, model: str, base_url: str | None, key: str | None, key_env: str | None
    ) -> Endpoint:
        """Return the endpoint of a provider's model; without a URL that of OpenAI."""
        default_env = "OPENAI_API_KEY" if provider == "openai" else ""
        url = normalize_url(base_url or OPENAI_URL)
        return cls(f"{provider}:{model}", model, url, key_env or default_env, key or "")

    def client(
        self, connect_timeout: float, read_timeout: float, max_retries: int = 0
    ) -> openai.AsyncOpenAI:
        """Return a client of the server, which uses no proxy to this machine."""
        import openai

        timeout = openai.Timeout(read_timeout, connect=connect_timeout)
        trust_env = not is_loopback(self.url)
        return openai.AsyncOpenAI(
            api_key=self.key or _NO_KEY,
            base_url=self.url,
            max_retries=max_retries,
            timeout=timeout,
            http_client=openai.DefaultAsyncHttpxClient(trust_env=trust_env, timeout=timeout),
        )

    def error(self, text: str, kind: FaultKind = "other") -> ModelError:
        return ModelError(self._one_line(text), self.name, kind)

    def transient_error(
        self, text: str, kind: FaultKind = "down", retry_after: float | None = None
    ) -> TransientError:
        return TransientError(self._one_line(text), self.name, retry_after, kind)

    def _one_line(self, text: str) -> str:
        """Return at most 600 characters without the key."""
        if self.key:
            text = text.replace(self.key, "***")
        return " ".join(text.split())[:600]

    @property
    def address(self) -> str:
        """The URL without user name and password."""
        return without_credentials(self.url)


def to_model_error(error: Exception, at: Endpoint) -> ModelError:
    """Convert an error of a request or its stream; a TransientError may be retried."""
    import openai

    match error:
        case openai.APIConnectionError():
            return _connection_error(error, at)
        case openai.APIError():
            return _api_error(error, at)
        case UnicodeEncodeError():
            return at.error(
                "A message contains half of a surrogate pair: remove it.", "bad_request"
            )
        case ValueError():
            return at.error(
                f"{at.address} sent a stream that cannot be read ({error}): the server or a "
                "proxy is faulty. Try again, or read its log.",
                "down",
            )
    return at.error(f"{at.name} at {at.address} failed: {type(error).__name__}: {error}")


def missing_model_error(at: Endpoint, known: Sequence[str]) -> ModelError:
    """Explain a 404; `known` are the models that the server lists."""
    if not known or at.model in known:
        return at.error(
            f"{at.address} answered 404 for {at.model!r}. "
            "Check the model's name and base_url (does it end in /v1?).",
            "bad_request",
        )
    some = ", ".join(known[:5]) + (", ..." if len(known) > 5 else "")
    return at.error(
        f"{at.model!r} is not on {at.address}. It has: {some}. Choose one of them.", "bad_request"
    )


def not_a_stream_error(at: Endpoint, kind: str, text: str) -> ModelError:
    """Explain a 200 whose body is not an event stream: a web page, or an error as JSON."""
    detail = f": {text[:200]}" if "json" in kind and text else ""
    return at.error(
        f"{at.address} answered with {kind or 'nothing'} instead of a stream{detail}. "
        "Check base_url (does it end in /v1?).",
        "bad_request",
    )


def cut_off_error(at: Endpoint, has_choices: bool) -> ModelError:
    """Explain a stream that ended without a finish reason."""
    if not has_choices:
        return at.error(
            f"{at.address} sent a stream without choices: check base_url and the server's log.",
            "down",
        )
    return at.error(f"The answer of {at.name} was cut off by {at.address}: try again.", "down")


def is_missing_model(error: Exception) -> bool:
    status, code = getattr(error, "status_code", 0), getattr(error, "code", "")
    return status == 404 or (status == 400 and code == "model_not_found")


def _connection_error(error: openai.APIConnectionError, at: Endpoint) -> ModelError:
    import httpx2

    match error.__cause__:
        case httpx2.ConnectTimeout():
            return at.transient_error(
                f"{at.address} did not accept the connection of {at.name} in time.",
                kind="timed_out",
            )
        case httpx2.TimeoutException():
            return at.error(
                f"{at.address} sent nothing for too long while answering for {at.name}. Try again, "
                "or raise read_timeout for this provider.",
                "timed_out",
            )
        case httpx2.ConnectError() as cause:
            step = _START if is_loopback(at.url) else "Check the network and base_url"
            return at.error(
                f"No server answers at {at.address} for {at.name} ({cause}). {step}.", "down"
            )
    return at.transient_error(
        f"The connection of {at.name} to {at.address} was interrupted. Try again."
    )


def _api_error(error: openai.APIError, at: Endpoint) -> ModelError:
    """Explain an error response, or an error event within a stream, which has no status."""
    import openai

    response = error.response if isinstance(error, openai.APIStatusError) else None
    status = response.status_code if response is not None else 0
    message = _server_message(error.body) or ("" if status else error.message)
    if status in (401, 403):
        text = f"{at.address} refuses the key for {at.name} ({status}). {_key_step(at)}"
        return at.error(text, "refused_key")
    details = f"{error.code} {error.type} {message}"
    if status in (0, 400, 413, 422) and _TOO_LONG.search(details):
        return at.error(
            f"The conversation is too long for {at.name}: {message}. Shorten it, or choose a model "
            "with a larger context window.",
            "too_long",
        )
    if error.code == "insufficient_quota":
        return at.error(
            f"The account of {at.name} has no quota left ({message}). Check its billing.",
            "rate_limited",
        )
    if response is None:
        text = f"{at.address} interrupted the answer of {at.name}: {message}. Try again."
        is_transient = str(error.code) in map(str, TRANSIENT_STATUSES)
        return at.transient_error(text) if is_transient else at.error(text, "down")
    text = f"{at.address} answered {status} for {at.name}" + (f": {message}" if message else "")
    if status in TRANSIENT_STATUSES:
        step = "Too many requests: wait and try again." if status == 429 else "Try again later."
        kind = _TRANSIENT_KINDS.get(status, "down")
        return at.transient_error(f"{text}. {step}", kind, retry_after(response.headers))
    kind = "bad_request" if status < 500 else "down"
    return at.error(f"{text}. Check the model's name, the options and base_url.", kind)


def _key_step(at: Endpoint) -> str:
    if at.key_env:
        return f"Set the environment variable {at.key_env} to a valid key."
    return "Name the environment variable that holds its key as api_key_env of the provider."


def _server_message(body: Any) -> str:
    """Return the server's own error message, unless it is a web page."""
    while isinstance(body, dict):
        body = next((body[key] for key in ("message", "error", "detail") if key in body), "")
    text = body if isinstance(body, str) else ""
    return "" if text.lstrip().startswith("<") else text.strip().rstrip(".")[:300]
