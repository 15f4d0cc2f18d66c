"""Checks of the machine: Python, installed packages and extras, the terminal."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version

from packaging.requirements import Requirement

from agentkit.findings import Finding, ok

DISTRIBUTION = "agentkit-rag"
EXTRAS: Mapping[str, str] = {
    "code": "source code by functions, in 16 languages",
    "gguf": "GGUF models in this process, by llama.cpp",
    "hf": "Hugging Face models in this process",
    "keyring": "keys from the system's keyring",
    "langchain": "LangChain's models, tools and retrievers",
    "office": "Word, PowerPoint and Excel files",
    "otel": "traces for OpenTelemetry",
    "ray": "embedding on a Ray cluster",
    "rerank": "reranking by a cross-encoder",
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
