"""What a refusal says about a server: the fields of its profile that change.

Servers word refusals in their own ways, so a refusal is read for the field that it names and for
the kind of fault. Each change is tried once, and remembered where the request then succeeds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from agentkit.backends.conversation import IMAGES
from agentkit.backends.faults import ServerError
from agentkit.settings.profile import Profile

Changes = Mapping[str, Any]

_STATUSES = frozenset({400, 404, 405, 406, 409, 415, 422, 500, 501})
"""Statuses of refusals that may be about the form of a request."""

_MAX_TEXT = 20_000
_FIXED = frozenset({"model", "messages", "tools"})
_TOKEN_FIELDS = ("max_tokens", "max_completion_tokens")
_REFUSED = re.compile(
    r"unsupported|un-?recogni[sz]ed|unknown|unexpected|not (?:be )?(?:supported|permitted|allowed"
    r"|available|implemented|accepted|recogni[sz]ed|valid|enabled)|(?:n['o]t|not yet) support"
    r"|extra[_ ](?:forbidden|inputs?|fields?)|forbidden|additional propert|no such"
    r"|cannot find field|only the default|only (?:\d|one|default|allowed|be set)|deprecated|invalid"
    r"|illegal|must|cannot|can't|remove"
    r"|不支持|无效|非法|未知",
    re.IGNORECASE,
)
_OUT_OF_RANGE = re.compile(
    r"\bbetween\b|\brange\b|(?:less|greater|larger|smaller|more|higher|lower) than"
    r"|at (?:most|least)|maximum|minimum|too (?:large|small|high|low|big)|exceed"
    r"|(?<![-=])[<>]=?\s*[\d.]|[\[(]\s*[\d.]+\s*,\s*[\d.]+"
    r"|positive",
    re.IGNORECASE,
)
_ACCEPTED = re.compile(
    r"\b(?:expected one of|(?:supported|allowed|valid|accepted|known) (?:values|fields|param\w*"
    r"|keys|arguments|options))\b.*",
    re.IGNORECASE,
)
"""The list of what a server takes, in its refusal of something else."""
_BARE_WORDS = frozenset(
    (
        *("error", "code", "message", "type", "param", "detail", "object", "status", "null"),
        *("bad", "invalid", "request", "parameter", "parameters", "params"),
    )
)
"""The words of a refusal that names no fault at all."""
_ONLY_ONE_VALUE = re.compile(r"only the default|only \d|default \(|only .{0,12}is (?:allowed|supp)")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused request: the server's text, the body, its `explicit` fields, which the user has set
    and which are never changed, and the profile that the body was made with."""

    text: str
    body: Mapping[str, Any]
    explicit: Collection[str]
    profile: Profile

    def says(self, pattern: str) -> bool:
        return re.search(pattern, self.text, re.IGNORECASE | re.DOTALL) is not None

    def names(self, field: str) -> bool:
        """Whether the text names a field as a field: quoted, in a path, or by such a word."""
        name = rf"(?<!\w){re.escape(field)}(?!\w)"
        text = _ACCEPTED.sub("", self.text)
        if not re.search(name, text, re.IGNORECASE):
            return False
        if "_" in field:
            return True
        word = r"unsupported|unknown|unrecogni[sz]ed|unexpected|invalid|extra|illegal|param\w*"
        word += r"|arg\w*|field\w*|propert\w*|keyword\w*|option|value|name|support|参数"
        about = r"is|are|was|does|do|not|isn't|must|only|cannot|can't|should|unsupported|parameter"
        about += "|field|extra|不支持|参数"
        pattern = (
            rf"['\"`\[(./]{name}['\"`\])]|['\"`]{name}[.\[]|(?:^|[\"{{\s]){name}\s*:"
            rf"|\b(?:{word})\b\W{{0,4}}(?:\w+\W{{1,3}}){{0,2}}{name}|{name}\W{{0,3}}(?:sequences?\W)?(?:{about})\b"
            rf"|(?:support|permit|allow|accept|argument|suppli|field)[^.:]{{0,40}}:\s*{name}"
        )
        return re.search(pattern, text, re.IGNORECASE) is not None

    @property
    def messages(self) -> list[Mapping[str, Any]]:
        return list(self.body.get("messages") or ())

    @property
    def calls(self) -> list[Mapping[str, Any]]:
        return [call for message in self.messages for call in message.get("tool_calls") or ()]


