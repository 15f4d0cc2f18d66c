"""Repair what a server answers before the SDK validates it: one fault must not cost the rest.

An invalid entry of a list (a tool, resource or prompt) loses its invalid optional fields, or is
left out where a required one is invalid; `notes` name it. Content of an unknown kind becomes text.
A result that misses its output schema stays: `schema_mismatch` says how it does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from agentkit.mcp.results import content_part
from agentkit.text.hidden import visible
from agentkit.tools.schema import schema_fault

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Record = dict[str, Any]

_LISTS = {
    "tools/list": ("tools", ("name", "inputSchema")),
    "resources/list": ("resources", ("uri", "name")),
    "resources/templates/list": ("resourceTemplates", ("uriTemplate", "name")),
    "prompts/list": ("prompts", ("name",)),
}
"""Method -> the key of the entries, and the fields that an entry cannot do without."""

_DECORATION = ("annotations", "_meta", "icons", "title", "description", "size")
_BINARY = ("data", "blob")
_MAX_REASON = 200
_MAX_ENTRIES = 10_000
_MAX_NOTES = 10


class Repairs:
    """The repairs of one connection, which sees the messages in both directions."""

    def __init__(self) -> None:
        self._pending: dict[str, tuple[str, Record]] = {}
        self._version = ""
        self._notes: dict[str, list[str]] = {}

    @property
    def notes(self) -> list[str]:
        """A sentence for each entry that was left out of the last lists, or lost a field."""
        return [note for notes in self._notes.values() for note in notes]

    def sent(self, message: Any) -> None:
        """Remember a request, whose method its answer does not name, until it is cancelled."""
        params = getattr(message, "params", None) or {}
        if hasattr(message, "method") and hasattr(message, "id"):
            kept = {key: params[key] for key in ("cursor", "uri") if key in params}
            self._pending[str(message.id)] = message.method, kept
        elif getattr(message, "method", "") == "notifications/cancelled":
            self._pending.pop(str(params.get("requestId")), None)

    def received(self, message: Any) -> None:
        """Repair an answer in place. An error without an id belongs to the only pending request."""
        if hasattr(message, "method") or not hasattr(message, "id"):
            return
        if message.id is None and len(self._pending) == 1:
            (message.id,) = self._pending
        method, params = self._pending.pop(str(message.id), ("", {}))
        if not hasattr(message, "result"):
            return
        if method in ("initialize", "server/discover"):
            self._greeting(method, message.result)
        elif method in _LISTS:
            self._list(method, params, message.result)
        elif method in _RESULTS and message.result.get("resultType") in (None, "complete"):
            self._result(method, params, message.result)

    def _greeting(self, method: str, result: Record) -> None:
        """Note the version; an answer to `initialize` may lack what only describes the server."""
        if method == "server/discover":
            from mcp_types.version import LATEST_MODERN_VERSION

            self._version = LATEST_MODERN_VERSION
            return
        self._version = str(result.get("protocolVersion"))
        given, info = result.get("capabilities"), result.get("serverInfo")
        offered = given.items() if isinstance(given, dict) else ()
        result["capabilities"] = {k: v if isinstance(v, dict) else {} for k, v in offered if v}
        result["capabilities"] |= {k: {} for k, v in offered if v == {}}
        info = info if isinstance(info, dict) else {}
        result["serverInfo"] = {k: str(info.get(k) or "") for k in ("name", "version", "title")}
        _drop_invalid(method, self._version, result)
        result.setdefault("capabilities", {name: {} for name in dict(offered)})

    def _result(self, method: str, params: Record, result: Record) -> None:
        repair, key = _RESULTS[method]
        if isinstance(found := result.get(key), list) and len(found) > _MAX_ENTRIES:
            cut = f"[cut: the first {_MAX_ENTRIES} of {len(found)} blocks]"
            result[key] = [*found[:_MAX_ENTRIES], *([_text(cut)] if key == "content" else [])]
        if key not in result or _faults(method, self._version, result, ""):
            repair(result, params, self._version)
            _drop_invalid(method, self._version, result)

    def _list(self, method: str, params: Record, result: Record) -> None:
        key, required = _LISTS[method]
        if not params.get("cursor"):
            self._notes[method] = []
        cursor = result.get("nextCursor")
        if cursor is not None and not isinstance(cursor, str):
            result["nextCursor"] = str(cursor)
        entries = result.get(key)
        kept = entries[:_MAX_ENTRIES] if isinstance(entries, list) else []
        is_named = all(isinstance(each, dict) and each.get(required[0]) for each in kept)
        if not is_named or _faults(method, self._version, {**result, key: kept}, ""):
            kept = [each for each in kept if self._keeps(method, result, each)]
        result[key] = kept
        _drop_invalid(method, self._version, result)

    def _keeps(self, method: str, result: Record, entry: Any) -> bool:
        """Whether an entry can be used, once its invalid optional fields are taken out of it."""
        key, required = _LISTS[method]
        kind = {"resourceTemplates": "resource template"}.get(key, key[:-1])
        if not isinstance(entry, dict):
            self._note(method, f"a {kind} is left out: {json.dumps(entry)[:80]} is not an object")
            return False
        if isinstance(schema := entry.get("inputSchema"), dict):
            schema.setdefault("type", "object")
        name = str(entry.get(required[0]) or "")
        faults = dict(_faults(method, self._version, {**result, key: [entry]}, key))
        if not faults and name:
            return True
        fatal = {field: reason for field, reason in faults.items() if field in required}
        if fatal or not name:
            field, reason = next(iter(fatal.items()), (required[0], "it is empty"))
            title = f"the {kind} {name!r}" if name else f"a {kind} without a {required[0]}"
            self._note(method, f"{title} is left out: {field}: {reason}")
            return False
        for field, reason in faults.items():
            entry.pop(field, None)
            self._note(method, f"{field} of the {kind} {name!r} is ignored: {reason}")
        return not _faults(method, self._version, {**result, key: [entry]}, key)

    def _note(self, method: str, text: str) -> None:
        notes = self._notes.setdefault(method, [])
        if len(notes) < _MAX_NOTES:
            notes.append(visible(text[:500])[:500])
        elif len(notes) == _MAX_NOTES:
            notes.append("and more")


def schema_mismatch(schema: Any, structured: Any) -> str:
    """Why structured content does not fit the output schema of its tool; "" where it does."""
    if schema is None:
        return ""
    if structured is None:
        return "it has no structured content, which its output schema asks for"
    try:
        fault = schema_fault(schema, structured)
    except ValueError as error:
        return f"its output schema {_brief(error)}"
    return f"it does not fit its output schema: {_brief(fault)}" if fault else ""


def _drop_invalid(method: str, version: str, result: Record) -> None:
    """Take the fields out of a result that are still invalid, such as its metadata."""
    for field, _ in _faults(method, version, result, ""):
        result.pop(field, None)


def _faults(method: str, version: str, result: Record, key: str) -> list[tuple[str, str]]:
    """The invalid fields of a result, or of the only entry of its list `key`, each with a reason:
    by the rules of the connection's version, then by those of the SDK's own types."""
    from mcp_types.methods import validate_server_result
    from pydantic import ValidationError

    found: dict[str, str] = {}
    for validate in (
        lambda: validate_server_result(method, version, result),
        lambda: _adapter(method).validate_python(result, by_name=False),
    ):
        try:
            validate()
        except ValidationError as error:
            for each in error.errors(include_url=False, include_input=False):
                if field := _field(each["loc"], key):
                    found.setdefault(field, _brief(each["msg"]))
        except (KeyError, ValueError):  # a method or version without rules
            continue
    return list(found.items())


def _field(place: tuple[int | str, ...], key: str) -> str:
    """The field that the place of a fault is in."""
    if not key:
        return str(place[0]) if place else "result"
    at = place.index(key) if key in place else len(place)
    return str(place[at + 2]) if len(place) > at + 2 else ""


def _repair_call(result: Record, params: Record, version: str) -> None:
    content = result.get("content")
    if "content" not in result and "structuredContent" not in result:
        content = [{**result}]
    elif isinstance(content, str | dict):
        content = [content]
    blocks = [_block(each, version) for each in content] if isinstance(content, list) else []
    structured = result.get("structuredContent")
    if structured is None:
        result.pop("structuredContent", None)
    elif not isinstance(structured, dict) and _faults("tools/call", version, result, ""):
        del result["structuredContent"]
        text = json.dumps(structured, ensure_ascii=False)
        if all(block.get("text") != text for block in blocks):
            blocks.append(_text(text))
    result["content"] = blocks
    if "isError" in result and not isinstance(result["isError"], bool):
        result["isError"] = str(result["isError"]).lower() in ("true", "1")


def _repair_prompt(result: Record, params: Record, version: str) -> None:
    found: list[Record] = []
    for message in _objects(result.get("messages")):
        content = message.get("content")
        role = message.get("role") if message.get("role") in ("user", "assistant") else "user"
        blocks = content if isinstance(content, list) else [content]
        found += [{"role": role, "content": _block(each, version)} for each in blocks]
    result["messages"] = found


def _repair_resource(result: Record, params: Record, version: str) -> None:
    contents = result.get("contents")
    if isinstance(contents, dict):
        contents = [contents]
    result["contents"] = [
        _contents(each, str(params.get("uri") or "")) for each in _objects(contents)
    ]


def _contents(each: Record, uri: str) -> Record:
    kept = {"uri": uri} | {k: v for k, v in each.items() if isinstance(v, str) and k != "_meta"}
    if "text" in kept or "blob" in kept:
        return kept
    return {**kept, "text": _as_json(each)}


_RESULTS: Mapping[str, tuple[Callable[[Record, Record, str], None], str]] = {
    "tools/call": (_repair_call, "content"),
    "prompts/get": (_repair_prompt, "messages"),
    "resources/read": (_repair_resource, "contents"),
}
"""Method -> how its result is repaired, and the field that a result cannot do without."""


def _block(block: Any, version: str) -> Record:
    """A block of content that the SDK accepts: the block itself, or its text."""
    if not isinstance(block, dict):
        return _text(block if isinstance(block, str) else _as_json(block))
    plain = {key: value for key, value in block.items() if key not in _DECORATION}
    plain |= {
        key: block[key] for key in ("title", "description") if isinstance(block.get(key), str)
    }
    for each in (block, plain):
        if (parsed := _parse_block(each)) is None:
            continue
        if not _faults("tools/call", version, {"content": [each]}, "content"):
            return each
        part = content_part(parsed)  # of a later version of the protocol
        return _text(part) if isinstance(part, str) else each
    if block.get("type") in (None, "text") and isinstance(block.get("text"), str):
        return _text(block["text"])
    return _text(_as_json(block))


def _parse_block(block: Record) -> Any:
    from pydantic import ValidationError

    try:
        return _adapter("content").validate_python(block, by_name=False)
    except ValidationError:
        return None


@cache
def _adapter(method: str) -> TypeAdapter[Any]:
    """The SDK's type of a method's result, or of a block of "content"."""
    from mcp_types import ContentBlock
    from mcp_types.methods import MONOLITH_RESULTS
    from pydantic import TypeAdapter

    kind: Any = ContentBlock if method == "content" else MONOLITH_RESULTS[method]
    return TypeAdapter(kind)


def _text(text: str) -> Record:
    return {"type": "text", "text": text}


def _as_json(value: Any) -> str:
    """A value as JSON, its binary data by length only."""
    if isinstance(value, dict):
        value = {
            key: f"[{len(each)} characters]" if key in _BINARY and isinstance(each, str) else each
            for key, each in value.items()
        }
    return json.dumps(value, ensure_ascii=False)


def _objects(value: Any) -> Iterator[Record]:
    return (
        (each for each in value if isinstance(each, dict)) if isinstance(value, list) else iter(())
    )


def _brief(reason: object) -> str:
    return " ".join(str(reason).split())[:_MAX_REASON]
