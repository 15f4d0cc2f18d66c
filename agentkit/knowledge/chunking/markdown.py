"""The sections of a Markdown document: headings and the blocks under each.

Headings within lists and quotes are text, and so is whatever stands in code and `$$` formulas.
Front matter is metadata; blocks of scripts, styles, labels and badges alone are left out. Link
definitions, footnotes and comments are kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

from agentkit.knowledge.chunking.blocks import Block, Kind, Section, line_starts, one_line, trimmed
from agentkit.knowledge.chunking.markup import is_markup_only, plain

_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n.*?^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.M)
_RULE = frozenset("-*_ ")
_MOST_FRONT_MATTER = 50_000
_FLOW, _MOST_FLOWS = re.compile(r"[\[{]"), 500
"""PyYAML takes quadratic time for nested lists and mappings."""
_NO_FORMULA = re.compile(r" {0,3}(?:#{1,6}\s|```|~~~)")
_KINDS: Mapping[str, Kind] = {
    "heading_open": "heading",
    "table_open": "table",
    "bullet_list_open": "list",
    "ordered_list_open": "list",
    "fence": "code",
    "code_block": "code",
}


class FrontMatter(NamedTuple):
    """The YAML above a text: its values as they are written, and where the text begins."""

    metadata: dict[str, Any]
    end: int


def front_matter(text: str) -> FrontMatter | None:
    """The YAML front matter; 01234 and 1.10 are kept as text. None where there is none: what is not
    a mapping, is invalid or has aliases, as a YAML bomb does, is text."""
    match = _FRONT_MATTER.match(text)
    metadata = _mapping(match[0].removeprefix("\ufeff").strip().strip("-")) if match else {}
    return FrontMatter(metadata, match.end()) if match and metadata else None


def _mapping(written: str) -> dict[str, Any]:
    import yaml

    if len(written) > _MOST_FRONT_MATTER or len(_FLOW.findall(written)) > _MOST_FLOWS:
        return {}
    try:
        if any(isinstance(e, yaml.AliasEvent) for e in yaml.parse(written, yaml.BaseLoader)):
            return {}
        found = yaml.load(written, yaml.BaseLoader)
        return json.loads(json.dumps(found)) if isinstance(found, dict) else {}
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}


def first_heading(text: str) -> str:
    """The text of the first heading of a Markdown document, or ""."""
    for section in markdown_sections(text):
        if section.heading:
            return section.heading.split(" > ")[0]
    return ""


@lru_cache(maxsize=4)
def markdown_sections(text: str) -> tuple[Section, ...]:
    """Sections in order, cached: the loader's title, the splitter and a search's context share one
    parse. A heading or rule with nothing under it goes with the section after it."""
    return tuple(_sections(text))


def _sections(text: str) -> Iterator[Section]:
    front = front_matter(text)
    path: list[tuple[int, str]] = []
    blocks: list[Block] = []
    has_body = False
    for level, title, block in _blocks(text, front.end if front else 0):
        if level and has_body:
            yield Section(_joined(path), tuple(blocks))
            blocks, has_body = [], False
        if level:
            path = [(depth, name) for depth, name in path if depth < level] + [(level, title)]
        blocks.append(block)
        has_body = has_body or not (level or _RULE.issuperset(text[block.start : block.end]))
    if blocks:
        yield Section(_joined(path), tuple(blocks))


def item_starts(text: str, start: int, end: int) -> list[int]:
    """The starts of the items of the outermost list with several, without its first item."""
    starts = line_starts(text[start:end])
    items: dict[int, list[int]] = {}
    for token in _parsed(text[start:end]):
        if token.type == "list_item_open" and token.map[0]:
            items.setdefault(token.level, []).append(start + starts[token.map[0]])
    return items[min(items)] if items else []


def _joined(path: Sequence[tuple[int, str]]) -> str:
    return " > ".join(title for _, title in path if title)


def _blocks(text: str, body: int) -> Iterator[tuple[int, str, Block]]:
    """(heading level or 0, heading text, block) of each top-level block, none left out."""
    starts = line_starts(text, body)
    tokens = _parsed(text[body:])
    reached = body
    for at, token in enumerate(tokens):
        if token.level or token.nesting < 0 or token.map is None:
            continue
        begin, stop = (starts[line] if line < len(starts) else len(text) for line in token.map)
        if text[reached:begin].strip():
            yield 0, "", trimmed(text, reached, begin)
        reached = max(reached, stop)
        if not text[begin:stop].strip():
            continue
        kind = _KINDS.get(token.type, "prose")
        if kind == "prose" and is_markup_only(text[begin:stop]):
            continue
        is_heading = kind == "heading"
        level = int(token.tag[1]) if is_heading else 0
        title = one_line(plain(tokens[at + 1].content)) if is_heading else ""
        yield level, title, trimmed(text, begin, stop, kind)
    if text[reached:].strip():
        yield 0, "", trimmed(text, reached, len(text))


def _parsed(text: str) -> Sequence[Any]:
    lines = re.sub(r"\r\n?", "\n", text).split("\n")
    _hide_formulas(lines)
    found: Sequence[Any] = _parser().parse("\n".join(lines))
    return found


def _hide_formulas(lines: list[str]) -> None:
    """Replace each line of a formula by a letter, so that its signs make no headings or lists
    and its empty lines do not end it."""
    opened = -1
    for at, line in enumerate(lines):
        if _NO_FORMULA.match(line):
            opened = -1
        elif line.lstrip(" \t").startswith("$$") and opened < 0:
            opened = -1 if line.count("$$") > 1 else at
        elif "$$" in line and opened >= 0:
            lines[opened + 1 : at] = ["x"] * (at - opened - 1)
            opened = -1


@cache
def _parser() -> Any:
    """A parser of block structure only: inline syntax is slow and not needed."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser
