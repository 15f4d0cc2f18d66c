"""Checks of this machine and the project folder: Python, packages, terminal; documents, trust,
permissions, disk space, secrets."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from pathlib import Path

from packaging.requirements import Requirement

from agentkit._named_code import MCP_JSON
from agentkit.errors import KnowledgeError, McpError, TrustError
from agentkit.findings import Finding, Level, for_folder, from_error, join_names, ok, quantity
from agentkit.knowledge.loaders.files import discover
from agentkit.mcp.config import read_entries, read_json
from agentkit.project.project import Project
from agentkit.project.trust import guarded_files, is_trusted
from agentkit.settings.schema import Settings
from agentkit.settings.sources import cache_folder, user_file, user_folder
from agentkit.tools.builtin.python_sandbox import CONFINE, WAYS, why_unconfined

DISTRIBUTION = "agentkit-rag"
EXTRAS: Mapping[str, str] = {
    "code": "source code by functions, in 16 languages",
    "gguf": "GGUF models in this process, by llama.cpp",
    "hf": "Hugging Face models in this process",
    "keyring": "keys from the system's keyring",
    "langchain": "LangChain's models, tools and retrievers",
    "ocr": "the text of scanned pages and images",
    "office": "Word, PowerPoint, Excel, RTF and Outlook files",
    "otel": "traces for OpenTelemetry",
    "postgres": "sessions of the server in PostgreSQL",
    "ray": "embedding on a Ray cluster",
    "rerank": "reranking by a cross-encoder",
    "serve": "the web page and the OpenAI-compatible API",
    "st": "sentence-transformers embedders",
}
"""The purpose of each extra."""

_OURS = ("all", "dev", "test")
_OLDEST, _NEWEST = (3, 11), (3, 13)
_SHOWN = ("chromadb", "onnxruntime", "mcp", "openai")


@dataclass(frozen=True, slots=True)
class TerminalInfo:
    """The terminal of the command line, with its encoding; `colours` is "" without colours."""

    exists: bool
    encoding: str
    colours: str
    columns: int
    is_dumb: bool = False


def python() -> list[Finding]:
    """Check the interpreter, and that its SQLite has full-text search."""
    at = tuple(map(int, platform.python_version_tuple()[:2]))
    message = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    message += f", SQLite {sqlite3.sqlite_version}"
    if not _OLDEST <= at <= _NEWEST:
        span = f"{'.'.join(map(str, _OLDEST))} to {'.'.join(map(str, _NEWEST))}"
        return [
            Finding("note", "python", f"{message}: not tested", f"agentkit is tested on {span}.")
        ]
    try:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.execute("CREATE VIRTUAL TABLE t USING fts5(a)")
    except sqlite3.Error:
        step = "Use a Python whose SQLite has FTS5: those of python.org, Debian and uv do."
        return [Finding("problem", "python", f"{message}, without full-text search (FTS5)", step)]
    return [ok("python", message)]


def packages(name: str = DISTRIBUTION) -> list[Finding]:
    """Check that the required packages are installed in compatible versions."""
    found = _distribution(name)
    if found is None:
        message = "agentkit runs from sources that are not installed, packages unknown"
        return [Finding("note", "packages", message, f"pip install {name}")]
    faults = [fault for need in _needs(found) if (fault := _fault(need))]
    if faults:
        step = f"pip install --upgrade {name}"
        return [Finding("problem", "packages", fault, step) for fault in faults]
    shown = ", ".join(f"{each} {version(each)}" for each in _SHOWN if _distribution(each))
    return [ok("packages", f"{name} {found.version}, {shown}")]


def extras(name: str = DISTRIBUTION) -> list[Finding]:
    """List the installed extras, and the purpose of the others."""
    found = _distribution(name)
    if found is None:
        return []
    offered = sorted(set(found.metadata.get_all("Provides-Extra") or []) - {*_OURS})
    needs = {extra: _needs(found, extra) for extra in offered}
    missing = [extra for extra in offered if any(map(_is_missing, needs[extra]))]
    installed = [extra for extra in offered if extra not in missing]
    findings = [ok("extras", f"installed: {', '.join(installed) or 'none'}")]
    for extra in installed:
        faults = [fault for need in needs[extra] if (fault := _fault(need))]
        step = f'pip install --upgrade "{name}[{extra}]"'
        findings += [Finding("warning", "extras", f"{extra}: {fault}", step) for fault in faults]
    return findings + ([_not_installed(name, missing)] if missing else [])


def terminal(where: TerminalInfo) -> list[Finding]:
    """Check that the terminal shows all characters and colours."""
    if where.exists and where.is_dumb:
        message = "a dumb terminal: plain lines, no colours, no live updates"
        return [Finding("note", "terminal", message, "Set TERM to the type of your terminal.")]
    if where.encoding.lower().replace("-", "") not in ("utf8", "cp65001"):
        message = f"the encoding is {where.encoding}: Chinese, quotes and arrows may be garbled"
        return [Finding("warning", "terminal", message, "Set LANG=C.UTF-8, or PYTHONUTF8=1.")]
    if not where.exists:
        return [ok("terminal", "none: output is plain text, to a file or a pipe")]
    return [ok("terminal", f"UTF-8, {where.colours or 'no colours'}, {where.columns} columns")]


def _not_installed(name: str, missing: list[str]) -> Finding:
    names = [f"{extra} ({EXTRAS[extra]})" if extra in EXTRAS else extra for extra in missing]
    step = f'pip install "{name}[{missing[0] if len(missing) == 1 else "NAME"}]", if needed'
    return Finding("note", "extras", f"not installed: {', '.join(names)}", step)


def _distribution(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _needs(found: Distribution, extra: str = "") -> list[Requirement]:
    """Return the requirements of a distribution on this platform, or those of one extra."""
    needs = [Requirement(line) for line in found.requires or ()]
    own = [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    if not extra:
        return own
    return [
        need
        for need in needs
        if need not in own and need.marker and need.marker.evaluate({"extra": extra})
    ]


def _is_missing(need: Requirement) -> bool:
    return _distribution(need.name) is None


def _fault(need: Requirement) -> str:
    """Describe a missing or incompatible package, "" where it is fine."""
    found = _distribution(need.name)
    if found is None:
        return f"{need.name} is missing"
    if need.specifier.contains(found.version, prereleases=True):
        return ""
    return f"{need.name} is {found.version}, agentkit needs {need.specifier}"


_LOW_SPACE, _MIN_SPACE = 1e9, 100e6
_MAX_FILES = 200
_WRITE = os.W_OK | os.X_OK


def project(folder: Path) -> list[Finding]:
    """Check that the folder is a project with readable documents."""
    if not Project.exists(folder):
        step = f"Create one: {for_folder('agentkit init', folder)}. Or try the demo: agentkit demo"
        return [Finding("note", "project", f"{folder.resolve()} is not a project yet", step)]
    knowledge = folder / "knowledge"
    place = shlex.quote(str(knowledge))
    if not os.path.isdir(knowledge):
        return [Finding("note", "project", "no folder knowledge/", f"mkdir {place}")]
    try:
        documents = list(discover(knowledge))
    except KnowledgeError as error:
        return [from_error("project", error)]
    unreadable = [str(p.relative_to(folder)) for p in documents if not _has_access(p, os.R_OK)]
    if unreadable:
        count = quantity(len(unreadable), "document")
        message = f"{count} cannot be read: {join_names(unreadable)}"
        return [Finding("warning", "project", message, f"chmod -R u+r {place}")]
    if not documents:
        return [Finding("note", "project", "knowledge/ is empty", "Add documents to it.")]
    return [ok("project", f"{folder.resolve()}, {quantity(len(documents), 'document')}")]


def trust(folder: Path) -> list[Finding]:
    """Check that the settings, tools and servers are trusted."""
    try:
        files = list(guarded_files(folder))
        trusted = is_trusted(folder)
    except TrustError as error:
        return [from_error("trust", error, "Change its permissions, then try again.")]
    if not files:
        return [ok("trust", "not needed: no settings, tools or servers")]
    if trusted:
        return [ok("trust", f"trusted ({quantity(len(files), 'file')})")]
    names = join_names([path.relative_to(folder).as_posix() for path in files])
    message = f"not trusted, so not used: {names}"
    step = f"Review, then run: {for_folder('agentkit trust', folder)}"
    return [Finding("warning", "trust", message, step)]


def writable(folder: Path) -> list[Finding]:
    """Check that the index, the user's files and the embedder's cache can be written."""
    own = folder / ".agentkit"
    place = own if os.path.exists(own) else folder
    found = []
    if not _has_access(place, _WRITE):
        found.append(_not_writable(place, has_index=os.path.isdir(own / "index")))
    for path, content in ((user_folder(), "trust"), (cache_folder(), "the embedder's graph")):
        if not _has_access(_existing_parent(path), _WRITE):
            message = f"{path} cannot be written: {content} is not stored"
            step = f"chmod u+rwx {_existing_parent(path)}"
            found.append(Finding("warning", "folder", message, step))
    return found or [ok("folder", f"{place} can be written")]


def disk(folder: Path) -> list[Finding]:
    """Check the free disk space."""
    return free_space(shutil.disk_usage(_existing_parent(folder)).free)


def sandbox(settings: Settings, ways: Sequence[str] = WAYS) -> list[Finding]:
    """Check that the system can confine the code of run_python, where that tool is used."""
    if "python" not in settings.tools.builtin:
        return []
    if not (reason := why_unconfined(ways)):
        return [ok("sandbox", "the code of run_python is confined")]
    if settings.tools.python_unconfined:
        return [Finding("warning", "sandbox", f"run_python runs unconfined: {reason}", CONFINE)]
    message = f"run_python is off, since this system cannot confine its code: {reason}"
    return [Finding("problem", "sandbox", message, CONFINE)]


def free_space(free: float) -> list[Finding]:
    """Judge a number of free bytes."""
    if free >= _LOW_SPACE:
        return [ok("disk", f"{free / 1e9:.0f} GB free")]
    level: Level = "problem" if free < _MIN_SPACE else "warning"
    return [Finding(level, "disk", f"only {free / 1e6:.0f} MB free", "Free some disk space.")]


def secrets(folder: Path, settings: Settings) -> list[Finding]:
    """Check that other users cannot read files with keys."""
    if os.name != "posix":
        return []
    paths = sorted(set(_secret_files(folder, settings)))
    exposed = [path for path in paths if _is_readable_by_others(path)]
    if not exposed:
        count = quantity(len(paths), "file")
        return [ok("secrets", f"no file with keys is readable by other users ({count})")]
    return [
        Finding("warning", "secrets", f"{path} is readable by other users", f"chmod 600 {path}")
        for path in exposed
    ]


def _not_writable(place: Path, has_index: bool) -> Finding:
    step = f"chmod u+rwx {place}"
    if has_index:
        return Finding(
            "warning", "folder", f"{place} cannot be written: the index is read-only", step
        )
    return Finding("problem", "folder", f"{place} cannot be written: no index can be created", step)


def _secret_files(folder: Path, settings: Settings) -> Iterator[Path]:
    """Yield files that may hold keys: .env files, key files of settings and MCP servers, and the
    user's own files."""
    yield from folder.glob(".env*")
    for provider in settings.providers.values():
        if provider.api_key_file:
            yield Path(provider.api_key_file)
    yield from (folder / name for name in _environment_files(folder))
    own = [path for path in sorted(user_folder().rglob("*")) if path != user_file()]
    yield from own[:_MAX_FILES]


def _environment_files(folder: Path) -> Iterable[str]:
    path = folder / MCP_JSON
    try:
        servers = read_entries(path, read_json(path)).values()
    except McpError:
        return []
    named = [server.get("envFile") for server in servers if isinstance(server, dict)]
    return [name for name in named if isinstance(name, str) and "$" not in name]


def _is_readable_by_others(path: Path) -> bool:
    try:
        found = path.stat()
        open_to_others = found.st_mode & (stat.S_IRGRP | stat.S_IROTH)
        return stat.S_ISREG(found.st_mode) and found.st_size > 0 and bool(open_to_others)
    except OSError:
        return False


def _has_access(path: Path, mode: int) -> bool:
    effective = os.access in os.supports_effective_ids
    return os.access(path, mode, effective_ids=effective)


def _existing_parent(path: Path) -> Path:
    """Return the path, or its closest parent that exists."""
    return next((place for place in (path, *path.parents) if os.path.exists(place)), path)
