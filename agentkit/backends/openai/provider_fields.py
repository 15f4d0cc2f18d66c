"""Collect the fields of a streamed message that its provider wants back unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SENT_BACK = (
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "thinking_blocks",
    "extra_content",
)
THINKING_PART = "thinking_part"
"""The key of thinking that was a part of the content, and goes back as one."""

_TEXTS = ("text", "summary", "thinking")


class ProviderFields:
    """The fields of one message, joined from its chunks."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def feed(self, message: Mapping[str, Any], is_whole: bool) -> None:
        """Take the fields of a delta, or of a whole message, which has them once more."""
        for name in _SENT_BACK:
            if not (value := message.get(name)):
                continue
            if name not in self.values or is_whole:
                self.values[name] = value
            else:
                self.values[name] = _joined(self.values[name], value)
        if thinking := _thinking_part(message.get("content")):
            kept = "" if is_whole else self.values.get(THINKING_PART, "")
            self.values[THINKING_PART] = kept + thinking


def _thinking_part(content: Any) -> str:
    """Return the text of the thinking in a content of parts, as Mistral sends it."""
    parts = content if isinstance(content, list) else []
    inner = [
        text
        for part in parts
        if isinstance(part, Mapping) and part.get("type") == "thinking"
        for text in part.get("thinking") or ()
    ]
    return "".join(str(text.get("text") or "") for text in inner if isinstance(text, Mapping))


def _joined(kept: Any, piece: Any) -> Any:
    """Join two pieces of a field: texts are appended, objects with one index merged."""
    if isinstance(kept, str) and isinstance(piece, str):
        return kept + piece
    if isinstance(kept, list) and isinstance(piece, list):
        items = list(kept)
        for item in piece:
            if items and _continues(items[-1], item):
                items[-1] = _merged(items[-1], item)
            else:
                items.append(item)
        return items
    return piece


def _continues(last: Any, item: Any) -> bool:
    """Whether an item is a further piece of the last one."""
    if not isinstance(last, dict) or not isinstance(item, dict) or last.get("signature"):
        return False
    kind = str(item.get("type") or last.get("type") or "")
    is_whole = "encrypted" in kind or "redacted" in kind
    is_same = (last.get("type") or kind) == kind and last.get("index") == item.get("index")
    return is_same and not is_whole


def _merged(last: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    joined = {**last, **{key: value for key, value in item.items() if value is not None}}
    for key in _TEXTS:
        if isinstance(text := last.get(key), str):
            joined[key] = text + (item.get(key) or "")
    return joined
