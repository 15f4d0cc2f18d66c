"""The one safe way to a URL: one GET, from public addresses only, bounded in time, bytes and hops.

A host is resolved once per hop, every address it has must be public, and the connection goes to
one that was judged, so that a name that changes its answer gains nothing; the certificate is still
checked against the name. Redirects are judged as the first URL was. No proxy, cookie or password
of the environment is used: a host that is reached only through a proxy is not reached.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from functools import cache

import httpx2

from agentkit import __version__
from agentkit.addresses import refusal
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
    """What a URL gave. `url` is the last one, after redirects, without a fragment; `content_type`
    and `charset` are lower case and "" where the server names none; `etag` and `last_modified` are
    the server's words, at most 200 characters."""

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


async def resolved(host: str, port: int) -> list[str]:
    """The addresses that the system's resolver has for a host, decimal and octal forms too."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def direct() -> httpx2.AsyncBaseTransport:
    """A connection with no proxy in between; certificates by the system's authorities."""
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
    resolve: Resolve = resolved,
    transport: Callable[[], httpx2.AsyncBaseTransport] = direct,
) -> Page:
    """What a public http or https URL gives, decompressed. `seconds` is for all of it, redirects
    included. `types` are the content types to take: none means any, "" stands for a server that
    names none, "text/*" for every kind of text. `allow_private` lets intranet and loopback pass.
    Raises KnowledgeError, one line that names the URL."""
    start = _parsed(url)
    rules = _Rules(max_bytes, types, allow_private, resolve, transport)
    try:
        async with asyncio.timeout(seconds):
            return await _followed(start, redirects, rules)
    except TimeoutError as error:
        raise _fault(
            start, f"not fetched within {seconds:g} s. Try again, or save the file and index that."
        ) from error


async def _followed(url: httpx2.URL, redirects: int, rules: _Rules) -> Page:
    seen = [url]
    while len(seen) <= redirects + 1:
        answer = await _answer(seen[-1], rules)
        if isinstance(answer, Page):
            return answer
        if answer in seen:
            raise _fault(url, f"redirects in a circle, back to {_shown(answer)}. Check it.")
        if seen[-1].scheme == "https" and answer.scheme != "https":
            raise _fault(
                seen[-1], f"redirects to {_shown(answer)}, which is not encrypted: not followed."
            )
        seen.append(answer)
    raise _fault(url, f"redirects more than {redirects} times. Give the address it ends at.")


async def _answer(url: httpx2.URL, rules: _Rules) -> Page | httpx2.URL:
    """What a URL gives: a page, or where else to look. Its addresses are tried in turn."""
    last: Exception | None = None
    for address in (await _judged(url, rules))[:_TRIED_ADDRESSES]:
        try:
            return await _asked(url, address, rules)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            if _tls_fault(error):
                raise _fault(
                    url, f"no encrypted connection ({_tls_fault(error)}). Check the address."
                ) from error
            last = error
        except httpx2.RemoteProtocolError as error:
            raise _fault(
                url, f"its answer is broken ({_short(error)}). Try again, or save the file."
            ) from error
        except (httpx2.HTTPError, OSError) as error:
            raise _fault(url, f"the connection broke off ({_short(error)}). Try again.") from error
    raise _fault(url, "no server answers there. Check the address, and the network.") from last


async def _judged(url: httpx2.URL, rules: _Rules) -> Sequence[str]:
    """The addresses of a URL's host; each must be one that documents are fetched from."""
    host = url.raw_host.decode("ascii")
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        addresses = await rules.resolve(host, port)
    except (OSError, UnicodeError) as error:
        raise _fault(url, f"no host of the name {host[:100]!r}. Check the address.") from error
    if not addresses:
        raise _fault(url, f"no host of the name {host[:100]!r}. Check the address.")
    for address in addresses:
        if why := refusal(address, allow_private=rules.allow_private):
            raise _fault(
                url,
                f"its host is at {address[:60]}, {why}: not fetched. Save the file and index that.",
            )
    return addresses


async def _asked(url: httpx2.URL, address: str, rules: _Rules) -> Page | httpx2.URL:
    """One GET to one address. A client per request: no cookie is kept, and no connection whose
    certificate was checked for another host."""
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
            return _parsed(response.headers["location"], url)
        return await _page(url, response, rules)


