"""Load reStructuredText as Markdown: headings, code, lists, tables and notes.

Directives give their text; their options, comments and targets of links are left out.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import PurePosixPath

from agentkit.documents import Document
from agentkit.knowledge.chunking.splitter import first_heading
from agentkit.knowledge.loaders.files import Loaded, markdown_table
from agentkit.knowledge.loaders.notation import lowered, raised
from agentkit.knowledge.loaders.text import decoded

_MOST_LINE = 10_000
_MOST_SUBSTITUTIONS = 1000
_DEEPEST = 20
_ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1{2,}\s*")
_UNDERLINE = re.compile(r"([!-/:-@\[-`{-~])\1*\s*")
_DIRECTIVE = re.compile(
    r"(\s*)\.\. (?:([\w:-]+)::\s*(.*)|\[(\d+|[#*]|#?[A-Za-z][\w.-]*)\](?:\s+(.*))?|.*)"
)
_TARGET = re.compile(r"\s*__ \S.*")
_OPTION = re.compile(r"\s*:([\w-]+):\s*(.*)")
_ROLE = re.compile(r":[\w:+.-]{1,40}:`([^`<>]{1,300})(?:\s<[^`>]{0,300}>)?`")
_REFERENCE = re.compile(
    r"(?<!`)`([^`<>]{1,300})(?:\s<[^`>]{0,300}>)?`__?(?!\w)|\b([A-Za-z][\w-]{0,60}[A-Za-z0-9])__?(?![\w`])"
)
_NOTE_MARK = re.compile(r"(\s?)\[(\d+|[#*]|#?[A-Za-z][\w.-]{0,60})\]_(?!\w)")
_SUBSTITUTED = re.compile(r"\|([^|\s][^|]{0,60})\|_{0,2}")
_LITERAL = re.compile(r"``([^`]{1,300})``")
_ESCAPED = re.compile(r"\\(?:\s|([*_`|]))")
_LANGUAGE = re.compile(r"[\w+-]{0,30}")
_GRID_LINE = re.compile(r"\s*\+(?:[-=]{1,300}\+)+\s*")
_SIMPLE_LINE = re.compile(r"\s*=+(?: +=+)+\s*")
_SPAN_LINE = re.compile(r"\s*-{2,}(?: +-{2,})*\s*")
_LIST_ROW = re.compile(r"\s*[*+-] +[*+-](\s.*)?")
_LIST_CELL = re.compile(r"\s*[*+-](\s.*)?")
_NOTES = {
    **{name: name.capitalize() for name in (
        "note", "warning", "tip", "important", "caution", "danger", "hint", "attention",
        "admonition",
    )},
    "seealso": "See also", "versionadded": "New in version", "versionchanged": "Changed in version",
    "deprecated": "Deprecated since version", "versionremoved": "Removed in version",
}  # fmt: skip
_CODE = ("code", "code-block", "sourcecode", "parsed-literal", "prompt", "console")
_WITHOUT_TEXT = ("image", "toctree", "include", "raw", "contents", "index", "")


def load_rst(content: bytes, source: str) -> Loaded:
    """reStructuredText: the order in which adornments first appear is their level."""
    return _loaded(source, "\n".join(_Rst(decoded(content).splitlines()).read()))


def _loaded(source: str, text: str) -> Loaded:
    text = re.sub(r"\n{3,}", "\n\n", text).strip()
    title = first_heading(text) or PurePosixPath(source).stem
    return Loaded(Document(source, text, title))


class _Rst:
    """Reads lines of reStructuredText; the text of a directive shares the counts of the file."""

    def __init__(self, lines: list[str], outer: _Rst | None = None) -> None:
        self._lines = lines
        self._depth: int = outer._depth + 1 if outer else 0
        self._levels: list[str] = outer._levels if outer else []
        self._counts: Counter[str] = outer._counts if outer else Counter()
        self._texts: dict[str, str] = outer._texts if outer else dict(islice(
            ((found[1], found[2]) for line in lines
             if (found := re.match(r"\.\. \|([^|]{1,60})\| replace:: (.{0,300})", line))),
            _MOST_SUBSTITUTIONS,
        ))  # fmt: skip

    def read(self) -> Iterator[str]:
        """The lines as Markdown."""
        lines, at = self._lines, 0
        while at < len(lines):
            line = lines[at][:_MOST_LINE]
            below = lines[at + 1] if at + 1 < len(lines) else ""
            over = _ADORNMENT.fullmatch(line)
            if (
                over
                and at + 2 < len(lines)
                and below.strip()
                and lines[at + 2].strip() == line.strip()
            ):
                yield self._heading(f"{over[1]}{over[1]}", below)
                at += 3
            elif (under := _UNDERLINE.fullmatch(below)) and _is_title(line, below):
                yield self._heading(under[1], line)
                at += 2
            elif directive := _DIRECTIVE.fullmatch(line):
                end = _block_end(lines, at + 1, len(directive[1]))
                yield from self._directive(directive, lines[at + 1 : end])
                at = end
            elif _GRID_LINE.fullmatch(line) or _SIMPLE_LINE.fullmatch(line):
                rows, at = _table(lines, at)
                yield markdown_table([[self._inline(cell) for cell in row] for row in rows])
            elif line.rstrip().endswith("::"):
                end = _block_end(lines, at + 1, len(line) - len(line.lstrip()))
                yield self._inline(
                    line.rstrip().removesuffix("::" if line.strip() == "::" else ":")
                )
                yield from _fenced("", lines[at + 1 : end])
                at = end
            else:
                yield "" if over or _TARGET.fullmatch(line) else self._inline(line)
                at += 1

    def _heading(self, adornment: str, text: str) -> str:
        if adornment not in self._levels:
            self._levels.append(adornment)
        level = min(self._levels.index(adornment) + 1, 6)
        return f"\n{'#' * level} {self._inline(text.strip())}\n"

    def _directive(self, directive: re.Match[str], body: list[str]) -> Iterator[str]:
        name, value = directive[2] or "", directive[3] or ""
        options = {}
        while body and name and (option := _OPTION.fullmatch(body[0])):
            options[option[1]] = option[2]
            body = body[1:]
        if directive[4]:
            yield f"\n[^{self._number(directive[4], 'note')}]: {self._inline(directive[5] or '')}"
            yield from (self._inline(line.strip()) for line in body)
            yield ""
        elif name in _CODE:
            yield from _fenced(value, body)
        elif name == "math":
            yield "$$\n" + "\n".join(filter(str.strip, [value, *map(str.strip, body)])) + "\n$$"
        elif name in ("list-table", "csv-table"):
            rows = _list_rows(body) if name == "list-table" else _csv_rows(body, options)
            yield f"{self._inline(value)}\n"
            yield markdown_table([[self._inline(cell) for cell in row] for row in rows])
        elif name not in _WITHOUT_TEXT:
            label = f"{_NOTES[name]}: " if name in _NOTES else ""
            yield f"{label}{'' if name == 'figure' else self._inline(value)}".rstrip()
            indent = min((len(b) - len(b.lstrip()) for b in body if b.strip()), default=0)
            inner = [line[indent:] for line in body]
            yield from _Rst(inner, self).read() if self._depth < _DEEPEST else inner
            yield ""

    def _number(self, label: str, kind: str) -> str:
        """The mark of a note: its number or name, the next number for # and the next sign for *."""
        if label not in ("#", "*"):
            return label.removeprefix("#")
        self._counts[kind + label] += 1
        return str(self._counts[kind + label]) if label == "#" else "*" * self._counts[kind + label]

    def _inline(self, text: str) -> str:
        text = _SUBSTITUTED.sub(lambda m: self._texts.get(m[1], m[0]), text)
        pieces = _LITERAL.split(text)
        pieces[::2] = [self._marked(piece) for piece in pieces[::2]]
        pieces[1::2] = [f"`{piece}`" for piece in pieces[1::2]]
        return "".join(pieces)

    def _marked(self, text: str) -> str:
        def mark(match: re.Match[str]) -> str:
            return f"{match[1]}[^{self._number(match[2], 'mark')}]"

        text = _ESCAPED.sub(r"\1", _ROLE.sub(_role, _NOTE_MARK.sub(mark, text)))
        return _REFERENCE.sub(lambda m: m[1] or m[2], text)


