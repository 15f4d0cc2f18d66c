"""URLs are fetched from public addresses only, and nothing that a server does is unbounded."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import ssl
import struct
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
import trustme

from agentkit._fetch import Page, blocked_reason, fetch, resolve_host
from agentkit.errors import KnowledgeError
from tests.servers.web_server import WebServer, moved, page, web_server

PUBLIC = "93.184.215.14"
PUBLIC_6 = "2606:4700::1111"
REFUSED = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.9.9.9",
    "168.63.129.16", "169.254.169.254", "169.254.1.1", "172.16.0.1", "172.31.255.255", "192.0.0.8",
    "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:10.0.0.1", "::ffff:127.0.0.1",
    "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1",
    "64:ff9b:1::1", "100::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1", "2001:db8::1",
    "2002:7f00:1::", "2002:a00:1::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1",
    "fe80::1%eth0", "2606:4700::1111%eth0", "fec0::1", "ff02::1", "ff0e::1", "4000::1", "localhost",
]  # fmt: skip
OWN = ["127.0.0.1", "10.1.2.3", "172.20.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd12::1",
       "::ffff:127.0.0.1", "64:ff9b::a00:1"]  # fmt: skip
NEVER = ["0.0.0.0", "169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::254",
         "fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42",
         "fe80::1", "224.0.0.1", "240.0.0.1", "::ffff:169.254.169.254", "192.0.0.192"]  # fmt: skip


class Names:
    """A resolver: each name's answers in turn, the last one for good. `asked` is what it was."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self._answers = {name.replace("_", "."): list(given) for name, given in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self._answers:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        answers = self._answers[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


class Internet(httpx2.AsyncBaseTransport):
    """Real connections, each address led to a port of this machine. `dialled` is what was asked:
    address, Host header and the name for TLS."""

    def __init__(self, routes: dict[str, int], tls: ssl.SSLContext | bool = True) -> None:
        self.routes = routes
        self.dialled: list[tuple[str, str, str]] = []
        self._tls = tls
        self._real: list[httpx2.AsyncHTTPTransport] = []

    def __call__(self) -> Internet:
        return self

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        address, name = request.url.host, request.extensions["sni_hostname"]
        self.dialled.append((address, request.headers["host"], name))
        if address not in self.routes:
            raise httpx2.ConnectError("unreachable")
        request.url = request.url.copy_with(host="127.0.0.1", port=self.routes[address])
        self._real.append(httpx2.AsyncHTTPTransport(verify=self._tls))
        return await self._real[-1].handle_async_request(request)

    async def aclose(self) -> None:
        for transport in self._real:
            await transport.aclose()


@pytest.fixture
async def web() -> AsyncIterator[WebServer]:
    async with web_server({"/": page(b"hello")}) as server:
        yield server


async def _own(web: WebServer, path: str = "/", **options: object) -> Page:
    url = f"http://127.0.0.1:{web.port}{path}"
    return await fetch(url, allow_private=True, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("address", REFUSED)
async def test_an_address_that_is_not_public_is_never_connected_to(address: Any) -> None:
    internet = Internet({})
    with pytest.raises(KnowledgeError, match=r"http://inner\.example/: its host is at .*: not fet"):
        await fetch(
            "http://inner.example/",
            resolve=Names(inner_example=[[address]]),
            transport=internet,
        )
    assert internet.dialled == []


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", PUBLIC, PUBLIC_6, "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_a_public_address_is_allowed_also_embedded_in_another(address: str) -> None:
    assert blocked_reason(address) == ""


@pytest.mark.parametrize("address", OWN)
def test_private_networks_need_allow_private(address: Any) -> None:
    assert blocked_reason(address) != ""
    assert blocked_reason(address, allow_private=True) == ""


@pytest.mark.parametrize("address", NEVER)
def test_metadata_link_local_and_multicast_stay_blocked_with_allow_private(address: Any) -> None:
    assert blocked_reason(address, allow_private=True) != ""


async def test_one_private_address_among_public_ones_refuses_the_host(web: WebServer) -> None:
    internet = Internet({PUBLIC: web.port})
    names = Names(mixed_example=[[PUBLIC, "10.0.0.1"]])
    with pytest.raises(KnowledgeError, match=r"10\.0\.0\.1, a private address"):
        await fetch("http://mixed.example/", resolve=names, transport=internet)
    assert internet.dialled == []


async def test_dns_rebinding_has_no_effect(
    web: WebServer,
) -> None:
    names = Names(rebinding_example=[[PUBLIC], ["127.0.0.1"]])
    internet = Internet({PUBLIC: web.port})
    found = await fetch("http://rebinding.example/", resolve=names, transport=internet)
    assert found.content == b"hello"
    assert names.asked == ["rebinding.example"]
    assert internet.dialled == [(PUBLIC, "rebinding.example", "rebinding.example")]


async def test_the_connection_goes_to_the_checked_address_with_the_host_header(
    web: WebServer,
) -> None:
    names = Names(wiki_example=[["127.0.0.1"], ["127.0.0.9"]])
    url = f"http://wiki.example:{web.port}/"
    found = await fetch(url, resolve=names, allow_private=True)
    assert (found.url, found.content) == (url, b"hello")
    assert f"\r\nHost: wiki.example:{web.port}\r\n" in web.heads[0]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "127.1", "0", "[::1]",
     "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "localhost"],
)  # fmt: skip
async def test_this_machine_is_refused_in_every_notation(web: WebServer, host: str) -> None:
    with pytest.raises(KnowledgeError, match=r"not fetched|invalid URL"):
        await fetch(f"http://{host}:{web.port}/")
    assert web.heads == []


