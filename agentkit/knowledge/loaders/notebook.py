"""Jupyter notebooks as Markdown, a part for each cell. Images and long outputs are left out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from agentkit.documents import Document, Part
from agentkit.knowledge.chunking.splitter import first_heading
from agentkit.knowledge.loaders.base import Loaded
from agentkit.knowledge.loaders.text import decoded
from agentkit.text.terms import clean

_MOST_OUTPUT = 1000
_MOST_HEADED = 10_000
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PICTURE = re.compile(r"!\[([^\]\n]{0,200})\]\((?:data|attachment):[^()\s]*\)")
_PICTURE_HTML = re.compile(r"<img\b[^<>]*\bsrc=[\"']?data:[^<>]*>", re.IGNORECASE)
_HEADING = re.compile(r"^(?:#{1,6}[ \t]|=+[ \t]*$|-+[ \t]*$)", re.MULTILINE)
_FENCE = re.compile(r"`{3,}")
_NAME = re.compile(r"[A-Za-z0-9+#_-]{1,30}")


def load_notebook(content: bytes, source: str) -> Loaded:
    """A notebook that is no JSON, as after a merge that failed, is text with a warning."""
    raw = decoded(content)
    stem = PurePosixPath(source).stem
    if not raw.strip():
        return Loaded(Document(source, "", stem))
    try:
        notebook = json.loads(raw)
    except (ValueError, RecursionError):
        plain = Document(source, raw, stem, format="text")
        return Loaded(plain, ("broken JSON, no notebook: read as text",))
    language = _language(notebook)
    text, title, parts = "", "", []
    for number, cell in enumerate(_cells(notebook), start=1):
        if shown := clean(_shown(cell, language)):
            start = len(text)
            parts.append(Part("cell", str(number), start, start + len(shown)))
            text += shown + "\n\n"
            title = title or _heading(cell, shown)
    metadata = {"language": language}
    return Loaded(Document(source, text, title or stem, metadata=metadata, parts=tuple(parts)))


def _cells(notebook: Any) -> list[Any]:
    """Those of version 4, or of the worksheets before it."""
    cells: list[Any] = _of(notebook, "cells", list)
    if not cells:
        cells = [
            c for sheet in _of(notebook, "worksheets", list) for c in _of(sheet, "cells", list)
        ]
    return cells


def _language(notebook: Any) -> str:
    about = _of(notebook, "metadata", dict)
    name = _of(_of(about, "kernelspec", dict), "language", str)
    name = name or _of(_of(about, "language_info", dict), "name", str) or "python"
    return name.lower() if _NAME.fullmatch(name) else "python"


def _shown(cell: Any, language: str) -> str:
    source = _joined(cell, "source") or _joined(cell, "input")
    if _of(cell, "cell_type", str) == "heading":
        return f"{'#' * min(6, max(1, _of(cell, 'level', int) or 1))} {source.strip()}"
    if _of(cell, "cell_type", str) != "code":
        return _PICTURE_HTML.sub("", _PICTURE.sub(r"\1", source)).strip()
    output = "\n".join(found for out in _of(cell, "outputs", list) for found in _texts(out)).strip()
    if len(output) > _MOST_OUTPUT:
        output = f"{output[:_MOST_OUTPUT]}\n[... {len(output) - _MOST_OUTPUT} more characters]"
    blocks = (_fenced(source.strip("\n"), language), _fenced(output, "text"))
    return "\n\n".join(block for block in blocks if block)


def _heading(cell: Any, shown: str) -> str:
    is_heading = _of(cell, "cell_type", str) != "code" and _HEADING.search(shown)
    return first_heading(shown[:_MOST_HEADED]) if is_heading else ""


def _texts(output: Any) -> Iterator[str]:
    """What an output says in words: a stream, a plain value, or the name of an error."""
    if name := _of(output, "ename", str):
        yield f"{name}: {_of(output, 'evalue', str)}"
        return
    data = _of(output, "data", dict)
    yield _ANSI.sub("", _joined(output, "text") or _joined(data, "text/plain"))


def _fenced(text: str, language: str) -> str:
    if not text.strip():
        return ""
    longest = max((len(run) for run in _FENCE.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _joined(mapping: Any, key: str) -> str:
    """A text that may be kept as a list of lines."""
    if not isinstance(mapping, dict):
        return ""
    value = mapping.get(key)
    if isinstance(value, list):
        return "".join(line for line in value if isinstance(line, str))
    return value if isinstance(value, str) else ""


def _of(mapping: Any, key: str, kind: type) -> Any:
    """The value of that kind under a key, else an empty one: nothing in the file is trusted."""
    value = mapping.get(key) if isinstance(mapping, dict) else None
    return value if isinstance(value, kind) else kind()
