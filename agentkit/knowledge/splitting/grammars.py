"""What source code defines, by the grammars of tree-sitter. The one file that imports it.

It comes with the extra `code`; a language whose grammar is not installed is not parsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Found:
    """A definition as a parser finds it: its first line and the line after its last, from 0."""

    name: str
    first: int
    stop: int
    inner: tuple[Found, ...] = ()


def parsed(text: str, language: str) -> list[Found] | None:
    """The definitions of a text whose lines end in a line feed; None where it cannot be parsed."""
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
        name = _name(inside) if word else ""
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


def _name(node: Any) -> str:
    """What a definition is called; "" for one without a name, or a plain value."""
    if node.type in ("lexical_declaration", "type_declaration"):
        return _declared(node)
    if node.type == "impl_item":
        return " for ".join(_said(node, field) for field in ("trait", "type") if _said(node, field))
    while (inner := node.child_by_field_name("declarator")) is not None:
        node = inner
    if node.type.endswith("identifier"):
        return _text(node)
    receiver = _said(node, "receiver").strip("()").split()
    owner = receiver[-1].lstrip("*").partition("[")[0] + "." if receiver else ""
    return owner + _said(node, "name")


def _declared(node: Any) -> str:
    """The name of `const f = () => ...` or of `type T struct`; "" for other values."""
    for child in node.named_children:
        value = child.child_by_field_name("value")
        is_function = value is not None and value.type in ("arrow_function", "function_expression")
        if is_function or child.type in ("type_spec", "type_alias"):
            return _said(child, "name")
    return ""


def _said(node: Any, field: str) -> str:
    found = node.child_by_field_name(field)
    return _text(found) if found is not None else ""


def _text(node: Any) -> str:
    return (node.text or b"").decode("utf-8", "replace")