def refusal_text(error: Exception) -> str | None:
    """Return the server's text in a refusal, None for an error that is not about the form of a
    request. Errors within a stream have no status."""
    import openai

    match error:
        case openai.APIStatusError():
            refused = error.status_code in _STATUSES
            text = f"{error.response.text}\n{error.message}" if refused else None
        case openai.APIConnectionError():
            text = None
        case openai.APIError() | ServerError():
            text = f"{getattr(error, 'body', '')}\n{error}"
        case _:
            text = None
    text = text and re.sub(r"<\d{3}>", "", text[:_MAX_TEXT])
    # JSON within JSON has its quotes escaped.
    return text and re.sub(r"\\u([0-9a-f]{4})", _character, text).replace("\\", "")


def _character(match: re.Match[str]) -> str:
    return chr(int(match[1], 16))


def lesson(refusal: Refusal) -> Changes | None:
    """Return the fields of the profile to change, None where the refusal teaches nothing new."""
    for rule in _RULES:
        changes = rule(refusal)
        if changes and any(getattr(refusal.profile, key) != new for key, new in changes.items()):
            return changes
    return None


def _reasoning(refusal: Refusal) -> Changes | None:
    """Reasoning that is missing in a message of the assistant, or that is refused in one."""
    profile = refusal.profile
    for field in ("reasoning_content", "reasoning_details", "reasoning", "thinking_blocks"):
        if not refusal.names(field):
            continue
        wants = r"missing|must (?:be )?(?:pass|provid|includ|present|contain)|required|need|缺少"
        if refusal.says(wants) and not all(field in m for m in refusal.messages if _answers(m)):
            filled = {"message_fill": {**profile.message_fill, field: "."}}
            kept = {} if field in ("reasoning_details", "thinking_blocks") else filled
            return {"sent_back": (*profile.sent_back, field), **kept}
        if any(field in message for message in refusal.messages):
            return {
                "sent_back": tuple(each for each in profile.sent_back if each != field),
                "message_fill": _without(profile.message_fill, field),
                "call_message_fill": _without(profile.call_message_fill, field),
            }
    if refusal.says(r"thinking.{0,30}block|redacted_thinking"):
        signed = ("reasoning_details", "thinking_blocks")
        return {"sent_back": tuple(dict.fromkeys((*profile.sent_back, *signed)))}
    return None