@pytest.mark.parametrize(
    "to",
    ["http://127.0.0.1:{port}/secret", "http://169.254.169.254/latest/meta-data/",
     "//2130706433:{port}/secret", "http://[::ffff:127.0.0.1]:{port}/secret",
     "http://inner.example/secret"],
)  # fmt: skip
async def test_a_redirect_to_a_private_address_is_not_followed(web: WebServer, to: str) -> None:
    web.answers["/"] = moved(to.format(port=web.port))
    names = Names(shop_example=[[PUBLIC]], inner_example=[["192.168.0.7"]])

    async def resolve(host: str, port: int) -> Sequence[str]:
        if host.endswith(".example"):
            return await names(host, port)
        return await resolve_host(host, port)

    internet = Internet({PUBLIC: web.port})
    with pytest.raises(KnowledgeError, match="not fetched"):
        await fetch("http://shop.example/", resolve=resolve, transport=internet)
    assert [dialled[0] for dialled in internet.dialled] == [PUBLIC]
    assert len(web.heads) == 1


async def test_a_redirect_is_followed_with_its_host_checked_and_without_cookies(
    web: WebServer,
) -> None:
    web.answers |= {
        "/": page(b"", status=301, Location="http://new.example/a#part", Set_Cookie="id=1"),
        "/a": moved("b?c=%E6%B7%B1"),
        "/b?c=%E6%B7%B1": page(b"end"),
    }
    names = Names(old_example=[[PUBLIC]], new_example=[[PUBLIC_6]])
    internet = Internet({PUBLIC: web.port, PUBLIC_6: web.port})
    found = await fetch("http://old.example/#top", resolve=names, transport=internet)
    assert (found.url, found.content) == ("http://new.example/b?c=%E6%B7%B1", b"end")
    assert names.asked == ["old.example", "new.example", "new.example"]
    assert [address for address, _, _ in internet.dialled] == [PUBLIC, PUBLIC_6, PUBLIC_6]
    assert not any("cookie" in head.lower() for head in web.heads)


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ("/", "in a loop"),
        ("file:///etc/passwd", "not a web address"),
        ("gopher://shop.example/", "not a web address"),
        ("http://name:secret@shop.example/", "user name or password"),
        ("http://shop.example:0/", "invalid port 0"),
        ("http://a\x7fb/", "invalid URL"),
    ],
)
async def test_an_invalid_redirect_is_refused(web: WebServer, to: str, reason: str) -> None:
    web.answers["/"] = moved(to)
    with pytest.raises(KnowledgeError, match=reason) as caught:
        await _own(web)
    assert "secret" not in str(caught.value)


async def test_redirects_are_limited(web: WebServer) -> None:
    web.answers |= {f"/{n}": moved(f"/{n + 1}") for n in range(5)} | {"/5": page(b"end")}
    assert (await _own(web, "/0", redirects=5)).content == b"end"
    with pytest.raises(KnowledgeError, match="more than 4 times"):
        await _own(web, "/0", redirects=4)


