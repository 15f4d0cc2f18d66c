"""Find the code outside of tools/ and mcp_servers/ that the mcp.json of a folder names."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from agentkit._code import CODE_FOLDERS, CODE_SUFFIXES, ENVIRONMENT, CodeTooLarge, is_below

STRING_OR_COMMENT = re.compile(r'("(?:\\.|[^"\\\n])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
"""A token of JSON with comments; group 1 is a string."""

_SERVERS = "mcp_servers/mcp.json"
_MAX_LOOKUPS = 50_000
_MAX_DEPTH = 4
_VARIABLE = re.compile(r"\$\{([^}]*?)(?::-([^}]*))?\}")
_BETWEEN_WORDS = re.compile(r"[\s=;,&|()<>{}:'\"`]+|\$\w*")
_MODULE = re.compile(r"\w+(?:\.\w+)*")
_SUFFIXES = {
    *CODE_SUFFIXES,
    *(".jsx", ".tsx", ".node", ".fish", ".ksh", ".pm", ".r", ".jl", ".go", ".rs", ".java"),
    *(".class", ".kts", ".groovy", ".ex", ".exs", ".clj", ".tcl", ".awk", ".cs", ".fsx"),
    *(".swift", ".dart", ".vbs", ".psm1", ".mk", ".nix"),
    *(".toml", ".yaml", ".yml", ".ini", ".cfg", ".conf"),
}
_NAMES = re.compile(r"\.env(?:\..*)?|\.npmrc|(?:make|docker|just|rake|proc|gem)file", re.IGNORECASE)
_ENTRIES = ("__init__.py", "__main__.py", "index.js", "index.ts", "package.json", "deno.json")
_ENDINGS = (".py", ".js", ".ts")


def code_names(folder: Path) -> tuple[str, ...]:
    """List tools/, mcp_servers/, and the files elsewhere in the folder that a text of mcp.json
    names: commands, scripts, modules, files of variables, also within the command line of a shell.

    A word is looked up from the folder and from each folder that another word names. Other files,
    which servers may write, and those of environments are left out. Raises CodeTooLarge.
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
    path = folder / name
    if not path.is_file() or name.parts[0] in CODE_FOLDERS:
        return False
    if any((folder / above / ENVIRONMENT).is_file() for above in name.parents):
        return False
    if name.suffix.lower() in _SUFFIXES or name.name in _ENTRIES or _NAMES.fullmatch(name.name):
        return True
    return bool(path.stat().st_mode & 0o111) or _has_interpreter(path)


def _has_interpreter(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return True
