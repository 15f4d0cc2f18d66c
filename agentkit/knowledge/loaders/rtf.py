"""Load RTF as text, its tables as rows with a bar between the cells."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from agentkit.documents import Document
from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.files import Loaded
from agentkit.knowledge.loaders.notation import lowered, raised
from agentkit.text.terms import clean

_WORDS = r"((?:\\[a-z]{1,20}-?\d{0,6}(?=[\\ \r\n])){0,20}+)"
_SHIFTED = re.compile(rf"\\(super|sub|up\d+|dn\d+)(?![a-z0-9]){_WORDS}\s?([^\\{{}}]{{1,40}})")
_UNSEEN = re.compile(rf"\\(?:striked?1?|v)(?![a-z0-9]){_WORDS}\s?[^\\{{}}]*")
_GROUP = r"(?:[^{}\\]|\\.|\{(?:[^{}\\]|\\.|\{(?:[^{}\\]|\\.)*+\})*+\})*+"
_FOOTNOTE = re.compile(rf"\{{\\footnote(?![a-z])({_GROUP})\}}", re.DOTALL)
_FRAME = re.compile(rf"\{{\\(header|footer)[lrf]?(?![a-z])({_GROUP})\}}", re.DOTALL)
_STRAY = re.compile(r"(?<=[^{\s])\\\*|\\bin(?![a-z0-9-])")
"""Marks without their meaning in this place, behind which the parser would lose the text."""
_BULLET = re.compile(
    r"(\{(?:\\\*)?\\(?:listtext|pntext)\b[^{}']{0,300})\\'(?:b7|a7|d8|fc)", re.IGNORECASE
)
_NOTE = re.compile(r"^(\[\^\d+\]:) +", re.MULTILINE)
_TITLE = re.compile(r"\{\\title\s([^\\{}]{1,300})\}")
_AUTHOR = re.compile(r"\{\\author\s([^\\{}]{1,300})\}")


def load_rtf(content: bytes, source: str) -> Loaded:
    """Struck-out and hidden text is left out, footnotes stand at the end, page headers and footers
    at the top; title and author are from the file's properties."""
    try:
        from striprtf.striprtf import rtf_to_text
    except ImportError as error:
        raise KnowledgeError('needs pip install "agentkit-rag[office]"') from error

    if not content.lstrip().startswith(b"{\\rtf"):
        raise KnowledgeError(
            "not RTF, despite its name: open it in a text program and save it again"
        )
    written = _BULLET.sub(r"\1-", _STRAY.sub("", content.decode("latin-1")))
    written = _SHIFTED.sub(_marked, _UNSEEN.sub(lambda m: f"{m[1]} " if m[1] else "", written))
    written = _with_frame(_with_notes(written))
    try:
        text = clean(str(rtf_to_text(written, errors="replace")))  # type: ignore[no-untyped-call]
    except (ValueError, LookupError, IndexError) as error:
        raise KnowledgeError("damaged: open it in a text program and save it again") from error
    text = re.sub(r"\n{3,}", "\n\n", text.replace("|\n", "\n")).strip()
    text = _NOTE.sub(r"\1 ", text)
    found = {
        key: clean(match[1]).strip()
        for key, pattern in (("title", _TITLE), ("author", _AUTHOR))
        if (match := pattern.search(written[:20_000]))
    }
    title = found.get("title") or PurePosixPath(source).stem
    return Loaded(Document(source, text, title, metadata=dict(found), format="text"))


def _with_notes(written: str) -> str:
    """The file with its footnotes, which the parser drops, as paragraphs at its end."""
    notes: list[str] = []

    def mark(match: re.Match[str]) -> str:
        notes.append(f"\\par [^{len(notes) + 1}]: {{{match[1]}}}")
        return f"[^{len(notes)}]"

    written = _FOOTNOTE.sub(mark, written)
    end = written.rfind("}")
    return f"{written[:end]}\\par {''.join(notes)}{written[end:]}" if notes else written


def _with_frame(written: str) -> str:
    """The file with its page headers and footers, which the parser drops, where its text begins."""
    matches = list(_FRAME.finditer(written))
    found = dict.fromkeys(
        f"\\par Page {match[1]}: {{{match[2]}}}\\par ".replace("\\chpgn", "") for match in matches
    )
    at = matches[0].start() if matches else 0
    return f"{written[:at]}{''.join(found)}{written[at:]}"


def _marked(match: re.Match[str]) -> str:
    """Raised or lowered text by the convention, for the text right before it."""
    before = re.split(r"[\\{}]", match.string[max(0, match.start() - 60) : match.start()])
    plain = next((piece for piece in reversed(before) if piece.strip()), "")
    plain = plain.partition(" ")[2] or plain
    is_raised = match[1] == "super" or match[1].startswith("up")
    return (f"{match[2]} " if match[2] else "") + (
        raised(plain, match[3]) if is_raised else lowered(match[3])
    )
