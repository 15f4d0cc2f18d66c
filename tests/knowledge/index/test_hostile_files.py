"""Files made to exhaust or crash a parser: each ends within its bounds with one line, is not read
again until it changes, and the files beside it are indexed. The generated files are small."""

import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest

from agentkit.knowledge.index.catalog import Catalog
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.knowledge.loaders.files import Parsers, UnparsedFile
from tests.conftest import TermEmbedder

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]

FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml"
CONTAINER = (
    '<?xml version="1.0"?><container xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
    '<rootfiles><rootfile full-path="c.opf" media-type="application/oebps-package+xml"/>'
    "</rootfiles></container>"
)


def _pdf(*objects: bytes) -> bytes:
    out, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    return out + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF"
        % (size, table, size, len(out))
    )


def _stream(data: bytes, entries: bytes = b"") -> bytes:
    packed = zlib.compress(data)
    head = b"<</Length %d/Filter/FlateDecode%s>>" % (len(packed), entries)
    return head + b"stream\n" + packed + b"\nendstream"


def _page(content: bytes, resources: bytes = b"", *more: bytes) -> bytes:
    """A PDF of one page; `more` are objects from 6 on, 5 is a font."""
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F 5 "
    return _pdf(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        page + b"0 R>>%s>>>>" % resources,
        _stream(content),
        FONT,
        *more,
    )


def _forms(calls: int, depth: int) -> bytes:
    """Forms that call the next one several times: `calls` to the power of `depth` lines of text."""
    text = b"BT /F 12 Tf 72 700 Td (Hello hostile page) Tj ET\n"
    head = b"/Type/XObject/Subtype/Form/BBox[0 0 612 792]/Resources<</Font<</F 5 0 R>>"
    inner = [
        _stream(b"/X Do " * calls, head + b"/XObject<</X %d 0 R>>>>" % (7 + at))
        for at in range(depth - 1)
    ]
    forms = (*inner, _stream(text, head + b">>"))
    return _page(b"/X Do " * calls, b"/XObject<</X 6 0 R>>", *forms)


def _epub(chapter: str, spine: str = '<itemref idref="a"/>') -> bytes:
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf"><manifest><item id="a" href="a.xhtml"'
        f' media-type="application/xhtml+xml"/></manifest><spine>{spine}</spine></package>'
    )
    return _zip({"META-INF/container.xml": CONTAINER, "c.opf": package, "a.xhtml": chapter})


def _zip(entries: dict[str, str]) -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in entries.items():
            archive.writestr(name, text)
    return packed.getvalue()


ENDED: dict[str, Callable[[], bytes]] = {
    "forms.pdf": lambda: _forms(10, 9),
    "forms of four.pdf": lambda: _forms(4, 16),
    "characters.pdf": lambda: _page(
        b"BT /F 1 Tf 0 0 Td " + b"(%s) Tj " % (b"a" * 60) * 150_000 + b" ET"
    ),
    "forms of three.pdf": lambda: _forms(3, 20),
    "chapter.epub": lambda: _epub(
        "<html><body>" + f"<p>{'word ' * 100}</p>" * 20_000 + "</body></html>"
    ),
    "cells.html": lambda: (
        b"<table>" + b"<tr><td colspan=1000 rowspan=1000>x</td></tr>" * 40_000 + b"</table>"
    ),
}


async def _index(folder: Path, index: Path) -> tuple[KnowledgeBase, tuple[str, ...]]:
    knowledge = KnowledgeBase.open(index, TermEmbedder())
    report = await knowledge.add_path(folder)
    return knowledge, report.warnings


def _good_files(folder: Path, number: int) -> None:
    folder.mkdir()
    for at in range(number):
        (folder / f"good{at:03}.md").write_text(f"# Pump {at}\n\nThe pump weighs {at} kg.\n")
    (folder / "page.html").write_text("<p>The valve of the good page is blue.</p>")


@pytest.mark.parametrize("name", ENDED)
async def test_a_file_that_exhausts_its_parser_is_left_out_with_one_line(
    name: str, tmp_path: Path
) -> None:
    folder = tmp_path / "notes"
    _good_files(folder, 200)
    (folder / name).write_bytes(ENDED[name]())
    (folder / "zz.html").write_text("<p>The page after it is green.</p>")
    knowledge, warnings = await _index(folder, tmp_path / "index")
    with knowledge:
        documents = await knowledge.documents()
        (warning,) = warnings
        assert warning.startswith(f"{folder / name}: ")
        assert len(documents) == 202
        assert (await knowledge.search("blue valve"))[0].chunk.source == "page.html"
        assert (await knowledge.add_path(folder)).warnings == ()
        unread = Catalog(tmp_path / "index" / "catalog.sqlite")
        assert name in unread.files(next(iter(set(unread.origins().values()))))
        unread.close()
        (folder / name).write_bytes(b"<p>It is a page now.</p>" if "html" in name else _page(b""))
        changed = await knowledge.add_path(folder)
        assert name in changed.added or any(name in warning for warning in changed.warnings)
        (folder / name).unlink()
        assert (await knowledge.add_path(folder)).removed == ((name,) if changed.added else ())


def _docx(body: str, head: str = "") -> bytes:
    types = (
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType='
        '"application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{WORD}.document.main+xml"/></Types>'
    )
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    relations = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Id="r" Type="{office}" Target="word/document.xml"/></Relationships>'
    )
    main = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    document = f'{head}<w:document xmlns:w="{main}"><w:body>{body}</w:body></w:document>'
    entries = {"[Content_Types].xml": types, "_rels/.rels": relations}
    return _zip({**entries, "word/document.xml": document})


