"""Fetch a URL safely: from public addresses only, with limits of time, bytes and redirects.

A host is resolved once per hop, all its addresses must be public, and the connection goes to one of
those that were checked, so DNS rebinding has no effect; the certificate is still verified for the
host name. Redirects are checked like the first URL. Proxies, cookies and passwords of the
environment are not used.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from functools import cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

import httpx2

from agentkit import __version__
from agentkit.errors import KnowledgeError

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""A host and a port in, its IP addresses out. Raises OSError."""

_REDIRECTS = (301, 302, 303, 307, 308)
_TRIED_ADDRESSES = 4
_CONNECT_SECONDS = 8.0
_MEMBERS = 16
_HEADERS = {
    "User-Agent": f"agentkit-rag/{__version__}",
    "Accept": "text/html,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate",
    "Connection": "close",
}


@dataclass(frozen=True, slots=True)
class Page:
    """A fetched document. `url` is the last one, after redirects, without a fragment;
    `content_type` and `charset` are lower case, "" where the server sends none; `etag` and
    `last_modified` are at most 200 characters."""

    url: str
    content: bytes
    content_type: str
    charset: str
    fetched_at: datetime
    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True, slots=True)
class _Rules:
    max_bytes: int
    types: Collection[str]
    allow_private: bool
    resolve: Resolve
    transport: Callable[[], httpx2.AsyncBaseTransport]


async def resolve_host(host: str, port: int) -> list[str]:
    """Resolve a host by the system's resolver, also in decimal and octal forms."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def direct() -> httpx2.AsyncBaseTransport:
    """Connect without a proxy; certificates are verified by the system's authorities."""
    return httpx2.AsyncHTTPTransport(verify=_authorities())


@cache
def _authorities() -> ssl.SSLContext:
    return httpx2.create_ssl_context()


async def fetch(
    url: str,
    *,
    max_bytes: int = 20_000_000,
    seconds: float = 30.0,
    redirects: int = 5,
    types: Collection[str] = (),
    allow_private: bool = False,
    resolve: Resolve = resolve_host,
    transport: Callable[[], httpx2.AsyncBaseTransport] = direct,
) -> Page:
    """Fetch a public http or https URL and decompress it. `seconds` limits all of it, redirects
    included. `types` are the accepted content types: none means any, "" stands for a server that
    sends none, "text/*" for every kind of text. `allow_private` permits intranet and loopback.
    Raises KnowledgeError, one line that names the URL."""
    start = _parse_url(url)
    rules = _Rules(max_bytes, types, allow_private, resolve, transport)
    try:
        async with asyncio.timeout(seconds):
            return await _follow(start, redirects, rules)
    except TimeoutError as error:
        raise _error(
            start, f"not fetched within {seconds:g} s. Try again, or save the file and index that."
        ) from error


async def _follow(url: httpx2.URL, redirects: int, rules: _Rules) -> Page:
    seen = [url]
    while len(seen) <= redirects + 1:
        answer = await _get(seen[-1], rules)
        if isinstance(answer, Page):
            return answer
        if answer in seen:
            raise _error(url, f"redirects in a loop, back to {_display(answer)}. Check it.")
        if seen[-1].scheme == "https" and answer.scheme != "https":
            raise _error(
                seen[-1], f"redirects to {_display(answer)}, which is not encrypted: not followed."
            )
        seen.append(answer)
    raise _error(url, f"redirects more than {redirects} times. Give the address it ends at.")


async def _get(url: httpx2.URL, rules: _Rules) -> Page | httpx2.URL:
    """Return a page, or the URL of a redirect. The host's addresses are tried in turn."""
    last: Exception | None = None
    for address in (await _public_addresses(url, rules))[:_TRIED_ADDRESSES]:
        try:
            return await _get_from(url, address, rules)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            if _tls_reason(error):
                raise _error(
                    url, f"no encrypted connection ({_tls_reason(error)}). Check the address."
                ) from error
            last = error
        except httpx2.RemoteProtocolError as error:
            raise _error(
                url, f"its response is invalid ({_short(error)}). Try again, or save the file."
            ) from error
        except (httpx2.HTTPError, OSError) as error:
            raise _error(
                url, f"the connection was interrupted ({_short(error)}). Try again."
            ) from error
    raise _error(url, "no server answers there. Check the address, and the network.") from last


