"""EPUB: the chapters in their order of reading as Markdown, each a part with its title.

A part is a file of the book, which most books begin for each chapter; without a heading it
has its number. Pictures, styles and the list of contents are left out.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator
from html.entities import html5
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from agentkit.documents import Document, Part
from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.archive import checked
from agentkit.knowledge.loaders.files import Loaded
from agentkit.knowledge.loaders.html import markdown_of
from agentkit.knowledge.loaders.text import decoded
from agentkit.text.terms import clean

_PAGES = ("application/xhtml+xml", "text/html", "application/html+xml")
_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
"""Algorithms that hide fonts only, not text."""
_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")
_NAMED = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)([A-Za-z][A-Za-z0-9]*;)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_FRAMES = frozenset(("header", "footer", "aside", "nav", "main", "article", "section"))
_KEPT = frozenset(("href", "src", "colspan", "rowspan", "start", "lang", "alt"))
_DAMAGED = "damaged: open it in a reader of books and save it as .epub"
_LONGEST_NAME = 80


def load_epub(content: bytes, source: str) -> Loaded:
    """Title, author, language and date are from the package file."""
    from lxml import etree

    checked(content, ".epub")
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            _refuse_protected(archive)
            package, folder = _package(archive)
            warnings = list[str]()
            chapters = list(_chapters(archive, package, folder, warnings))
    except (etree.LxmlError, KeyError, ValueError, AttributeError) as error:
        raise KnowledgeError(_DAMAGED) from error
    metadata = _metadata(package)
    text, parts = _joined([chapter for chapter in chapters if chapter])
    if not text:
        raise KnowledgeError("no text in its chapters: pictures? Run OCR first")
    title = str(metadata.get("title") or PurePosixPath(source).stem)
    return Loaded(Document(source, text, title, metadata=metadata, parts=parts), tuple(warnings))


def _refuse_protected(archive: zipfile.ZipFile) -> None:
    if "META-INF/encryption.xml" not in archive.namelist():
        return
    methods = _parsed(archive.read("META-INF/encryption.xml")).iterfind(".//{*}EncryptionMethod")
    if any(method.get("Algorithm") not in _FONTS for method in methods):
        raise KnowledgeError("encrypted (DRM): get a copy without copy protection")


def _package(archive: zipfile.ZipFile) -> tuple[Any, str]:
    """The package file, which lists all others, and the folder that they are named from."""
    container = _parsed(archive.read("META-INF/container.xml"))
    path = container.find(".//{*}rootfile").get("full-path")
    return _parsed(archive.read(path)), posixpath.dirname(path)


def _chapters(
    archive: zipfile.ZipFile, package: Any, folder: str, warnings: list[str]
) -> Iterator[str]:
    """The Markdown of each file of the spine, "" where it has no text, with a warning for a missing
    one."""
    items = {item.get("id"): item for item in package.iterfind(".//{*}manifest/{*}item")}
    names, read = set(archive.namelist()), set[str]()
    for reference in package.iterfind(".//{*}spine/{*}itemref"):
        item = items.get(reference.get("idref"))
        if item is None or item.get("media-type") not in _PAGES:
            continue
        path = posixpath.normpath(posixpath.join(folder, unquote(item.get("href", ""))))
        if path not in names:
            warnings.append(f"{clean(path)} is missing from the book")
        elif path not in read and "nav" not in item.get("properties", "").split():
            read.add(path)  # A spine may name a chapter any number of times.
            try:
                yield _markdown(archive.read(path))
            except KnowledgeError as error:
                warnings.append(f"{clean(path)}: {error}")


def _markdown(page: bytes) -> str:
    """A chapter as Markdown. Headers, asides and the like belong to a book's text, so the marks by
    which they are removed from web pages are deleted."""
    from lxml import etree

    text = _DECLARATION.sub("", decoded(page))
    if not text.strip():
        return ""
    root = _page(text)
    body = next(root.iter("body"), root)
    for element in body.iter(etree.Element):
        if element.tag in _FRAMES:
            element.tag = "div"
        for name in [name for name in element.attrib if name not in _KEPT]:
            del element.attrib[name]
    body.tag = "main"
    body.tail = None
    inside = etree.tostring(body, encoding="unicode", method="html")
    return markdown_of(f"<html><body>{inside}</body></html>")[0]


def _page(text: str) -> Any:
    """A page as elements without name spaces: XHTML as XML, since HTML reads `<title/>` as open."""
    from lxml import etree, html

    named = _NAMED.sub(lambda match: html5.get(match[1], match[0]), text)
    try:
        root = _parsed(named.encode())
    except etree.XMLSyntaxError:
        return html.document_fromstring(text.encode(), parser=html.HTMLParser(encoding="utf-8"))
    for element in root.iter(etree.Element):
        element.tag = etree.QName(element).localname
    etree.cleanup_namespaces(root)
    return root


def _parsed(content: bytes) -> Any:
    from lxml import etree

    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True
    )
    return etree.fromstring(content, parser)


def _metadata(package: Any) -> dict[str, Any]:
    found = {"title": "", "author": "", "language": "", "date": ""}
    names = {"title": "title", "creator": "author", "language": "language", "date": "date"}
    for tag, key in names.items():
        texts = [
            " ".join(clean("".join(element.itertext())).split())
            for element in package.iterfind(f".//{{http://purl.org/dc/elements/1.1/}}{tag}")
        ]
        found[key] = ", ".join(filter(None, texts)) if key == "author" else next(iter(texts), "")
    found["date"] = found["date"][:10]
    return {key: value for key, value in found.items() if value}


def _joined(chapters: list[str]) -> tuple[str, tuple[Part, ...]]:
    text, parts = "", list[Part]()
    for number, chapter in enumerate(chapters, 1):
        text += "\n\n" if text else ""
        parts.append(Part("chapter", _name(chapter, number), len(text), len(text) + len(chapter)))
        text += chapter
    return text, tuple(parts)


def _name(chapter: str, number: int) -> str:
    """The first heading, without ", ", which separates sheet and row in a part's name."""
    heading = _HEADING.search(chapter)
    name = heading[1].replace(", ", " – ").strip("*_ ") if heading else ""
    return name[:_LONGEST_NAME] or str(number)
