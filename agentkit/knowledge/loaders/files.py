"""Load files as documents, each with the loader of its kind: bytes in, a document out.

A file may be made to exhaust or crash a parser: it is parsed in a warm child process with bounds
that grow with its size, and takes only itself with it. Plain text, Markdown and source code are
loaded in this process: their loaders decode, and read a front matter of bounded size.

A file that cannot be read is reported with the reason, and the others load. Symbolic links that
lead out of the folder are not followed; pipes and devices, which may never end, are left out.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self, get_args

from agentkit._child import Bounds, ChildFailed
from agentkit._child.worker import Reply
from agentkit._files import read_regular, real_path
from agentkit.documents import Document, Format, Parts
from agentkit.errors import KnowledgeError, file_fault

if TYPE_CHECKING:
    from agentkit._child.worker import Report

LANGUAGES: Mapping[str, str] = {
    ".py": "python",
    ".js": "javascript",
    ".jsx": "javascript",
    ".ts": "typescript",
    ".tsx": "tsx",
    ".java": "java",
    ".go": "go",
    ".rs": "rust",
    ".c": "c",
    ".h": "c",
    ".cpp": "cpp",
    ".hpp": "cpp",
    ".cs": "csharp",
    ".rb": "ruby",
    ".php": "php",
    ".swift": "swift",
    ".kt": "kotlin",
    ".scala": "scala",
    ".sh": "bash",
    ".sql": "sql",
    ".lua": "lua",
    ".r": "r",
    ".jl": "julia",
}
CONFIGURATION = (".toml", ".yaml", ".yml", ".ini", ".cfg")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A document, and a line for each thing in the file that could not be read."""

    document: Document
    warnings: tuple[str, ...] = ()


Loader = Callable[[bytes, str], Loaded]
"""A file's bytes and its source. Raises KnowledgeError with the bare reason, such as "encrypted:
save it without a password"; the caller puts the file's name before it."""

_MARKUP = re.compile(r"^(?=#{1,6}(?:\s|$)|```|~~~|[=-]+\s*$)", re.MULTILINE)


def escaped(text: str) -> str:
    """Escape plain text for Markdown: no line of it starts a heading or a code block."""
    return _MARKUP.sub(r"\\", text)


def markdown_table(rows: Iterable[Sequence[str]]) -> str:
    """Rows as a Markdown table whose head is the first row; "" where all cells are empty."""
    written = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    filled = [row for row in written if any(row)]
    if not filled:
        return ""
    width = max(len(row) for row in filled)
    lines = [f"| {' | '.join([*row, *[''] * (width - len(row))])} |" for row in filled]
    return "\n".join([lines[0], f"|{' --- |' * width}", *lines[1:]])