async def _public_addresses(url: httpx2.URL, rules: _Rules) -> Sequence[str]:
    """Return the addresses of a URL's host, all of which documents may be fetched from."""
    host = url.raw_host.decode("ascii")
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        addresses = await rules.resolve(host, port)
    except (OSError, UnicodeError) as error:
        raise _error(url, f"no host of the name {host[:100]!r}. Check the address.") from error
    if not addresses:
        raise _error(url, f"no host of the name {host[:100]!r}. Check the address.")
    for address in addresses:
        if reason := blocked_reason(address, allow_private=rules.allow_private):
            raise _error(
                url,
                f"its host is at {address[:60]}, {reason}: not fetched. "
                "Save the file and index that.",
            )
    return addresses


async def _get_from(url: httpx2.URL, address: str, rules: _Rules) -> Page | httpx2.URL:
    """Send one GET to one address. With a client per request no cookie is kept, and no connection
    whose certificate was verified for another host."""
    timeout = httpx2.Timeout(None, connect=_CONNECT_SECONDS)
    async with (
        httpx2.AsyncClient(
            transport=rules.transport(), trust_env=False, timeout=timeout, follow_redirects=False
        ) as client,
        client.stream(
            "GET",
            url.copy_with(host=address),
            headers={**_HEADERS, "Host": url.netloc.decode("ascii")},
            extensions={"sni_hostname": url.raw_host.decode("ascii").rstrip(".")},
        ) as response,
    ):
        if response.status_code in _REDIRECTS and "location" in response.headers:
            return _parse_url(response.headers["location"], url)
        return await _read_page(url, response, rules)


async def _read_page(url: httpx2.URL, response: httpx2.Response, rules: _Rules) -> Page:
    if response.status_code != 200:
        raise _error(url, _status_reason(response.status_code))
    content_type, charset = _content_type(response.headers.get("content-type", ""))
    if rules.types and not _is_accepted(content_type, rules.types):
        raise _error(
            url,
            f"served as {content_type[:60] or 'no content type'}, which no loader reads. "
            "Save it as a file of a supported format.",
        )
    raw = await _read_bytes(url, response, rules.max_bytes)
    packed = response.headers.get("content-encoding", "")
    return Page(
        str(url),
        await asyncio.to_thread(_decompress, url, raw, packed, rules.max_bytes),
        content_type,
        charset,
        datetime.now(UTC),
        response.headers.get("etag", "")[:200],
        response.headers.get("last-modified", "")[:200],
    )


async def _read_bytes(url: httpx2.URL, response: httpx2.Response, max_bytes: int) -> bytes:
    declared = response.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(url, max_bytes)
    raw = bytearray()
    async for piece in response.aiter_raw():
        raw += piece
        if len(raw) > max_bytes:
            raise _too_large(url, max_bytes)
    return bytes(raw)


def _decompress(url: httpx2.URL, raw: bytes, encoding: str, max_bytes: int) -> bytes:
    """Undo the Content-Encoding, up to the limit."""
    match encoding.strip().lower():
        case "" | "identity":
            return raw
        case "gzip" | "x-gzip":
            bits: tuple[int, ...] = (zlib.MAX_WBITS | 16,)
        case "deflate":
            bits = (zlib.MAX_WBITS, -zlib.MAX_WBITS)  # by the standard, and as some servers send it
        case _:
            raise _error(
                url, f"compressed as {encoding[:40]!r}, which was not requested. Save it as a file."
            )
    for choice in bits:
        try:
            content = _inflate(raw, choice, max_bytes)
        except zlib.error:
            continue
        if len(content) > max_bytes:
            raise _too_large(url, max_bytes)
        return content
    raise _error(url, f"invalid {encoding[:40]} data. Try again.")


def _inflate(raw: bytes, bits: int, max_bytes: int) -> bytes:
    """Inflate the members of a stream, to at most one byte more than the limit. The number of
    members is limited too, since each copies what follows it."""
    content = bytearray()
    for _ in range(_MEMBERS):
        if not raw or len(content) > max_bytes:
            return bytes(content)
        member = zlib.decompressobj(bits)
        content += member.decompress(raw, max_bytes + 1 - len(content))
        if not member.eof and len(content) <= max_bytes:
            raise zlib.error("it ends too early")
        raw = member.unused_data
    raise zlib.error("it has too many members")


def _parse_url(written: str, base: httpx2.URL | None = None) -> httpx2.URL:
    """Parse a URL that may be fetched, without its fragment. Raises KnowledgeError."""
    try:
        url = base.join(written) if base is not None else httpx2.URL(written)
    except (httpx2.InvalidURL, ValueError, TypeError) as error:
        text = _printable(re.sub("//[^/]*@", "//", str(written)))
        before = f"{_display(base)}: it redirects to " if base is not None else ""
        raise KnowledgeError(f"{before}{text}: invalid URL. Check it.") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise _error(url, "not a web address. Only http:// and https:// URLs are fetched.")
    if url.userinfo:
        raise _error(url, "it has a user name or password. Give the URL without them.")
    if url.port is not None and not 0 < url.port < 65536:
        raise _error(url, f"invalid port {url.port}. Check the address.")
    return url.copy_with(fragment=None)