def _mails(depth: int) -> bytes:
    inside = b"Subject: in\r\nContent-Type: text/plain\r\n\r\ninner text\r\n"
    return b"Subject: out\r\nContent-Type: message/rfc822\r\n\r\n" * depth + inside


ENTITIES = "<!DOCTYPE l [<!ENTITY a 'lol'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;'>]>"
RUN = "<w:p><w:r><w:t>{}</w:t></w:r></w:p>"
READ: dict[str, Callable[[], bytes]] = {
    "attributes.html": lambda: b"<p " + b" ".join(b"a%d=1" % n for n in range(300_000)) + b">hi",
    "divisions.html": lambda: b"<div>" * 200_000 + b"text",
    "lists.html": lambda: b"<ul><li>a" * 20_000,
    "tables.html": lambda: b"<table><tr><td>a" * 3000,
    "bold.html": lambda: b"<b><i>" * 100_000 + b"x",
    "arrays.json": lambda: b"[" * 500_000 + b"]" * 500_000,
    "objects.json": lambda: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "number.json": lambda: b'{"a": ' + b"9" * 3_000_000 + b"}",
    "arrays.jsonl": lambda: (b"[" * 100_000 + b"\n") * 20,
    "columns.csv": lambda: b",".join(b"c%d" % n for n in range(300_000)) + b"\n1,2\n",
    "quotes.csv": lambda: b"a,b\n" + b'"x,1\n' * 200_000,
    "mails.eml": lambda: _mails(100),
    "deep mails.eml": lambda: _mails(5000),
    "header.eml": lambda: b"Subject: " + b"=?utf-8?q?a?= " * 200_000 + b"\r\n\r\nhi",
    "senders.mbox": lambda: b"From \n\nx\n\n" * 200_000,
    "entities.docx": lambda: _docx(RUN.format("&b;"), ENTITIES),
    "zip bomb.docx": lambda: _docx(RUN.format("A" * 120_000_000)),
    "tables.docx": lambda: _docx("<w:tbl><w:tr><w:tc>" * 2000 + "</w:tc></w:tr></w:tbl>" * 2000),
    "outside.docx": lambda: _docx(
        RUN.format("&x;"), "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"
    ),
    "not a zip.docx": lambda: b"GIF89a" + b"\0" * 1000,
    "same chapter.epub": lambda: _epub(
        f"<html><body>{'word ' * 20_000}</body></html>", '<itemref idref="a"/>' * 20_000
    ),
    "depth.epub": lambda: _epub("<html><body>" + "<div>" * 50_000 + "x"),
    "own child.pdf": lambda: _pdf(
        b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 2>>"
    ),
    "pages.pdf": lambda: _pdf(
        b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 9999>>", b"<<>>"
    ),
    "noise.pdf": lambda: b"%PDF-1.7\n" + bytes(range(256)) * 4000,
    "outputs.ipynb": lambda: (
        b'{"cells":[{"cell_type":"code","source":"1","metadata":{},"outputs":[{"output_type":'
        b'"stream","name":"stdout","text":"' + b"x" * 5_000_000 + b'"}]}],"nbformat":4}'
    ),
}


@pytest.fixture(scope="module")
def parsers() -> Iterator[Parsers]:
    with Parsers() as started:
        yield started


@pytest.mark.parametrize("name", READ)
def test_a_file_of_extremes_is_read_or_refused_and_its_parser_goes_on(
    name: str, parsers: Parsers
) -> None:
    text = refused = ""
    try:
        text = parsers.load(READ[name](), name).document.text
    except UnparsedFile as error:
        refused = str(error)
    assert "parser ended" not in refused
    assert len(text) < 8_000_000
    assert "root:" not in text
    assert refused == "" or refused.startswith(f"{name}: ")
    assert parsers.load(b"<p>good</p>", "good.html").document.text == "good"


LONG: dict[str, Callable[[], bytes]] = {
    "rows.csv": lambda: b"a,b\n" + b"1,2\n" * 400_000,
    "quotes.csv": lambda: b"a,b\n" + b'"x,1\n' * 300_000,
    "columns.csv": lambda: b",".join(b"c%d" % n for n in range(300_000)) + b"\n1,2\n",
    "records.jsonl": lambda: b'{"a": 1}\n' * 300_000,
    "headings.md": lambda: b"# h\n\n" * 300_000,
    "paragraphs.md": lambda: b"a\n\n" * 500_000,
    "items.md": lambda: b"- a\n" * 60_000,
    "line.txt": lambda: b"word " * 600_000,
    "newlines.md": lambda: b"\n" * 2_000_000 + b"x",
    "sum.py": lambda: b"x=" + b"+".join([b"1"] * 1_000_000),
}
INDEX = """
import asyncio, resource, sys
from agentkit import KnowledgeBase
from tests.conftest import TermEmbedder
async def index(folder):
    kb = KnowledgeBase.open(folder + "/index", TermEmbedder())
    await kb.add_path(folder + "/small")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = await kb.add_path(folder + "/long")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kb.close()
    print(len(report.added), (after - before) // 1000)
asyncio.run(index(sys.argv[1]))
"""


@pytest.mark.parametrize("name", LONG)
def test_the_process_that_indexes_a_long_document_stays_small(name: str, tmp_path: Path) -> None:
    for folder, content in (("small", b"# A\n\ntext"), ("long", LONG[name]())):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / (name if folder == "long" else "a.md")).write_bytes(content)
    command = [sys.executable, "-c", INDEX, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    added, megabytes = map(int, done.stdout.split())
    assert added == 1
    assert megabytes < 90
