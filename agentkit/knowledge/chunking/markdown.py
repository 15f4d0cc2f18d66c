"""The sections of a Markdown document: headings and the blocks under each.

Headings within lists and quotes are text, and so is whatever stands in code and `$$` formulas.
Front matter is metadata; blocks of scripts, styles, labels and badges alone are left out. Link
definitions, footnotes and comments are kept.
"""

from __future__ import annotations

import json
import re
import tomllib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

from agentkit.knowledge.chunking.blocks import (
    SECTION_BLOCKS,
    Block,
    Kind,
    Section,
    Span,
    line_starts,
    one_line,
    trimmed,
)
from agentkit.knowledge.chunking.markup import is_markup_only, plain

_FRONT_MATTER = re.compile(
    r"\A\ufeff?(---|\+\+\+)[ \t]*\r?\n(.*?)^(?:\1|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.M
)
_RULE = frozenset("-*_ ")
_MOST_FRONT_MATTER = 50_000
_FLOW, _MOST_FLOWS = re.compile(r"[\[{]"), 500
"""PyYAML takes quadratic time for nested lists and mappings."""
_NO_FORMULA = re.compile(r" {0,3}(?:#{1,6}\s|```|~~~)")
_FORMULA_LINE = re.compile(
    r"""(?:^|(?<=\r))(?:
        [ ]{0,3}(?:\#{1,6}[^\S\r\n]|```|~~~)[^\r\n]*
      | [^\r\n$]*+(?:\$(?!\$)[^\r\n$]*+)*+\$\$[^\r\n]*)""",
    re.MULTILINE | re.VERBOSE,
)
"""A line with `$$`, and one at which no formula goes on."""
_SPANNING = ("```", "~~~", "$$", "<", "\r")
"""What opens a block that goes on after an empty line, and line ends that are rare."""
_BETWEEN_EMPTY_LINES = re.compile(r"(?:(?<=\n)|\A)[ \t]*+\S.*+(?:\n[ \t]*+\S.*+)*+")
_PLAIN_HEADING = re.compile(r"(#{1,6})[ \t]+([^#\s](?:.*[^#\s])?)[ \t]*")
_PLAIN_PARAGRAPH = re.compile(r"[^\W\d_].*+(?:\n[^\W\d_].*+)*+")
_BREAK = re.compile(r"\r\n|\n|\r")
_EMPTY_LINE = re.compile(r"^(?=[ \t]*$)", re.MULTILINE)
_MOST_CACHED = 200_000
_PIECE, _LARGEST_PIECE = 50_000, 200_000
"""Characters of a long text that are parsed together: a parser takes hundreds of bytes a line."""
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
    """The front matter in YAML or, between +++, TOML; 01234 and 1.10 are kept as text in YAML. None
    where there is none: what is not a mapping, is invalid or has aliases, as a YAML bomb does, is
    text."""
    match = _FRONT_MATTER.match(text)
    metadata = _mapping(match[2], match[1] == "+++") if match else {}
    return FrontMatter(metadata, match.end()) if match and metadata else None


def _mapping(written: str, is_toml: bool) -> dict[str, Any]:
    import yaml

    if len(written) > _MOST_FRONT_MATTER or len(_FLOW.findall(written)) > _MOST_FLOWS:
        return {}
    try:
        if is_toml:
            found = tomllib.loads(written, parse_float=str)
            return dict(json.loads(json.dumps(found, default=str)))
        if any(isinstance(e, yaml.AliasEvent) for e in yaml.parse(written, yaml.BaseLoader)):
            return {}
        found = yaml.load(written, yaml.BaseLoader)  # nosec B506
        return json.loads(json.dumps(found)) if isinstance(found, dict) else {}
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}


def first_heading(text: str) -> str:
    """The text of the first heading of a Markdown document, near the start of a long one, or ""."""
    if len(text) > _MOST_CACHED:
        front = front_matter(text)
        found = _blocks(text[:_MOST_CACHED], front.end if front else 0)
        return next((title for _, title, _ in found if title), "")
    headings = (section.heading for section in _cached(text) if section.heading)
    return next(headings, "").split(" > ")[0]


def markdown_sections(text: str) -> Iterable[Section]:
    """Sections in order. A heading or rule with nothing under it goes with the section after it."""
    return _cached(text) if len(text) <= _MOST_CACHED else _sections(text)


@lru_cache(maxsize=4)
def _cached(text: str) -> tuple[Section, ...]:
    """The loader's title, the splitter and a search's context share one parse."""
    return tuple(_sections(text))


def _sections(text: str) -> Iterator[Section]:
    front = front_matter(text)
    path: list[tuple[int, str]] = []
    blocks: list[Block] = []
    has_body = False
    for level, title, block in _blocks(text, front.end if front else 0):
        if (level and has_body) or len(blocks) >= SECTION_BLOCKS:
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
    reached = body
    for outer in _outer_blocks(text, body):
        begin, stop = outer.start, outer.end
        if text[reached:begin].strip():
            yield 0, "", trimmed(text, reached, begin)
        reached = max(reached, stop)
        if not text[begin:stop].strip():
            continue
        kind = _KINDS.get(outer.type, "prose")
        if kind == "prose" and is_markup_only(text[begin:stop]):
            continue
        is_heading = kind == "heading"
        level = int(outer.tag[1]) if is_heading else 0
        title = one_line(plain(outer.content)) if is_heading else ""
        yield level, title, trimmed(text, begin, stop, kind)
    if text[reached:].strip():
        yield 0, "", trimmed(text, reached, len(text))


