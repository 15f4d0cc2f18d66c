"""Write what plain text lacks: raised and lowered characters, note marks and formulas.

All loaders share one convention: `10^6`, `x^(n+1)`, `H_2O`, the note mark `[^5]`, `漢字(かんじ)`
for ruby, `[x]` and `[ ]` for check boxes, and a formula as LaTeX between dollar signs. Formulas are
read from MathML (W3C, MathML 3) and from Office Math (ECMA-376-1, part 22.1); their symbols stay
Unicode characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any

_ORDINAL = re.compile(r"st|nd|rd|th|er|re|e|è?me|ère|o|a|º|ª|n?d|°", re.IGNORECASE)
_SIGNS = {"tm": "™", "sm": "℠", "r": "®", "(r)": "®", "©": "©", "®": "®", "™": "™", "°": "°"}
_NOTE = re.compile(r"\d{1,3}(?:\s*[,;–-]\s*\d{1,3})*|[a-z]|[*†‡§¶#]{1,4}", re.IGNORECASE)
_BRACKETED = re.compile(r"[\[(](?:note |nb |n )?([^\[\]()\s]{1,12})[\])]", re.IGNORECASE)
_SYMBOLS = re.compile(r"[*†‡§¶#]{1,4}")
_SIMPLE = re.compile(r"[+−-]?(?:\d+(?:[.,]\d+)*|\w+|[*+−′″])")
_LAST_WORD = re.compile(r"[^\W\d_]+\Z")
_FUNCTIONS = frozenset((
    "sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan",
    "log", "lim", "exp", "det", "max", "min", "mod",
))  # fmt: skip
_MOST_BEFORE = 40


def raised(before: str, text: str, *, note: bool = False) -> str:
    """Superscript after the text `before`: a power, a note mark or an ordinal. `note` says that it
    is known to be a note mark, because it links to its note."""
    text = " ".join(text.split())
    before = before[-_MOST_BEFORE:]
    if not text:
        return ""
    if text.lower() in _SIGNS and not before[-1:].isspace():
        return _SIGNS[text.lower()]
    if before[-1:].isdigit() and _ORDINAL.fullmatch(text) and not note:
        return text
    bracketed = _BRACKETED.fullmatch(text)
    if bracketed or note or _is_note(before, text):
        return f"[^{bracketed[1] if bracketed else text.strip('[]')}]"
    return f"^{_grouped(text)}"


def lowered(text: str) -> str:
    """Subscript, as in `H_2O` and `x_(i+1)`."""
    text = " ".join(text.split())
    return f"_{_grouped(text)}" if text else ""


def shifted(pieces: Iterable[tuple[str, str]]) -> str:
    """Join (text, "superscript", "subscript" or "") of the runs of a line. A program may cut a
    power in several runs, and raise the white space at its ends."""
    written = ""
    for kind, group in groupby(pieces, key=lambda piece: piece[1]):
        text = "".join(text for text, _ in group)
        if not kind or not text.strip():
            written += text
            continue
        before = written + text[: len(text) - len(text.lstrip())]
        mark = raised(before, text) if kind == "superscript" else lowered(text)
        written = before + mark + text[len(text.rstrip()) :]
    return written


def _grouped(text: str) -> str:
    return text if _SIMPLE.fullmatch(text) else f"({text})"


def _is_note(before: str, text: str) -> bool:
    """Whether a raised number or sign marks a note: it stands behind a word or punctuation, not
    behind a number, a variable or a unit such as km."""
    if not _NOTE.fullmatch(text):
        return False
    if _SYMBOLS.fullmatch(text):
        return True
    if not text[0].isdigit():
        return False
    word = _LAST_WORD.search(before)
    if word is None:
        return before[-1:] in set(".,;:!?\"'”’»)。，；：！？」』）")
    return (len(word[0]) > 2 or ord(word[0][-1]) > 0x2E80) and word[0].lower() not in _FUNCTIONS


def ruby(base: str, reading: str) -> str:
    """Text with its reading behind it."""
    return f"{base}({reading})" if base.strip() and reading.strip() else base or reading


def check_box(checked: bool) -> str:
    """A check box: `[x]` or `[ ]`."""
    return "[x]" if checked else "[ ]"


def dollars(latex: str) -> str:
    """LaTeX as a formula in running text, "" for an empty one."""
    latex = " ".join(latex.split()).strip("$ ")
    for opening, closing in (("\\(", "\\)"), ("\\[", "\\]")):
        if latex.startswith(opening) and latex.endswith(closing):
            latex = latex[2:-2].strip()
    return f"${latex}$" if latex else ""


_DEEPEST = 60
_TEX = ("application/x-tex", "latex", "tex", "text/x-latex")
_ACCENTS = {
    "^": "\\hat", "̂": "\\hat", "ˆ": "\\hat", "~": "\\tilde", "̃": "\\tilde", "˜": "\\tilde",
    "¯": "\\bar", "‾": "\\bar", "̅": "\\bar", "_": "\\underline", "→": "\\vec", "⃗": "\\vec",
    "˙": "\\dot", "̇": "\\dot", ".": "\\dot", "¨": "\\ddot", "̈": "\\ddot",
    "⏞": "\\overbrace", "⏟": "\\underbrace",
}  # fmt: skip
_OPERATORS = frozenset("∑∏∫∮∬∭⋃⋂⋁⋀∐") | {"lim", "max", "min", "sup", "inf", "limsup", "liminf"}


def formula(element: Any, depth: int = 0) -> str:
    """The LaTeX of a MathML or Office Math element, without dollar signs. What is nested more than
    60 deep becomes its plain text."""
    name = _local(element)
    if not name:
        return ""
    if depth > _DEEPEST:
        return " ".join("".join(element.itertext()).split())
    if name == "math":
        for annotation in element.iter():
            if (
                _local(annotation) == "annotation"
                and annotation.get("encoding", "").lower() in _TEX
            ):
                return " ".join((annotation.text or "").split())
    write = _FORMS.get(name)
    if write is not None:
        return write(element, depth + 1)
    if name in _LEAVES:
        return " ".join((element.text or "").split())
    return _row(list(element), depth + 1)


def _local(element: Any) -> str:
    return element.tag.rpartition("}")[2].rpartition(":")[2] if isinstance(element.tag, str) else ""


def _row(elements: list[Any], depth: int) -> str:
    """Elements side by side, with a space where numbers or names would run together."""
    written = ""
    if len(elements) == 3 and _is_stack(elements[1]):
        fences = [formula(elements[at], depth) for at in (0, 2)]
        if fences == ["(", ")"]:
            return formula(elements[1], depth)
    for element in elements:
        piece = formula(element, depth)
        touching = written[-1:].isalnum() and piece[:1].isalnum()
        written += (" " if touching and not _is_run(element) else "") + piece
    return written


def _is_run(element: Any) -> bool:
    """Whether it is a run of Office Math, whose text is split anywhere."""
    return _local(element) in ("r", "t")


def _children(element: Any, depth: int, count: int) -> list[str]:
    pieces = [formula(child, depth) for child in element if _local(child)]
    return [*pieces, *[""] * count][:count]


def _part(element: Any, name: str, depth: int) -> str:
    return next((formula(child, depth) for child in element if _local(child) == name), "")


def _value(element: Any, name: str, default: str) -> str:
    """The value of a property of Office Math, `default` where it is not set."""
    for properties in element:
        for child in properties if _local(properties).endswith("Pr") else ():
            if _local(child) == name:
                return next((v for k, v in child.attrib.items() if k.endswith("val")), "")
    return default


def _script(base: str, sub: str = "", sup: str = "") -> str:
    base = (
        base if len(base) <= 1 or base.isalnum() or base.startswith(("\\", "(")) else f"{{{base}}}"
    )
    written = base
    for sign, text in (("_", sub), ("^", sup)):
        if text:
            written += f"{sign}{text}" if len(text) == 1 else f"{sign}{{{text}}}"
    return written


def _fraction(over: str, under: str) -> str:
    return f"\\frac{{{over}}}{{{under}}}"


def _is_stack(element: Any) -> bool:
    """Whether it is a fraction without a bar, as in a binomial coefficient."""
    if _local(element) == "f":
        return _value(element, "type", "") == "noBar"
    thick = element.get("linethickness", "")
    return _local(element) == "mfrac" and bool(re.fullmatch(r"0(?:\.0*)?[a-z]*", thick))


def _divided(element: Any, depth: int) -> str:
    if _local(element) == "f":
        parts = [_part(element, "num", depth), _part(element, "den", depth)]
    else:
        parts = _children(element, depth, 2)
    return f"\\binom{{{parts[0]}}}{{{parts[1]}}}" if _is_stack(element) else _fraction(*parts)


def _root(inside: str, degree: str = "") -> str:
    return f"\\sqrt[{degree}]{{{inside}}}" if degree else f"\\sqrt{{{inside}}}"


def _limits(base: str, under: str = "", over: str = "") -> str:
    if base in _OPERATORS or base.startswith("\\"):
        return _script(base, under, over)
    for mark, side in ((over, "\\overset"), (under, "\\underset")):
        if mark:
            accent = _ACCENTS.get(mark)
            base = f"{accent}{{{base}}}" if accent else f"{side}{{{mark}}}{{{base}}}"
    return base


def _matrix(rows: list[list[str]]) -> str:
    inside = " \\\\ ".join(" & ".join(row) for row in rows)
    return f"\\begin{{matrix}}{inside}\\end{{matrix}}"


def _rows_of(element: Any, depth: int, row: tuple[str, ...], cell: tuple[str, ...]) -> str:
    return _matrix([
        [formula(c, depth) for c in line if _local(c) in cell]
        for line in element
        if _local(line) in row
    ])  # fmt: skip


def _fenced(element: Any, depth: int) -> str:
    opening, closing = element.get("open", "("), element.get("close", ")")
    inside = [formula(child, depth) for child in element if _local(child)]
    separator = (element.get("separators") or ",")[0]
    return f"{opening}{f'{separator} '.join(inside)}{closing}"


def _text(element: Any, depth: int) -> str:
    text = " ".join("".join(element.itertext()).split())
    return f"\\text{{{text}}}" if text else ""


def _scripts(element: Any, depth: int) -> str:
    base, *rest = [e for e in element if _local(e)] or [None]
    after = []
    for child in rest:
        if _local(child) == "mprescripts":
            break
        after.append("" if _local(child) == "none" else formula(child, depth))
    return _script(
        formula(base, depth) if base is not None else "", " ".join(filter(None, after[::2])),
        " ".join(filter(None, after[1::2])),
    )  # fmt: skip


def _delimited(element: Any, depth: int) -> str:
    inside = [formula(child, depth) for child in element if _local(child) == "e"]
    separator = _value(element, "sepChr", "|")
    inner = [child for part in element if _local(part) == "e" for child in part]
    if len(inner) == 1 and _is_stack(inner[0]) and _value(element, "begChr", "(") == "(":
        return inside[0]
    return _value(element, "begChr", "(") + separator.join(inside) + _value(element, "endChr", ")")


def _large_operator(element: Any, depth: int) -> str:
    sign = _value(element, "chr", "∫")
    sign = _script(sign, _part(element, "sub", depth), _part(element, "sup", depth))
    return f"{sign} {_part(element, 'e', depth)}"


def _accented(element: Any, depth: int) -> str:
    return _limits(_part(element, "e", depth), "", _value(element, "chr", "̂"))


_FORMS: Mapping[str, Callable[[Any, int], str]] = {
    "annotation": lambda e, d: "",
    "annotation-xml": lambda e, d: "",
    "mphantom": lambda e, d: "",
    "phant": lambda e, d: _part(e, "e", d) if _value(e, "show", "1") in ("1", "on", "true") else "",
    "del": lambda e, d: "",
    "moveFrom": lambda e, d: "",
    "semantics": lambda e, d: _children(e, d, 1)[0],
    "mfrac": _divided,
    "msqrt": lambda e, d: _root(_row(list(e), d)),
    "mroot": lambda e, d: _root(*_children(e, d, 2)),
    "msup": lambda e, d: _script(*(lambda c: (c[0], "", c[1]))(_children(e, d, 2))),
    "msub": lambda e, d: _script(*_children(e, d, 2)),
    "msubsup": lambda e, d: _script(*_children(e, d, 3)),
    "mover": lambda e, d: _limits(*(lambda c: (c[0], "", c[1]))(_children(e, d, 2))),
    "munder": lambda e, d: _limits(*_children(e, d, 2)),
    "munderover": lambda e, d: _limits(*_children(e, d, 3)),
    "mmultiscripts": _scripts,
    "mtable": lambda e, d: _rows_of(e, d, ("mtr", "mlabeledtr"), ("mtd",)),
    "mfenced": _fenced,
    "mtext": _text,
    "mspace": lambda e, d: " ",
    "f": _divided,
    "rad": lambda e, d: _root(_part(e, "e", d), _part(e, "deg", d)),
    "sSup": lambda e, d: _script(_part(e, "e", d), "", _part(e, "sup", d)),
    "sSub": lambda e, d: _script(_part(e, "e", d), _part(e, "sub", d)),
    "sSubSup": lambda e, d: _script(_part(e, "e", d), _part(e, "sub", d), _part(e, "sup", d)),
    "sPre": lambda e, d: _script("{}", _part(e, "sub", d), _part(e, "sup", d)) + _part(e, "e", d),
    "nary": _large_operator,
    "d": _delimited,
    "acc": _accented,
    "bar": lambda e, d: _limits(
        _part(e, "e", d), *(("", "¯") if _value(e, "pos", "bot") == "top" else ("_", ""))
    ),
    "func": lambda e, d: f"{_part(e, 'fName', d)} {_part(e, 'e', d)}",
    "limLow": lambda e, d: _limits(_part(e, "e", d), _part(e, "lim", d), ""),
    "limUpp": lambda e, d: _limits(_part(e, "e", d), "", _part(e, "lim", d)),
    "m": lambda e, d: _rows_of(e, d, ("mr",), ("e",)),
    "eqArr": lambda e, d: _matrix([[formula(c, d)] for c in e if _local(c) == "e"]),
}
"""How each element with parts is written; any other one is its parts side by side."""
_LEAVES = frozenset(("mi", "mn", "mo", "ms", "t"))
