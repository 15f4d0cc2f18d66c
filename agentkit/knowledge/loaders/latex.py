"""Load LaTeX as Markdown: sections, lists, tables and notes; formulas and code stay as they are.

Macros that only format or arrange are left out, letters with accents are written, and a document's
own macros without arguments are replaced by their text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from agentkit.documents import Document
from agentkit.knowledge.chunking.splitter import first_heading
from agentkit.knowledge.loaders.files import Loaded, markdown_table
from agentkit.knowledge.loaders.notation import lowered, raised
from agentkit.knowledge.loaders.text import decoded

_COMMENT = re.compile(r"(?<!\\)%.*")
_LEFT_OUT = re.compile(r"\\iffalse\b.*?(?:\\fi\b|\Z)", re.DOTALL)
_VERBATIM = re.compile(
    r"\\begin\{(verbatim|lstlisting|minted|Verbatim|comment)\}"
    r"(?:\[[^\]\n]{0,300}\])?(?:\{(\w{0,30})\})?"
)
_VERB = re.compile(r"\\(?:verb|lstinline)\*?([^\w\s{*])(.{0,300}?)\1")
_DISPLAYED = re.compile(
    r"\\begin\{((?:equation|align|gather|multline|displaymath|eqnarray|math|flalign)\*?)\}"
)
_FORMULA = re.compile(
    r"(?<!\\)\$\$(.{1,2000}?)\$\$|\\\[(.{1,2000}?)\\\]"
    r"|(?<!\\)\$([^$\n]{1,500})(?<!\\)\$|\\\(([^\n]{1,500}?)\\\)",
    re.DOTALL,
)
_MACRO = re.compile(
    r"\\(?:(?:re)?newcommand\*?\s{0,5}\{?|def\s{0,5})\\([A-Za-z]{1,40})\}?\s{0,5}\{([^{}#]{0,200})\}"
)
_USE = re.compile(r"\\([A-Za-z]{1,40})(?![A-Za-z])(?:\{\}|(?=\\ ))?")
_MOST_GROWTH = 4
_TOKEN = re.compile(
    r"\\(?P<name>[A-Za-z@]+)\*?|\\(?P<sign>.)|(?P<brace>[{}])|(?P<cell>&)|(?P<typed>~|-{2,3}|``|'')",
    re.DOTALL,
)
_OPTION = re.compile(r"\s{0,3}\[[^\]\n]{0,300}\]|\([^)\n]{0,40}\)(?=\{)")
_LEVELS = ("part", "chapter", "section", "subsection", "subsubsection", "paragraph", "subparagraph")
_META = ("title", "author", "date")
_NOTES = ("footnote", "footnotetext", "thanks", "endnote")
_STRUCK = ("sout", "st", "cancel", "xout", "phantom", "hphantom", "vphantom")
_FRACTIONS = ("frac", "nicefrac", "sfrac", "tfrac", "dfrac")
_TABLES = ("tabular", "tabularx", "tabulary", "longtable", "array", "tabu")
_CELL, _ROW = "\x1f", "\x1e"
_ARGUMENTS: Mapping[str, int] = {
    **dict.fromkeys((
        "label", "ref", "eqref", "pageref", "autoref", "cref", "Cref", "nameref", "usepackage",
        "documentclass", "bibliography", "bibliographystyle", "includegraphics", "input",
        "include", "vspace", "hspace", "pagestyle", "thispagestyle", "index", "color",
        "textcolor", "colorbox", "cline", "cmidrule", "hypersetup", "parbox", "raisebox",
        "scalebox", "pagenumbering", "RequirePackage", "bibitem", "subfile", "pagecolor",
        "rowcolor", "cellcolor", "selectlanguage", "foreignlanguage", "captionsetup", "href",
        "newline", "end",
    ), 1),
    **dict.fromkeys((
        "setlength", "addtolength", "setcounter", "addtocounter", "newcommand", "renewcommand",
        "resizebox", "fontsize", "rule", "multirow", "newtheorem", "DeclareMathOperator",
        "fcolorbox",
    ), 2),
    "definecolor": 3, "newenvironment": 3,
}  # fmt: skip
"""How many arguments of a macro are no text; what follows them is."""
_ACCENTS: Mapping[str, str] = {
    "`": "\u0300", "'": "\u0301", "^": "\u0302", '"': "\u0308", "~": "\u0303", "=": "\u0304",
    ".": "\u0307", "u": "\u0306", "v": "\u030c", "H": "\u030b", "c": "\u0327", "k": "\u0328",
    "r": "\u030a", "d": "\u0323", "b": "\u0331", "t": "\u0361",
}  # fmt: skip
_LETTERS: Mapping[str, str] = {
    "ss": "ß", "o": "ø", "O": "Ø", "l": "ł", "L": "Ł", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ",
    "aa": "å", "AA": "Å", "i": "i", "j": "j", "dh": "ð", "th": "þ", "ldots": "…", "dots": "…",
    "textendash": "–", "textemdash": "—", "S": "§", "P": "¶", "pounds": "£", "euro": "€",
    "texteuro": "€", "copyright": "©", "textregistered": "®", "texttrademark": "™",
    "textdegree": "°", "degree": "°", "LaTeX": "LaTeX", "TeX": "TeX", "quad": " ", "qquad": " ",
    "par": "\n\n", "newline": "\n", "textbackslash": "\\", "textasciitilde": "~", "textbar": "|",
    "textless": "<", "textgreater": ">", "slash": "/",
}  # fmt: skip
_TYPED = {"~": " ", "---": "—", "--": "–", "``": "“", "''": "”"}
_DEEPEST = 100


def load_tex(content: bytes, source: str) -> Loaded:
    """Title, author and date are metadata."""
    kept: list[str] = []

    def keep(written: str) -> str:
        kept.append(written)
        return f"\0{len(kept) - 1}\0"

    def verbatim(begin: re.Match[str], inside: str) -> str:
        code = inside.strip("\n")
        return "" if begin[1] == "comment" else keep(f"\n\n```{begin[2] or ''}\n{code}\n```\n\n")

    def formula(match: re.Match[str]) -> str:
        if (display := match[1] or match[2]) is not None:
            return displayed(match, display)
        return keep(f"${(match[3] or match[4]).strip()}$")

    def displayed(_: re.Match[str], inside: str) -> str:
        return keep(f"\n\n$$\n{inside.strip()}\n$$\n\n")

    text = _replaced(_LEFT_OUT.sub("", decoded(content).replace("\0", "")), _VERBATIM, verbatim)
    text = _VERB.sub(lambda match: keep(f"`{match[2]}`"), text)
    text = "\n".join(_COMMENT.sub("", line) for line in text.splitlines())
    preamble, begin, body = text.partition("\\begin{document}")
    body = _expanded(body if begin else text, dict(_MACRO.findall(preamble)))
    reader = _Reader()
    if begin:
        reader.read(preamble)
    body = _replaced(body.partition("\\end{document}")[0], _DISPLAYED, displayed)
    written = reader.read(_FORMULA.sub(formula, body))
    lines = (line if line.startswith("    ") else line.strip() for line in written.splitlines())
    written = "\n".join([*lines, *(f"\n[^{at}]: {n}" for at, n in enumerate(reader.notes, 1))])
    written = re.sub(r"\0(\d+)\0", lambda m: kept[int(m[1])], written)
    written = re.sub(r"\n{3,}", "\n\n", written).strip()
    metadata = {name: " ".join(text.split()) for name, text in reader.metadata.items() if text}
    title = metadata.get("title") or first_heading(written) or PurePosixPath(source).stem
    return Loaded(Document(source, written, title, metadata=dict(metadata)))


def _replaced(
    text: str, begins: re.Pattern[str], write: Callable[[re.Match[str], str], str]
) -> str:
    """Replace environments, from their begin to the nearest end, in linear time."""
    pieces: list[str] = []
    at, endless = 0, set[str]()
    for begin in begins.finditer(text):
        end = f"\\end{{{begin[1]}}}"
        if begin.start() < at or end in endless:
            continue
        close = text.find(end, begin.end())
        if close < 0:
            endless.add(end)
            continue
        pieces += [text[at : begin.start()], write(begin, text[begin.end() : close])]
        at = close + len(end)
    return "".join([*pieces, text[at:]])


def _expanded(body: str, macros: Mapping[str, str]) -> str:
    """Replace the document's own macros without arguments, as long as it grows little."""
    left = _MOST_GROWTH * len(body) + 10_000

    def replaced(match: re.Match[str]) -> str:
        nonlocal left
        text = macros.get(match[1])
        left -= len(text or "")
        return match[0] if text is None or left < 0 else text

    return _USE.sub(replaced, body) if macros else body


