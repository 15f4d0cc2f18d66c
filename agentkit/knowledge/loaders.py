"""Files as documents: Markdown and plain text, decoded as they stand.

A file that cannot be read is named with the reason, and the others load. Symbolic links that lead
out of the folder are not followed.
"""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from agentkit.documents import Document
from agentkit.errors import KnowledgeError
from agentkit.knowledge.splitter import first_heading, front_matter
from agentkit.text import clean

MARKDOWN = (".md", ".markdown")
SUFFIXES = (*MARKDOWN, ".txt", ".text")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def discover(path: Path) -> Iterator[Path]:
    """The readable kinds of files at or below a path, sorted; hidden ones are left out."""
    if path.is_file():
        yield path
        return
    root = path.resolve()

    def unreadable(error: OSError) -> None:
        raise KnowledgeError(f"{error.filename}: {error.strerror}. Change its permissions.")

    for folder, folders, files in os.walk(path, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            found = Path(folder) / name
            hidden = name.startswith(".") or not name.lower().endswith(SUFFIXES)
            if not hidden and found.resolve().is_relative_to(root):
                yield found


def load(path: Path, source: str, max_bytes: int) -> Document:
    """One file as a document. Raises KnowledgeError, which says why it cannot be read."""
    text = clean(_decoded(_bytes_of(path, max_bytes), path))
    if not path.name.lower().endswith(MARKDOWN):
        return Document(source=source, text=text, title=path.stem)
    metadata = _metadata(text)
    title = str(metadata.get("title") or first_heading(text) or path.stem)
    return Document(source=source, text=text, title=title, metadata=metadata)


def _bytes_of(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except FileNotFoundError as error:
        raise KnowledgeError(f"{path}: it vanished while it was read") from error
    except OSError as error:
        raise KnowledgeError(f"{path}: {error.strerror or error}") from error
    if len(content) > max_bytes:
        raise KnowledgeError(
            f"{path}: larger than {max_bytes / 1e6:g} MB. "
            "Raise knowledge.max_file_mb in agentkit.toml to read it."
        )
    return content


def _decoded(content: bytes, path: Path) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    if b"\0" not in content:
        for encoding in ("utf-8", "gb18030"):
            try:
                return content.decode(encoding)
            except UnicodeDecodeError:
                continue
    raise KnowledgeError(f"{path}: no text: it holds binary data")


def _metadata(text: str) -> dict[str, Any]:
    """The YAML front matter; one that is no mapping, or no YAML, is text like any other."""
    span = front_matter(text)
    if span is None:
        return {}
    try:
        found = yaml.safe_load(text[span[0] : span[1]].strip().strip("-"))
    except yaml.YAMLError:
        return {}
    if not isinstance(found, dict):
        return {}
    plain: dict[str, Any] = json.loads(json.dumps(found, default=str, ensure_ascii=False))
    return plain
