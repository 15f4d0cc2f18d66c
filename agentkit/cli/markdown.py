"""Render Markdown as it grows into lines of a terminal. Complete blocks are laid out once; only the
last one is laid out again with each delta.

HTML, images and reference links stay as they were written, so that no text of a model is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from markdown_it import MarkdownIt
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown, Paragraph
from rich.segment import Segment
from rich.style import Style
from rich.syntax import Syntax
from rich.text import Text
from rich.theme import Theme

from agentkit.cli.region import render_lines
from agentkit.knowledge.citations.markers import markers, numbers_in
from agentkit.knowledge.citations.passages import Sources

_UNSUPPORTED, _UNSUPPORTED_END, _MARK, _MARK_END = "\ufe05", "\ufe06", "\ufe07", "\ufe08"
"""Variation selectors that no text uses: without width, and left alone by the console."""
_CONTROLS = re.compile(f"([{_UNSUPPORTED}{_UNSUPPORTED_END}{_MARK}{_MARK_END}])")
_THEME = Theme(
    {
        **{f"markdown.h{level}": "bold" for level in range(1, 7)},
        "markdown.code": "cyan",
        "markdown.block_quote": "none",
        "markdown.link": "blue",
        "markdown.link_url": "blue",
    }
)
"""Only unsupported text is underlined."""
_UNSUPPORTED_STYLE, _MARKER = Style(underline=True), Style(color="cyan", bold=True)
_BLOCK_PREFIX = re.compile(r"(?:\s*(?:[-*+>]|\d{1,9}[.)]|#{1,6})\s+)*\s*")
_CLOSING = "，。、；：？！）】》」』”’…"
_WORD = re.compile(rf"\s+|[\u2e80-\uffdc][{_CLOSING}]*|[^\s\u2e80-\uffdc]+[{_CLOSING}]*")


class MarkdownStream:
    """An answer that is being written. Numbers of passages in `sources` are highlighted."""

    def __init__(self, console: Console, sources: Sources | None = None) -> None:
        self._console = console
        self._sources = sources
        self._lines: list[str] = []
        self._rest = ""
        self._width = console.width
        self.text = ""

    def feed(self, delta: str) -> None:
        """Append a delta."""
        delta = _CONTROLS.sub("", delta)
        self.text += delta
        self._rest += delta

    def replace(self, runs: Iterable[tuple[str, bool]]) -> None:
        """Set the final answer from runs of text, each with whether it is unsupported."""
        self.text = self._rest = "".join(map(_mark_unsupported, runs))
        self._lines = []

    def lines(self) -> list[str]:
        """All lines, at the console's width."""
        if self._width != self._console.width:
            self._width, self._lines, self._rest = self._console.width, [], self.text
        for block in self._take_complete_blocks():
            self._lines += [*self._lay_out(block), ""]
        return [*self._lines, *self._lay_out(self._rest)]

    def _take_complete_blocks(self) -> Iterator[str]:
        """Remove from the rest the blocks that can no longer change."""
        if "\n" not in self._rest:
            return
        starts = [
            token.map[0]
            for token in _parser().parse(self._rest)
            if token.level == 0 and token.map and token.nesting >= 0
        ]
        rows = self._rest.splitlines(keepends=True)
        for start, end in pairwise(starts):
            yield "".join(rows[start:end])
        if len(starts) > 1:
            self._rest = "".join(rows[starts[-1] :])

    def _lay_out(self, block: str) -> list[str]:
        if not block.strip():
            return []
        with self._console.use_theme(_THEME):
            found = render_lines(self._console, _StyledMarkdown(self._mark_citations(block)))
        while found and not found[-1]:
            found.pop()
        return found[next((at for at, line in enumerate(found) if line), 0) :]

    def _mark_citations(self, block: str) -> str:
        """Put the numbers of passages between control characters."""
        if self._sources is None:
            return block
        pieces, reached = [], 0
        for match in markers(block, self._sources.texts()):
            if any(map(self._sources.find, numbers_in(match.group()))):
                before = block[reached : match.start()]
                pieces += [before, _MARK, match.group(), _MARK_END]
                reached = match.end()
        return "".join([*pieces, block[reached:]])


class _StyledMarkdown(Markdown):
    """Markdown whose control characters become styles."""

    def __init__(self, markup: str) -> None:
        super().__init__("", code_theme="ansi_dark", hyperlinks=False)
        self.parsed = _parser().parse(markup)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        styles: list[Style] = []
        for segment in super().__rich_console__(console, options):
            parts = [segment] if isinstance(segment, Segment) else console.render(segment, options)
            for part in parts:
                yield from _apply_styles(part, styles)


def _apply_styles(segment: Segment, styles: list[Style]) -> Iterator[Segment]:
    """Split a segment at its control characters; updates `styles`, those in force."""
    if segment.control:
        yield segment
        return
    for piece in _CONTROLS.split(segment.text):
        match piece:
            case "\ufe05" | "\ufe07":
                styles.append(_UNSUPPORTED_STYLE if piece == _UNSUPPORTED else _MARKER)
            case "\ufe06" | "\ufe08":
                ended = _UNSUPPORTED_STYLE if piece == _UNSUPPORTED_END else _MARKER
                styles[:] = [style for style in styles if style is not ended]
            case _ if piece:
                drawn = Style.combine([segment.style or Style.null(), *styles])
                yield Segment(piece, drawn if piece.strip() else segment.style)


class _BoldHeading(Heading):
    """A bold heading, neither boxed nor centred."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.stylize("bold")
        yield from _wrap(self.text, options.max_width)


class _WrappedParagraph(Paragraph):
    """A paragraph that breaks between Chinese characters, and never before a closing mark."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from _wrap(self.text, options.max_width)


class _PlainCode(CodeBlock):
    """Code without a background colour, readable on any."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip()
        yield Syntax(code, self.lexer_name, theme=self.theme, word_wrap=True, padding=(0, 2))


_StyledMarkdown.elements = {
    **Markdown.elements,
    "heading_open": _BoldHeading,
    "paragraph_open": _WrappedParagraph,
    "fence": _PlainCode,
    "code_block": _PlainCode,
}


def _wrap(text: Text, width: int) -> Iterator[Text]:
    for row in text.split("\n"):
        for line in row.divide(list(_breaks(row.plain, max(width, 2)))):
            line.rstrip()
            line.no_wrap, line.overflow = True, "fold"
            yield line


def _breaks(text: str, width: int) -> Iterator[int]:
    """Offsets where lines begin, so that each has at most `width` cells; longer words are cut."""
    used = 0
    for match in _WORD.finditer(text):
        size = cell_len(match.group())
        if used and used + size > width and not match.group().isspace():
            yield match.start()
            used = 0
        if size > width and not match.group().isspace():
            for at, character in enumerate(match.group()):
                wide = cell_len(character)
                if used + wide > width:
                    yield match.start() + at
                    used = 0
                used += wide
        else:
            used += size


def _mark_unsupported(run: tuple[str, bool]) -> str:
    text = _CONTROLS.sub("", run[0])
    if not run[1]:
        return text
    prefix = _BLOCK_PREFIX.match(text)
    at = prefix.end() if prefix else 0
    return f"{text[:at]}{_UNSUPPORTED}{text[at:]}{_UNSUPPORTED_END}"


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False})
    return parser.enable(["strikethrough", "table"]).disable(["reference", "image"])