class _Reader:
    """Reads LaTeX token by token. `notes` are the foot notes so far."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.metadata: dict[str, str] = {}
        self._text = ""
        self._closing: dict[int, int] = {}
        self._levels: list[str] = []
        self._lists: list[int | None] = []
        self._tables = 0
        self._endless: set[str] = set()

    def read(self, text: str) -> str:
        """The text as Markdown."""
        self._text = text
        opened: list[int] = []
        self._closing = {}
        for found in _TOKEN.finditer(text):
            if found["brace"] == "{":
                opened.append(found.start())
            elif found["brace"] and opened:
                self._closing[opened.pop()] = found.start()
        self._levels = [name for name in _LEVELS if f"\\{name}" in text]
        return self._read(0, len(text), 0)

    def _read(self, at: int, end: int, depth: int) -> str:
        pieces: list[str] = []
        while (found := _TOKEN.search(self._text, at, end)) is not None:
            pieces.append(self._text[at : found.start()])
            at = found.end()
            if name := found["name"]:
                piece, at = self._macro(name, at, end, depth, "".join(pieces[-2:]))
                pieces.append(piece)
            elif sign := found["sign"]:
                piece, at = self._sign(sign, at, end, depth)
                pieces.append(piece)
            elif found["cell"]:
                pieces.append(_CELL if self._tables else "&")
            elif found["typed"]:
                pieces.append(_TYPED[found["typed"]])
        return "".join([*pieces, self._text[at:end]])

    def _argument(self, at: int, end: int, depth: int) -> tuple[str, int]:
        """The text of the argument at a place, in braces or one letter, and where it ends."""
        at = self._skipped_options(at)
        close = self._closing.get(at)
        if close is None or close > end:
            return (
                (self._text[at : at + 1], at + 1) if self._text[at : at + 1].isalnum() else ("", at)
            )
        return (self._read(at + 1, close, depth + 1) if depth < _DEEPEST else ""), close + 1

    def _skipped_options(self, at: int) -> int:
        while (option := _OPTION.match(self._text, at)) is not None:
            at = option.end()
        while at < len(self._text) and self._text[at] in " \t":
            at += 1
        return at

    def _sign(self, sign: str, at: int, end: int, depth: int) -> tuple[str, int]:
        if sign in _ACCENTS:
            return self._accented(sign, at, end, depth)
        if sign == "\\":
            option = _OPTION.match(self._text, at)
            return (_ROW if self._tables else "\n"), option.end() if option else at
        return {
            ",": " ",
            " ": " ",
            "\n": " ",
            ";": " ",
            ":": " ",
            "-": "",
            "/": "",
            "!": "",
            "@": "",
        }.get(sign, sign), at

    def _accented(self, accent: str, at: int, end: int, depth: int) -> tuple[str, int]:
        while at < end and self._text[at] == " ":
            at += 1
        if dotless := re.compile(r"\\[ij](?![A-Za-z])\s?").match(self._text, at, end):
            letter, at = dotless[0][1], dotless.end()
        else:
            letter, at = self._argument(at, end, depth)
        mark = _ACCENTS[accent]
        return unicodedata.normalize("NFC", letter[:1] + mark + letter[1:]) if letter else "", at

    def _macro(self, name: str, at: int, end: int, depth: int, before: str) -> tuple[str, int]:
        if name in ("begin", "end"):
            return self._environment(name, at, end, depth)
        if name == "item":
            return self._item(at)
        if name in _LETTERS:
            at += self._text.startswith("{}", at) * 2 or self._text.startswith(" ", at)
            return _LETTERS[name], at
        if name in _ACCENTS:
            return self._accented(name, at, end, depth)
        if name in _ARGUMENTS:
            for _ in range(_ARGUMENTS[name]):
                at = self._skipped_options(at)
                at = self._closing.get(at, at - 1) + 1
            return "", at
        if name not in _WRITTEN:
            return "", at
        first, at = self._argument(at, end, depth)
        return self._written(name, first, at, end, depth, before)

    def _written(
        self, name: str, first: str, at: int, end: int, depth: int, before: str
    ) -> tuple[str, int]:
        """A macro with arguments that says what they are."""
        if name in self._levels:
            level = min(self._levels.index(name) + 1, 6)
            return f"\n\n{'#' * level} {' '.join(first.split())}\n\n", at
        if name in _META:
            self.metadata.setdefault(name, first.replace("\n", " "))
            return "", at
        if name in _NOTES:
            self.notes.append(" ".join(first.split()))
            return f"[^{len(self.notes)}]", at
        if name in _FRACTIONS:
            second, at = self._argument(at, end, depth)
            return f"{first}/{second}", at
        if name == "multicolumn":
            _, at = self._argument(at, end, depth)
            text, at = self._argument(at, end, depth)
            return _CELL.join([text] * (min(int(first), 50) if first.isdecimal() else 1)), at
        if name in ("textsuperscript", "textsubscript"):
            return (
                raised(before[-40:], first) if name == "textsuperscript" else lowered(first)
            ), at
        return "", at

    def _item(self, at: int) -> tuple[str, int]:
        term = re.compile(r"\s{0,3}\[([^\]\n]{0,100})\]").match(self._text, at)
        indent = "    " * max(0, len(self._lists) - 1)
        count = self._lists[-1] if self._lists else None
        if term:
            return f"\n{indent}- {term[1]} ", term.end()
        if count is not None:
            self._lists[-1] = count + 1
        return f"\n{indent}{'-' if count is None else f'{count + 1}.'}", at

    def _environment(self, name: str, at: int, end: int, depth: int) -> tuple[str, int]:
        kind, at = self._argument(at, end, depth)
        kind = kind.rstrip("*")
        if kind in ("itemize", "enumerate", "description"):
            if name == "begin":
                self._lists.append(0 if kind == "enumerate" else None)
            elif self._lists:
                self._lists.pop()
            return "\n", self._skipped_options(at)
        if name == "end":
            return "\n", at
        at = self._skipped_options(at)
        if kind not in _TABLES and kind not in (
            "minipage",
            "thebibliography",
            "multicols",
            "wrapfigure",
        ):
            return "\n", at
        while at in self._closing:
            at = self._skipped_options(self._closing[at] + 1)
        close = -1 if kind in self._endless else self._text.find(f"\\end{{{kind}", at, end)
        if close < 0:
            self._endless.add(kind)
        if kind not in _TABLES or close < 0 or self._tables:
            return "\n", at
        self._tables += 1
        rows = [row.split(_CELL) for row in self._read(at, close, depth + 1).split(_ROW)]
        self._tables -= 1
        return f"\n\n{markdown_table(rows)}\n\n", close


_WRITTEN = frozenset(
    (
        *_LEVELS,
        *_META,
        *_NOTES,
        *_STRUCK,
        *_FRACTIONS,
        "multicolumn",
        "textsuperscript",
        "textsubscript",
    )
)
