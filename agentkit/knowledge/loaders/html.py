"""A web page as Markdown: its main content with headings, lists, tables and code.

Menus, banners, scripts and what a reader does not see are left out; where no main content can be
told, the whole body is kept. What is nested more than 1,000 deep is lost, and said to be.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from agentkit.documents import Document
from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.base import Loaded
from agentkit.knowledge.loaders.decoding import decoded
from agentkit.knowledge.loaders.html_main import main_content
from agentkit.knowledge.loaders.html_metadata import page_metadata
from agentkit.text import clean

_HEAD_BYTES = 4096
_DEEPEST = 1000
_CHARSET = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:-]{2,40})""", re.I)


def load_html(content: bytes, source: str, charset: str = "") -> Loaded:
    """`charset` is what a server or a mail said; the page's own word comes next, then its bytes."""
    text, metadata, warnings = markdown_of(decoded(content, charset or _declared(content)))
    title = str(metadata.get("title") or PurePosixPath(source).stem)
    return Loaded(Document(source, text, title, metadata=metadata), warnings)


def markdown_of(html: str) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """A page as Markdown, its metadata, and a line for what was lost; for mail and books too."""
    from lxml import etree
    from lxml.html import HTMLParser, document_fromstring

    # From bytes, because a str with an XML declaration is refused.
    parser = HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True)
    try:
        root = document_fromstring(html.encode(), parser=parser)
    except etree.ParserError:
        return "", {}, ()
    too_deep = any("depth" in error.message for error in parser.error_log)
    metadata = page_metadata(root)
    for body in main_content(root):
        text, cut = _markdown(
            etree.tostring(body, encoding="unicode", method="html", with_tail=False)
        )
        if text:
            break
    lost = (f"nested more than {_DEEPEST} deep: what is deeper was left out",)
    return text, metadata, lost if too_deep or cut else ()


def _markdown(html: str) -> tuple[str, bool]:
    """The Markdown of a piece of a page, and whether it was too deep to be read whole."""
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
        raise KnowledgeError("no HTML that can be read: save it anew in a browser") from error
    cut = any(str(warning.kind).endswith("depth_limit_exceeded") for warning in result.warnings)
    return clean((result.content or "").strip()), cut


def _declared(content: bytes) -> str:
    found = _CHARSET.search(content[:_HEAD_BYTES])
    return found.group(1).decode("ascii") if found else ""
