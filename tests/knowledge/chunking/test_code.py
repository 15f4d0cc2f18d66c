"""Source code is cut at functions and classes, with the lines it stands on."""

from typing import Any

import pytest

from agentkit.documents import Document
from agentkit.knowledge.chunking import code as outline
from agentkit.knowledge.chunking.splitter import split

PYTHON = '''"""A module."""
import os

# Why it is here.
@cache
def find(query):
    return "\\d"


class Retriever:
    """Finds."""

    limit = 3

    @property
    def size(self):
        return 1

    async def search(self, query):
        return query

if __name__ == "__main__":
    find("x")
'''
GO = """package main

// R finds.
type R struct {
	a int
}

func (r *R) Search(q string) string {
	return q
}
"""
JAVASCRIPT = """import a from "b"

// Adds.
export function add(a, b) {
  return a + b
}

const X = 3

export default class Finder {
  // Why.
  search(query) {
    return query
  }

  close() {}
}
"""


def letters(text: str) -> int:
    return len("".join(text.split()))


def _places(text: str, language: str, limit: int = 60) -> list[tuple[str, str]]:
    document = Document("f", text, id="d", format="code", metadata={"language": language})
    return [(chunk.heading, chunk.part) for chunk in split(document, letters, limit)]


def test_functions_and_methods_are_chunks_under_the_path_of_their_names() -> None:
    assert _places(PYTHON, "python") == [
        ("", "lines 1-2"),
        ("def find", "lines 4-7"),
        ("class Retriever", "lines 10-13"),
        ("class Retriever > def size", "lines 15-17"),
        ("class Retriever > def search", "lines 19-20"),
        ("", "lines 22-23"),
    ]


def test_a_class_that_fits_stays_whole() -> None:
    assert ("class Retriever", "lines 10-20") in _places(PYTHON, "python", limit=200)


def test_lines_are_counted_for_every_kind_of_line_end() -> None:
    for newline in ("\r\n", "\r"):
        assert _places(PYTHON.replace("\n", newline), "python") == _places(PYTHON, "python")


def test_a_function_above_the_limit_is_cut_at_empty_lines_and_then_at_lines() -> None:
    text = "def f():\n    a = 1\n    b = 2\n\n    c = 3\n    d = 4\n"
    assert _places(text, "python", 14) == [("def f", "lines 1-3"), ("def f", "lines 5-6")]
    assert [part for _, part in _places(text, "python", 8)] == ["line 1", "lines 2-3", "lines 5-6"]


@pytest.mark.parametrize("text", ["def f(:\n    x\n\ndef g():\n    y", "\ud800\n\ndef g():\n    y"])
def test_code_that_does_not_parse_is_cut_by_its_layout(text: str) -> None:
    assert _places(text, "python")[-1][0] == "def g"


def test_code_nested_beyond_the_parser_is_cut_by_its_layout() -> None:
    assert _places("(" * 5000 + "\n\ndef g():\n    y", "python", 6000)[-1][0] == "def g"


def test_a_grammar_finds_methods() -> None:
    pytest.importorskip("tree_sitter_javascript")
    assert _places(JAVASCRIPT, "javascript", 40) == [
        ("", "line 1"),
        ("function add", "lines 3-6"),
        ("", "line 8"),
        ("class Finder", "line 10"),
        ("class Finder > method search", "lines 11-14"),
        ("class Finder > method close", "lines 16-17"),
    ]


def test_a_method_of_go_is_named_with_its_type() -> None:
    pytest.importorskip("tree_sitter_go")
    assert [heading for heading, _ in _places(GO, "go")][1:] == ["type R", "method R.Search"]


_SAMPLES = {
    "bash": ("say() {\n  echo hi\n}", "function say"),
    "c": ("#ifndef A\n#include <a.h>\nstatic int *add(int a)\n{\n}\n#endif", "function add"),
    "cpp": ("namespace n {\ntemplate <class T>\nint A::b() { return 1; }\n}", "function A::b"),
    "csharp": ("namespace A\n{\n[X]\npublic class Foo\n{\nvoid Go() {}\n}\n}", "method Go"),
    "java": ("@X\npublic class Foo {\npublic Foo() {}\n}", "constructor Foo"),
    "kotlin": ("class Foo {\nfun go() {}\n}", "function go"),
    "lua": ("function M.go(q)\nreturn q\nend", "function M.go"),
    "php": ("<?php\nclass Foo {\npublic function go() {}\n}", "method go"),
    "ruby": ("class Foo\ndef go\nend\nend", "method go"),
    "rust": ("impl Find for R {\n/// Doc.\nfn go(&self) {}\n}", "function go"),
    "scala": ("object Foo {\ndef go(q: Int): Int = q\n}", "function go"),
    "swift": ("class Foo {\nfunc go() {}\n}", "function go"),
    "tsx": ("export const Go = () => {\nreturn <p/>\n}", "const Go"),
    "typescript": ("namespace N {\nexport function go() {}\n}", "function go"),
}


@pytest.mark.parametrize("language", _SAMPLES)
def test_every_grammar_names_what_it_finds(language: Any) -> None:
    package = {"csharp": "c_sharp", "tsx": "typescript"}.get(language, language)
    pytest.importorskip(f"tree_sitter_{package}")
    text, name = _SAMPLES[language]
    found = {heading.split(" > ")[-1] for heading, _ in _places(text, language, 14)}
    assert name in found


@pytest.mark.parametrize(
    ("text", "headings"),
    [
        (JAVASCRIPT, ["", "function add", "", "class Finder"]),
        (GO, ["", "type R", "func Search"]),
        ("CREATE TABLE users (\n  id INT\n);\n\nselect 1;", ["table users", ""]),
        ("add <- function(a, b) {\n  a\n}", ["add()"]),
        ("#include <a.h>\n\nint add(int a)\n{\n  return 1;\n}\n\n}", ["", "add()"]),
    ],
)
def test_without_a_grammar_a_block_begins_at_the_margin_below_an_empty_line(
    text: str, headings: list[str]
) -> None:
    assert [heading for heading, _ in _places(text, "unknown", 200)] == headings


def test_a_comment_directly_above_belongs_to_the_definition_and_an_include_does_not() -> None:
    text = "#include <a.h>\n// why\nint add(int a)\n{\n}\n"
    found = outline.outline(text, "c")
    if not found:
        pytest.skip("no grammar of C")
    assert text[found[0].start :].startswith(("// why", "#include"))