def _table(lines: list[str], at: int) -> tuple[list[list[str]], int]:
    """The rows of a table that is drawn with lines, and where it ends."""
    is_grid = lines[at].lstrip().startswith("+")
    rule = _GRID_LINE if is_grid else _SIMPLE_LINE
    columns = [found.start() for found in re.finditer(r"[-=]+", lines[at])]
    rows: list[list[str]] = [[]]
    rules = 1
    for end in range(at + 1, len(lines)):
        line = lines[end][:_MOST_LINE]
        below = lines[end + 1] if end + 1 < len(lines) else ""
        if rule.fullmatch(line):
            rules += 1
            rows.append([])
            if not is_grid and (rules == 3 or not below.strip()):
                return _filled(rows), end + 1
        elif is_grid and not line.lstrip().startswith(("|", "+")):
            return _filled(rows), end
        elif is_grid or not _SPAN_LINE.fullmatch(line):
            spans = below if _SPAN_LINE.fullmatch(below) and not is_grid else ""
            cells = _cells(line, columns, spans)
            if rows[-1] and (is_grid or not cells[0]):
                rows[-1] = [f"{a} {b}".strip() for a, b in zip(rows[-1], cells, strict=True)]
            elif rows[-1]:
                rows.append(cells)
            else:
                rows[-1] = cells
    return _filled(rows), len(lines)