async def _page(url: httpx2.URL, response: httpx2.Response, rules: _Rules) -> Page:
    if response.status_code != 200:
        raise _fault(url, _refused(response.status_code))
    content_type, charset = _content_type(response.headers.get("content-type", ""))
    if rules.types and not _taken(content_type, rules.types):
        raise _fault(
            url,
            f"served as {content_type[:60] or 'nothing named'}, which no loader reads. "
            "Save it as a file of a kind that is read.",
        )
    raw = await _raw(url, response, rules.max_bytes)
    packed = response.headers.get("content-encoding", "")
    return Page(
        str(url),
        await asyncio.to_thread(_unpacked, url, raw, packed, rules.max_bytes),
        content_type,
        charset,
        datetime.now(UTC),
        response.headers.get("etag", "")[:200],
        response.headers.get("last-modified", "")[:200],
    )


async def _raw(url: httpx2.URL, response: httpx2.Response, max_bytes: int) -> bytes:
    declared = response.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(url, max_bytes)
    raw = bytearray()
    async for piece in response.aiter_raw():
        raw += piece
        if len(raw) > max_bytes:
            raise _too_large(url, max_bytes)
    return bytes(raw)


def _unpacked(url: httpx2.URL, raw: bytes, encoding: str, max_bytes: int) -> bytes:
    """The bytes as they were before Content-Encoding; a bomb is stopped at the bound."""
    match encoding.strip().lower():
        case "" | "identity":
            return raw
        case "gzip" | "x-gzip":
            bits: tuple[int, ...] = (zlib.MAX_WBITS | 16,)
        case "deflate":
            bits = (zlib.MAX_WBITS, -zlib.MAX_WBITS)  # by the standard, and as some servers send it
        case _:
            raise _fault(url, f"packed as {encoding[:40]!r}, which was not asked for. Save it.")
    for choice in bits:
        try:
            content = _inflated(raw, choice, max_bytes)
        except zlib.error:
            continue
        if len(content) > max_bytes:
            raise _too_large(url, max_bytes)
        return content
    raise _fault(url, f"broken {encoding[:40]} data. Try again.")


def _inflated(raw: bytes, bits: int, max_bytes: int) -> bytes:
    """The members of a stream, at most one byte more than the bound. Few members, for each copies
    what follows it."""
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


def _parsed(written: str, base: httpx2.URL | None = None) -> httpx2.URL:
    """A URL that may be asked, without its fragment. Raises KnowledgeError."""
    try:
        url = base.join(written) if base is not None else httpx2.URL(written)
    except (httpx2.InvalidURL, ValueError, TypeError) as error:
        shown = _printable(re.sub("//[^/]*@", "//", str(written)))
        before = f"{_shown(base)}: it redirects to " if base is not None else ""
        raise KnowledgeError(f"{before}{shown}: no valid URL. Check it.") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise _fault(url, "no web address. Only http:// and https:// URLs are fetched.")
    if url.userinfo:
        raise _fault(url, "it carries a user name or password. Give the URL without.")
    if url.port is not None and not 0 < url.port < 65536:
        raise _fault(url, f"no port {url.port}. Check the address.")
    return url.copy_with(fragment=None)


def _content_type(header: str) -> tuple[str, str]:
    message = Message()
    message["Content-Type"] = header
    charset = message.get_param("charset", "")
    content_type = header.partition(";")[0].strip().lower()
    return content_type, charset.lower() if isinstance(charset, str) else ""


def _taken(content_type: str, types: Collection[str]) -> bool:
    family = f"{content_type.partition('/')[0]}/*"
    return content_type in types or (bool(content_type) and family in types)


def _refused(status: int) -> str:
    if status in (401, 403, 407):
        return f"it wants a login, or no visitors like this one ({status}). Save the file instead."
    if status in (404, 410):
        return f"there is nothing there ({status}). Check the address."
    if status == 429 or status >= 500:
        return f"the server is busy or broken ({status}). Try again later."
    return f"the server answered {status}, not with a document. Check the address."


def _tls_fault(error: BaseException) -> str:
    """What is wrong with a server's encryption, "" where that is not the reason."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        if isinstance(cause, ssl.SSLError):
            return cause.reason or "TLS failed"
        cause = cause.__cause__ or cause.__context__
    return ""


def _too_large(url: httpx2.URL, max_bytes: int) -> KnowledgeError:
    return _fault(
        url,
        f"larger than {max_bytes / 1e6:g} MB. "
        "Raise knowledge.max_file_mb in agentkit.toml to read it.",
    )


def _fault(url: httpx2.URL, said: str) -> KnowledgeError:
    return KnowledgeError(f"{_shown(url)}: {said}")


def _shown(url: httpx2.URL) -> str:
    return _printable(str(url.copy_with(username=None, password=None) if url.userinfo else url))


def _printable(text: str) -> str:
    kept = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return kept if len(kept) <= 300 else f"{kept[:300]}..."


def _short(error: Exception) -> str:
    return _printable(str(error) or type(error).__name__)[:120]
