"""Markdown that grows, as lines of a terminal. Blocks that are whole are laid out once; only the
last one is laid out anew with each piece.

HTML, images and reference links stand as they were written, so that nothing a model says is lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
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

from agentkit.cli.chat.region import lines_of
from agentkit.knowledge.citations.markers import markers, numbers_in

_DOUBT, _DOUBT_END, _MARK, _MARK_END = "\u2061", "\u2062", "\u2063", "\u2064"
_SIGNS = re.compile(f"([{_DOUBT}{_DOUBT_END}{_MARK}{_MARK_END}])")
_THEME = Theme(
    {
        **{f"markdown.h{level}": "bold" for level in range(1, 7)},
        "markdown.code": "cyan",
        "markdown.block_quote": "none",
        "markdown.link": "blue",
        "markdown.link_url": "blue",
    }
)
"""Nothing is underlined but what nothing supports."""
_DOUBTFUL, _MARKER = Style(underline=True), Style(color="cyan", bold=True)
_BLOCK_SIGNS = re.compile(r"(?:\s*(?:[-*+>]|\d{1,9}[.)]|#{1,6})\s+)*\s*")
_CLOSING = "，。、；：？！）】》」』”’…"
_WORD = re.compile(rf"\s+|[\u2e80-\uffdc][{_CLOSING}]*|[^\s\u2e80-\uffdc]+[{_CLOSING}]*")

IsKnown = Callable[[str], bool]
"""Whether the session gave that number to a passage."""


@dataclass(frozen=True, slots=True)
class Known:
    """The passages that numbers in an answer may mean."""

    is_known: IsKnown
    texts: Callable[[], Collection[str]]


NOTHING = Known(lambda number: False, tuple)


class Prose:
    """An answer that is being written."""

    def __init__(self, console: Console, known: Known = NOTHING) -> None:
        self._console = console
        self._known = known
        self._whole: list[str] = []
        self._rest = ""
        self._width = console.width
        self.text = ""

    def feed(self, delta: str) -> None:
        """A piece more."""
        delta = _SIGNS.sub("", delta)
        self.text += delta
        self._rest += delta

    def replace(self, runs: Iterable[tuple[str, bool]]) -> None:
        """The answer as it is in the end, with what nothing supports underlined."""
        self.text = self._rest = "".join(map(_doubted, runs))
        self._whole = []

    def lines(self) -> list[str]:
        """All of it, at the console's width."""
        if self._width != self._console.width:
            self._width, self._whole, self._rest = self._console.width, [], self.text
        for block in self._finished():
            self._whole += [*self._laid_out(block), ""]
        return [*self._whole, *self._laid_out(self._rest)]

    def _finished(self) -> Iterator[str]:
        """The blocks that nothing can change any more, taken off the rest."""
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

    def _laid_out(self, block: str) -> list[str]:
        if not block.strip():
            return []
        with self._console.use_theme(_THEME):
            found = lines_of(self._console, _Shown(self._marked(block)))
        while found and not found[-1]:
            found.pop()
        return found[next((at for at, line in enumerate(found) if line), 0) :]

    def _marked(self, block: str) -> str:
        """The block with the numbers of passages between signs."""
        if not any(bracket in block for bracket in "[【［"):
            return block
        pieces, reached = [], 0
        for match in markers(block, self._known.texts()):
            if any(map(self._known.is_known, numbers_in(match.group()))):
                before = block[reached : match.start()]
                pieces += [before, _MARK, match.group(), _MARK_END]
                reached = match.end()
        return "".join([*pieces, block[reached:]])


class _Shown(Markdown):
    """Markdown whose signs have become styles."""

    def __init__(self, markup: str) -> None:
        super().__init__("", code_theme="ansi_dark", hyperlinks=False)
        self.parsed = _parser().parse(markup)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        styles: list[Style] = []
        for segment in super().__rich_console__(console, options):
            parts = [segment] if isinstance(segment, Segment) else console.render(segment, options)
            for part in parts:
                yield from _styled(part, styles)


def _styled(segment: Segment, styles: list[Style]) -> Iterator[Segment]:
    """A segment cut at the signs in it; `styles` are those in force, and change."""
    if segment.control:
        yield segment
        return
    for piece in _SIGNS.split(segment.text):
        match piece:
            case "\u2061" | "\u2063":
                styles.append(_DOUBTFUL if piece == _DOUBT else _MARKER)
            case "\u2062" | "\u2064":
                gone = _DOUBTFUL if piece == _DOUBT_END else _MARKER
                styles[:] = [style for style in styles if style is not gone]
            case _ if piece:
                drawn = Style.combine([segment.style or Style.null(), *styles])
                yield Segment(piece, drawn if piece.strip() else segment.style)


class _Title(Heading):
    """A heading that is bold, and neither boxed nor centred."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.stylize("bold")
        yield from _wrapped(self.text, options.max_width)


class _Words(Paragraph):
    """A paragraph that breaks between Chinese characters, and never before a closing mark."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from _wrapped(self.text, options.max_width)


class _Code(CodeBlock):
    """Code without a ground of its own, so that it can be read on any."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip()
        yield Syntax(code, self.lexer_name, theme=self.theme, word_wrap=True, padding=(0, 2))


_Shown.elements = {
    **Markdown.elements,
    "heading_open": _Title,
    "paragraph_open": _Words,
    "fence": _Code,
    "code_block": _Code,
}


def _wrapped(text: Text, width: int) -> Iterator[Text]:
    for row in text.split("\n"):
        for line in row.divide(list(_breaks(row.plain, max(width, 2)))):
            line.rstrip()
            line.no_wrap, line.overflow = True, "fold"
            yield line


def _breaks(text: str, width: int) -> Iterator[int]:
    """Where lines begin, so that each has at most so many cells; what is longer is cut."""
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


def _doubted(run: tuple[str, bool]) -> str:
    text = _SIGNS.sub("", run[0])
    if not run[1]:
        return text
    signs = _BLOCK_SIGNS.match(text)
    at = signs.end() if signs else 0
    return f"{text[:at]}{_DOUBT}{text[at:]}{_DOUBT_END}"


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False})
    return parser.enable(["strikethrough", "table"]).disable(["reference", "image"])