def _filled(rows: list[list[str]]) -> list[list[str]]:
    return [row for row in rows if row]


def _cells(line: str, columns: list[int], spans: str) -> list[str]:
    """The texts of a line by its columns; one that spans several columns, by a line of - below it,
    stands in each."""
    begins = [found.start() for found in re.finditer(r"-+", spans)] or columns
    ends = [*begins[1:], _MOST_LINE]
    covering = [max((at for at, b in enumerate(begins) if b <= c), default=0) for c in columns]
    return [line[begins[at] : ends[at]].strip(" |+") for at in covering]


def _list_rows(body: list[str]) -> list[list[str]]:
    """The rows of a list of lists: `* - ` begins a row, `- ` a cell."""
    rows: list[list[str]] = []
    for line in body:
        row = _LIST_ROW.fullmatch(line)
        cell = _LIST_CELL.fullmatch(line)
        if row:
            rows.append([(row[1] or "").strip()])
        elif rows and cell:
            rows[-1].append((cell[1] or "").strip())
        elif rows and line.strip():
            rows[-1][-1] += f" {line.strip()}"
    return rows


def _csv_rows(body: list[str], options: Mapping[str, str]) -> list[list[str]]:
    named = [options["header"]] if options.get("header") else []
    lines = [line.strip() for line in [*named, *body] if line.strip()]
    return list(
        csv.reader(lines, delimiter=(options.get("delim") or ",")[:1], skipinitialspace=True)
    )


def _is_title(line: str, below: str) -> bool:
    return (
        bool(line.strip()) and not line[0].isspace() and len(below.rstrip()) >= len(line.rstrip())
    )


def _block_end(lines: list[str], at: int, indent: int) -> int:
    """Where the lines that are indented more than `indent` end."""
    end = at
    while at < len(lines):
        line = lines[at]
        if line.strip():
            if len(line) - len(line.lstrip()) <= indent:
                break
            end = at + 1
        at += 1
    return end


def _fenced(language: str, body: list[str]) -> Iterator[str]:
    filled = [line for line in body if line.strip()]
    if filled:
        indent = min(len(line) - len(line.lstrip()) for line in filled)
        code = "\n".join(line[indent:] for line in body).strip("\n")
        language = language if _LANGUAGE.fullmatch(language) else ""
        yield f"\n```{language}\n{code}\n```\n"


def _role(match: re.Match[str]) -> str:
    name = match[0][1:].partition(":")[0]
    if name in ("sup", "superscript"):
        return raised(
            match.string[max(0, match.start() - 20) : match.start()].rstrip("\\ "), match[1]
        )
    if name in ("sub", "subscript"):
        return lowered(match[1])
    return f"${match[1]}$" if name == "math" else match[1]
