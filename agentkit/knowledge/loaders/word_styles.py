"""Styles, numbering and symbols of Word files (ECMA-376-1, parts 17.3, 17.7 and 17.9)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_VALUE = f"{WORD}val"
_DEEPEST_STYLE = 20
_DEEPEST_LIST = 9
_PLACE = re.compile(r"%([1-9])")
_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"),
    (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
_DIGITS = "〇一二三四五六七八九"
_SYMBOL = dict(zip(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ\xa3\xb3\xb1\xb4\xb8\xb9\xbb\xa5\xb6\xd1\xe5\xd5\xf2\xd6\xae\xac\xad"
    "\xaf\xab\xde\xdc\xdb\xce\xcf\xc7\xc8\xcc\xcd\xc6\xb0\xb2\xa2\xb7\xd7\x22\x24\x5c\x5e\x40",
    "αβχδεφγηιϕκλμνοπθρστυϖωξψζΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ≤≥±×÷≠≈∞∂∇∑∏∫√→←↑"
    "↓↔⇒⇐⇔∈∉∩∪⊂⊆∅°″′•⋅∀∃∴⊥≅",
    strict=True,
))  # fmt: skip
"""The characters of the font Symbol (its encoding is in the PostScript Language Reference)."""
_WINGDINGS = {
    "\xfe": "☑", "\xfd": "☒", "\xa8": "☐", "\x6f": "☐", "\x71": "☐", "\xfc": "✓", "\xfb": "✗",
    "\xe0": "→", "\xdf": "←", "\xe1": "↑", "\xe2": "↓", "\xe8": "→", "\x4a": "☺", "\x4c": "☹",
    "\xa7": "▪", "\x6c": "●", "\x6e": "■", "\x76": "❖", "\xd8": "➢", "\x28": "☎", "\x2a": "✉",
    "\x52": "☑", "\x51": "☒", "\xa3": "☐",
}  # fmt: skip


def symbol(font: str, code: str) -> str:
    """The character of a symbol element: `code` is hexadecimal, in the private area for the fonts
    Symbol and Wingdings; one that is not known is a bullet."""
    number = int(code, 16) if re.fullmatch(r"[0-9A-Fa-f]{1,6}", code) else 0
    character = chr(number - 0xF000) if 0xF000 <= number <= 0xF0FF else chr(min(number, 0x10FFFF))
    if font.casefold().startswith("wingdings"):
        return _WINGDINGS.get(character, "•")
    if font.casefold().startswith("symbol"):
        return _SYMBOL.get(character, character)
    return "•" if 0xE000 <= number <= 0xF8FF else character.strip("\0")


class Styles:
    """Styles and numbering. Items are counted: call `label` once per paragraph, in order."""

    def __init__(self, part: Any) -> None:
        self._part = part
        self._counts: dict[tuple[str, int], int] = {}
        self._begun: set[tuple[str, int]] = set()

    def heading_level(self, element: Any) -> int:
        """1 to 6 for a heading, from the paragraph or its chain of styles, else 0; a title is 1."""
        for properties, name in self._properties(element):
            if name.casefold() == "title":
                return 1
            found = properties.find(f"{WORD}outlineLvl") if properties is not None else None
            value = found.get(_VALUE, "") if found is not None else ""
            if value.isdigit():
                return min(int(value) + 1, 6) if int(value) < 9 else 0
            if match := re.fullmatch(r"heading ([1-9])", name, re.IGNORECASE):
                return min(int(match.group(1)), 6)
        return 0

    def label(self, element: Any) -> tuple[str, int]:
        """What stands before a list item or numbered heading, as in `3.1`, `(a)` or `-`, "" for
        other paragraphs; and its depth."""
        number, depth = self._numbering(element)
        abstract, levels = self._lists.get(number, ("", {}))
        level = levels.get(depth)
        if not number:
            return "", depth
        kind = level.kind if level else "bullet"
        if kind in ("none", "bullet"):
            return ("" if kind == "none" else "-"), depth
        self._count(number, abstract, depth, levels)

        def count(match: re.Match[str]) -> str:
            at = int(match[1]) - 1
            shown = levels.get(at)
            default = shown.start if shown else 1
            value = self._counts.get((abstract, at), default)
            return numeral(shown.kind if shown else "decimal", value)

        return _PLACE.sub(count, level.text if level else "").strip(), depth

    def _count(self, number: str, abstract: str, depth: int, levels: dict[int, _Level]) -> None:
        for deeper in range(depth + 1, _DEEPEST_LIST):
            self._counts.pop((abstract, deeper), None)
        level = levels[depth]
        first = level.restarts and (number, depth) not in self._begun
        self._begun.add((number, depth))
        key = abstract, depth
        if first or key not in self._counts:
            self._counts[key] = level.start
        else:
            self._counts[key] += 1

    def is_set(self, run: Any, paragraph: Any, name: str) -> bool:
        """Whether an on/off property such as `strike` or `vanish` holds for a run."""
        found = self._run_property(run, paragraph, name)
        return found is not None and found.get(_VALUE, "true") not in ("0", "false", "off")

    def raising(self, run: Any, paragraph: Any) -> str:
        """`superscript`, `subscript` or ""."""
        found = self._run_property(run, paragraph, "vertAlign")
        if found is not None:
            return {"superscript": "superscript", "subscript": "subscript"}.get(
                found.get(_VALUE, ""), ""
            )
        # Text raised by hand is in half points; a few are no more than a correction.
        shift = self._run_property(run, paragraph, "position")
        value = shift.get(_VALUE, "") if shift is not None else ""
        points = int(value) if re.fullmatch(r"-?\d{1,4}", value) else 0
        return "" if abs(points) < 4 else "superscript" if points > 0 else "subscript"

    def _run_property(self, run: Any, paragraph: Any, name: str) -> Any:
        """A property of a run, from itself, its style, or the paragraph's style."""
        own = run.find(f"{WORD}rPr")
        if own is not None:
            if (found := own.find(f"{WORD}{name}")) is not None:
                return found
            style = own.find(f"{WORD}rStyle")
            for element in self._chain(style.get(_VALUE) if style is not None else None):
                if (found := element.find(f"{WORD}rPr/{WORD}{name}")) is not None:
                    return found
        style = paragraph.find(f"{WORD}pPr/{WORD}pStyle") if paragraph is not None else None
        for element in self._chain(style.get(_VALUE) if style is not None else None):
            if (found := element.find(f"{WORD}rPr/{WORD}{name}")) is not None:
                return found
        return None

    def _numbering(self, element: Any) -> tuple[str, int]:
        """The number of a paragraph's list ("" for none), and its depth there."""
        depth = None
        for properties, _ in self._properties(element):
            found = properties.find(f"{WORD}numPr") if properties is not None else None
            if found is None:
                continue
            number, level = (found.find(f"{WORD}{name}") for name in ("numId", "ilvl"))
            if depth is None and level is not None:
                value = level.get(_VALUE, "0")
                depth = int(value) if value.isdigit() else 0
            if number is not None:
                value = str(number.get(_VALUE, ""))
                return ("" if value == "0" else value), min(depth or 0, _DEEPEST_LIST - 1)
        return "", 0

    def _properties(self, element: Any) -> Iterator[tuple[Any, str]]:
        """(properties, style name) of a paragraph, its style, and the styles below that."""
        properties = element.find(f"{WORD}pPr")
        yield properties, ""
        style = properties.find(f"{WORD}pStyle") if properties is not None else None
        for found in self._chain(style.get(_VALUE) if style is not None else None):
            name = found.find(f"{WORD}name")
            yield found.find(f"{WORD}pPr"), str(name.get(_VALUE)) if name is not None else ""

    def _chain(self, key: str | None) -> Iterator[Any]:
        """A style and the styles that it is based on."""
        for _ in range(_DEEPEST_STYLE):
            found = self._by_id.get(key)
            if found is None:
                return
            yield found
            base = found.find(f"{WORD}basedOn")
            key = base.get(_VALUE) if base is not None else None

    @cached_property
    def _by_id(self) -> dict[str | None, Any]:
        found = self._part.styles.element.findall(f"{WORD}style")
        return {style.get(f"{WORD}styleId"): style for style in found}

    @cached_property
    def _lists(self) -> dict[str, tuple[str, dict[int, _Level]]]:
        """List number -> (its definition, the levels)."""
        try:
            root = self._part.numbering_part.element
        except (KeyError, NotImplementedError):
            return {}
        abstract = {a.get(f"{WORD}abstractNumId"): a for a in root.findall(f"{WORD}abstractNum")}
        found = {}
        for number in root.findall(f"{WORD}num"):
            link = number.find(f"{WORD}abstractNumId")
            key = link.get(_VALUE, "") if link is not None else ""
            of = abstract.get(key)
            levels = _levels(of.findall(f"{WORD}lvl")) if of is not None else {}
            for override in number.findall(f"{WORD}lvlOverride"):
                levels.update(_levels(override.findall(f"{WORD}lvl")))
                depth, start = (
                    override.get(f"{WORD}ilvl", ""),
                    override.find(f"{WORD}startOverride"),
                )
                if depth.isdigit() and int(depth) in levels and start is not None:
                    first = _whole(start, levels[int(depth)].start)
                    levels[int(depth)] = levels[int(depth)].starting(first)
            found[str(number.get(f"{WORD}numId"))] = key, levels
        return found


