"""Where a model server lives: which addresses stay on this machine, and what may be shown."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from agentkit.errors import ConfigError


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
