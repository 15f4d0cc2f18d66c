"""Split source code into sections: one for each function or class, and what is between them.

Decorators and the comments directly above belong to their definition. A class that is too large is
split into its methods. The heading is the path of names: "class Retriever > def search".

Definitions are found through `ast` for Python, through tree-sitter for other languages where the
extra `code` is installed, and otherwise by layout: a block begins at the margin below an empty
line. Code that does not parse is split by layout too.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import pairwise
from typing import Any

from agentkit.documents import Document
from agentkit.knowledge.chunking.blocks import (
    Block,
    CountMany,
    Section,
    line_starts,
    one_line,
    trimmed,
)
from agentkit.knowledge.chunking.packing import sized

_GRAMMARS: Mapping[str, str] = {
    "bash": "tree_sitter_bash:language",
    "c": "tree_sitter_c:language",
    "cpp": "tree_sitter_cpp:language",
    "csharp": "tree_sitter_c_sharp:language",
    "go": "tree_sitter_go:language",
    "java": "tree_sitter_java:language",
    "javascript": "tree_sitter_javascript:language",
    "kotlin": "tree_sitter_kotlin:language",
    "lua": "tree_sitter_lua:language",
    "php": "tree_sitter_php:language_php",
    "ruby": "tree_sitter_ruby:language",
    "rust": "tree_sitter_rust:language",
    "scala": "tree_sitter_scala:language",
    "swift": "tree_sitter_swift:language",
    "tsx": "tree_sitter_typescript:language_tsx",
    "typescript": "tree_sitter_typescript:language_typescript",
}
_FUNCTIONS: Mapping[str, str] = {
    **dict.fromkeys(("function_declaration", "function_definition", "function_item"), "function"),
    "generator_function_declaration": "function",
    **dict.fromkeys(("method_definition", "method_declaration", "method"), "method"),
    "singleton_method": "method",
    "constructor_declaration": "constructor",
    "init_declaration": "init",
    "lexical_declaration": "const",
}
_HOLDERS: Mapping[str, str] = {
    **dict.fromkeys(("class_declaration", "class_definition", "class_specifier"), "class"),
    **dict.fromkeys(("abstract_class_declaration", "class"), "class"),
    **dict.fromkeys(("struct_item", "struct_specifier", "struct_declaration"), "struct"),
    **dict.fromkeys(("enum_declaration", "enum_item", "enum_specifier"), "enum"),
    **dict.fromkeys(("trait_item", "trait_definition", "trait_declaration"), "trait"),
    **dict.fromkeys(("namespace_declaration", "namespace_definition"), "namespace"),
    **dict.fromkeys(("mod_item", "module"), "module"),
    **dict.fromkeys(("object_definition", "object_declaration"), "object"),
    "internal_module": "namespace",
    "interface_declaration": "interface",
    "impl_item": "impl",
    "protocol_declaration": "protocol",
    "record_declaration": "record",
    "type_declaration": "type",
    "type_alias_declaration": "type",
    "type_item": "type",
}
_WRAPPERS = {"export_statement", "template_declaration", "expression_statement"}
_BODIES = ("body", "block", "declaration_list", "body_statement")
_SEEN_THROUGH = {"preproc_ifdef", "preproc_if", "linkage_specification", "declaration_list"}
_DEEPEST = 12
_MOST_PARSED = 300_000
"""Characters. A longer text is parsed in pieces, and a piece that is longer is split by layout."""


@dataclass(frozen=True, slots=True)
class Found:
    """A definition found by a parser: its first line and the line after its last, from 0."""

    name: str
    first: int
    stop: int
    inner: tuple[Found, ...] = ()


def parsed(text: str, language: str) -> list[Found] | None:
    """The definitions of a text with Unix line ends; None where it cannot be parsed."""
    parser = _parser(language)
    if parser is None:
        return None
    root = parser.parse(text.encode("utf-8", "replace")).root_node
    return None if root.has_error else list(_within(root, 0))


@cache
def _parser(language: str) -> Any:
    module, _, function = _GRAMMARS.get(language, "").partition(":")
    try:
        from tree_sitter import Language, Parser

        return Parser(Language(getattr(import_module(module), function)())) if module else None
    except ImportError:
        return None


def _within(node: Any, depth: int) -> Iterator[Found]:
    for child in node.named_children if depth < _DEEPEST else ():
        if child.type in _SEEN_THROUGH:
            yield from _within(child, depth + 1)
            continue
        inside = _wrapped(child)
        word = _FUNCTIONS.get(inside.type) or _HOLDERS.get(inside.type)
        name = _node_name(inside) if word else ""
        if name:
            inner = tuple(_inner(inside, depth)) if inside.type in _HOLDERS else ()
            stop = child.end_point[0] + (child.end_point[1] > 0)
            yield Found(f"{word} {name}", child.start_point[0], stop, inner)


def _wrapped(node: Any) -> Any:
    """The definition that is exported or a template, else the node itself."""
    for child in node.named_children if node.type in _WRAPPERS else ():
        if child.type in _FUNCTIONS or child.type in _HOLDERS:
            return child
    return node


def _inner(node: Any, depth: int) -> Iterator[Found]:
    for child in node.named_children:
        if child.type.endswith(_BODIES):
            yield from _within(child, depth + 1)


def _node_name(node: Any) -> str:
    """What a definition is called; "" for one without a name, or a plain value."""
    if node.type in ("lexical_declaration", "type_declaration"):
        return _declared(node)
    if node.type == "impl_item":
        return " for ".join(
            _text_of(node, field) for field in ("trait", "type") if _text_of(node, field)
        )
    while (inner := node.child_by_field_name("declarator")) is not None:
        node = inner
    if node.type.endswith("identifier"):
        return _text(node)
    receiver = _text_of(node, "receiver").strip("()").split()
    owner = receiver[-1].lstrip("*").partition("[")[0] + "." if receiver else ""
    return owner + _text_of(node, "name")


def _declared(node: Any) -> str:
    """The name of `const f = () => ...` or of `type T struct`; "" for other values."""
    for child in node.named_children:
        value = child.child_by_field_name("value")
        is_function = value is not None and value.type in ("arrow_function", "function_expression")
        if is_function or child.type in ("type_spec", "type_alias"):
            return _text_of(child, "name")
    return ""


def _text_of(node: Any, field: str) -> str:
    found = node.child_by_field_name(field)
    return _text(found) if found is not None else ""


def _text(node: Any) -> str:
    return (node.text or b"").decode("utf-8", "replace")


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
    """The outermost definitions, in order, without overlaps. A long text is parsed in pieces."""
    starts = [*line_starts(text), len(text)]
    lines = [text[a:b] for a, b in pairwise(starts)]
    found: list[Found] = []
    for first, stop in _pieces(lines, starts):
        inside = lines[first:stop]
        parsed_ = _parsed("".join(inside), language)
        found += _shifted(_by_layout(inside) if parsed_ is None else parsed_, first)
    return list(_placed(found, lines, starts, 0))


def _pieces(lines: Sequence[str], starts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges of lines that are parsed together, cut where a block begins at the margin: a syntax
    tree takes hundreds of bytes a character."""
    first = 0
    for at in _block_starts(lines) if starts[-1] > _MOST_PARSED else ():
        if starts[at] - starts[first] > _MOST_PARSED // 2:
            yield first, at
            first = at
    yield first, len(lines)


