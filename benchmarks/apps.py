"""The length of six applications, written with agentkit and beside it with pydantic-ai.

    python benchmarks/apps.py

Each program of benchmarks/peers/apps does the same as the one of its name in examples/. Counted are
lines of code without blank lines, comments and docstrings; import statements; those that import
from below the top package of the framework; and casts and `type: ignore` comments.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
OURS = ROOT / "examples"
PEERS = ROOT / "benchmarks" / "peers" / "apps"
_NOT_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, slots=True)
class Size:
    """What one program takes."""

    lines: int
    imports: int
    deep_imports: int
    casts: int


def programs() -> list[str]:
    """The names of the programs."""
    return sorted(path.stem for path in PEERS.glob("*.py") if path.stem != "__init__")


def measure(path: Path, package: str) -> Size:
    """Measure a program that is written with a package."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    lines: set[int] = set()
    for token in tokens:
        if token.type not in _NOT_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    modules = [name for node in ast.walk(tree) for name in _imported(node)]
    casts = sum(
        isinstance(node, ast.Call) and ast.unparse(node.func) in {"cast", "typing.cast"}
        for node in ast.walk(tree)
    )
    ignored = sum(
        token.type == tokenize.COMMENT
        and re.search("(type|pyright): ignore", token.string) is not None
        for token in tokens
    )
    return Size(
        len(lines - _docstring_lines(tree)),
        sum(isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.walk(tree)),
        sum(name.startswith(f"{package}.") for name in modules),
        casts + ignored,
    )


def _docstring_lines(tree: ast.AST) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node) is not None:
            first = node.body[0]
            lines.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return lines


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def table() -> str:
    """The sizes of all programs as a Markdown table, first with agentkit, then with pydantic-ai."""
    ours = [measure(OURS / f"{name}.py", "agentkit") for name in programs()]
    peers = [measure(PEERS / f"{name}.py", "pydantic_ai") for name in programs()]
    head = "| program | lines | imports | below the top package | casts, type: ignore |"
    rows = [_row(*sizes) for sizes in zip(programs(), ours, peers, strict=True)]
    return "\n".join([head, "|---|---|---|---|---|", *rows, _row("all", _sum(ours), _sum(peers))])


def _sum(sizes: Sequence[Size]) -> Size:
    return Size(*map(sum, zip(*map(astuple, sizes), strict=True)))


def _row(name: str, own: Size, peer: Size) -> str:
    pairs = zip(astuple(own), astuple(peer), strict=True)
    return f"| {' | '.join([name, *(f'{one} / {other}' for one, other in pairs)])} |"


if __name__ == "__main__":
    print(f"{table()}\n\nFirst agentkit, then pydantic-ai.")
