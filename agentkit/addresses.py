"""Which network addresses may be asked for a document: the public ones, and a user's own intranet
where the user says so.

An address that carries another (IPv4 in IPv6, 6to4, NAT64) is judged by the one it carries. The
tables follow the IANA special-purpose registries; what Python's own table calls not global is
refused too.

Where a model server lives: which addresses stay on this machine, and what may be shown.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from urllib.parse import SplitResult, urlsplit

from agentkit.errors import ConfigError

_Network = IPv4Network | IPv6Network


def _networks(*written: str) -> tuple[_Network, ...]:
    return tuple(ip_network(network) for network in written)


_NEVER = (
    (
        "a cloud's metadata service",
        _networks("169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::254"),
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
_OWN = (
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


def refusal(address: str, *, allow_private: bool = False) -> str:
    """Why no document is fetched from an IP address, "" where it may be. `allow_private` lets
    this machine and private networks pass, never link-local, metadata, multicast or reserved."""
    try:
        outer = ip_address(address)
    except ValueError:
        return "no IP address"
    if isinstance(outer, IPv6Address) and outer.scope_id is not None:
        return "an address of one network card"
    inner = _carried(outer)
    if never := _among(_NEVER, inner):
        return never
    if own := _among(_OWN, inner):
        return "" if allow_private else own
    routed = isinstance(inner, IPv4Address) or inner in _GLOBAL_UNICAST
    return "" if routed and inner.is_global else "a reserved address"


def _carried(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _among(
    kinds: Iterable[tuple[str, tuple[_Network, ...]]], address: IPv4Address | IPv6Address
) -> str:
    return next((why for why, nets in kinds if any(address in net for net in nets)), "")


def checked(url: str) -> str:
    """The URL without a slash at its end. Raises ConfigError where it is no http URL."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise ConfigError(f"{url!r} is no URL of a server: write it as http://127.0.0.1:1234/v1.")
    return url.rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether what is sent there stays on this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def shown(url: str) -> str:
    """A URL without the name and password that it may carry, for messages."""
    parts = urlsplit(url)
    return parts._replace(netloc=_netloc(parts)).geturl() if "@" in parts.netloc else url


def ollama_url(host: str) -> str:
    """OLLAMA_HOST as a URL to call: scheme and port filled in, and an address that a server
    listens on (0.0.0.0) made one that a client can reach."""
    scheme, _, rest = host.strip().rpartition("://")
    if rest.startswith(":") or not rest:
        rest = f"127.0.0.1{rest}"
    parts = urlsplit(checked(f"{scheme or 'http'}://{rest}"))
    port = parts.port or {"http": 80, "https": 443}.get(scheme, 11434)
    name = parts.hostname or ""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name, name)
    name = f"[{name}]" if ":" in name else name
    return f"{parts.scheme}://{name}:{port}{parts.path.rstrip('/')}"


def _netloc(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]
