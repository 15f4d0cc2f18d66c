"""Load files in child processes with bounds, since a file may be made to exhaust or crash a parser.

Plain text, Markdown and source code are loaded in this process: their loaders only decode, and read
a front matter of bounded size. Everything else is parsed by a library, in a warm child. The bounds
grow with the file; a parser that exceeds them or crashes takes only its own file with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, get_args

import psutil

from agentkit._child.pool import Pool
from agentkit._child.process import Bounds, ChildFailed
from agentkit._child.worker import Report
from agentkit._sync import Closeable
from agentkit.documents import Document, Format, Part
from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.files import Loaded, load, loader_module, may_be_recognised

_MEMORY_MB = 1000.0
_MEMORY_SHARE = 0.25
"""The most of the machine's memory that one file may take."""
_BASE_SECONDS, _SECONDS_PER_MB = 10.0, 10.0
_WALL_FACTOR = 4.0
"""Wall-clock seconds for each second of CPU time: other processes may keep the processors busy."""
_OCR_FACTOR, _OCR_MB = 6.0, 1000.0
"""What recognising the text of a scan takes more: about 2 s of CPU time a page."""
_BASE_BYTES, _MOST_BYTES, _BYTES_FACTOR = 8_000_000, 80_000_000, 20
_HERE = __name__


class UnparsedFile(KnowledgeError):
    """A parser exceeded its bounds or crashed: the file would make it do so again."""


def parsing_bounds(size: int, source: str = "") -> Bounds:
    """The bounds for a file of `size` bytes. The result is at most 20 times as large."""
    cpu = _BASE_SECONDS + _SECONDS_PER_MB * size / 1e6
    megabytes = _MEMORY_MB
    if may_be_recognised(source):
        cpu, megabytes = cpu * _OCR_FACTOR, megabytes + _OCR_MB
    memory = min(megabytes, psutil.virtual_memory().total / 1e6 * _MEMORY_SHARE)
    result = min(_MOST_BYTES, max(_BASE_BYTES, _BYTES_FACTOR * size))
    return Bounds(_WALL_FACTOR * cpu, cpu, memory, result)


class Parsers(Closeable):
    """Loads files, in at most `jobs` children but no more than there are processors. They are
    started when they are needed and end by `close`."""

    def __init__(self, jobs: int = 1) -> None:
        self._pool = Pool(max(1, min(jobs, os.cpu_count() or 1)))

    def load(self, content: bytes, source: str, name: str = "") -> Loaded:
        """Load a file's bytes as `files.load` does. Raises KnowledgeError, UnparsedFile."""
        if loader_module(source) == "text":
            return load(content, source, name)
        name = name or source
        arguments = {"source": source, "name": name}
        try:
            record = self._pool.call(
                f"{_HERE}:load_in_child", arguments, content, parsing_bounds(len(content), source)
            )
        except ChildFailed as error:
            if error.kind == "raised":
                raise KnowledgeError(f"{name}: it cannot be read ({error!s:.200})") from error
            raise UnparsedFile(f"{name}: {_describe(source, error)}") from error
        except OSError as error:
            raise KnowledgeError(
                f"{name}: no process can be started to read it ({error.strerror}). "
                "Raise the limit of processes or free memory."
            ) from error
        if "error" in record:
            raise KnowledgeError(str(record["error"]))
        return _read(record, name)

    def close(self) -> None:
        self._pool.close()


def load_bounded(content: bytes, source: str, name: str = "") -> Loaded:
    """Load one file, in a child of its own where its kind needs one. Raises KnowledgeError."""
    with Parsers() as parsers:
        return parsers.load(content, source, name)


def load_in_child(content: bytes, report: Report, source: str, name: str) -> dict[str, Any]:
    """Load a file in the child: the document as a record, or an error."""
    try:
        loaded = load(content, source, name)
    except KnowledgeError as error:
        return {"error": str(error)}
    document = loaded.document
    return {
        "source": document.source,
        "text": document.text,
        "title": document.title,
        "metadata": document.metadata,
        "format": document.format,
        "parts": [(part.kind, part.name, part.start, part.end) for part in document.parts],
        "warnings": loaded.warnings,
    }


def _describe(source: str, error: ChildFailed) -> str:
    kind = PurePosixPath(source).suffix[1:].upper()
    return f"the {kind} parser ended ({error}); the file is left out until it changes"


def _read(record: Mapping[str, Any], name: str) -> Loaded:
    """The document of a record, which a hostile file may have written."""
    try:
        if record["format"] not in get_args(Format):
            raise ValueError(record["format"])
        document = Document(
            str(record["source"]),
            str(record["text"]),
            str(record["title"]),
            metadata=dict(record["metadata"]),
            format=record["format"],
            parts=tuple(Part(kind, str(n), int(s), int(e)) for kind, n, s, e in record["parts"]),
        )
        return Loaded(document, tuple(map(str, record["warnings"])))
    except (KeyError, TypeError, ValueError) as error:
        raise UnparsedFile(f"{name}: its parser returned no document") from error
