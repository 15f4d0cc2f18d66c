"""What a web page says of itself: title, language, date, author, description and address.

From its meta elements first, then from its JSON-LD. Values are cut at a thousand characters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_MOST = 1000
_MOST_JSON = 200_000
_META = {
    "title": ("og:title", "twitter:title", "dc.title"),
    "author": ("author", "dc.creator", "article:author"),
    "date": (
        "article:published_time", "date", "dc.date", "pubdate", "datepublished", "dcterms.created",
    ),
    "description": ("description", "og:description", "dc.description"),
    "language": ("content-language", "dc.language"),
    "url": ("og:url",),
}  # fmt: skip
_DATE = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)")


def page_metadata(page: Any) -> dict[str, Any]:
    """The metadata of a parsed page: only what is there, a date as YYYY-MM-DD."""
    said = _meta(page)
    structured = _structured(page)
    found = {
        "title": said["title"] or _heading(page) or structured.get("headline", ""),
        "language": page.get("lang") or page.get("xml:lang") or said["language"],
        "date": _date(said["date"]) or _date(structured.get("datePublished", "")) or _time(page),
        "author": _no_address(said["author"]) or structured.get("author", ""),
        "description": said["description"] or structured.get("description", ""),
        "url": _first(page, "//link[@rel='canonical']/@href") or said["url"],
    }
    plain = {key: " ".join(value[:_MOST].split()) for key, value in found.items()}
    return {key: value for key, value in plain.items() if value}


def _meta(page: Any) -> dict[str, str]:
    named: dict[str, str] = {}
    for element in page.iter("meta"):
        name = element.get("name") or element.get("property") or element.get("itemprop")
        name = (name or element.get("http-equiv") or "").lower()
        named.setdefault(name, element.get("content") or "")
    return {
        key: next((named[name] for name in names if named.get(name)), "")
        for key, names in _META.items()
    }


def _heading(page: Any) -> str:
    """The title element, without the name of the site where a first-level heading has the rest."""
    title = " ".join(_first(page, "//head/title/text()")[:_MOST].split())
    texts = (h.xpath(".//text()[not(ancestor::button)]") for h in page.xpath("//body//h1"))
    headings = [" ".join("".join(text)[:_MOST].split()).rstrip("¶#§🔗 ") for text in texts]
    inside = [heading for heading in headings if heading and title.startswith(heading)]
    return max(inside, key=len) if inside else title or next(filter(None, headings), "")


def _first(page: Any, path: str) -> str:
    return next((str(found) for found in page.xpath(path) if str(found).strip()), "")


def _time(page: Any) -> str:
    return _date(_first(page, "//time[@pubdate or @itemprop='datePublished']/@datetime"))


def _date(text: str) -> str:
    found = _DATE.search(text[:_MOST])
    return "{}-{:0>2}-{:0>2}".format(*found.groups()) if found else ""


def _no_address(text: str) -> str:
    return "" if text.startswith(("http://", "https://")) else text


def _structured(page: Any) -> dict[str, str]:
    """The first JSON-LD article's plain fields."""
    for script in page.xpath("//script[@type='application/ld+json']"):
        for thing in _things(script.text or ""):
            if "headline" in thing or "datePublished" in thing:
                author = thing.get("author")
                author = author[0] if isinstance(author, list) and author else author
                name = author.get("name") if isinstance(author, dict) else author
                fields = {**thing, "author": name}
                return {key: value for key, value in fields.items() if isinstance(value, str)}
    return {}


def _things(text: str) -> Iterator[dict[str, Any]]:
    try:
        parsed = json.loads(text) if len(text) <= _MOST_JSON else None
    except (ValueError, RecursionError):
        return
    graph = parsed.get("@graph", parsed) if isinstance(parsed, dict) else parsed
    yield from (
        thing
        for thing in (graph if isinstance(graph, list) else [graph])
        if isinstance(thing, dict)
    )