def _shifted(found: Iterable[Found], lines: int) -> Iterator[Found]:
    for one in found:
        inner = tuple(_shifted(one.inner, lines))
        yield Found(one.name, one.first + lines, one.stop + lines, inner)


def _parsed(text: str, language: str) -> list[Found] | None:
    if len(text) > _MOST_PARSED:
        return None
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
    found: Sequence[Found], lines: Sequence[str], starts: Sequence[int], lowest: int
) -> Iterator[Definition]:
    """Convert lines to offsets; a definition on the last line of another is part of that one."""
    for one in found:
        first, stop = one.first, min(one.stop, len(lines))
        if first < lowest or stop <= first:
            continue
        inner = tuple(_placed(one.inner, lines, starts, first + 1))
        while first > lowest and _is_above(lines[first - 1]):
            first -= 1
        yield Definition(one_line(one.name), starts[first], starts[stop], inner)
        lowest = stop


def _is_above(line: str) -> bool:
    """Whether a line belongs to the definition below it: a comment or a decorator."""
    bare = line.lstrip()
    return bare.startswith(_ABOVE) and not _DIRECTIVE.match(bare)


def _block_starts(lines: Sequence[str]) -> list[int]:
    """The lines at the margin that are below an empty line, or the first."""
    return [
        at
        for at, line in enumerate(lines)
        if not _NO_START.match(line) and (at == 0 or not lines[at - 1].strip())
    ]


def _by_layout(lines: Sequence[str]) -> Iterator[Found]:
    """The blocks that define something, each up to the start of the next."""
    begins = _block_starts(lines)
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


_CLOSING = re.compile(r"(?:\W|\bend\b)*")
_Stretch = tuple[str, int, int]


def code_sections(
    document: Document, count: CountMany | None = None, limit: int = 0
) -> list[Section]:
    """Sections in order. With `count`, definitions above `limit` tokens are split."""
    text = document.text
    definitions = outline(text, str(document.metadata.get("language", "")))
    large = _large(text, definitions, count, limit) if count else set()
    stretches = _merged(text, list(_stretches("", 0, len(text), definitions, large)))
    found = [(heading, trimmed(text, start, end, "code")) for heading, start, end in stretches]
    return [Section(heading, (block,)) for heading, block in found if block.start < block.end]


def _large(
    text: str, definitions: Sequence[Definition], count: CountMany, limit: int
) -> set[Definition]:
    """The definitions with inner ones that are above the limit, at every level."""
    large: set[Definition] = set()
    pending = [definition for definition in definitions if definition.inner]
    while pending:
        sizes = sized(text, [Block(d.start, d.end) for d in pending], count, limit)
        above = [d for d, piece in zip(pending, sizes, strict=True) if piece.size > limit]
        large.update(above)
        pending = [inner for d in above for inner in d.inner if inner.inner]
    return large


def _stretches(
    path: str, start: int, end: int, definitions: Sequence[Definition], large: set[Definition]
) -> Iterator[_Stretch]:
    """(heading, start, end) of each definition and of what is between them."""
    reached = start
    for definition in definitions:
        heading = f"{path} > {definition.name}" if path else definition.name
        yield path, reached, definition.start
        inner = definition.inner if definition in large else ()
        yield from _stretches(heading, definition.start, definition.end, inner, large)
        reached = definition.end
    yield path, reached, end


def _merged(text: str, stretches: Sequence[_Stretch]) -> list[_Stretch]:
    """Join what has no word, such as a closing bracket, to the section before it."""
    found: list[_Stretch] = []
    for heading, start, end in stretches:
        if found and _CLOSING.fullmatch(text, start, end):
            before, begin, _ = found.pop()
            found.append((before, begin, end))
        elif text[start:end].strip():
            found.append((heading, start, end))
    return found
