"""Bytes as text: UTF-8, UTF-16 and GB18030, told apart by what they hold."""

from __future__ import annotations

import codecs

from agentkit.errors import KnowledgeError
from agentkit.text import clean

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decoded(content: bytes) -> str:
    """The text of a file, its byte order mark dropped. Raises KnowledgeError for binary data."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return clean(content.decode(encoding, errors="replace"))
    if b"\0" not in content:
        for encoding in ("utf-8", "gb18030"):
            try:
                return clean(content.decode(encoding))
            except UnicodeDecodeError:
                continue
    raise KnowledgeError("no text: it holds binary data")
