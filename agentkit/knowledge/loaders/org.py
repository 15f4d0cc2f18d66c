"""Load Org files as Markdown: headings, code, tables, links and notes, without drawers."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from agentkit.documents import Document
from agentkit.knowledge.chunking.splitter import first_heading
from agentkit.knowledge.loaders.files import Loaded
from agentkit.knowledge.loaders.notation import lowered, raised
from agentkit.knowledge.loaders.text import decoded

_MOST_LINE = 10_000
_META = ("title", "author", "date")
_HEADING = re.compile(
    r"(\*{1,12})\s+(?:(?:TODO|DONE|NEXT|WAITING)\s+)?(?:\[#\w\]\s+)?(.*?)(?:\s+:[\w@:]+:)?\s*"
)
_KEYWORD = re.compile(r"#\+([A-Za-z_]+):\s*(.*)")
_BLOCK = re.compile(r"\s*#\+(begin|end)_(\w+)\s*(\S*).*", re.IGNORECASE)
_LINK = re.compile(r"\[\[[^\[\]]{1,500}\]\[([^\[\]]{1,500})\]\]|\[\[([^\[\]]{1,500})\]\]")
_STRUCK = re.compile(r"(?<![\w+])\+(?=\S)[^+\n]{1,200}(?<=\S)\+(?![\w+])")
_RAISED = re.compile(r"(?<=\w)\^\{([^{}]{1,60})\}")
_NOTE = re.compile(r"\[fn:([\w-]{0,40})(?::([^\[\]]{1,500}))?\]")
_RULE = re.compile(r"\s*\|[-+]{1,2000}\|?\s*")
_LOWERED = re.compile(r"(?<=\w)_\{([^{}]{1,60})\}")
_CHECK_BOX = re.compile(r"(\s*(?:[-+]|\d{1,9}[.)]) )\[([ X-])\]")


def load_org(content: bytes, source: str) -> Loaded:
    """Title, author and date are metadata."""
    metadata: dict[str, str] = {}
    lines: list[str] = []
    notes: list[str] = []
    inside = ""
    in_drawer = False
    for whole in decoded(content).splitlines():
        line = whole[:_MOST_LINE]
        block = _BLOCK.fullmatch(line)
        kind = block[2].lower() if block else ""
        if block and (not inside or kind == inside):
            is_code = kind in ("src", "example")
            begins = block[1].lower() == "begin"
            inside = kind if begins and (is_code or kind == "comment") else ""
            lines.append(f"```{block[3] if begins else ''}" if is_code else "")
        elif inside:
            lines += [whole] if inside != "comment" else []
        elif re.fullmatch(r"\s*:[\w-]+:\s*", line):
            in_drawer = line.strip().upper() != ":END:"
        elif in_drawer:
            continue
        elif keyword := _KEYWORD.fullmatch(line):
            metadata.setdefault(keyword[1].lower(), keyword[2].strip(" <>[]"))
            is_caption = keyword[1].lower() == "caption"
            lines += ["", _inline(keyword[2], notes)] if is_caption else []
        elif heading := _HEADING.fullmatch(line):
            lines += ["", f"{'#' * min(len(heading[1]), 6)} {_inline(heading[2], notes)}", ""]
        elif _RULE.fullmatch(line):
            lines += _below_head(lines)
        elif not line.startswith("# "):
            lines.append(_inline(whole, notes))
    text = re.sub(r"\n{3,}", "\n\n", "\n".join([*lines, *notes])).strip()
    title = metadata.get("title") or first_heading(text) or PurePosixPath(source).stem
    about: dict[str, Any] = {name: metadata[name] for name in _META if metadata.get(name)}
    return Loaded(Document(source, text, title, metadata=about))


def _below_head(lines: list[str]) -> list[str]:
    """The rule of a table in Markdown, which stands below its first row alone."""
    first = lines[-1].strip() if lines else ""
    is_head = first.startswith("|") and (len(lines) < 2 or not lines[-2].strip().startswith("|"))
    return [f"|{' --- |' * (first.rstrip('|').count('|'))}"] if is_head else []


def _inline(text: str, notes: list[str]) -> str:
    """A line's text; what its notes say inside it is added to `notes`."""

    def note(match: re.Match[str]) -> str:
        label = match[1] or f"note{len(notes) + 1}"
        if match[2]:
            notes.append(f"\n[^{label}]: {match[2]}")
        begins = match.start() == 0 and not match[2]
        return f"[^{label}]{':' if begins else ''}"

    text = _CHECK_BOX.sub(lambda m: f"{m[1]}[{'x' if m[2] == 'X' else ' '}]", text)
    text = _LINK.sub(lambda match: match[1] or match[2], _NOTE.sub(note, text))
    text = _RAISED.sub(lambda match: raised("1", match[1]), _STRUCK.sub("", text))
    return _LOWERED.sub(lambda match: lowered(match[1]), text)
