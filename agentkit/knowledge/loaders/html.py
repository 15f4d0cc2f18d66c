"""Load a web page as Markdown: its main content with headings, lists, tables, code and metadata.

The main content is found by the page's own marks (`main`, `article`, roles), then by the names of
classes; where none is found, the whole body is kept. Menus, banners, scripts and hidden elements
are left out by their structure: elements and roles of navigation, lists of links, and small boxes
that a class names as such and that hold links or controls. Nothing that holds half of the text is
left out, nor anything because of its id. What is nested more than 1,000 deep is lost, with a
warning. Metadata comes from meta elements, then from JSON-LD, cut at a thousand characters.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from agentkit.documents import Document
from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.files import Loaded
from agentkit.knowledge.loaders.html_notation import write_notation
from agentkit.knowledge.loaders.text import decoded
from agentkit.text.terms import clean

Sizes = dict[Any, int]
"""Characters of text below each element."""

_NEVER = frozenset((
    "script", "style", "noscript", "template", "iframe", "svg", "canvas", "object",
    "embed", "audio", "video",
))  # fmt: skip
_FRAME = ("header", "footer", "aside")
_LISTS = ("ul", "ol", "menu", "div", "table", "p")
_ROLES = frozenset(("navigation", "banner", "contentinfo", "menu", "menubar"))
_BESIDE = frozenset(("search", "complementary"))
_OVERLAYS = frozenset(("dialog", "alertdialog"))
_NAMED = frozenset((
    "cookie", "cookies", "consent", "gdpr", "nav", "navbar", "navigation", "menu", "breadcrumb",
    "breadcrumbs", "sidebar", "toc", "pagination", "pager", "share", "sharing", "social", "related",
    "advert", "adverts", "ad", "ads", "advertisement", "promo", "newsletter", "popup", "modal",
    "skip", "footer", "masthead",
))  # fmt: skip
_FITTINGS = frozenset((
    "banner", "bar", "box", "button", "buttons", "icons", "link", "links", "list", "notice",
    "overlay", "posts", "signup", "widget", "wrapper",
))  # fmt: skip
"""Words that only complete the name of a menu or banner, as in `share-buttons`."""
_CONTROL_NAMES = frozenset(("button", "buttons", "icons", "link", "links"))
_CONSENT = frozenset(("cookie", "cookies", "consent", "gdpr"))
_NOTICES = frozenset(("banner", "bar", "notice", "overlay", "popup", "modal"))
_CONTROLS = ("button", "input", "select", "textarea")
_HOLDERS = ("section", "blockquote", "li", "dd", "td")
_MAIN_NAMES = frozenset(
    ("content", "main-content", "main", "article", "post-content", "entry-content")
)
_UNSEEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_ANCHOR_SIGNS = frozenset("¶#§🔗")
_DROPPED = "agentkit-dropped"
_LONG_TAG = re.compile(r"<([A-Za-z][^\s<>/]{0,50})[^<>]{20000,}+>")
"""A tag with thousands of attributes, for which libxml2 takes quadratic time: it loses them."""
_MOST_NAME = 500
_MOST_LABELS = 100
_ENOUGH_TEXT = 200
_FEWEST_LINKS = 5
_MOST_ELEMENTS = 200_000
"""A page of more is kept whole: each element costs some 30 microseconds."""


def main_content(page: Any) -> Iterator[Any]:
    """The elements to take text from, the best first; the last is the whole visible body."""
    body = next(page.iter("body"), page)
    if sum(1 for _ in islice(body.iter(), _MOST_ELEMENTS + 1)) > _MOST_ELEMENTS:
        yield _without(body, lambda element: element.tag in _NEVER)
        return
    for control in list(body.iter(*_CONTROLS)):
        control.clear(keep_tail=True)
        control.tag = _CONTROLS[0]
    body = _without(body, lambda element: element.tag in _NEVER or _is_hidden(element))
    root = copy.deepcopy(_marked(body, _sizes(body)))
    sizes = _sizes(root)
    whole = root.tag == body.tag
    half = sizes[root] / 2
    root = _without(root, lambda e: sizes.get(e, 0) <= half and _is_boilerplate(e, whole))
    yield _without_link_lists(root, whole)
    yield body


def _without(root: Any, unwanted: Callable[[Any], bool]) -> Any:
    """A copy without some elements. It is serialised and parsed again, since lxml joins the
    remaining text pieces at every access: minutes for a hundred thousand scripts."""
    from lxml.etree import HTMLParser, fromstring, strip_elements, tostring

    for element in [e for e in root.iter() if e is not root and unwanted(e)]:
        element.tag = _DROPPED
    strip_elements(root, _DROPPED, with_tail=False)
    rest = tostring(root, encoding="utf-8", method="html", with_tail=False)
    page = fromstring(rest, HTMLParser(encoding="utf-8", huge_tree=True))
    return next(page.iter(root.tag), page)


def _sizes(root: Any) -> Sizes:
    """Characters of text below each element, computed from the leaves up in linear time."""
    sizes: Sizes = {}
    for element in reversed(list(root.iter())):
        size = len((element.text or "").strip())
        for child in element:
            size += sizes[child] + len((child.tail or "").strip())
        sizes[element] = size
    return sizes


def _is_hidden(element: Any) -> bool:
    return (
        "hidden" in element.attrib
        or (element.tag == "dialog" and "open" not in element.attrib)
        or element.get("aria-hidden") == "true"
        or bool(_UNSEEN.search(element.get("style", "")[:_MOST_NAME]))
    )


def _marked(body: Any, sizes: Sizes) -> Any:
    """The element that the page marks as its content, or the body."""
    marks: tuple[Callable[[Any], bool], ...] = (
        lambda element: element.tag == "main" or element.get("role") == "main",
        lambda element: element.tag == "article",
        lambda element: not _MAIN_NAMES.isdisjoint(_names(element).lower().split()),
    )
    for at, mark in enumerate(marks):
        found = [element for element in body.iter() if mark(element)]
        best = max(found, key=sizes.__getitem__, default=None)
        # One of several articles or boxes is a teaser unless it holds most of the text.
        share = 0.2 if at == 0 or len(found) == 1 else 0.5
        enough = at == 0 and best is not None and sizes[best] >= _ENOUGH_TEXT
        if best is not None and sizes[best] and (enough or sizes[best] >= share * sizes[body]):
            return best
    return body


def _is_boilerplate(element: Any, whole: bool) -> bool:
    if element.tag == "a" and (element.text or "").strip() in _ANCHOR_SIGNS:
        return True
    role = element.get("role")
    if element.tag == "nav" or role in _ROLES:
        return True
    if role in _BESIDE:
        return _leads_elsewhere(element)
    if element.tag in _FRAME:
        leads = element.tag == "footer" or _leads_elsewhere(element)
        return whole and leads and not _is_note(element)
    return role in _OVERLAYS


def _leads_elsewhere(element: Any) -> bool:
    """Whether an element holds links or controls, as menus do and text in a frame does not."""
    return next(element.iter("a", *_CONTROLS), None) is not None


def _is_note(element: Any) -> bool:
    """Whether an aside belongs to the text: a foot note, or inside a section or list."""
    kinds = f"{element.get('role', '')} {element.get('epub:type', '')} {element.get('type', '')}"
    inside = element.getparent() is not None and element.getparent().tag in _HOLDERS
    return element.tag == "aside" and (inside or "note" in kinds)


def _names(element: Any) -> str:
    return f"{element.get('class', '')[:_MOST_NAME]} {element.get('id', '')[:_MOST_NAME]}"


class _Links(NamedTuple):
    """What a box holds: links, characters of links, controls, characters of text."""

    links: int
    linked: int
    controls: int
    size: int


def _without_link_lists(root: Any, whole: bool) -> Any:
    """A copy without menus: lists of links in pages without marks, and small boxes that a class
    names as a menu or banner and that hold nothing but links, or a control."""
    sizes = _sizes(root)
    links, linked, controls = (dict.fromkeys(sizes, 0) for _ in range(3))
    for element in sizes:
        if element.tag == "a":
            links[element], linked[element] = 1, sizes[element]
        controls[element] += element.tag == _CONTROLS[0]
        if element is not root:
            parent = element.getparent()
            links[parent] += links[element]
            linked[parent] += linked[element]
            controls[parent] += controls[element]

    def unwanted(element: Any) -> bool:
        if element not in links or sizes[element] > sizes[root] / 3:
            return False
        held = _Links(links[element], linked[element], controls[element], sizes[element])
        if (
            whole
            and element.tag in _LISTS
            and held.links >= _FEWEST_LINKS
            and held.linked >= 0.8 * held.size
        ):
            return True
        return _is_named_furniture(element, held)

    return _without(root, unwanted)


def _is_named_furniture(element: Any, held: _Links) -> bool:
    """Whether one class names an element as a menu or banner, and what it holds agrees."""
    for name in element.get("class", "")[:_MOST_NAME].lower().split():
        words = set(re.split(r"[-_]+", name)) - {""}
        if not words or not words <= _NAMED | _FITTINGS or words <= _FITTINGS:
            continue
        only_links = held.links and held.linked >= 0.8 * held.size
        is_notice = held.controls or (words & _CONSENT and words & _NOTICES)
        are_controls = words & _CONTROL_NAMES and held.size <= _MOST_LABELS
        if only_links or are_controls or (is_notice and held.size <= _MOST_NAME):
            return True
    return False


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
    """The metadata of a parsed page, without empty fields, dates as YYYY-MM-DD."""
    meta = _meta(page)
    structured = _structured(page)
    author = "" if meta["author"].startswith(("http://", "https://")) else meta["author"]
    time = _first(page, "//time[@pubdate or @itemprop='datePublished']/@datetime")
    found = {
        "title": meta["title"] or _heading(page) or structured.get("headline", ""),
        "language": page.get("lang") or page.get("xml:lang") or meta["language"],
        "date": _date(meta["date"]) or _date(structured.get("datePublished", "")) or _date(time),
        "author": author or structured.get("author", ""),
        "description": meta["description"] or structured.get("description", ""),
        "url": _first(page, "//link[@rel='canonical']/@href") or meta["url"],
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
    """The title, without the name of the site where a first-level heading has the rest."""
    title = " ".join(_first(page, "//head/title/text()")[:_MOST].split())
    texts = (h.xpath(".//text()[not(ancestor::button)]") for h in page.xpath("//body//h1"))
    headings = [" ".join("".join(text)[:_MOST].split()).rstrip("¶#§🔗 ") for text in texts]
    inside = [heading for heading in headings if heading and title.startswith(heading)]
    return max(inside, key=len) if inside else title or next(filter(None, headings), "")


def _first(page: Any, path: str) -> str:
    return next((str(found) for found in page.xpath(path) if str(found).strip()), "")


def _date(text: str) -> str:
    found = _DATE.search(text[:_MOST])
    return "{}-{:0>2}-{:0>2}".format(*found.groups()) if found else ""


def _structured(page: Any) -> dict[str, str]:
    """The plain fields of the first JSON-LD article."""
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


_HEAD_BYTES = 4096
_DEEPEST = 1000
_CHARSET = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:-]{2,40})""", re.I)


