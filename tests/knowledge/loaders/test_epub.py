"""EPUB: chapters in their order of reading, each at its place, and books that cannot be read."""

import zipfile
from io import BytesIO
from typing import Any

import pytest

from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.files import parse

CONTAINER = '<container><rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'
PACKAGE = """<?xml version="1.0"?>
<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">
<metadata><dc:title>白鲸</dc:title><dc:creator>H. Melville</dc:creator><dc:creator>曹庸</dc:creator>
<dc:language>zh</dc:language><dc:date>1851-10-18T00:00:00Z</dc:date></metadata>
<manifest>
<item id="last" href="a%20b.xhtml" media-type="application/xhtml+xml"/>
<item id="first" href="text/1.xhtml" media-type="application/xhtml+xml"/>
<item id="lost" href="lost.xhtml" media-type="application/xhtml+xml"/>
<item id="nav" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/>
</manifest>
<spine><itemref idref="nav"/><itemref idref="first"/><itemref idref="lost"/>
<itemref idref="last"/></spine></package>"""
FIRST = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" "http://www.w3.org/TR/xhtml11/DTD/xhtml11.dtd">
<html xmlns="http://www.w3.org/1999/xhtml"><head><title/></head><body class="sidebar">
<header><h1>Loomings, or the sea</h1></header><h2>At the <i>inn</i></h2>
<p>Call me&nbsp;Ishmael &amp; stay.</p><a id="p9"/><aside>A note.</aside></body></html>"""
BROKEN = "<html><body><p>叫我<b>以实玛利</p>"
BOOK = {
    "META-INF/container.xml": CONTAINER,
    "OEBPS/book.opf": PACKAGE,
    "OEBPS/a b.xhtml": BROKEN,
    "OEBPS/text/1.xhtml": FIRST,
    "OEBPS/nav.xhtml": "<html><body><nav><ol><li>Contents</li></ol></nav></body></html>",
}


def _book(**more: Any) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in (BOOK | more).items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_chapters_are_parts_in_the_order_of_the_spine() -> None:
    loaded = parse(_book(), "a.epub")
    document = loaded.document
    texts = [document.text[part.start : part.end] for part in document.parts]
    assert texts == [
        "# Loomings, or the sea\n\n## At the *inn*\n\nCall me Ishmael & stay.\n\nA note.",
        "叫我**以实玛利**",
    ]
    assert [(p.kind, p.name) for p in document.parts] == [
        ("chapter", "Loomings – or the sea"),
        ("chapter", "2"),
    ]
    assert loaded.warnings == ("OEBPS/lost.xhtml is missing from the book",)


def test_the_package_gives_title_authors_language_and_date() -> None:
    document = parse(_book(), "a.epub").document
    assert document.title == "白鲸"
    assert document.metadata == {
        "title": "白鲸",
        "author": "H. Melville, 曹庸",
        "language": "zh",
        "date": "1851-10-18",
    }


def _encrypted_by(algorithm: str) -> str:
    method = f'<EncryptionMethod Algorithm="{algorithm}"/>'
    return f"<encryption><EncryptedData>{method}</EncryptedData></encryption>"


def test_a_protected_book_is_named_so_and_hidden_fonts_are_no_protection() -> None:
    aes = _encrypted_by("http://www.w3.org/2001/04/xmlenc#aes128-cbc")
    with pytest.raises(KnowledgeError, match="encrypted"):
        parse(_book(**{"META-INF/encryption.xml": aes}), "a.epub")
    fonts = _encrypted_by("http://www.idpf.org/2008/embedding")
    assert parse(_book(**{"META-INF/encryption.xml": fonts}), "a.epub").document.text


def test_damaged_books_and_books_without_text_say_so() -> None:
    content = _book()
    no_package = _book(**{"META-INF/container.xml": "<container/>"})
    for broken in (content[: len(content) // 2], no_package, b""):
        with pytest.raises(KnowledgeError, match="damaged"):
            parse(broken, "a.epub")
    empty = {"OEBPS/a b.xhtml": "", "OEBPS/text/1.xhtml": "<html><body/></html>"}
    with pytest.raises(KnowledgeError, match="no text"):
        parse(_book(**empty), "a.epub")