def _answers(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "assistant"


def _without(fill: Mapping[str, Any], field: str) -> dict[str, Any]:
    return {key: value for key, value in fill.items() if key != field}


def _signature(refusal: Refusal) -> Changes | None:
    """Fields of tool calls: a signature that is missing, or what is refused there."""
    if refusal.says(r"thought_?signature"):
        google = {"thought_signature": "skip_thought_signature_validator"}
        return {"call_fill": {"extra_content": {"google": google}}}
    if refusal.says(
        r"function_?response\W{1,3}name|(?:tool|role)\W.{0,30}\bname\W.{0,20}(?:required|missing)"
    ):
        return {"result_name": True}
    sent = {key for call in refusal.calls for key in call if key not in ("id", "type", "function")}
    named = {key for key in sent if refusal.names(key)}
    if named and _REFUSED.search(refusal.text):
        return {"refused": (*refusal.profile.refused, *sorted(named)), "call_fill": {}}
    if any("name" in m for m in refusal.messages) and refusal.says(r"messages.{0,40}['\".]name\b"):
        return {"result_name": False}
    return None


def _call_ids(refusal: Refusal) -> Changes | None:
    about_ids = r"tool[_ ]?call[_ ]?ids?\b|tool_calls.{0,20}\bid\b|\bcall_id|tool_use.{0,12}\bid\b"
    form = r"length|pattern|a-z|alphanum|characters|too long|format|must be|should match|invalid"
    pairing = (
        r"followed by|not found|no matching|response messages|preced|does not exist|unanswered"
    )
    if refusal.calls and refusal.says(about_ids) and refusal.says(form):
        return None if refusal.says(pairing) else {"call_id": "[a-zA-Z0-9]{9}"}
    return None


def _roles(refusal: Refusal) -> Changes | None:
    """The order of roles; after that, templates that know no tools at all."""
    profile = refusal.profile
    system = r"system.{0,40}(?:role|message|prompt|instruction)|(?:role|message).{0,20}system"
    developer = r"developer instruction"
    if refusal.says(
        rf"(?:{system}|{developer}).{{0,60}}(?:not|n't|un)\W?.{{0,20}}(?:support|allow"
        r"|enabled|permit)|(?:does not|doesn't|not) support.{0,30}system"
    ):
        return {"system": "none"}
    begin = r"begin|start|first|only one|single|multiple|more than one|at index 0|order"
    if refusal.says(rf"(?:{system}).{{0,60}}(?:{begin})|system.{{0,20}}after"):
        return {"system": "none" if profile.system == "first" else "first"}
    order = (
        r"\broles?\b.{0,80}(?:alternat|order|sequence|consecutive)|alternat.{0,60}\broles?\b"
        r"|after role|alternate user|unexpected.{0,10}role|expected.{0,20}role"
        r"|message.{0,20}order|function call turn|first.{0,30}message.{0,30}user|角色"
        r"|messages? must (?:start|begin|end) with"
    )
    if not refusal.says(order):
        return None
    strict = {"first_user": True, "assistant_after_tool": True, "system": "first"}
    if all(getattr(profile, key) == value for key, value in strict.items()):
        return {"tools": "prompt"}
    return strict


def _images(refusal: Refusal) -> Changes | None:
    """Images that tools returned, or of earlier questions; the refusal of an image of the question
    itself is shown."""
    about = r"image|vision|multi-?modal|mmproj|unknown variant|content.{0,40}string"
    lists = [m["content"] for m in refusal.messages if isinstance(m.get("content"), list)]
    is_question = isinstance(refusal.messages[-1].get("content"), list)
    by_tool = any(part.get("text") == IMAGES for parts in lists for part in parts)
    holds = by_tool or len(lists) > is_question
    return {"images": "none"} if holds and refusal.says(about) else None


def _contents(refusal: Refusal) -> Changes | None:
    if not refusal.says(r"content"):
        return None
    contents = [m.get("content") for m in refusal.messages if m.get("tool_calls")]
    null = r"null|none|nil|string|required|missing|empty|blank|str type|did not match"
    if None in contents and refusal.says(null):
        return {"empty_content": ""}
    if "" in contents and refusal.says(r"empty|blank|whitespace|at least 1|required|min_?length"):
        return {"empty_content": "."}
    return None


def _no_tools(refusal: Refusal) -> Changes | None:
    """Models and servers without tools, to which they are then described in the prompt."""
    about = (
        r"(?:not|n't|no longer) (?:currently )?support.{0,20}(?:tool|function)"
        r"|(?:tool|function)s?(?: (?:use|calls?|calling|choice))? (?:is|are)(?: not|n't)"
        r"|endpoints? found that support tool|enable-auto-tool-choice|tool-call-parser|--jinja"
        r"|tool.{0,3}call\w*.{0,30}not (?:enabled|supported|available)|cannot use tools"
        r"|tools?.{0,4} (?:param\w* |field )?(?:is |are )?(?:not supported|unsupported)|不支持工具"
        r"|(?:invalid|unknown|unsupported)[^.]{0,20}\brole\W{1,4}tool\b"
        r"|\brole\W{1,4}tool\b[^.]{0,20}(?:not|n't|un)\W?(?:support|allow|known)"
    )
    if "tools" not in refusal.body:
        asks = refusal.says(r"(?:must|requires?|without|needs?)\b.{0,60}\btools?\b")
        is_missing = refusal.calls and asks and not refusal.says("followed by")
        return {"tools_with_calls": True} if is_missing else None
    asked = refusal.body.get("tool_choice")
    if asked and refusal.names("tool_choice") and not refusal.says("--enable-auto"):
        form = asked if isinstance(asked, str) else "named"
        return {"tool_choices": tuple(c for c in refusal.profile.tool_choices if c != form)}
    return {"tools": "prompt"} if refusal.says(about) else None


def _answer_schema(refusal: Refusal) -> Changes | None:
    about = (
        r"response_?format|json_?schema|json[_ ](?:mode|object)|structured output|guided|grammar"
    )
    sent = refusal.body.get("response_format")
    if not isinstance(sent, Mapping) or not refusal.says(about):
        return None
    if sent.get("type") == "json_object":
        return {"response_format": "none"}
    is_strict = sent["json_schema"].get("strict")
    if is_strict and refusal.says(
        r"schema.{0,120}(?:required|additional|propert|permitted|keyword"
        r"|context=|strict)|\bstrict\b"
    ):
        return {"strict": False}
    return {"response_format": "json_object"}


def _tool_definitions(refusal: Refusal) -> Changes | None:
    if "tools" not in refusal.body or not refusal.says(r"tool|function|schema"):
        return None
    if refusal.says(r"description.{0,60}(?:too long|maximum|max_?length|at most|exceed|shorter)"):
        return {"max_description": 1024 if refusal.profile.max_description != 1024 else 256}
    name = (
        r"(?:tools?|functions?|declarations?)\b.{0,30}\bname.{0,80}(?:pattern|match|invalid|charac"
    )
    name += r"|length|long|must|start|regex)|invalid (?:function|tool) name"
    if refusal.says(name):
        return {"tool_name": "[a-zA-Z][a-zA-Z0-9_]{2,47}"}
    about = r"parameters|schema|propert|items|\$ref|\$defs|anyOf|oneOf|enum|declaration"
    if not refusal.says(about) or refusal.says(r"response_format"):
        return None
    return {"schemas": "inlined" if refusal.profile.schemas == "full" else "simple"}


def _token_limit(refusal: Refusal) -> Changes | None:
    """The limit of output tokens has two names."""
    sent = next((name for name in _TOKEN_FIELDS if name in refusal.body), "")
    if not sent or sent in refusal.explicit or not refusal.names(sent):
        return None
    other = _TOKEN_FIELDS[1 - _TOKEN_FIELDS.index(sent)]
    if not refusal.names(other) and refusal.says(_OUT_OF_RANGE.pattern):
        return None
    return {"max_tokens_field": other}


def _field(refusal: Refusal) -> Changes | None:
    """A field of the body that the refusal names."""
    for field in sorted(refusal.body, key=lambda each: each == "stream"):
        if field in _FIXED or field in refusal.explicit or not refusal.names(field):
            continue
        value = refusal.body[field]
        is_range = refusal.says(_OUT_OF_RANGE.pattern)
        if is_range and not _ONLY_ONE_VALUE.search(refusal.text):
            if field == "temperature" and value < 0.01:
                return {"min_temperature": 0.01}
            continue
        if _REFUSED.search(refusal.text):
            return {"refused": (*refusal.profile.refused, field)}
    return None


def _unnamed(refusal: Refusal) -> Changes | None:
    """A refusal of the messages that names no fault: all that some server refuses is changed."""
    if not refusal.says(r"\brequired|\binvalid\b|illegal|did not match|bad request|非法|参数"):
        return None
    roles = [message.get("role") for message in refusal.messages]
    plain = [role for role in roles if role != "system"]
    is_odd = (
        roles.count("system") > 1
        or plain[:1] != ["user"]
        or ("tool", "user") in pairwise(roles)
        or any(message.get("content") is None for message in refusal.messages)
    )
    if is_odd:
        strict = {"system": "first", "first_user": True, "assistant_after_tool": True}
        return {**strict, "empty_content": ""}
    if set(re.findall(r"[a-z]+", refusal.text.lower())) <= _BARE_WORDS:
        return {"refused": (*refusal.profile.refused, "stream_options")}
    return None


_RULES: tuple[Callable[[Refusal], Changes | None], ...] = (
    *(_reasoning, _signature, _call_ids, _token_limit, _answer_schema, _no_tools),
    *(_field, _images, _roles, _tool_definitions, _contents, _unnamed),
)