def load_html(content: bytes, source: str, charset: str = "") -> Loaded:
    """`charset` is from a server or mail; next come the page's declaration and its bytes."""
    text, metadata, warnings = markdown_of(decoded(content, charset or _declared(content)))
    title = str(metadata.get("title") or PurePosixPath(source).stem)
    return Loaded(Document(source, text, title, metadata=metadata), warnings)


def markdown_of(html: str) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """A page as Markdown, its metadata, and warnings for what was lost."""
    from lxml import etree

    # From bytes, because a str with an XML declaration is refused. The elements of lxml.html are
    # classes of Python, which take longer.
    parser = etree.HTMLParser(
        encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(_LONG_TAG.sub(r"<\1>", html).encode(), parser)
    except etree.XMLSyntaxError:
        root = None
    if root is None:
        return "", {}, ()
    too_deep = any("depth" in error.message for error in parser.error_log)
    metadata = page_metadata(root)
    write_notation(root)
    for body in main_content(root):
        text, cut = _markdown(
            etree.tostring(body, encoding="unicode", method="html", with_tail=False)
        )
        if text:
            break
    lost = (f"nested more than {_DEEPEST} deep: deeper elements were left out",)
    return text, metadata, lost if too_deep or cut else ()


def _markdown(html: str) -> tuple[str, bool]:
    """The Markdown of an element, and whether it was nested too deeply to be read whole."""
    from html_to_markdown import ConversionError, ConversionOptions, PreprocessingOptions, convert

    options = ConversionOptions(
        extract_metadata=False,
        strip_tags=["a"],
        skip_images=True,
        autolinks=False,
        compact_tables=True,
        expand_abbreviations=False,
        max_depth=_DEEPEST,
        preprocessing=PreprocessingOptions(enabled=False),
    )
    try:
        result = convert(html, options)
    except ConversionError as error:
        raise KnowledgeError("HTML that cannot be read: save it again in a browser") from error
    cut = any(str(warning.kind).endswith("depth_limit_exceeded") for warning in result.warnings)
    return clean((result.content or "").strip()), cut


def _declared(content: bytes) -> str:
    found = _CHARSET.search(content[:_HEAD_BYTES])
    return found.group(1).decode("ascii") if found else ""
