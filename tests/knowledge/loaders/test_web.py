"""A URL as a document: its kind, its charset and where it came from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

import pytest

from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.files import Loaded
from agentkit.knowledge.loaders.web import load_url
from tests.servers.web_server import WebServer, moved, page, web_server

CHINESE = "# 深度学习\n\n神经网络由许多层组成。\n"


@pytest.fixture
async def web() -> AsyncIterator[WebServer]:
    async with web_server({}) as server:
        yield server


async def _load(web: WebServer, path: str, **options: object) -> Loaded:
    url = f"http://127.0.0.1:{web.port}{path}"
    return await load_url(url, allow_private=True, **options)  # type: ignore[arg-type]


async def test_a_page_is_a_document_that_says_where_and_when_it_was_fetched(web: WebServer) -> None:
    web.answers |= {
        "/old": moved("/notes.md#intro"),
        "/notes.md": page(
            CHINESE.encode(), "text/markdown", Last_Modified="Sat, 01 Nov 2025 08:00:00 GMT"
        ),
    }
    document = (await _load(web, "/old#top")).document
    assert (document.text, document.title) == (CHINESE, "深度学习")
    assert document.source == f"http://127.0.0.1:{web.port}/notes.md"
    assert document.metadata["url"] == f"http://127.0.0.1:{web.port}/old#top"
    assert document.metadata["last_modified"] == "2025-11-01T08:00:00+00:00"
    assert datetime.fromisoformat(document.metadata["fetched"]).tzinfo is not None


@pytest.mark.parametrize(
    ("path", "kind", "format_"),
    [
        ("/a", "text/markdown; charset=utf-8", "markdown"),
        ("/a.md", "text/plain", "markdown"),
        ("/a.md?raw=1", "application/octet-stream", "markdown"),
        ("/a.md", "", "markdown"),
        ("/a", "text/plain", "text"),
        ("/a.unknown", "text/x-unknown", "text"),
        pytest.param("/a?x=.md", "text/csv", "rows", marks=pytest.mark.slow),
    ],
)
async def test_the_kind_is_the_content_type_else_the_path_suffix(
    web: WebServer, path: str, kind: str, format_: str
) -> None:
    web.answers[path] = page(b"# A\n", kind)
    assert (await _load(web, path)).document.format == format_


@pytest.mark.slow
async def test_a_web_page_is_read_by_the_loader_of_web_pages(web: WebServer) -> None:
    html = "<html><head><title>层</title></head><body><p>神经网络由许多层组成。</p></body></html>"
    for path, kind in (("/", "text/html; charset=gb2312"), ("/x", "")):
        encoding = "gb2312" if "gb" in kind else "utf-8"
        web.answers[path] = page(html.encode(encoding), kind)
        document = (await _load(web, path)).document
        assert (document.title, document.text.strip()) == ("层", "神经网络由许多层组成。")


@pytest.mark.parametrize(
    ("charset", "encoding", "text"),
    [
        ("GB18030", "gb18030", CHINESE),
        ("gb2312", "gbk", "朱镕基\n"),
        ("Big5", "big5", "深度學習的神經網路\n"),
        ("Shift_JIS", "shift_jis", "機械学習\n"),
        ("ISO-8859-1", "cp1252", "naïve café “quoted”\n"),
        ("windows-1251", "cp1251", "глубокое обучение\n"),
        ("utf-16le", "utf-16-le", CHINESE),
    ],
)
async def test_the_charset_of_the_header_is_believed(
    web: WebServer, charset: str, encoding: str, text: str
) -> None:
    web.answers["/"] = page(text.encode(encoding), f"text/plain; charset={charset}")
    assert (await _load(web, "/")).document.text == text


async def test_a_date_that_is_none_is_left_out(web: WebServer) -> None:
    years = page(b"a", Last_Modified="Sat, 01 Nov 99999999999999999999 08:00:00 GMT")
    web.answers |= {"/a": page(b"a", Last_Modified="yesterday"), "/b": years}
    for path in web.answers:
        assert "last_modified" not in (await _load(web, path)).document.metadata


@pytest.mark.parametrize("charset", ["utf-8", "no-such-charset", "ascii", "base64", "", '"'])
async def test_a_charset_that_does_not_fit_is_not_believed(web: WebServer, charset: str) -> None:
    web.answers["/"] = page(CHINESE.encode("gb18030"), f"text/plain; charset={charset}")
    assert (await _load(web, "/")).document.text == CHINESE


@pytest.mark.slow
async def test_a_page_without_a_title_is_called_by_the_last_part_of_its_url_or_the_host(
    web: WebServer,
) -> None:
    web.answers |= {"/%E6%B7%B1%E5%BA%A6.txt": page(b"a"), "/": page(b"a"), "/a/?q=1": page(b"a")}
    web.answers["/%E6%B7%B1.csv?format=text"] = page(b"a,b\n1,2\n", "text/csv")
    titles = [(await _load(web, path)).document.title for path in web.answers]
    assert titles == ["深度", "127.0.0.1", "a", "深"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("image/png", b"\x89PNG"),
        ("application/zip", b"PK\x03\x04"),
        ("application/octet-stream", b"\x7fELF"),
        ("", b"\x00\x01"),
    ],
)
async def test_what_no_loader_reads_is_named(web: WebServer, kind: str, body: bytes) -> None:
    web.answers["/file"] = page(body, kind)
    with pytest.raises(KnowledgeError, match=r"/file: served as .*, which no loader reads"):
        await _load(web, "/file")


@pytest.mark.parametrize("kind", ["text/plain", "text/plain; charset=utf-8"])
async def test_a_page_that_its_loader_cannot_read_is_named_by_its_url(
    web: WebServer, kind: str
) -> None:
    web.answers["/a.md"] = page(b"\x00\x01\x02\x03" * 50, kind)
    with pytest.raises(KnowledgeError, match=r"^http://127\.0\.0\.1:\d+/a\.md: "):
        await _load(web, "/a.md")


async def test_the_bounds_and_the_refusal_of_private_addresses_reach_the_fetch(
    web: WebServer,
) -> None:
    web.answers["/a.md"] = page(b"x" * 2000, "text/markdown")
    with pytest.raises(KnowledgeError, match="larger than"):
        await _load(web, "/a.md", max_bytes=1000)
    with pytest.raises(KnowledgeError, match="not fetched"):
        await load_url(f"http://127.0.0.1:{web.port}/a.md")
