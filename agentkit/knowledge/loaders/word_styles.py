"""What the styles and numberings of a Word file say of a paragraph: heading, list item, or not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import Any

WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_DEEPEST_STYLE = 20


class Styles:
    """It counts the items of numbered lists: ask once for each paragraph, in order."""

    def __init__(self, part: Any) -> None:
        self._part = part
        self._counts: Counter[tuple[str, int]] = Counter()

    def heading_level(self, element: Any) -> int:
        """1 to 6 for a heading, by the paragraph or its style's chain, 0 for none; a title is 1."""
        for properties, name in self._properties(element):
            if name.casefold() == "title":
                return 1
            found = properties.find(f"{WORD}outlineLvl") if properties is not None else None
            value = found.get(f"{WORD}val", "") if found is not None else ""
            if value.isdigit():
                return min(int(value) + 1, 6) if int(value) < 9 else 0
            if match := re.fullmatch(r"heading ([1-9])", name, re.IGNORECASE):
                return min(int(match.group(1)), 6)
        return 0

    def list_mark(self, element: Any) -> tuple[str, int]:
        """The bullet or number of a list's item, "" for other paragraphs, and the item's depth."""
        number, depth = self._numbering(element)
        format_ = self._formats.get((number, depth), "bullet") if number else "none"
        if format_ in ("none", "bullet"):
            return ("" if format_ == "none" else "-"), depth
        for deeper in range(depth + 1, 9):
            self._counts.pop((number, deeper), None)
        self._counts[number, depth] += 1
        return f"{self._counts[number, depth]}.", depth

    def _numbering(self, element: Any) -> tuple[str, int]:
        """The number of its list ("" for none), and its depth there."""
        depth = None
        for properties, _ in self._properties(element):
            found = properties.find(f"{WORD}numPr") if properties is not None else None
            if found is None:
                continue
            number, level = (found.find(f"{WORD}{name}") for name in ("numId", "ilvl"))
            if depth is None and level is not None:
                depth = int(level.get(f"{WORD}val", "0"))
            if number is not None:
                value = str(number.get(f"{WORD}val", ""))
                return ("" if value == "0" else value), min(depth or 0, 8)
        return "", 0

    def _properties(self, element: Any) -> Iterator[tuple[Any, str]]:
        """(properties, style's name) of a paragraph, then of its style, and of those below that."""
        properties = element.find(f"{WORD}pPr")
        yield properties, ""
        style = properties.find(f"{WORD}pStyle") if properties is not None else None
        key = style.get(f"{WORD}val") if style is not None else None
        for _ in range(_DEEPEST_STYLE):
            found = self._by_id.get(key)
            if found is None:
                return
            name, base = (found.find(f"{WORD}{part}") for part in ("name", "basedOn"))
            yield found.find(f"{WORD}pPr"), str(name.get(f"{WORD}val")) if name is not None else ""
            key = base.get(f"{WORD}val") if base is not None else None

    @cached_property
    def _by_id(self) -> dict[str | None, Any]:
        found = self._part.styles.element.findall(f"{WORD}style")
        return {style.get(f"{WORD}styleId"): style for style in found}

    @cached_property
    def _formats(self) -> dict[tuple[str, int], str]:
        """(list, depth) -> "bullet", "decimal" and so on."""
        try:
            root = self._part.numbering_part.element
        except (KeyError, NotImplementedError):
            return {}
        abstract = {a.get(f"{WORD}abstractNumId"): a for a in root.findall(f"{WORD}abstractNum")}
        found = {}
        for number in root.findall(f"{WORD}num"):
            key = number.find(f"{WORD}abstractNumId")
            of = abstract.get(key.get(f"{WORD}val")) if key is not None else None
            for level in of.findall(f"{WORD}lvl") if of is not None else ():
                depth, format_ = level.get(f"{WORD}ilvl", "0"), level.find(f"{WORD}numFmt")
                if format_ is not None and depth.isdigit():
                    found[number.get(f"{WORD}numId"), int(depth)] = format_.get(f"{WORD}val", "")
        return found
