"""An OpenAI-compatible server, and its errors as a ModelError of one line with the next step."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from agentkit.addresses import is_loopback, normalize_url
from agentkit.backends.faults import ServerError, ServerFault, read_fault, retry_delay
from agentkit.backends.openai.profiles import known_profile, known_server
from agentkit.backends.retry import TransientError
from agentkit.errors import FaultKind, ModelError
from agentkit.redaction import display_url, redact

if TYPE_CHECKING:
    import httpx2
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

_BUSY = re.compile(
    r"rate_?limit|overloaded|too_many_requests|resource_exhausted|unavailable", re.IGNORECASE
)
_START = (
    "Start the server (LM Studio: Developer, Start Server; llama.cpp: llama-server -m FILE; "
    "vLLM: vllm serve MODEL), or correct base_url"
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model and its server, as error messages name them. The key is replaced in messages. `query`
    goes with each request, such as Azure's api-version."""

    name: str
    model: str
    url: str
    key_env: str = ""
    key: str = field(default="", repr=False)
    query: Mapping[str, str] = field(default_factory=dict)
    key_header: str = ""

    @classmethod
    def of(
        cls, provider: str, model: str, base_url: str | None, key: str | None, key_env: str | None
    ) -> Endpoint:
        """Return the endpoint of a provider's model; without a URL that of OpenAI."""
        default_env = "OPENAI_API_KEY" if provider == "openai" else ""
        parts = urlsplit(normalize_url(base_url or OPENAI_URL))
        kind = known_server(provider, parts.geturl())
        path = parts.path.rstrip("/").removesuffix("/chat/completions")
        if kind == "azure" and path in ("", "/openai"):
            path = "/openai/v1"
        return cls(
            f"{provider}:{model}",
            model,
            parts._replace(path=path, query="").geturl(),
            key_env or default_env,
            key or "",
            dict(parse_qsl(parts.query)),
            known_profile(kind, model).key_header,
        )

    def client(
        self,
        connect_timeout: float,
        read_timeout: float,
        max_retries: int = 0,
        headers: Mapping[str, str] = {},
    ) -> openai.AsyncOpenAI:
        """Return a client of the server, which uses no proxy to this machine."""
        import openai

        from agentkit._http_streams import close_completely

        timeout = openai.Timeout(read_timeout, connect=connect_timeout)
        trust_env = not is_loopback(self.url)
        return openai.AsyncOpenAI(
            api_key=self.key or _NO_KEY,
            base_url=self.url,
            default_query=dict(self.query) or None,
            default_headers=dict(headers) or None,
            max_retries=max_retries,
            timeout=timeout,
            http_client=openai.DefaultAsyncHttpxClient(
                trust_env=trust_env,
                timeout=timeout,
                event_hooks={"request": [self._set_key], "response": [close_completely]},
            ),
        )

    async def _set_key(self, request: httpx2.Request) -> None:
        """Move the key to the server's own header. A token of Entra ID (a JWT) stays in place,
        as Azure wants it."""
        if self.key_header and not self.key.startswith("eyJ"):
            request.headers.pop("authorization", None)
            request.headers[self.key_header] = self.key

    def error(self, text: str, kind: FaultKind = "other") -> ModelError:
        return ModelError(self._one_line(text), self.name, kind)

    def transient_error(
        self, text: str, kind: FaultKind = "down", retry_after: float | None = None
    ) -> TransientError:
        return TransientError(self._one_line(text), self.name, retry_after, kind)

    def _one_line(self, text: str) -> str:
        """Return at most 600 characters without the key, or what looks like one."""
        values = [value for name, value in self.query.items() if name.lower() != "api-version"]
        return " ".join(redact(text, (self.key, *values)).split())[:600]

    @property
    def address(self) -> str:
        """The URL as messages name it."""
        return display_url(self.url)


def to_model_error(error: Exception, at: Endpoint) -> ModelError:
    """Convert an error of a request or its stream; a TransientError may be retried."""
    import httpx2
    import openai

    match error:
        case openai.APIConnectionError():
            return _connection_error(error.__cause__, at)
        case httpx2.HTTPError() | httpx2.StreamError():
            return _connection_error(error, at)
        case openai.APIError() | ServerError():
            return _server_error(error, at)
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


def fault_of(error: Exception) -> ServerFault:
    """What a server reports in an error, empty where it is not the server's."""
    import openai

    match error:
        case ServerError():
            return error.fault
        case openai.APIStatusError():
            return read_fault(error.response.text)
        case openai.APIError():
            return read_fault(error.body if error.body is not None else error.message)
    return ServerFault()