class _Outer(NamedTuple):
    """A top-level block: the type, tag and markup of its token, the text of a heading."""

    start: int
    end: int
    type: str
    tag: str = ""
    markup: str = ""
    content: str = ""


class _OuterTokens(list[Any]):
    """Tokens of which only those of top-level blocks and their text are kept."""

    def append(self, token: Any) -> None:
        if token.level == 0 or (token.level == 1 and token.type == "inline"):
            super().append(token)


def _outer_blocks(text: str, start: int) -> Iterator[_Outer]:
    """Top-level blocks in order. A long text is parsed in pieces, each from the start of the last
    block of the one before, which may go on in it."""
    formulas = _formulas(text, start)
    at, size = start, _PIECE
    while at < len(text):
        stop, is_final = _piece_end(text, at, size)
        found = list(_parsed_piece(text, at, stop, formulas))
        if not is_final and len(found) < 2:
            size *= 2
            continue
        if not is_final:
            stop = found.pop().start
        elif stop < len(text) and found:
            stop = _end_of(text, found[-1], stop)
            found[-1] = found[-1]._replace(end=stop)
        yield from found
        at, size = stop, _PIECE


def _piece_end(text: str, at: int, size: int) -> tuple[int, bool]:
    """Where a piece ends, at the end of a line, and whether its last block ends there too: that of
    a text, or a block so long that it is cut."""
    found = _BREAK.search(text, at + size)
    stop = found.end() if found else len(text)
    if stop - at > 2 * _LARGEST_PIECE:
        line = 1 + max(text.rfind(end, at, at + size) for end in "\r\n")
        return (line if line > at else stop), True
    return stop, stop == len(text) or size >= _LARGEST_PIECE


def _end_of(text: str, block: _Outer, stop: int) -> int:
    """Where a block that was cut at `stop` ends, if that can be seen without a parser: code at its
    fence, a table at an empty line."""
    if block.type == "table_open":
        end = _EMPTY_LINE.search(text, stop)
    elif block.type == "fence":
        fence = re.escape(block.markup)
        end = re.compile(rf"^ {{0,3}}{fence}+[ \t]*$", re.MULTILINE).search(text, stop)
    else:
        return stop
    return end.end() if end else len(text)


def _parsed_piece(text: str, at: int, stop: int, formulas: Sequence[Span]) -> Iterator[_Outer]:
    """The top-level blocks of text[at:stop], whole lines. Paragraphs and headings between empty
    lines are found without a parser where nothing in the piece can hold empty lines itself."""
    if stop - at > 2 * _LARGEST_PIECE:  # One line, which takes long to parse.
        return
    piece = text[at:stop]
    near = formulas[bisect_left(formulas, at, key=lambda span: span[1]) :]
    if any(mark in piece for mark in _SPANNING) or (near and near[0][0] < stop):
        yield from _by_parser(text, at, stop, near)
        return
    reached = 0
    for match in _BETWEEN_EMPTY_LINES.finditer(piece):
        begin, end = match.span()
        if heading := _PLAIN_HEADING.fullmatch(match[0]):
            tag = f"h{len(heading[1])}"
            plain_block = _Outer(at + begin, at + end, "heading_open", tag, content=heading[2])
        elif _PLAIN_PARAGRAPH.fullmatch(match[0]):
            plain_block = _Outer(at + begin, at + end, "paragraph_open")
        else:
            continue
        if piece[reached:begin].strip():
            yield from _by_parser(text, at + reached, at + begin, ())
        yield plain_block
        reached = end
    if piece[reached:].strip():
        yield from _by_parser(text, at + reached, stop, ())


def _by_parser(text: str, at: int, stop: int, formulas: Sequence[Span]) -> Iterator[_Outer]:
    """The top-level blocks of whole lines. Each line of a formula is read as a letter, so that its
    signs make no headings or lists and its empty lines do not end it."""
    starts = [at + start for start in line_starts(text[at:stop])]
    tokens = _OuterTokens()
    written = "\n".join(_lines(text[at:stop], starts, formulas))
    _parser().block.parse(written, _parser(), {}, tokens)
    for number, token in enumerate(tokens):
        if not token.level and token.nesting >= 0 and token.map is not None:
            begin, end = (starts[line] if line < len(starts) else stop for line in token.map)
            content = tokens[number + 1].content if token.type == "heading_open" else ""
            yield _Outer(begin, end, token.type, token.tag, token.markup, content)


def _lines(text: str, starts: Sequence[int], formulas: Sequence[Span]) -> list[str]:
    lines = _BREAK.split(text)
    for first, last in formulas:
        begin, end = bisect_left(starts, first), bisect_left(starts, last)
        lines[begin:end] = ["x"] * (end - begin)
    return lines


def _formulas(text: str, start: int) -> list[Span]:
    """The lines within each formula between two `$$`, from the start of the first line to the start
    of the one that ends it."""
    found: list[Span] = []
    opened = -1
    for match in _FORMULA_LINE.finditer(text, start):
        line = match[0]
        if _NO_FORMULA.match(line):
            opened = -1
        elif line.lstrip(" \t").startswith("$$") and opened < 0:
            opened = -1 if line.count("$$") > 1 else match.end()
        elif "$$" in line and opened >= 0:
            after = _BREAK.match(text, opened)
            found.append((after.end() if after else opened, match.start()))
            opened = -1
    return [(first, last) for first, last in found if first < last]


def _parsed(text: str) -> Sequence[Any]:
    lines = _lines(text, line_starts(text), _formulas(text, 0))
    found: Sequence[Any] = _parser().parse("\n".join(lines))
    return found


@cache
def _parser() -> Any:
    """A parser of block structure only: inline syntax is slow and not needed."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser
