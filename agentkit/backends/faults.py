"""Read what a model server reports in an error, in the shapes that servers and proxies use.

`read_fault` takes the body of an error response or an error within a stream: an object under
`error`, text, a list, FastAPI's `detail`, a web page. `is_too_long` and `is_out_of_quota` recognise
what an error is about by its wording; `retry_delay` finds how long to wait.
"""

from __future__ import annotations

import html
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

_MAX_MESSAGE = 300
_MAX_DEPTH = 6
_MESSAGE_KEYS = (
    *("message", "error_message", "error_msg", "errmsg", "status_msg", "msg", "detail", "details"),
    *("error_description", "base_resp", "error", "errors", "title", "reason", "description"),
)
_CODE_KEYS = ("code", "type", "status", "error_type", "error_code", "reason")
_STATUS_KEYS = ("status_code", "code", "status", "http_status", "error_code")
_PAGE = re.compile(r"\s*<(!doctype|html|head|body|\?xml|title|h1|center|pre|p|div|error)\b", re.I)
_TITLE = re.compile(r"<(title|h1|message)\b[^>]*>(?P<text>.*?)</", re.IGNORECASE | re.DOTALL)

_TOO_LONG = re.compile(
    r"context.?(length|window|size|limit).{0,60}(exceed|too (long|large)|overflow|is only|larger)"
    r"|(exceed|longer|larger|greater|too (long|large)|overflow|more tokens).{0,60}"
    r"(context|max_?\s?(model|seq|input|sequence|prompt|total|message)?[ _]?(len|tokens))"
    r"|maximum (context|prompt|model|input|sequence) ?(length|size|tokens)"
    r"|model's context length|context_length_exceeded|exceed_context|context ?window ?exceeded"
    r"|tokens_limit_reached|string_above_max_length|(model|prompt|input) token limit"
    r"|(prompt|input|request|inputs|conversation|messages?)[\w `']{0,30} (is|are|was|were) too "
    r"(long|large)|too many (input |prompt )?tokens\b(?!.{0,20}per)|prompt too long"
    r"|`?inputs`? (tokens \+ `?max_new_tokens|must have less than)"
    r"|(input|prompt|token)s?\b.{0,40}\b(exceed|cannot exceed)\w*.{0,60}(limit|maximum|max)"
    r"|range of input length should be|input length .{0,40}(exceed|longer|larger)"
    r"|prompt (contains|has) \d+ tokens.{0,60}(too large|larger)|exceeds max length"
    r"|reduce (the length of )?(the|your) (messages|message size|prompt|input)"
    r"|request too large for|request body too large for .{0,60}tokens|model only supports up to"
    r"|must be less than max_seq_len|prompt_len.{0,40}max_seq_len|out of context"
    r"|trying to keep the first \d+ tokens|free space in the kv cache"
    r"|exceeds? .{0,30}max_num_tokens|total tokens .{0,40}exceed|input tokens must be"
    r"|provide a shorter input|context overflow"
    r"|(输入|上下文|prompt|tokens?数?)\s*.{0,12}(超长|过长|超过|超出)",
    re.IGNORECASE | re.DOTALL,
)
_NOT_TOO_LONG = re.compile(
    r"(supports at most|maximum allowed number of|maximum value for).{0,40}"
    r"(completion|output|max_tokens)|per (day|hour)\b|tool|function name",
    re.IGNORECASE,
)
_SURELY_TOO_LONG = re.compile(r"context.?(length|window)|exceed_context", re.IGNORECASE)
_NO_QUOTA = re.compile(
    r"insufficient[ _]?(user[ _]?)?(quota|balance|credits?|funds)|balance (is )?(insufficient|"
    r"not enough|too low)|(credit|account) balance is too low|exceeded_current_quota|"
    r"billing_(hard_limit|not_active)|arrearage|overdue.payment|out of credits|payment required|"
    r"requires more credits|used all available credits|monthly spending limit"
    r"|余额不足|额度不足|欠费",
    re.IGNORECASE,
)
_UNREAD = re.compile(
    r"tool_use_failed|output_parse_failed|json_validate_failed|failed to call a function|"
    r"tool call validation failed|tool use failed|failed to parse tool call",
    re.IGNORECASE,
)
_WAIT = re.compile(
    r"(?:try again|retry|available|wait|resets?)\b[^.\d]{0,40}?"
    r"(?P<time>(?:\d+(?:\.\d+)?\s*(?:ms|milliseconds?|h|hours?|m|min|minutes?|s|sec|seconds?)"
    r"(?![a-z])\s*)+)",
    re.IGNORECASE,
)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|mi?l|[hms])", re.IGNORECASE)
_UNITS = {"ms": 0.001, "mil": 0.001, "h": 3600.0, "m": 60.0, "s": 1.0}
_DELAY_KEYS = ("retrydelay", "retry_after", "retry_after_seconds", "retryafter", "estimated_time")