def named_ranges(kind: str, numbers: Sequence[int]) -> str:
    """Ascending numbers in words: "page 2", "pages 3-5, 9"."""
    spans: list[tuple[int, int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1] = spans[-1][0], number
        else:
            spans.append((number, number))
    named = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
    return f"{kind}{'' if len(numbers) == 1 else 's'} {named}"


_HERE = "agentkit.knowledge.loaders"
_IMAGE = "images:load_image"
_LOADERS: Mapping[str, str] = {
    ".md": "text:load_markdown",
    ".markdown": "text:load_markdown",
    ".txt": "text:load_text",
    ".text": "text:load_text",
    ".rst": "rst:load_rst",
    ".org": "org:load_org",
    ".log": "text:load_text",
    ".tex": "latex:load_tex",
    ".xml": "text:load_text",
    ".srt": "text:load_text",
    ".vtt": "text:load_text",
    ".html": "html:load_html",
    ".htm": "html:load_html",
    ".xhtml": "html:load_html",
    ".csv": "csv_text:load_csv",
    ".tsv": "csv_text:load_csv",
    ".json": "json_text:load_json",
    ".jsonl": "json_text:load_json_lines",
    ".ndjson": "json_text:load_json_lines",
    ".ipynb": "notebook:load_notebook",
    ".eml": "mail:load_mail",
    ".mbox": "mail:load_mailbox",
    ".msg": "mail:load_outlook",
    ".rtf": "rtf:load_rtf",
    ".zip": "bundle:load_bundle",
    ".pdf": "pdf:load_pdf",
    ".docx": "word:load_word",
    ".pptx": "slides:load_slides",
    **dict.fromkeys((".docm", ".dotx", ".dotm"), "word:load_word"),
    **dict.fromkeys((".pptm", ".ppsx", ".ppsm", ".potx", ".potm"), "slides:load_slides"),
    **dict.fromkeys((".xltx", ".xltm"), "sheets:load_sheets"),
    ".xlsx": "sheets:load_sheets",
    ".xlsm": "sheets:load_sheets",
    ".epub": "epub:load_epub",
    **dict.fromkeys((".odt", ".ods", ".odp"), "opendocument:load_opendocument"),
    **dict.fromkeys((".doc", ".ppt", ".xls"), "legacy:load_legacy"),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp"), _IMAGE),
    **dict.fromkeys((*LANGUAGES, *CONFIGURATION), "text:load_code"),
}
"""Suffix -> module and function, imported when first used."""

HAS_OCR = find_spec("rapidocr") is not None
"""Whether the extra `ocr` is installed."""
NEEDS_OCR = tuple(name for name, loader in _LOADERS.items() if loader == _IMAGE and not HAS_OCR)
"""The images, where their text cannot be recognised: these files are not looked at."""
SUFFIXES = tuple(name for name in _LOADERS if name not in NEEDS_OCR)


def discover(path: Path, root: Path | None = None) -> Iterator[Path]:
    """The files of supported kinds at or below a path, sorted, without hidden ones. `root` is the
    folder whose files are indexed, where the path is only a part of it: a symbolic link is left out
    when it leads out of the root, or to a file that is listed already. The sample note of a new
    project is listed only where it is alone."""
    if path.is_file():
        yield path
        return
    found = list(_walk(path, root))
    yield from [file for file in found if not _is_sample(file)] or found


def _is_sample(file: Path) -> bool:
    if file.name != "welcome.md":
        return False
    try:
        with file.open("rb") as content:
            return content.read(len(_SAMPLE)) == _SAMPLE
    except OSError:  # It is reported when it is read.
        return False


_SAMPLE = b"---\nsample: true\n---\n"


def _walk(path: Path, root: Path | None) -> Iterator[Path]:
    base = (root or path).resolve()

    def unreadable(error: OSError) -> None:
        step = file_fault(Path(error.filename), error, "read")[1]
        raise KnowledgeError(f"{error.filename}: {error.strerror}. {step}")

    targets: set[Path] = set()
    for folder, folders, files in os.walk(path, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and is_supported(name):
                file = Path(folder, name)
                if _is_wanted(file, base, targets):
                    yield file


def may_be_recognised(source: str) -> bool:
    """Whether a file may be a scan whose text is recognised (OCR)."""
    suffix = PurePosixPath(source).suffix.lower()
    return HAS_OCR and (suffix == ".pdf" or _LOADERS.get(suffix) == _IMAGE)


def is_supported(name: str) -> bool:
    """Whether there is a loader for files of this name."""
    return name.lower().endswith(SUFFIXES)


def is_listed(path: Path, root: Path, *, is_file: bool) -> bool:
    """Whether `discover(root)` covers a resolved path: inside, not hidden, of a supported kind."""
    if not path.is_relative_to(root) or (is_file and not is_supported(path.name)):
        return False
    return not any(part.startswith(".") for part in path.relative_to(root).parts)


def _is_wanted(found: Path, root: Path, targets: set[Path]) -> bool:
    """Whether a file, or the target of a link, is a regular one to read in this place. `targets`
    are those of the links before."""
    try:
        mode = os.lstat(found).st_mode
    except OSError:  # It is reported when it is read.
        return True
    if not stat.S_ISLNK(mode):
        return stat.S_ISREG(mode)
    target = real_path(found)
    if not target.is_relative_to(root):
        return False
    if not target.exists():
        return True
    is_new = target not in targets and not is_listed(target, root, is_file=True)
    targets.add(target)
    return is_new and target.is_file()


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """The bytes of a file. Raises KnowledgeError, which names it."""
    try:
        content = read_regular(path, max_bytes + 1)
    except FileNotFoundError as error:
        raise KnowledgeError(f"{path}: it was deleted while it was read") from error
    except OSError as error:
        raise KnowledgeError(f"{path}: {error.strerror or error}") from error
    if len(content) > max_bytes:
        raise KnowledgeError(
            f"{path}: larger than {max_bytes / 1e6:g} MB. "
            "Raise knowledge.max_file_mb in agentkit.toml to read it."
        )
    return content


def parse(content: bytes, source: str, name: str = "") -> Loaded:
    """Load a file's bytes by the suffix of its source, as text for an unknown one, in this process:
    without bounds, so for files that are trusted. Raises KnowledgeError, whose message starts with
    `name`, or else the source."""
    module, _, function = _loader_of(source).partition(":")
    loader: Loader = getattr(import_module(f"{_HERE}.{module}"), function)
    try:
        return loader(content, source)
    except KnowledgeError as error:
        raise KnowledgeError(f"{name or source}: {error}") from error


def _loader_of(source: str) -> str:
    return _LOADERS.get(PurePosixPath(source).suffix.lower(), "text:load_text")


_MEMORY_MB = 1000.0
_MEMORY_SHARE = 0.25
"""The most of the machine's memory that one file may take."""
_BASE_SECONDS, _SECONDS_PER_MB = 10.0, 10.0
_WALL_FACTOR = 4.0
"""Wall-clock seconds for each second of CPU time: other processes may keep the processors busy."""
_OCR_FACTOR, _OCR_MB = 6.0, 1000.0
"""What recognising the text of a scan takes more: about 2 s of CPU time a page of 30 kB."""
_BASE_BYTES, _MOST_BYTES, _BYTES_FACTOR = 8_000_000, 60_000_000, 20


class UnparsedFile(KnowledgeError):
    """A file that its loader refused, or whose parser exceeded its bounds or crashed: it would be
    the same again until the file changes, or what is installed."""


def installed_parsers() -> str:
    """What optional parsers are installed, as a text that differs where that differs."""
    found = (
        name
        for name in ("docx", "olefile", "openpyxl", "pptx", "rapidocr", "striprtf")
        if find_spec(name)
    )
    return " ".join([*found, *filter(shutil.which, ("soffice", "libreoffice"))])


def parsing_bounds(size: int, source: str = "") -> Bounds:
    """The bounds for a file of `size` bytes. The result is at most 20 times as large."""
    import psutil

    base, rate, megabytes = _BASE_SECONDS, _SECONDS_PER_MB, _MEMORY_MB
    if may_be_recognised(source):
        base, rate, megabytes = 2 * base, _OCR_FACTOR * rate, megabytes + _OCR_MB
    cpu = base + rate * size / 1e6
    memory = min(megabytes, psutil.virtual_memory().total / 1e6 * _MEMORY_SHARE)
    result = min(_MOST_BYTES, max(_BASE_BYTES, _BYTES_FACTOR * size))
    return Bounds(_WALL_FACTOR * cpu, cpu, memory, result)


class Parsers:
    """Loads files, in at most `jobs` children but no more than there are processors. They are
    started when they are needed and end by `close`."""

    def __init__(self, jobs: int = 1) -> None:
        from agentkit._child.pool import Pool

        self._pool = Pool(max(1, min(jobs, os.cpu_count() or 1)))

    def load(self, content: bytes, source: str, name: str = "") -> Loaded:
        """Load a file's bytes as `load` does. Raises KnowledgeError, UnparsedFile."""
        if _loader_of(source).startswith("text:"):
            try:
                return parse(content, source, name)
            except KnowledgeError as error:
                raise UnparsedFile(str(error)) from error
        name = name or source
        arguments = {"source": source, "name": name}
        try:
            bounds = parsing_bounds(len(content), source)
            reply = self._pool.call(f"{__name__}:parse_in_child", arguments, content, bounds)
        except ChildFailed as error:
            if error.kind == "raised":
                raise KnowledgeError(f"{name}: it cannot be read ({error!s:.200})") from error
            raise UnparsedFile(f"{name}: {_describe(source, error)}") from error
        except OSError as error:
            raise KnowledgeError(
                f"{name}: no process can be started to read it ({error.strerror}). "
                "Raise the limit of processes or free memory."
            ) from error
        if isinstance(reply, dict) and "error" in reply:
            raise UnparsedFile(str(reply["error"]))
        return _read(reply, name)

    def close(self) -> None:
        """End the children; what they are loading is lost."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load(content: bytes, source: str, name: str = "") -> Loaded:
    """Load one file, in a child of its own where its kind needs one. Raises KnowledgeError, whose
    message starts with `name`, or else the source."""
    with Parsers() as parsers:
        return parsers.load(content, source, name)


def parse_in_child(
    content: bytes, report: Report, source: str, name: str
) -> Reply | dict[str, Any]:
    """Load a file in the child: the document as a record with its text and parts as bytes, or an
    error."""
    try:
        loaded = parse(content, source, name)
    except KnowledgeError as error:
        return {"error": str(error)}
    document = loaded.document
    text = document.text.encode("utf-8", "surrogatepass")
    record = {
        "source": document.source,
        "text_bytes": len(text),
        "title": document.title,
        "metadata": document.metadata,
        "format": document.format,
        "warnings": loaded.warnings,
    }
    return Reply(record, text + Parts.of(document.parts).to_bytes())


def _describe(source: str, error: ChildFailed) -> str:
    kind = PurePosixPath(source).suffix[1:].upper()
    return f"the {kind} parser ended ({error}); the file is left out until it changes"


def _read(reply: Any, name: str) -> Loaded:
    """The document of a reply, which a hostile file may have written."""
    try:
        record, content = reply
        if record["format"] not in get_args(Format):
            raise ValueError(record["format"])
        size = int(record["text_bytes"])
        document = Document(
            str(record["source"]),
            str(memoryview(content)[:size], "utf-8", "surrogatepass"),
            str(record["title"]),
            metadata=dict(record["metadata"]),
            format=record["format"],
            parts=Parts.from_bytes(content[size:]),
        )
        return Loaded(document, tuple(map(str, record["warnings"])))
    except (KeyError, TypeError, ValueError) as error:
        raise UnparsedFile(f"{name}: its parser returned no document") from error