@pytest.mark.parametrize(
    "url",
    ["ftp://h.example/", "file:///etc/passwd", "/etc/passwd", "h.example", "http://", "http:///x",
     "javascript:alert(1)", "http://u:secret@h.example/", "http://u:secret@h.example\n/",
     "http://h.example:0/", "http://h.example:70000/", "http://h.example:-1/", ""],
)  # fmt: skip
async def test_an_invalid_url_is_refused_before_any_request(url: str) -> None:
    names = Names()
    with pytest.raises(KnowledgeError) as caught:
        await fetch(url, resolve=names)
    assert names.asked == []
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_page_has_type_charset_and_validators(web: WebServer) -> None:
    web.answers["/"] = page(
        b"{}", "Application/JSON; charset=GB18030", ETag='"v1"', Last_Modified="yesterday"
    )
    found = await _own(web)
    assert (found.content_type, found.charset) == ("application/json", "gb18030")
    assert (found.etag, found.last_modified) == ('"v1"', "yesterday")
    assert (datetime.now(UTC) - found.fetched_at).total_seconds() < 60
    assert "User-Agent: agentkit-rag/" in web.heads[0]


async def test_other_content_types_are_refused(web: WebServer) -> None:
    web.answers["/"] = page(b"\x89PNG", "image/png")
    assert (await _own(web)).content_type == "image/png"
    with pytest.raises(KnowledgeError, match="served as image/png"):
        await _own(web, types=("text/*", ""))
    web.answers["/"] = page(b"x", "text/x-python; charset=utf-8")
    assert (await _own(web, types=("text/*",))).content == b"x"
    web.answers["/"] = page(b"x", "")
    assert (await _own(web, types=("text/*", ""))).content_type == ""
    with pytest.raises(KnowledgeError, match="served as no content type"):
        await _own(web, types=("text/*",))


@pytest.mark.parametrize(
    ("status", "reason"),
    [(401, "login"), (403, "login"), (404, "not found"), (410, "not found"),
     (418, "answered 418"), (429, "Try again later"), (500, "Try again later"),
     (204, "answered 204"), (304, "answered 304")],
)  # fmt: skip
async def test_a_status_without_a_document_is_explained(
    web: WebServer, status: int, reason: str
) -> None:
    web.answers["/"] = page(b"sorry" if status != 204 else b"", status=status)
    with pytest.raises(KnowledgeError, match=reason):
        await _own(web)


async def test_a_declared_length_above_the_limit_is_refused_before_the_body(web: WebServer) -> None:
    web.answers["/"] = page(b"x", Content_Length="99999999999999999999")
    with pytest.raises(KnowledgeError, match=r"larger than 0\.001 MB.*max_file_mb"):
        await _own(web, max_bytes=1000)


async def test_an_endless_body_stops_at_the_limit(web: WebServer) -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            await writer.drain()

    web.answers["/"] = endless
    with pytest.raises(KnowledgeError, match="larger than"):
        await _own(web, max_bytes=100_000)


@pytest.mark.parametrize("name", ["gzip", "deflate"])
async def test_a_decompression_bomb_stops_at_the_limit(web: WebServer, name: str) -> None:
    pack = gzip.compress if name == "gzip" else zlib.compress
    web.answers["/"] = page(pack(bytes(10_000_000)), Content_Encoding=name)
    tracemalloc.start()
    try:
        with pytest.raises(KnowledgeError, match=r"larger than 0\.1 MB"):
            await _own(web, max_bytes=100_000)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def _bare_deflate(data: bytes) -> bytes:
    return zlib.compress(data)[2:-4]


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("gzip", gzip.compress),
        ("GZIP", lambda data: gzip.compress(data[:50]) + gzip.compress(data[50:])),
        ("deflate", zlib.compress),
        ("deflate", _bare_deflate),
        ("identity", bytes),
    ],
)
async def test_a_compressed_page_is_decompressed_up_to_the_limit(
    web: WebServer, name: str, pack: Callable[[bytes], bytes]
) -> None:
    text = b"deep learning " * 20
    web.answers["/"] = page(pack(text), Content_Encoding=name)
    assert (await _own(web, max_bytes=len(text))).content == text
    with pytest.raises(KnowledgeError, match="larger than"):
        await _own(web, max_bytes=len(text) - 1)


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("gzip", gzip.compress(os.urandom(500))[:-100]),
        ("gzip", b"no gzip"),
        ("gzip", gzip.compress(b"x") * 1000),
        ("br", b"x"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"x"))),
    ],
    ids=["cut", "none", "many members", "brotli", "twice"],
)
async def test_an_invalid_or_unexpected_content_encoding_is_refused(
    web: WebServer, name: str, packed: bytes
) -> None:
    web.answers["/"] = page(packed, Content_Encoding=name)
    with pytest.raises(KnowledgeError, match=r"invalid gzip|compressed as"):
        await _own(web)