class _Level:
    """One level of a list: its kind of numeral, the text around it and the first number."""

    def __init__(self, kind: str, text: str, start: int, restarts: bool = False) -> None:
        self.kind, self.text, self.start, self.restarts = kind, text, start, restarts

    def starting(self, first: int) -> _Level:
        """The level in a list that restarts."""
        return _Level(self.kind, self.text, first, True)


def _levels(elements: list[Any]) -> dict[int, _Level]:
    levels = {}
    for element in elements:
        depth = element.get(f"{WORD}ilvl", "0")
        kind, text, start = (element.find(f"{WORD}{n}") for n in ("numFmt", "lvlText", "start"))
        if depth.isdigit() and kind is not None:
            shown = text.get(_VALUE, "") if text is not None else f"%{int(depth) + 1}."
            levels[int(depth)] = _Level(kind.get(_VALUE, ""), shown, _whole(start, 1))
    return levels


def _whole(element: Any, default: int) -> int:
    value = element.get(_VALUE, "") if element is not None else ""
    return int(value) if re.fullmatch(r"\d{1,6}", value) else default


def numeral(kind: str, number: int) -> str:
    """A number in one of Word's kinds of numerals, in digits for those that are not known."""
    if kind in ("lowerLetter", "upperLetter") and number > 0:
        letter = chr(ord("a") + (number - 1) % 26) * min((number - 1) // 26 + 1, 10)
        return letter if kind == "lowerLetter" else letter.upper()
    if kind in ("lowerRoman", "upperRoman") and 0 < number < 4000:
        roman = ""
        for value, letters in _ROMAN:
            roman += letters * (number // value)
            number %= value
        return roman if kind == "lowerRoman" else roman.upper()
    if kind == "decimalZero":
        return f"{number:02}"
    if kind in ("chineseCounting", "chineseCountingThousand", "japaneseCounting") and number < 100:
        tens, ones = divmod(number, 10)
        return ("" if not tens else ("" if tens == 1 else _DIGITS[tens]) + "十") + (
            _DIGITS[ones] if ones or not tens else ""
        )
    return "" if kind == "none" else str(number)
