"""The data of charts and SmartArt drawings in Word and PowerPoint files (ECMA-376-1, parts 21.2 and
21.4) as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Any

from agentkit.knowledge.loaders.files import escaped, markdown_table
from agentkit.knowledge.loaders.number_format import formatted_serial

_CHART = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
_TEXT = "{http://schemas.openxmlformats.org/drawingml/2006/main}t"
_PARAGRAPH = "{http://schemas.openxmlformats.org/drawingml/2006/main}p"
_MOST_POINTS = 5000
_MOST_SERIES = 100


def chart_blocks(root: Any) -> Iterator[str]:
    """The title of a chart, and the values of its series as tables. `root` is its parsed part."""
    title = root.find(f".//{_CHART}chart/{_CHART}title")
    if title is not None and (text := " ".join("".join(_texts(title)).split())):
        yield escaped(text)
    for plot in root.iterfind(f".//{_CHART}plotArea/*"):
        series = plot.findall(f"{_CHART}ser")[:_MOST_SERIES]
        if series:
            yield _table(series)


def diagram_block(content: bytes) -> str:
    """The texts of a SmartArt drawing as a list, "" for a broken one. `content` is its data."""
    from lxml import etree

    try:
        root = etree.fromstring(content, etree.XMLParser(resolve_entities=False))
    except etree.XMLSyntaxError:
        return ""
    points = ("".join(t.text or "" for t in p.iter(_TEXT)) for p in root.iter(_PARAGRAPH))
    return "\n".join(f"- {text}" for point in points if (text := " ".join(point.split())))


def _texts(element: Any) -> Iterator[str]:
    for found in element.iter(_TEXT, f"{_CHART}v"):
        yield found.text or ""


def _table(series: list[Any]) -> str:
    names = [" ".join("".join(_texts(tx)).split()) if (tx := one.find(f"{_CHART}tx")) is not None
             else "" for one in series]  # fmt: skip
    categories: dict[int, str] = {}
    values: list[dict[int, str]] = []
    for one in series:
        for kind in ("cat", "xVal"):
            categories = categories or _points(one.find(f"{_CHART}{kind}"))
        values.append(_points(one.find(f"{_CHART}val")) or _points(one.find(f"{_CHART}yVal")))
    places = sorted(set(categories).union(*values))[:_MOST_POINTS]
    rows = [[categories.get(at, str(at + 1)), *(v.get(at, "") for v in values)] for at in places]
    return markdown_table([["", *names], *rows])


def _points(element: Any) -> dict[int, str]:
    """The saved points by their index; of categories in several levels the levels joined."""
    points: dict[int, list[str]] = {}
    code = element.findtext(f".//{_CHART}formatCode") or "" if element is not None else ""
    for point in element.iter(f"{_CHART}pt") if element is not None else ():
        at, value = point.get("idx", ""), point.find(f"{_CHART}v")
        if at.isdigit() and len(at) < 7 and value is not None:
            points.setdefault(int(at), []).append(_number(value.text or "", code))
    return {at: " ".join(reversed(texts)) for at, texts in points.items()}


def _number(text: str, code: str) -> str:
    """A number in its format, or without the noise of its binary form; other text as it is."""
    try:
        value = float(text)
    except ValueError:
        return text
    if code.lower() not in ("", "general") and isfinite(value):
        return formatted_serial(value, code)
    return f"{value:.15g}" if len(text) > 15 else text
