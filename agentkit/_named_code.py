"""Find the code outside of tools/ and mcp_servers/ that the mcp.json of a folder names."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from agentkit._code import CODE_FOLDERS, ENVIRONMENT, CodeTooLarge, is_below

STRING_OR_COMMENT = re.compile(r'("(?:\\.|[^"\\\n])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
"""A token of JSON with comments; group 1 is a string."""

_SERVERS = "mcp_servers/mcp.json"
_MAX_LOOKUPS = 50_000
_MAX_DEPTH = 4
_VARIABLE = re.compile(r"\$\{([^}]*?)(?::-([^}]*))?\}")
_BETWEEN_WORDS = re.compile(r"[\s=;,&|()<>{}:'\"`]+|\$\w*")
_MODULE = re.compile(r"\w+(?:\.\w+)*")
_DATA = {
    *(".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".db", ".sqlite", ".sqlite3"),
    *(".duckdb", ".log", ".pid", ".md", ".txt", ".rst", ".html", ".htm", ".pdf", ".docx", ".xlsx"),
    *(".pptx", ".epub", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".gguf"),
    *(".safetensors", ".onnx"),
}
_ENTRIES = ("__init__.py", "__main__.py", "index.js", "index.ts", "package.json", "deno.json")
_ENDINGS = (".py", ".js", ".ts")


def code_names(folder: Path) -> tuple[str, ...]:
    """List tools/, mcp_servers/, and the files elsewhere in the folder that a text of mcp.json
    names: commands, scripts, modules, files of variables, also within the command line of a shell.

    A word is looked up from the folder and from each folder that another word names. Files of data
    and of environments are left out. Raises CodeTooLarge.
    """
    base = os.path.abspath(folder)
    try:
        text = Path(base, _SERVERS).read_text("utf-8", "replace")
    except OSError:
        return CODE_FOLDERS
    words = {
        word
        for token in STRING_OR_COMMENT.findall(text)
        for word in _words(_expanded(_decoded(token)))
    }
    bases = {base, os.path.realpath(base)}
    found = {base}
    for _ in range(_MAX_DEPTH):
        places = {path for path in found if os.path.isdir(path)}
        if len(words) * len(places) > _MAX_LOOKUPS:
            raise CodeTooLarge
        before = len(found)
        found |= {path for path in _lookups(words, places) if is_below(path, bases)}
        if len(found) == before:
            break
    inside = {
        os.path.relpath(path, next(each for each in bases if is_below(path, [each])))
        for path in found | set(_entries(found))
    }
    named = {Path(name).as_posix() for name in inside if _is_code(Path(base), Path(name))}
    return (*CODE_FOLDERS, *sorted(named))


def _decoded(token: str) -> str:
    try:
        return str(json.loads(token)) if token else ""
    except ValueError:
        return ""


def _expanded(text: str) -> str:
    """Replace the folder's variable, and others by their default."""
    return _VARIABLE.sub(lambda m: "." if m[1] == "workspaceFolder" else m[2] or "", text)


def _words(text: str) -> Iterator[str]:
    """Everything in a text that may be a path."""
    for word in (text, text.partition("=")[2], *_BETWEEN_WORDS.split(text)):
        if word and "\0" not in word:
            yield word
            yield word.lstrip("/")
            if _MODULE.fullmatch(word):
                yield word.replace(".", "/")


def _lookups(words: Iterable[str], places: Iterable[str]) -> Iterator[str]:
    """The paths that exist of words in folders."""
    for place in places:
        for word in words:
            path = os.path.normpath(os.path.join(place, word))
            if os.path.exists(path):
                yield path
            yield from (path + end for end in _ENDINGS if os.path.isfile(path + end))


def _entries(paths: Iterable[str]) -> Iterator[str]:
    """The files that are run where a folder is."""
    for path in paths:
        yield from (os.path.join(path, name) for name in _ENTRIES)


def _is_code(folder: Path, name: Path) -> bool:
    if not (folder / name).is_file() or name.parts[0] in CODE_FOLDERS:
        return False
    if name.suffix.lower() in _DATA and name.name not in _ENTRIES:
        return False
    return not any((folder / above / ENVIRONMENT).is_file() for above in name.parents)
