"""URLs and hosts: validation, loopback addresses, and OLLAMA_HOST."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from agentkit.errors import ConfigError


def normalize_url(url: str) -> str:
    """Return a server's URL without a slash at its end. Raises ConfigError for an invalid one."""
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ConfigError(f"Invalid server URL {url!r}: write it as http://127.0.0.1:1234/v1.")
    return url.rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether what is sent there stays on this machine."""
    return is_loopback_host(urlsplit(url).hostname or "")


def is_loopback_host(host: str) -> bool:
    """Whether a name or an address is this machine's own."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def is_address(host: str) -> bool:
    """Whether a host is an IP address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def host_of(authority: str) -> str:
    """The host of HOST or HOST:PORT, "" where it is neither."""
    found = re.fullmatch(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?", authority.lower())
    return found[1].strip("[]") if found else ""


_OLLAMA_ROUTE = re.compile(r"/(v1|api)(/[a-z/]*)?$")


def ollama_url(host: str) -> str:
    """Convert OLLAMA_HOST or the address of a route (/v1, /api) to a URL to call: with scheme and
    port, and with the loopback address in place of one that a server listens on (0.0.0.0)."""
    scheme, _, rest = host.strip(" \t\r\n\"'").rpartition("://")
    rest = _OLLAMA_ROUTE.sub("", rest.rstrip("/"))
    if rest.count(":") > 1 and "[" not in rest and "@" not in rest:
        rest = f"[{rest}]"
    if rest.startswith((":", "/")) or not rest:
        rest = f"127.0.0.1{rest}"
    parts = urlsplit(normalize_url(f"{scheme or 'http'}://{rest}"))
    port = parts.port or {"http": 80, "https": 443}.get(scheme.lower(), 11434)
    name = parts.hostname or ""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name, name)
    name = f"[{name}]" if ":" in name else name
    user = parts.netloc[: parts.netloc.rfind("@") + 1]
    return f"{parts.scheme}://{user}{name}:{port}{parts.path.rstrip('/')}"
