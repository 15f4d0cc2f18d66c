"""What a source file defines, by whole lines: Python through `ast`, others through tree-sitter
where the extra `code` is installed, and else by a rule of layout.

That rule: a block begins at the margin below an empty line. Code that does not parse has the same.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from agentkit.knowledge.splitting.blocks import line_starts, named
from agentkit.knowledge.splitting.grammars import Found, parsed

_WORDS = (
    "class|struct|interface|enum|trait|impl|module|namespace|object|protocol|extension|record|"
    "def|fn|func|fun|function|sub|type"
)
_DEFINED = re.compile(rf"\b({_WORDS})\s+(?:\([^)]*\)\s*)?([\w$]+(?:(?:::|\.)[\w$]+)*)")
_SQL = re.compile(
    r"\s*create\s+(?:or\s+replace\s+)?(?:\w+\s+)??(table|view|function|procedure|trigger|index)"
    r"\s+(?:if\s+not\s+exists\s+)?([\w.\"`]+)",
    re.IGNORECASE,
)
_CALLED = re.compile(r"([\w.:~$]+)\s*(?:=\s*(?:function|async)?\s*|<-\s*function\s*)?\(")
_ABOVE = ("#", "//", "/*", "*", "--", "@", ";;", "%")
_DIRECTIVE = re.compile(r"#\s*(?:include|define|if|ifdef|ifndef|else|elif|endif|pragma|undef)\b")
_NO_START = re.compile(r"[\s})\]]|end\b|\Z|#\s*(?:else|elif|endif)\b")


@dataclass(frozen=True, slots=True)
class Definition:
    """A function, class or the like: "def search", from its decorators and comments to the end of
    its last line, and what is defined within it."""

    name: str
    start: int
    end: int
    inner: tuple[Definition, ...] = ()


def outline(text: str, language: str) -> list[Definition]:
    """The outermost definitions, in order and apart from each other."""
    found = _parsed(text, language)
    starts = [*line_starts(text), len(text)]
    lines = [text[a:b] for a, b in pairwise(starts)]
    if found is None:
        found = list(_by_layout(lines))
    return list(_placed(found, lines, starts, 0))


def _parsed(text: str, language: str) -> list[Found] | None:
    unix = re.sub(r"\r\n?", "\n", text)
    if language == "python":
        return _python(unix)
    return parsed(unix, language)


def _python(text: str) -> list[Found] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return list(_of_body(tree.body))


def _of_body(body: Sequence[ast.stmt]) -> Iterator[Found]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            is_class = isinstance(node, ast.ClassDef)
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
            inner = tuple(_of_body(node.body)) if is_class else ()
            word = "class" if is_class else "def"
            yield Found(f"{word} {node.name}", first, node.end_lineno or node.lineno, inner)


def _placed(
    found: Sequence[Found], lines: Sequence[str], starts: Sequence[int], floor: int
) -> Iterator[Definition]:
    """Lines as offsets; one that shares a line with the one before it is part of that one."""
    for one in found:
        first, stop = one.first, min(one.stop, len(lines))
        if first < floor or stop <= first:
            continue
        inner = tuple(_placed(one.inner, lines, starts, first + 1))
        while first > floor and _is_above(lines[first - 1]):
            first -= 1
        yield Definition(named(one.name), starts[first], starts[stop], inner)
        floor = stop


def _is_above(line: str) -> bool:
    """Whether a line belongs to the definition below it: a comment or a decorator."""
    bare = line.lstrip()
    return bare.startswith(_ABOVE) and not _DIRECTIVE.match(bare)


def _by_layout(lines: Sequence[str]) -> Iterator[Found]:
    """The blocks that define something, each up to where the next one begins."""
    begins = [
        at
        for at, line in enumerate(lines)
        if not _NO_START.match(line) and (at == 0 or not lines[at - 1].strip())
    ]
    for first, stop in zip(begins, [*begins, len(lines)][1:], strict=True):
        name = next((_name(x) for x in lines[first:stop] if not _is_above(x) and x.strip()), "")
        if name:
            yield Found(name, first, stop)


def _name(line: str) -> str:
    """ "fn search" of the first line of a definition, "" of any other line."""
    line = line[:500]
    if match := _SQL.match(line):
        return f"{match[1].lower()} {match[2]}"
    if match := _DEFINED.search(line):
        return f"{match[1]} {match[2]}"
    ends_call = line.rstrip().endswith((";", "."))
    match = None if ends_call else _CALLED.search(line)
    return f"{match[1]}()" if match and line.rstrip().endswith(("{", ")")) else ""
