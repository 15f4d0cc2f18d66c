"""Load plain text, Markdown and source code as they are, and decode bytes.

Unicode is tried first, UTF-16 also without its mark, then the legacy encodings, guessed from a few
places in the file so that one odd character does not decide. Binary data is rejected.
"""

from __future__ import annotations

import codecs
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath

from agentkit.documents import Document
from agentkit.errors import KnowledgeError
from agentkit.knowledge.chunking.splitter import first_heading, front_matter
from agentkit.knowledge.loaders.files import LANGUAGES, Loaded
from agentkit.text.terms import clean

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BIG5 = ("big5", "cp950", "big5hkscs")
_WIDER = {
    "gb2312": ("gb18030",),
    "gbk": ("gb18030",),
    "big5": _BIG5,
    "big5hkscs": _BIG5,
    "shift_jis": ("shift_jis", "cp932"),
    "euc_kr": ("euc_kr", "cp949"),
    "iso8859-1": ("cp1252",),
    "ascii": ("utf-8",),
}
"""The encodings that a name means in real files, the strictest first."""
_LEGACY = (
    "gb18030", "big5hkscs", "cp932", "euc_jis_2004", "cp949", "cp1250", "cp1251", "cp1252",
    "cp1253", "cp1254", "iso8859-1", "iso8859-2", "iso8859-15", "koi8-r",
)  # fmt: skip
_NO_CHARSETS = frozenset(("idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined"))
_JIS_ESCAPE = b"\x1b$B"
_WINDOW = 2000
_WINDOWS = 9
_MOST_BROKEN = 0.01

_LONG_ASCII = re.compile(rb"(?<=[\x00-\x7f])[\x00-\x7f]{40,}")
"""It does not help the detector. Its first byte may end a character."""
_COMMON = re.compile(
    "[\t\n\r -~\u3001\u3002\uff0c\u3041-\u3096的一是不了在有人这這中大来來上国國个個到说說们們为為]"
)
_WRITTEN = re.compile(
    r"[\t\n\r -~\u00a0-\u024f\u0370-\u052f\u2010-\u2044\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]"
)


def decoded(content: bytes, declared: str = "") -> str:
    """Decode a file without its byte order mark. `declared` is the encoding that the file or its
    sender names; it is used where it fits. Raises KnowledgeError for binary data."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return clean(content.decode(encoding, errors="replace"))
    declared = "iso2022_jp" if _JIS_ESCAPE in content else declared
    for text in (_as_declared(content, declared), _utf_16(content), _utf_8(content)):
        if text is not None:
            return clean(text)
    return clean(_legacy(content))


def _as_declared(content: bytes, declared: str) -> str | None:
    """Decode as declared, None where that does not fit. UTF-8 by its bytes is hardly ever anything
    else, while many old pages declare it wrongly."""
    try:
        name = codecs.lookup(declared).name if declared else ""
    except (LookupError, ValueError):
        return None
    wide = name.startswith(("utf-16", "utf-32"))
    if not name or name in _NO_CHARSETS or wide != (b"\0" in content):
        return None
    whole = None if wide else _strictly(content, "utf-8")
    if whole is not None and len(content) - len(whole) >= 4:
        return whole
    return _strictly(content, name)


def _strictly(content: bytes, name: str) -> str | None:
    for encoding in _WIDER.get(name, (name,)):
        try:
            return content.decode(encoding)
        except (UnicodeError, LookupError):
            continue
    return None


def _utf_8(content: bytes) -> str | None:
    """Decode UTF-8, also with a few broken bytes, as in a truncated log."""
    if b"\0" in content:
        return None
    whole = _strictly(content, "utf-8")
    if whole is not None:
        return whole
    text = content.decode("utf-8", errors="replace")
    broken = text.count("\ufffd")
    foreign = sum(len(run) for run in re.findall(r"[^\x00-\x7f]+", text))
    return text if broken <= foreign * _MOST_BROKEN else None


def _utf_16(content: bytes) -> str | None:
    """Decode UTF-16 without a mark. English has NULs in it; Chinese may have none, and is
    recognised by its common characters, since two-byte legacy text looks like rare ones."""
    if len(content) % 2 or (b"\0" not in content and _strictly(content, "utf-8") is not None):
        return None
    texts = (_strictly(content, name) for name in ("utf-16-le", "utf-16-be"))
    best = max(filter(None, texts), key=_familiar, default="")
    return best if _familiar(best) >= 0.05 else None


def _familiar(text: str) -> float:
    """The share of ASCII and common characters, 0 for characters that people do not write."""
    sample = text[: _WINDOW * _WINDOWS]
    if not sample or len(_WRITTEN.findall(sample)) < 0.9 * len(sample) or "\0" in sample:
        return 0.0
    return len(_COMMON.findall(sample)) / len(sample)


def _legacy(content: bytes) -> str:
    binary = KnowledgeError("not text: it contains binary data")
    if b"\0" in content:
        raise binary
    votes: dict[str, float] = defaultdict(float)
    for window in _windows(content):
        for name, confidence in _guesses(window):
            votes[name] += confidence
    for name in sorted(votes, key=votes.__getitem__, reverse=True)[:3]:
        text = _strictly(content, name)
        if text is None:
            text = content.decode(_WIDER.get(name, (name,))[-1], errors="replace")
        if text.count("\ufffd") <= len(text) * _MOST_BROKEN:
            return text
    raise binary


def _windows(content: bytes) -> Iterator[bytes]:
    """A few places with more than ASCII, each from the start of a character: no encoding has the
    second byte of one below 0x30."""
    for at in range(0, len(content), max(_WINDOW, len(content) // _WINDOWS)):
        begins = re.compile(rb"[\x00-/][\x80-\xff]" if at else rb"[\x80-\xff]")
        found = begins.search(content, at)
        start = found.start() if found else at
        window = _LONG_ASCII.sub(b" ", content[start : start + 4 * _WINDOW])[:_WINDOW]
        if not window.isascii():
            yield window


def _guesses(window: bytes) -> Iterator[tuple[str, float]]:
    import chardet

    for guess in chardet.detect_all(window, include_encodings=_LEGACY):
        if guess["encoding"]:
            yield codecs.lookup(guess["encoding"]).name, guess["confidence"]


def load_markdown(content: bytes, source: str) -> Loaded:
    """Title and metadata are from the front matter, or the title from the first heading."""
    text = decoded(content)
    front = front_matter(text)
    metadata = front.metadata if front else {}
    title = str(metadata.get("title") or first_heading(text) or PurePosixPath(source).stem)
    return Loaded(Document(source, text, title, metadata=metadata))


def load_text(content: bytes, source: str) -> Loaded:
    """Plain text has paragraphs, no headings."""
    return Loaded(Document(source, decoded(content), PurePosixPath(source).stem, format="text"))


def load_code(content: bytes, source: str) -> Loaded:
    """The title is the file's whole name, which tells model.py from model.h."""
    path = PurePosixPath(source)
    language = LANGUAGES.get(path.suffix.lower(), "")
    metadata = {"language": language}
    text = decoded(content)
    if language:
        return Loaded(Document(source, text, path.name, metadata=metadata, format="code"))
    return Loaded(Document(source, text, path.name, format="text"))
