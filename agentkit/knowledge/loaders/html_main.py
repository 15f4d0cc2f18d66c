"""The main content of a web page: what is left without menus, banners and what nobody sees.

By the page's own marks (`main`, `article`, roles), then by the names of classes, and where a page
has no marks by its lists of links. Nothing that holds half of the text is taken for furniture.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

Sizes = dict[Any, int]
"""Characters of text below each element."""

_NEVER = frozenset((
    "script", "style", "noscript", "template", "iframe", "svg", "button", "input", "select",
    "textarea", "canvas", "dialog", "object", "embed", "audio", "video",
))  # fmt: skip
_FURNITURE = ("nav", "menu")
_FRAME = ("header", "footer", "aside")
_ROLES = frozenset((
    "navigation", "banner", "contentinfo", "search", "complementary", "dialog", "alertdialog",
    "menu", "menubar",
))  # fmt: skip
_FURNITURE_NAME = re.compile(
    r"(?:^|[\s_-])(?:cookies?|consent|gdpr|nav|navbar|navigation|menu|breadcrumbs?|sidebar|toc|"
    r"pagination|pager|share|sharing|social|related|adverts?|ads?|advertisement|promo|newsletter|"
    r"popup|modal|skip-link|footer|masthead)(?:$|[\s_-])",
    re.IGNORECASE,
)
_MAIN_NAMES = frozenset(
    ("content", "main-content", "main", "article", "post-content", "entry-content")
)
_UNSEEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_ANCHOR_SIGNS = frozenset("¶#§🔗")
_DROPPED = "agentkit-dropped"
_MOST_NAME = 500
_ENOUGH_TEXT = 200
_FEWEST_LINKS = 5
_MOST_ELEMENTS = 200_000
"""A page of more is kept whole: each element costs some 30 microseconds."""


def main_content(page: Any) -> Iterator[Any]:
    """The elements to take the text from, the best first; the last is the whole visible body."""
    body = next(page.iter("body"), page)
    if sum(1 for _ in islice(body.iter(), _MOST_ELEMENTS + 1)) > _MOST_ELEMENTS:
        yield _without(body, lambda element: element.tag in _NEVER)
        return
    body = _without(body, lambda element: element.tag in _NEVER or _is_hidden(element))
    root = copy.deepcopy(_marked(body, _sizes(body)))
    sizes = _sizes(root)
    whole = root.tag == body.tag
    half = sizes[root] / 2
    root = _without(root, lambda e: sizes.get(e, 0) <= half and _is_furniture(e, whole))
    yield _without_link_lists(root) if whole else root
    yield body


def _without(root: Any, unwanted: Callable[[Any], bool]) -> Any:
    """A copy without those elements. Written and parsed anew, since what is left of the text lies
    in pieces that lxml joins again at every look: minutes, for a hundred thousand scripts."""
    from lxml.etree import strip_elements, tostring
    from lxml.html import HTMLParser, document_fromstring

    for element in [e for e in root.iter() if e is not root and unwanted(e)]:
        element.tag = _DROPPED
    strip_elements(root, _DROPPED, with_tail=False)
    rest = tostring(root, encoding="utf-8", method="html", with_tail=False)
    page = document_fromstring(rest, parser=HTMLParser(encoding="utf-8", huge_tree=True))
    return next(page.iter(root.tag), page)


def _sizes(root: Any) -> Sizes:
    """Computed from the leaves up, so that a deep page costs no more than a flat one."""
    sizes: Sizes = {}
    for element in reversed(list(root.iter())):
        inside = sum(sizes[child] + len((child.tail or "").strip()) for child in element)
        sizes[element] = len((element.text or "").strip()) + inside
    return sizes


def _is_hidden(element: Any) -> bool:
    return (
        "hidden" in element.attrib
        or element.get("aria-hidden") == "true"
        or bool(_UNSEEN.search(element.get("style", "")[:_MOST_NAME]))
    )


def _marked(body: Any, sizes: Sizes) -> Any:
    """The element that the page itself marks as its content, else the body."""
    marks: tuple[Callable[[Any], bool], ...] = (
        lambda element: element.tag == "main" or element.get("role") == "main",
        lambda element: element.tag == "article",
        lambda element: not _MAIN_NAMES.isdisjoint(_names(element).lower().split()),
    )
    for at, mark in enumerate(marks):
        found = [element for element in body.iter() if mark(element)]
        best = max(found, key=sizes.__getitem__, default=None)
        # One of several articles or boxes is a teaser unless it holds the better part of the text.
        share = 0.2 if at == 0 or len(found) == 1 else 0.5
        enough = at == 0 and best is not None and sizes[best] >= _ENOUGH_TEXT
        if best is not None and sizes[best] and (enough or sizes[best] >= share * sizes[body]):
            return best
    return body


def _is_furniture(element: Any, whole: bool) -> bool:
    if element.tag == "a" and (element.text or "").strip() in _ANCHOR_SIGNS:
        return True
    if element.tag in _FURNITURE or element.get("role") in _ROLES:
        return True
    if element.tag in _FRAME:
        return whole
    return bool(_FURNITURE_NAME.search(_names(element)))


def _names(element: Any) -> str:
    return f"{element.get('class', '')[:_MOST_NAME]} {element.get('id', '')[:_MOST_NAME]}"


def _without_link_lists(root: Any) -> Any:
    """Lists and boxes that are little but links: the menus of pages without marks."""
    sizes = _sizes(root)
    links, linked = dict.fromkeys(sizes, 0), dict.fromkeys(sizes, 0)
    for element in sizes:
        if element.tag == "a":
            links[element], linked[element] = 1, sizes[element]
        if element is not root:
            links[element.getparent()] += links[element]
            linked[element.getparent()] += linked[element]
    return _without(
        root,
        lambda element: (
            element.tag in ("ul", "ol", "div", "table", "p")
            and links.get(element, 0) >= _FEWEST_LINKS
            and linked[element] >= 0.8 * sizes[element]
            and sizes[element] <= sizes[root] / 3
        ),
    )
