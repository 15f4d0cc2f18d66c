"""Loopback addresses, and OLLAMA_HOST as a URL."""

from __future__ import annotations

import pytest

from agentkit.addresses import is_loopback, normalize_url, ollama_url
from agentkit.errors import ConfigError
from agentkit.redaction import display_url


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://localhost/v1", "http://[::1]:8080", "http://127.9.9.9"]
)
def test_these_addresses_stay_on_this_machine(url: str) -> None:
    assert is_loopback(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1",
        "https://api.openai.com/v1",
        "http://localhost.example.com",
        "http://127.0.0.1@example.com",
        "http://0.0.0.0:1",
        "",
    ],
)
def test_these_addresses_do_not(url: str) -> None:
    assert not is_loopback(url)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8000", "http://127.0.0.1:8000"),
        (":8000", "http://127.0.0.1:8000"),
        ("box", "http://box:11434"),
        ("box:1", "http://box:1"),
        ("http://box", "http://box:80"),
        ("https://box/ollama/", "https://box:443/ollama"),
        ("[::]:11434", "http://[::1]:11434"),
        ("http://127.0.0.1:11435", "http://127.0.0.1:11435"),
        ("localhost:11434", "http://localhost:11434"),
        ("localhost:11434/v1", "http://localhost:11434"),
        ("http://box:1/v1/", "http://box:1"),
        ("http://box:1/api/chat", "http://box:1"),
        ("https://box/ollama/v1/chat/completions", "https://box:443/ollama"),
        ('"127.0.0.1:1"', "http://127.0.0.1:1"),
        (" 0.0.0.0 ", "http://127.0.0.1:11434"),
        ("127.0.0.1:", "http://127.0.0.1:11434"),
        ("::", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::1]:1", "http://[::1]:1"),
        ("HTTPS://box", "https://box:443"),
        ("/v1", "http://127.0.0.1:11434"),
        ("http://me:secret@box:1/v1", "http://me:secret@box:1"),
    ],
)
def test_ollama_host_becomes_a_url_to_call(host: str, url: str) -> None:
    assert ollama_url(host) == url


@pytest.mark.parametrize("host", ["box:port", "ftp://box", "http://[bad"])
def test_an_ollama_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="Invalid server URL"):
        ollama_url(host)


def test_a_password_in_a_url_is_hidden() -> None:
    assert display_url("http://me:secret@box:1/v1") == "http://box:1/v1"


def test_a_sound_url_loses_only_its_last_slash() -> None:
    assert normalize_url("http://box/v1/") == "http://box/v1"