@dataclass(frozen=True, slots=True)
class ServerFault:
    """What a server reports: its message in one line, its codes and types in one text, a status
    that the body names (0 for none), the delay in seconds it asks for, and the text of a model
    that the server could not read as a call or as JSON (Groq's `failed_generation`)."""

    message: str = ""
    codes: str = ""
    status: int = 0
    delay: float | None = None
    generation: str = ""

    @property
    def is_too_long(self) -> bool:
        return is_too_long(f"{self.codes} {self.message}")

    @property
    def is_out_of_quota(self) -> bool:
        """Whether the account must be topped up. A quota that renews names a delay."""
        return self.delay is None and bool(_NO_QUOTA.search(f"{self.codes} {self.message}"))

    @property
    def is_unread_generation(self) -> bool:
        """Whether the server failed to read what the model wrote: to be read here, or asked
        again."""
        return bool(_UNREAD.search(f"{self.codes} {self.message}"))


class ServerError(ValueError):
    """An error that a server reports within an answer."""

    def __init__(self, fault: ServerFault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def is_too_long(text: str) -> bool:
    """Whether an error is about a prompt that exceeds the context window."""
    if not _TOO_LONG.search(text):
        return False
    return bool(_SURELY_TOO_LONG.search(text)) or not _NOT_TOO_LONG.search(text)


def is_fault(chunk: Any) -> bool:
    """Whether a chunk of a stream reports an error. Many servers send `"error": null` elsewhere."""
    if isinstance(chunk, list) and chunk:  # Gemini reports errors as a list.
        return _has_error(chunk[0])
    if not isinstance(chunk, Mapping):
        return False
    choices = chunk.get("choices")
    if chunk.get("error") or (isinstance(choices, list) and any(map(_has_error, choices))):
        return True
    if choices or isinstance(chunk.get("usage"), Mapping):
        return False
    failed = isinstance(answer := chunk.get("base_resp"), Mapping) and answer.get("status_code")
    named = chunk.get("object") == "error" or chunk.get("type") == "error"
    described = any(key in chunk for key in ("message", "detail", "msg", "errors", "error_msg"))
    return bool(failed or named or (described and "choices" not in chunk))


def _has_error(choice: Any) -> bool:
    return isinstance(choice, Mapping) and bool(choice.get("error"))


def read_fault(body: Any) -> ServerFault:
    """Read an error's body: text, bytes, or decoded JSON."""
    if isinstance(body, bytes):
        body = body.decode("utf-8", "replace")
    if isinstance(body, str):
        body = _decoded(body)
    if isinstance(body, Mapping) and isinstance(choices := body.get("choices"), list):
        body = {
            **body,
            "errors": body.get("error") or [c["error"] for c in choices if _has_error(c)],
        }
    message = " ".join(_message(body).split()).rstrip(".")[:_MAX_MESSAGE]
    objects = list(_objects(body))
    codes = " ".join(
        str(each[key]) for each in objects for key in _CODE_KEYS if _is_code(each.get(key))
    )
    statuses = (_status(each.get(key)) for each in objects for key in _STATUS_KEYS)
    texts = (each.get("failed_generation") for each in objects)
    return ServerFault(
        message,
        codes[:_MAX_MESSAGE],
        next((status for status in statuses if status), 0),
        _body_delay(objects, message),
        next((str(text) for text in texts if _is_generation(text)), ""),
    )


def _is_generation(text: Any) -> bool:
    """Whether a `failed_generation` is a model's text, rather than a message of the server."""
    return isinstance(text, str) and bool(text.strip()) and not _UNREAD.match(text.strip())


def _decoded(text: str) -> Any:
    """The JSON in a text, else the text."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass
    return text


def _is_code(value: Any) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool) and value != ""


def _message(value: Any, depth: int = 0) -> str:
    if depth > _MAX_DEPTH:
        return ""
    if isinstance(value, str):
        inner = _decoded(value)
        if inner is not value:
            return _message(inner, depth + 1)
        return _page_title(value) if _PAGE.match(value) else value
    if isinstance(value, list):
        return "; ".join(filter(None, (_message(item, depth + 1) for item in value[:3])))
    if not isinstance(value, Mapping):
        return ""
    text = next(
        (text for key in _MESSAGE_KEYS if (text := _message(value.get(key), depth + 1))), ""
    )
    if place := value.get("loc"):  # FastAPI's list of faults.
        text = f"{'.'.join(map(str, place)) if isinstance(place, list) else place}: {text}"
    metadata = value.get("metadata")
    raw = _message(metadata.get("raw"), depth + 1) if isinstance(metadata, Mapping) else ""
    return f"{text}: {raw}" if raw else text  # OpenRouter: what the provider behind it says.


def _page_title(page: str) -> str:
    found = _TITLE.search(page)
    return html.unescape(re.sub(r"<[^>]*>", " ", found["text"])).strip() if found else ""


def _objects(value: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """All objects in a JSON value, the outermost first."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, str):
        value = _decoded(value)
    if isinstance(value, Mapping):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            if isinstance(item, (Mapping, list)) or (isinstance(item, str) and item[:1] == "{"):
                yield from _objects(item, depth + 1)


def _status(value: Any) -> int:
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 400 <= value < 600 else 0


def _body_delay(objects: list[Mapping[str, Any]], message: str) -> float | None:
    for each in objects:
        for key, value in each.items():
            if key.lower() in _DELAY_KEYS and (found := _seconds(str(value))) is not None:
                return found
        if isinstance(headers := each.get("headers"), Mapping):  # OpenRouter's metadata.
            folded = {str(k).lower(): str(v) for k, v in headers.items()}
            if (found := header_delay(folded)) is not None:
                return found
    found_in = _WAIT.search(message)
    return _seconds(found_in["time"]) if found_in else None


def retry_delay(headers: Mapping[str, str], fault: ServerFault | None = None) -> float | None:
    """The seconds that a server asks to wait: its headers, else its message; None for neither."""
    asked = header_delay(headers)
    return asked if asked is not None or fault is None else fault.delay


def header_delay(headers: Mapping[str, str]) -> float | None:
    """The seconds of `retry-after-ms`, `retry-after` (a number or a date), else of the rate limit
    that is used up, or of the only one named."""
    milliseconds = _seconds(headers.get("retry-after-ms", "") + "ms")
    if milliseconds is not None:
        return milliseconds
    if (asked := _seconds(headers.get("retry-after", ""))) is not None:
        return asked
    resets: list[float] = []
    for name in ("", "-requests", "-tokens"):
        reset = _seconds(headers.get(f"x-ratelimit-reset{name}", ""))
        left = headers.get(f"x-ratelimit-remaining{name}", "")
        if reset is not None and left in ("", "0"):
            resets.append(reset)
    return max(resets, default=None)


def _seconds(text: str) -> float | None:
    """Seconds of a number, a duration ("1m26.4s", "120ms"), a date, or a point of time since the
    epoch in seconds or milliseconds."""
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        if number > 1e11:
            number /= 1000
        return (
            max(0.0, number - time.time() if number > 1e9 else number) if number == number else None
        )
    if _DURATION.match(text):
        return sum(float(n) * _UNITS[unit.lower()] for n, unit in _DURATION.findall(text))
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
