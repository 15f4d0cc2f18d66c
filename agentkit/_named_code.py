"""Find the code outside of tools/ and mcp_servers/ that the servers of a folder's mcp.json run.

These are files that an entry names, and folders: of the scripts it names, those that a variable or
an option of an interpreter or loader names, and those that hold a file by which a folder is run,
such as package.json or a Makefile.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from agentkit._code import (
    CODE_FOLDERS,
    ENVIRONMENT,
    NO_CODE_FOLDERS,
    CodeTooLarge,
    has_module,
    is_below,
    is_code,
)
from agentkit._files import read_regular

MCP_JSON = Path("mcp_servers") / "mcp.json"

_STRING_OR_COMMENT = re.compile(r'("(?:\\.|[^"\\\n])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_STRING_OR_COMMA = re.compile(r'("(?:\\.|[^"\\\n])*")|,(?=\s*[}\]])')
_MAX_LOOKUPS = 300_000
_MAX_DEPTH = 4
_VARIABLE = re.compile(r"\$\{([^}]*?)(?::-([^}]*))?\}")
_HOME = re.compile(r"(?<![\w.])~(?=/)|\$HOME\b")
_BETWEEN_WORDS = re.compile(r"[\s=;,&|()<>{}:'\"`]+|\$\w*")
_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?(\w+)\s*=(.*)", re.MULTILINE)
_INLINE = re.compile(r"(?<![\w-])(\w+)=([^\s;&|]*)")
_MODULE = re.compile(r"\w+(?:\.\w+)*")
_ENDINGS = (".py", ".js", ".ts", ".rb")
_NEIGHBOURS = re.compile(
    r"\.(?:pyw?|[cm]?[jt]sx?|rb|pl|pm|php|lua|go|jl|r|tcl|exs?)", re.IGNORECASE
)
"""Endings of scripts that import from their folder."""

_PROGRAM = r"(?:[\d.]*w?)(?:\.exe|\.cmd)?"
_INTERPRETERS = re.compile(
    rf"(?:python|pypy|node|deno|bun|perl|ruby|php|lua|tsx|ts-node|Rscript|julia|pwsh|tclsh|guile"
    rf"|(?:ba|da|z|k|fi|tc|c)?sh){_PROGRAM}|source|\.|ld-[\w.-]+"
)
_RUNNERS = re.compile(
    rf"(?:p?npm|yarn|bun|deno|g?make|just|task|compose|cargo|go|uv|poetry|pdm|hatch|pipenv|pixi|mix"
    rf"|bundle|rake|gradlew?|mvnw?|dotnet|composer|nix|mise|invoke|nox|tox|honcho|foreman|direnv){_PROGRAM}"
)
"""Programs that run the code of the folder where they start."""
_PACKAGE_RUNNERS = re.compile(rf"(?:[np]+x|uvx|bunx|pipx|docker|podman){_PROGRAM}")
"""Programs whose first argument is what they run; the other arguments are mostly data."""
_READ_AT_START = {
    rf"(?:[np]+x|bunx){_PROGRAM}": (
        r"package\.json|\.(?:npmrc|yarnrc|pnpmfile)(?:\.\w+)?|bunfig\.toml|tsconfig\.json"
    ),
    rf"(?:uvx|pipx){_PROGRAM}": r"(?:pyproject|uv)\.toml|\.python-version",
}
"""What of these programs reads which files where it starts."""
_FLAGS = re.compile(r"-\w|-it|--(?:yes|quiet|silent|rm|refresh|offline|interactive)")
_MANIFESTS = re.compile(
    "|".join(_READ_AT_START.values())
    + r"|package\.jsonc|(?:deno|composer|project)\.jsonc?|\.(?:envrc|tool-versions|mise)(?:\.\w+)?"
    r"|(?:pixi|cargo|mise)\.toml|pipfile|setup\.py|(?:gnu)?makefile|\.?justfile|taskfile[\w.]*\.ya?ml"
    r"|(?:rake|proc|gem|docker)file|pom\.xml|go\.mod|(?:docker-)?compose[\w.-]*\.ya?ml"
    r"|[\w.-]+\.(?:csproj|gradle|gradle\.kts)|build\.rs|mix\.exs|flake\.nix|tox\.ini|main\.go"
    r"|\.\w*(?:rc|profile|env|login)|(?:noxfile|tasks|conftest|__init__|__main__)\.py|(?:index|main|mod)\.[cm]?[jt]sx?",
    re.IGNORECASE,
)
"""Files by which a folder is run."""
_CODE_VARIABLES = re.compile(
    r"PATH|CLASSPATH|ENV|envFile|_?(?:LD|DYLD|PYTHON|NODE|PERL|RUBY|GEM|BUNDLE|LUA|GO|CARGO|JULIA"
    r"|JAVA|PHP|R|NPM|npm|BUN|DENO|UV|PIP|GIT|BASH|DOTNET|TCL|GUILE|OPENSSL|GCONV)_?[A-Z0-9_a-z]*"
)
_CODE_OPTIONS = re.compile(
    r"-(?:I|L|C|cp|classpath|r|f|jar)|--?(?:file|env-file|class-path|module-path|directory|project|prefix|from|with"
    r"|with-editable|script|cwd|app-dir|pythonpath|require|import|package|manifest-path)"
)


def read_jsonc(text: str) -> Any:
    """Parse JSON that may have comments and trailing commas, as VS Code allows. Raises ValueError
    with the line and column in the text, RecursionError."""
    for pattern in (_STRING_OR_COMMENT, _STRING_OR_COMMA):
        text = pattern.sub(lambda m: m[1] or re.sub(r"[^\n]", " ", m[0]), text)
    return json.loads(text) if text.strip() else {}


def known_variables(project: Path) -> dict[str, str]:
    """The values of those `${...}` in mcp.json that depend on no environment."""
    return {
        "agentkit:python": sys.executable,
        "workspaceFolder": str(project),
        "workspaceFolderBasename": project.name,
        "userHome": str(Path.home()),
    }


def code_names(folder: Path) -> tuple[str, ...]:
    """List tools/, mcp_servers/, and what the servers of mcp.json run elsewhere in the folder:
    files, and folders with a "/" at the end, of which only files that may be code count.

    Other files, which servers may write, are left out. Raises CodeTooLarge.
    """
    base = os.path.abspath(folder)
    try:
        content = read_jsonc(read_regular(Path(base, MCP_JSON)).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return CODE_FOLDERS  # No server starts from such a file.
    content = content if isinstance(content, dict) else {}
    found: set[str] = set()
    left = _MAX_LOOKUPS
    for key in ("mcpServers", "servers"):
        entries = content.get(key)
        for entry in entries.values() if isinstance(entries, dict) else ():
            if isinstance(entry, dict) and entry.get("command"):
                server = _Server(base, entry, content.get("inputs"), left)
                found |= server.names
                left = server.left
    return (*CODE_FOLDERS, *sorted(found))


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The texts of a value, each with the key that it is under."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _texts(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each, key)


class _Server:
    """What one entry of mcp.json runs in the folder: `names`."""

    def __init__(self, base: str, entry: Mapping[str, Any], inputs: Any, left: int) -> None:
        self.left = left
        self._base = base
        self._bases = {base, os.path.realpath(base)}
        self._known = known_variables(Path(base).resolve()) | _defaults(inputs)
        texts = [(key, self._expanded(text)) for key, text in _texts(entry)]
        start = next((text for key, text in texts if key == "cwd"), "")
        self._start = os.path.normpath(os.path.join(base, start))
        for _, text in [each for each in texts if each[0] == "envFile"]:
            texts += [(m[1], m[2]) for m in _ASSIGNMENT.finditer(self._read(text))]
        lines = [text for wanted in ("command", "args") for key, text in texts if key == wanted]
        self._program = os.path.basename(lines[0]) if lines else ""
        self._tokens = [
            token
            for text in lines
            for token in (text, *(_BETWEEN_WORDS.split(text) if re.search(r"\s", text) else ()))
            if token
        ]
        self._places = {base, self._start}
        found = self._find(text for _, text in texts)
        inline = [(m[1], m[2]) for text in lines for m in _INLINE.finditer(text)]
        variables = [text for key, text in texts + inline if _CODE_VARIABLES.fullmatch(key)]
        options = [*self._tokens, *(token for text in variables for token in text.split())]
        searched = self._find([*variables, *_option_values(options)])
        programs = self._find(self._programs())
        run = searched | programs
        files = {path for path in found | run if os.path.isfile(path)}
        files = {path for path in files if path in run or is_code(Path(path))}
        folders = {path for path in searched if os.path.isdir(path)}
        scripts = files | {os.path.realpath(path) for path in files}
        folders |= {os.path.dirname(path) for path in scripts if self._has_neighbours(path)}
        if self._imports_from_start():
            folders.add(self._start)
        if not self._program.endswith("sh"):
            folders |= {os.path.dirname(path) for path in programs if os.path.isfile(path)}
        named = {os.path.dirname(each) for each in files if _MANIFESTS.fullmatch(Path(each).name)}
        for place in self._places | named:
            manifests = self._manifests(place)
            files |= manifests
            is_shown = any(not Path(path).name.startswith(".") for path in manifests)
            if is_shown and self._is_run(place):
                folders.add(place)
        self.names = {self._name(path) for path in files if self._is_file_covered(path)}
        self.names |= {f"{self._name(path)}/" for path in folders if self._is_covered(path)}

    def _expanded(self, text: str) -> str:
        text = _VARIABLE.sub(lambda m: self._known.get(m[1], m[2] or ""), text)
        return _HOME.sub(lambda _: str(Path.home()), text)

    def _read(self, name: str) -> str:
        try:
            with open(os.path.join(self._base, name), encoding="utf-8", errors="replace") as file:
                return file.read(1_000_000)
        except (OSError, ValueError):
            return ""

    def _find(self, texts: Iterable[str]) -> set[str]:
        """The paths in the folder that words of texts name: from it, from where the server starts,
        and from each folder that another word names."""
        words = {word for text in texts for word in _words(text)}
        found: set[str] = set()
        for _ in range(_MAX_DEPTH):
            self.left -= len(words) * len(self._places)
            if self.left < 0:
                raise CodeTooLarge
            looked = _lookups(words, self._places)
            found |= {path for path in looked if is_below(path, self._bases)}
            places = self._places | {path for path in found if os.path.isdir(path)}
            if places == self._places:
                break
            self._places = places
        return found

    def _programs(self) -> Iterator[str]:
        """A command that is a path, and what stands where an interpreter has its script."""
        yield from [token for token in self._tokens[:1] if "/" in token]
        is_next = False
        for token in self._tokens:
            if is_next and re.fullmatch(r"-\w*[mce]|--eval|-p", token):
                is_next = False
            elif is_next:
                yield token
                is_next = not os.path.isfile(os.path.join(self._start, token))
            is_next = is_next or bool(_INTERPRETERS.fullmatch(os.path.basename(token)))

    def _imports_from_start(self) -> bool:
        """Whether Python imports from the folder where it starts. The launcher lets it look there
        only then."""
        for token, after in zip(self._tokens, [*self._tokens[1:], ""], strict=True):
            if (app := re.fullmatch(r"([\w.]+):\w+", token)) and has_module(
                self._start, "-m", app[1]
            ):
                return True
            found = re.fullmatch(r"-\w*?([mc])(\w[\w.]*)?", token)
            if found and has_module(self._start, f"-{found[1]}", found[2] or after):
                return True
        return False

    def _has_neighbours(self, path: str) -> bool:
        """Whether a file imports or reads code of its folder. Of the project's own folder only
        scripts in languages do whose imports begin there."""
        script = Path(path)
        if str(script.parent) in self._bases:
            return bool(_NEIGHBOURS.fullmatch(script.suffix))
        return is_code(script, settings=False) or not script.suffix

    def _manifests(self, place: str) -> set[str]:
        """The files of a folder by which it is run."""
        pattern = _MANIFESTS
        if self._is_start(place) and not self._starts(_RUNNERS):
            read = [
                names for each, names in _READ_AT_START.items() if self._starts(re.compile(each))
            ]
            pattern = re.compile("|".join(read) or r"(?!)")
        try:
            names = os.listdir(place) if is_below(place, self._bases) else []
        except OSError:
            return set()
        return {os.path.join(place, name) for name in names if pattern.fullmatch(name)}

    def _is_start(self, place: str) -> bool:
        return place == self._start or place in self._bases

    def _is_run(self, place: str) -> bool:
        """Whether a folder that holds a manifest is run, and not an argument of what runs."""
        if self._is_start(place):
            return self._starts(_RUNNERS)
        if not _PACKAGE_RUNNERS.fullmatch(self._program):
            return self._name(place).split("/")[0] != "knowledge"
        arguments = zip(self._tokens, self._tokens[1:], strict=False)
        program = next(
            (
                token
                for before, token in arguments
                if token[0] != "-" and (before[0] != "-" or _FLAGS.fullmatch(before))
            ),
            "",
        )
        return os.path.normpath(os.path.join(self._start, program)) == place

    def _starts(self, *programs: re.Pattern[str]) -> bool:
        names = {os.path.basename(token) for token in self._tokens}
        return any(each.fullmatch(name) for each in programs for name in names)

    def _name(self, path: str) -> str:
        base = next(each for each in self._bases if is_below(path, [each]))
        return Path(os.path.relpath(path, base)).as_posix()

    def _is_covered(self, path: str) -> bool:
        """Whether a folder is below this one, and neither in its two folders of code, which are
        covered anyway, nor part of third-party packages."""
        if not is_below(path, self._bases):
            return False
        parts = self._name(path).split("/")
        if parts[0] in CODE_FOLDERS or NO_CODE_FOLDERS.intersection(parts):
            return False
        above = [Path(self._base, *parts[:count]) for count in range(len(parts) + 1)]
        return not any((each / ENVIRONMENT).is_file() for each in above)

    def _is_file_covered(self, path: str) -> bool:
        """Files of an environment are covered where they are named, but for links to the system's
        Python."""
        if self._is_covered(os.path.dirname(path)):
            return True
        is_own = self._name(path).split("/")[0] not in CODE_FOLDERS
        return is_own and is_below(os.path.realpath(path), self._bases)


def _option_values(tokens: list[str]) -> Iterator[str]:
    """The values of options by which interpreters and runners find code."""
    for token, after in zip(tokens, [*tokens[1:], ""], strict=True):
        option, _, value = token.partition("=")
        if _CODE_OPTIONS.fullmatch(option):
            yield value or after
        elif re.match(r"-[ILCr].", token):
            yield token[2:]


def _defaults(inputs: Any) -> dict[str, str]:
    """The defaults of the values that VS Code asks its user for."""
    entries = [each for each in inputs if isinstance(each, dict)] if inputs else []
    return {f"input:{each.get('id')}": str(each.get("default") or "") for each in entries}


def _words(text: str) -> Iterator[str]:
    """Everything in a text that may be a path."""
    for word in (text, text.partition("=")[2], *_BETWEEN_WORDS.split(text)):
        word = word.rstrip("/*")
        if word and "\0" not in word:
            yield word
            yield word.lstrip("/@")
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