def _content_type(header: str) -> tuple[str, str]:
    message = Message()
    message["Content-Type"] = header
    charset = message.get_param("charset", "")
    content_type = header.partition(";")[0].strip().lower()
    return content_type, charset.lower() if isinstance(charset, str) else ""


def _is_accepted(content_type: str, types: Collection[str]) -> bool:
    family = f"{content_type.partition('/')[0]}/*"
    return content_type in types or (bool(content_type) and family in types)


def _status_reason(status: int) -> str:
    if status in (401, 403, 407):
        return f"it requires a login, or blocks programs ({status}). Save the file instead."
    if status in (404, 410):
        return f"not found ({status}). Check the address."
    if status == 429 or status >= 500:
        return f"the server is busy or failing ({status}). Try again later."
    return f"the server answered {status}, not with a document. Check the address."


def _tls_reason(error: BaseException) -> str:
    """Return what is wrong with a server's TLS, "" where that is not the cause."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        if isinstance(cause, ssl.SSLError):
            return cause.reason or "TLS failed"
        cause = cause.__cause__ or cause.__context__
    return ""


def _too_large(url: httpx2.URL, max_bytes: int) -> KnowledgeError:
    return _error(
        url,
        f"larger than {max_bytes / 1e6:g} MB. "
        "Raise knowledge.max_file_mb in agentkit.toml to read it.",
    )


def _error(url: httpx2.URL, reason: str) -> KnowledgeError:
    return KnowledgeError(f"{_display(url)}: {reason}")


def _display(url: httpx2.URL) -> str:
    return _printable(str(url.copy_with(username=None, password=None) if url.userinfo else url))


def _printable(text: str) -> str:
    printable = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return printable if len(printable) <= 300 else f"{printable[:300]}..."


def _short(error: Exception) -> str:
    return _printable(str(error) or type(error).__name__)[:120]


_Network = IPv4Network | IPv6Network


def _networks(*networks: str) -> tuple[_Network, ...]:
    return tuple(ip_network(network) for network in networks)


_ALWAYS_BLOCKED = (
    (
        "a cloud's metadata service",
        _networks(
            *("169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::/32"),
            *("fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42"),
        ),
    ),
    ("an unspecified address", _networks("0.0.0.0/8", "::/128")),
    ("a link-local address", _networks("169.254.0.0/16", "fe80::/10")),
    ("a multicast address", _networks("224.0.0.0/4", "ff00::/8")),
    (
        "a reserved address",
        _networks(
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "240.0.0.0/4",
            "64:ff9b:1::/48",
            "2001::/23",
            "2001:db8::/32",
            "3fff::/20",
        ),
    ),
)
_PRIVATE = (
    ("this machine's own address", _networks("127.0.0.0/8", "::1/128")),
    (
        "a private address",
        _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
    ),
    ("a carrier's shared address", _networks("100.64.0.0/10")),
    ("a benchmark's address", _networks("198.18.0.0/15")),
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")


def blocked_reason(address: str, *, allow_private: bool = False) -> str:
    """Return why no document is fetched from an IP address, "" where it may be.

    `allow_private` permits this machine and private networks, never link-local, metadata, multicast
    or reserved addresses. An address that carries another (IPv4 in IPv6, 6to4, NAT64) is judged by
    the one it carries. The tables follow the IANA special-purpose registries; addresses that
    Python's table does not call global are blocked too.
    """
    try:
        outer = ip_address(address)
    except ValueError:
        return "an invalid IP address"
    if isinstance(outer, IPv6Address) and outer.scope_id is not None:
        return "an address of one network card"
    inner = _embedded(outer)
    if reason := _matching(_ALWAYS_BLOCKED, inner):
        return reason
    if reason := _matching(_PRIVATE, inner):
        return "" if allow_private else reason
    routed = isinstance(inner, IPv4Address) or inner in _GLOBAL_UNICAST
    return "" if routed and inner.is_global else "a reserved address"


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _matching(
    kinds: Iterable[tuple[str, tuple[_Network, ...]]], address: IPv4Address | IPv6Address
) -> str:
    return next((reason for reason, nets in kinds if any(address in net for net in nets)), "")