def missing_model_error(at: Endpoint, known: Sequence[str], message: str = "") -> ModelError:
    """Explain a 404; `known` are the models that the server lists, `message` is its own."""
    reported = f" ({message})" if message else ""
    if not known or at.model in known:
        return at.error(
            f"{at.address} answered 404 for {at.model!r}{reported}. "
            "Check the model's name and base_url (does it end in /v1?).",
            "bad_request",
        )
    some = ", ".join(known[:5]) + (", ..." if len(known) > 5 else "")
    return at.error(
        f"{at.model!r} is not on {at.address}{reported}. It has: {some}. Choose one of them.",
        "bad_request",
    )


def not_a_stream_error(at: Endpoint, kind: str, text: str) -> ModelError:
    """Explain a 200 whose body is a web page."""
    title = read_fault(text).message
    return at.error(
        f"{at.address} answered with {kind} instead of a stream{f' ({title})' if title else ''}. "
        "Check base_url (does it end in /v1?).",
        "bad_request",
    )


def cut_off_error(at: Endpoint, has_choices: bool, finish_reason: str = "") -> ModelError:
    """Explain a stream that ended without a finish reason, or with one that is no regular end."""
    if finish_reason:
        return at.transient_error(
            f"{at.address} broke off the answer of {at.name} (finish reason "
            f"{finish_reason[:100]!r}): try again."
        )
    if not has_choices:
        return at.error(
            f"{at.address} sent a stream without choices: check base_url and the server's log.",
            "down",
        )
    return at.error(f"The answer of {at.name} was cut off by {at.address}: try again.", "down")


def is_missing_model(error: Exception) -> bool:
    status, code = getattr(error, "status_code", 0), getattr(error, "code", "")
    return status == 404 or (status == 400 and code == "model_not_found")


def _connection_error(cause: BaseException | None, at: Endpoint) -> ModelError:
    import httpx2

    match cause:
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
        case httpx2.ConnectError():
            step = _START if is_loopback(at.url) else "Check the network and base_url"
            return at.error(
                f"No server answers at {at.address} for {at.name} ({cause}). {step}.", "down"
            )
    return at.transient_error(
        f"The connection of {at.name} to {at.address} was interrupted. Try again."
    )


def _server_error(error: openai.APIError | ServerError, at: Endpoint) -> ModelError:
    """Explain an error response, or an error within a stream, which has no status of its own."""
    import openai

    fault = fault_of(error)
    response = error.response if isinstance(error, openai.APIStatusError) else None
    status = response.status_code if response is not None else fault.status
    reported = f": {fault.message}" if fault.message else ""
    if fault.is_too_long and status not in (401, 403, 404):
        return at.error(
            f"The conversation is too long for {at.name}{reported}. Shorten it, or choose a model "
            "with a larger context window.",
            "too_long",
        )
    delay = retry_delay(response.headers if response is not None else {}, fault)
    if (delay is None and status == 402) or fault.is_out_of_quota:
        return at.error(
            f"The account of {at.name} has no quota left{reported}. Check its billing.",
            "rate_limited",
        )
    if status in (401, 403):
        text = f"{at.address} refuses the key for {at.name} ({status}{reported}). {_key_step(at)}"
        return at.error(text, "refused_key")
    if fault.is_unread_generation:
        return at.transient_error(
            f"{at.address} could not read the tool call that {at.name} wrote{reported}. Try again."
        )
    if response is None:
        text = f"{at.address} interrupted the answer of {at.name}{reported}. Try again."
        if status in TRANSIENT_STATUSES or _is_busy(fault):
            busy: FaultKind = "rate_limited" if _is_busy(fault) else "down"
            return at.transient_error(text, _TRANSIENT_KINDS.get(status, busy), delay)
        return at.error(text, "bad_request" if 400 <= status < 500 else "down")
    text = f"{at.address} answered {status} for {at.name}{reported}"
    if status in TRANSIENT_STATUSES:
        step = "Too many requests: wait and try again." if status == 429 else "Try again later."
        return at.transient_error(f"{text}. {step}", _TRANSIENT_KINDS.get(status, "down"), delay)
    kind: FaultKind = "bad_request" if status < 500 else "down"
    return at.error(f"{text}. Check the model's name, the options and base_url.", kind)


def _is_busy(fault: ServerFault) -> bool:
    return bool(_BUSY.search(fault.codes))


def _key_step(at: Endpoint) -> str:
    if at.key_env:
        return f"Set the environment variable {at.key_env} to a valid key."
    return "Name the environment variable that holds its key as api_key_env of the provider."
