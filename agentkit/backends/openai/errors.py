"""What goes wrong with an OpenAI-compatible server, as one clear line with the next step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentkit.addresses import is_loopback, shown
from agentkit.backends.retry import PassingError, asked_wait
from agentkit.errors import FaultKind, ModelError

if TYPE_CHECKING:
    import openai

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 524, 529})
"""Statuses after which the same request may succeed."""

_PASSING_KINDS: dict[int, FaultKind] = {
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
    """A model and its server, as messages name them. The key is here to be kept out of them."""

    name: str
    model: str
    url: str
    key_env: str = ""
    key: str = field(default="", repr=False)

    def fault(self, text: str, kind: FaultKind = "other") -> ModelError:
        return ModelError(self.line(text), self.name, kind)

    def passing(
        self, text: str, wait: float | None = None, kind: FaultKind = "down"
    ) -> PassingError:
        return PassingError(self.line(text), self.name, wait, kind)

    def line(self, text: str) -> str:
        """One line of at most 600 characters that never holds the key."""
        if self.key:
            text = text.replace(self.key, "***")
        return " ".join(text.split())[:600]

    @property
    def place(self) -> str:
        return shown(self.url)


def explained(error: Exception, at: Endpoint) -> ModelError:
    """The error of a request or of its stream, for people. A PassingError may be tried again."""
    import openai

    match error:
        case openai.APIConnectionError():
            return _unreached(error, at)
        case openai.APIStatusError():
            return _refused(error, at)
        case openai.APIError():
            return _in_stream(error, at)
        case UnicodeEncodeError():
            return at.fault(
                "The messages hold half a character (a lone surrogate): remove it.", "bad_request"
            )
        case ValueError():
            return at.fault(
                f"{at.place} sent a stream that cannot be read ({error}): the server is faulty "
                f"or something between changes its answers. Try again, or ask its logs.",
                "down",
            )
    return at.fault(f"{at.name} at {at.place} failed: {type(error).__name__}: {error}")


def missing_model(at: Endpoint, known: Sequence[str]) -> ModelError:
    """A 404, given the models that the server says it has."""
    if not known or at.model in known:
        return at.fault(
            f"{at.place} answered 404 for {at.model!r}. "
            "Check the model's name and base_url (does it end in /v1?).",
            "bad_request",
        )
    some = ", ".join(known[:5]) + (", ..." if len(known) > 5 else "")
    return at.fault(
        f"{at.model!r} is not on {at.place}. It has: {some}. Choose one of them.", "bad_request"
    )


def not_a_stream(at: Endpoint, kind: str, text: str) -> ModelError:
    """A 200 whose body is no event stream: a web page, or an error as JSON."""
    said = f": {text[:200]}" if "json" in kind and text else ""
    return at.fault(
        f"{at.place} answered with {kind or 'nothing'} in place of a stream{said}. "
        "Check base_url (does it end in /v1?).",
        "bad_request",
    )


def cut_off(at: Endpoint, seen: bool) -> ModelError:
    """A stream that ended before the server said that the answer was done."""
    if not seen:
        return at.fault(
            f"{at.place} sent a stream without choices: check base_url and its logs.", "down"
        )
    return at.fault(f"The answer of {at.name} was cut off by {at.place}: ask again.", "down")


def is_missing_model(error: Exception) -> bool:
    status, code = getattr(error, "status_code", 0), getattr(error, "code", "")
    return status == 404 or (status == 400 and code == "model_not_found")


def _unreached(error: openai.APIConnectionError, at: Endpoint) -> ModelError:
    import httpx2

    match error.__cause__:
        case httpx2.ConnectTimeout():
            return at.passing(
                f"{at.place} does not take the connection of {at.name} in time.", kind="timed_out"
            )
        case httpx2.TimeoutException():
            return at.fault(
                f"{at.place} was silent for too long while answering for {at.name}. Ask again, "
                "or raise read_timeout for this provider.",
                "timed_out",
            )
        case httpx2.ConnectError() as cause:
            step = _START if is_loopback(at.url) else "Check the network and base_url"
            return at.fault(
                f"No server answers at {at.place} for {at.name} ({cause}). {step}.", "down"
            )
    return at.passing(f"The connection of {at.name} to {at.place} broke off. Ask again.")


def _refused(error: openai.APIStatusError, at: Endpoint) -> ModelError:
    status, said = error.status_code, _said(error.body)
    if status in (401, 403):
        return at.fault(
            f"{at.place} refuses the key for {at.name} ({status}). {_key_step(at)}", "refused_key"
        )
    if _is_too_long(error, said):
        return at.fault(
            f"The conversation is too long for {at.name}: {said}. Shorten it, or choose a model "
            "with a larger context window.",
            "too_long",
        )
    if error.code == "insufficient_quota":
        return at.fault(
            f"The account of {at.name} has no quota left ({said}). Check its billing.",
            "rate_limited",
        )
    text = f"{at.place} answered {status} for {at.name}" + (f": {said}" if said else "")
    if status in PASSING:
        step = "Too many requests: wait a little." if status == 429 else "Try again later."
        kind = _PASSING_KINDS.get(status, "down")
        return at.passing(f"{text}. {step}", asked_wait(error.response.headers), kind)
    kind = "bad_request" if status < 500 else "down"
    return at.fault(f"{text}. Check the model's name, the options and base_url.", kind)


def _in_stream(error: openai.APIError, at: Endpoint) -> ModelError:
    said = _said(error.body) or error.message
    text = f"{at.place} broke off the answer of {at.name}: {said}. Ask again."
    if _is_too_long(error, said):
        return at.fault(
            f"The conversation is too long for {at.name}: {said}. Shorten it.", "too_long"
        )
    passing = str(error.code) in map(str, PASSING)
    return at.passing(text) if passing else at.fault(text, "down")


def _is_too_long(error: openai.APIError, said: str) -> bool:
    status = getattr(error, "status_code", 400)
    return status in (400, 413, 422) and bool(_TOO_LONG.search(f"{error.code} {error.type} {said}"))


def _key_step(at: Endpoint) -> str:
    if at.key_env:
        return f"Set the environment variable {at.key_env} to a valid key."
    return "Name the environment variable that holds its key as api_key_env of the provider."


def _said(body: Any) -> str:
    """The server's own words, if they are words."""
    while isinstance(body, dict):
        body = next((body[key] for key in ("message", "error", "detail") if key in body), "")
    text = body if isinstance(body, str) else ""
    return "" if text.lstrip().startswith("<") else text.strip().rstrip(".")[:300]