async def _drip(writer: asyncio.StreamWriter, start: bytes, drop: bytes) -> None:
    writer.write(start)
    while True:
        writer.write(drop)
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    ],
)
async def test_a_slow_server_is_left_at_the_deadline(
    web: WebServer, start: bytes, drop: bytes
) -> None:
    web.answers["/"] = lambda writer: _drip(writer, start, drop)
    with pytest.raises(KnowledgeError, match=r"not fetched within 0\.3 s"):
        await _own(web, seconds=0.3)


async def test_a_hanging_resolver_is_left_at_the_deadline() -> None:
    async def hangs(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return []

    with pytest.raises(KnowledgeError, match=r"not fetched within 0\.1 s"):
        await fetch("http://h.example/", seconds=0.1, resolve=hangs)


async def test_endless_headers_are_refused(web: WebServer) -> None:
    async def flood(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-A: " + b"b" * 1000 + b"\r\n")
            await writer.drain()

    web.answers["/"] = flood
    with pytest.raises(KnowledgeError, match="its response is invalid"):
        await _own(web)


async def test_a_truncated_body_is_an_error(web: WebServer) -> None:
    web.answers["/"] = page(b"half", Content_Length="8")
    with pytest.raises(KnowledgeError, match="its response is invalid"):
        await _own(web)


async def test_a_reset_connection_is_an_error(web: WebServer) -> None:
    async def reset(writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    web.answers["/"] = reset
    with pytest.raises(KnowledgeError, match="the connection was interrupted"):
        await _own(web)


async def test_errors_distinguish_unknown_host_missing_address_and_missing_server(
    web: WebServer,
) -> None:
    with pytest.raises(KnowledgeError, match=r"no host of the name 'gone\.example'"):
        await fetch("http://gone.example/", resolve=Names())
    with pytest.raises(KnowledgeError, match="no host of the name"):
        await fetch("http://empty.example/", resolve=Names(empty_example=[[]]))
    with pytest.raises(KnowledgeError, match="no server answers there"):
        await fetch(
            "http://silent.example/",
            resolve=Names(silent_example=[[PUBLIC]]),
            transport=Internet({}),
        )


async def test_when_one_address_is_silent_the_next_one_is_tried(web: WebServer) -> None:
    internet = Internet({PUBLIC: web.port})
    names = Names(two_example=[[PUBLIC_6, PUBLIC]])
    found = await fetch("http://two.example/", resolve=names, transport=internet)
    assert found.content == b"hello"
    assert [address for address, _, _ in internet.dialled] == [PUBLIC_6, PUBLIC]


async def test_a_proxy_of_the_environment_is_not_used(
    web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await _own(web)).content == b"hello"


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def _server_tls(authority: trustme.CA, name: str, seen: list[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    context.sni_callback = lambda connection, asked, _: seen.append(asked)
    return context


def _trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_the_certificate_is_verified_against_the_host_name(
    authority: trustme.CA,
) -> None:
    seen: list[str] = []
    async with web_server(
        {"/": page(b"safe")}, _server_tls(authority, "shop.example", seen)
    ) as web:
        internet = Internet({PUBLIC: web.port}, _trusting(authority))
        names = Names(shop_example=[[PUBLIC]], other_example=[[PUBLIC]])
        found = await fetch("https://shop.example/", resolve=names, transport=internet)
        assert (found.content, seen) == (b"safe", ["shop.example"])
        assert "\r\nHost: shop.example\r\n" in web.heads[0]
        with pytest.raises(KnowledgeError, match=r"no encrypted connection.*[Hh]ostname mismatch"):
            await fetch("https://other.example/", resolve=names, transport=internet)
        assert len(web.heads) == 1


async def test_a_certificate_of_an_unknown_authority_is_refused(authority: trustme.CA) -> None:
    tls = _server_tls(authority, "shop.example", [])
    async with web_server({"/": page(b"x")}, tls) as web:
        url = f"https://shop.example:{web.port}/"
        names = Names(shop_example=[["127.0.0.1"]])
        with pytest.raises(KnowledgeError, match="no encrypted connection"):
            await fetch(url, resolve=names, allow_private=True)
        assert web.heads == []


async def test_a_redirect_from_https_to_http_is_refused(authority: trustme.CA) -> None:
    tls = _server_tls(authority, "shop.example", [])
    async with web_server({"/": moved("http://shop.example/")}, tls) as web:
        internet = Internet({PUBLIC: web.port}, _trusting(authority))
        names = Names(shop_example=[[PUBLIC]])
        with pytest.raises(KnowledgeError, match="not encrypted: not followed"):
            await fetch("https://shop.example/", resolve=names, transport=internet)
        assert len(internet.dialled) == 1
