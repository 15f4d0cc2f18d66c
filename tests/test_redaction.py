"""No secret in errors, logs and what is printed of settings."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from uvicorn.logging import AccessFormatter

import agentkit
from agentkit import Agent, tool
from agentkit.backends.scripted import ScriptedModel
from agentkit.errors import ConfigError, ToolError
from agentkit.findings import Finding
from agentkit.messages import ToolCall
from agentkit.redaction import display_url, get_logger, redact, redact_arguments
from tests import planted

KEY = "sk-proj-abcdefgh12345678"


_PROVIDERS = [
    *("1//0gabcdefghijklmnopqrstuvwxyz-ABCD", "AGE-SECRET-KEY-1" + "QPZRY9X8" * 7),
    *("pa-" + "aB3dE5gH" * 5, "co_" + "aB3dE5gH" * 5, "pcsk_aB3dE_" + "aB3dE5gH" * 7),
    *("ntn_" + "123456aB" * 6, "lin_api_" + "aB3d" * 10, "sbp_" + "a1b2c3d4" * 5),
    *("vercel_blob_rw_" + "aB3d" * 10, "dapi" + "0123456789abcdef" * 2),
    *("dp.pt." + "aB3dE5gH" * 5, "shpat_" + "0123456789abcdef" * 2),
    *("SK" + "0123456789abcdef" * 2, "pataB3dE5gH1jK2mN." + "a1b2c3d4" * 8),
]
"""Keys of providers, by the forms of gitleaks' rules."""


@pytest.mark.parametrize("form", planted.TEXTS)
def test_a_secret_of_each_form_is_replaced_in_errors_and_findings(form: str) -> None:
    text = planted.TEXTS[form]
    for redacted in (
        str(ConfigError(text)),
        str(ToolError(text)),
        Finding("ok", "p", text).message,
    ):
        assert planted.SECRETS[form] not in redacted
        assert "***" in redacted or "db.example/x" in redacted


@pytest.mark.parametrize("form", planted.TEXTS)
def test_a_secret_is_replaced_in_json_too(form: str) -> None:
    import json

    assert planted.found_in(redact(json.dumps({"error": planted.TEXTS[form]}))) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://me:p@ss@db:5/x", "postgresql://db:5/x"),
        ("(see https://a.example/b?sig=1).", "(see https://a.example/b?***)."),
        ("http://[::1]:8/x?y=z next", "http://[::1]:8/x?*** next"),
        ("https://a/cb#access_token=abc&x=1", "https://a/cb#***"),
        (
            "SharedAccessKeyName=r;SharedAccessKey=abc123def456=",
            "SharedAccessKeyName=r;SharedAccessKey=***",
        ),
        (
            "https://api.telegram.org/bot123456789:AA" + "b" * 33 + "/x",
            "https://api.telegram.org/bot***/x",
        ),
        (
            "https://hooks.slack.com/services/T0AB/B0CD/abc123",
            "https://hooks.slack.com/services/***",
        ),
        (
            "https://discord.com/api/webhooks/12345/abc-123_x",
            "https://discord.com/api/webhooks/***",
        ),
        ("curl -u user:abc123def456 x", "curl -u user:*** x"),
        ("password=SecretStr('abc123def456')", "password=SecretStr('***')"),
        ("https%3A%2F%2Fu%3Aabc123def456%40h%2Fx", "https%3A%2F%2Fu%3A***"),
        ("Password for 'https://h': abc123def456", "Password for 'https://h': ***"),
        ("Incorrect API key provided: abc123def456.", "Incorrect API key provided: ***"),
        *((key, "***") for key in _PROVIDERS),
        ("https://a/page#part-2", "https://a/page#part-2"),
        ("https://a/v1?api-version=2024-10-21", "https://a/v1?api-version=2024-10-21"),
        ("Basic dXNlcjpwYXNz", "Basic ***"),
        ("proxy-authorization: Basic dXNlcjpwYXNz", "proxy-authorization: Basic ***"),
        ('{\\"client_secret\\": \\"abc123def456\\"}', '{\\"client_secret\\": \\"***\\"}'),
        ("password='hunter2hunter2'", "password='***'"),
        ("xoxb-123456789012-abc", "***"),
        ("Cookie: sid=abc123def456; theme=dark", "Cookie: ***"),
        ("(b'x-api-key', b'0123abcd4567')", "(b'x-api-key', b'***')"),
        ("GET /v1/models?key=0123abcd4567&a=1", "GET /v1/models?key=***&a=1"),
        ("redirect%3Fkey%3Dsk-proj-abcdefgh1234", "redirect%3Fkey%3D***"),
        ("hf_aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgHi", "***"),
    ],
)
def test_credentials_of_other_forms_are_replaced(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Set the environment variable OPENAI_API_KEY to a valid key.",
        "max_tokens=4096000000, token: none, signature: required",
        "basic understanding of bearer instruments",
        "the package sk-learn-based and risk-of-failure-2020",
        "C:\\keys\\monkey=12345678 or design=12345678",
        "commit 0123456789abcdef0123456789abcdef01234567",
        "data:image/png;base64,AAECAwQFBg/skAbc123XYZ4567+hfQ9r8s7T6/pk12345678rk87654321==",
        "123e4567-e89b-12d3-a456-426614174000 sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
        "hf-notes-2024.md, pk_index_2024_01, npm-run-all2, fw-upgrade-2024.pdf, sk_learn-1.2.3",
        "a basic understanding2 and the bearer capacity2024",
        "the cookie: a recipe = flour",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_values_of_variables_that_are_named_like_a_secret_are_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORK_PASSWORD", "correct 4 horse battery")
    monkeypatch.setenv("WORK_KEY", "plain")
    monkeypatch.setenv("SSH_KEY", "/home/me/.ssh/id_ed25519")
    text = "correct 4 horse battery in plain /home/me/.ssh/id_ed25519"
    assert redact(text) == "*** in plain /home/me/.ssh/id_ed25519"


def test_the_password_of_a_variable_that_is_a_url_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:proxy4711pw@proxy.example:3128")
    assert redact("407 for me with proxy4711pw at proxy.example") == (
        "407 for me with *** at proxy.example"
    )


def test_secrets_that_the_caller_knows_are_replaced_line_by_line() -> None:
    assert redact("a key1 b\nkey2 c", ["key1\nkey2"]) == "a *** b\n*** c"


def test_a_url_is_displayed_without_what_it_carries() -> None:
    assert display_url("http://me:secret@box:1/v1?key=x#y") == "http://box:1/v1"


def test_the_argument_after_an_option_for_a_secret_is_replaced() -> None:
    given = ["run", "--api-key", "abc", "--port", "8", "-t", "--token=abc123def"]
    expected = ["run", "--api-key", "***", "--port", "8", "-t", "--token=***"]
    assert redact_arguments(given) == expected
    assert redact_arguments([]) == []


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that is logged, at every level."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield written
    root.removeHandler(handler)
    root.setLevel(level)


async def test_the_traceback_of_a_tool_is_logged_without_secrets(log: io.StringIO) -> None:
    @tool
    def leak() -> str:
        """Fail."""
        try:
            raise ValueError("\n".join(planted.TEXTS.values()))
        except ValueError as error:
            raise RuntimeError(f"twice: {error}") from error

    model = ScriptedModel([ToolCall("1", "leak", {}), "done"])
    await Agent(model, [leak]).run("?")
    assert "Traceback" in log.getvalue()
    assert planted.found_in(log.getvalue()) == []
    assert planted.found_in(str(model.requests)) == []


def test_the_requests_of_http_libraries_are_logged_without_queries(log: io.StringIO) -> None:
    url = "https://me:secret-1@api.example/v1?key=secret-2"
    for name in ("httpx", "httpx2"):
        logging.getLogger(name).info('HTTP Request: %s %s "%s %d %s"', "GET", url, "HTTP", 200, "")
    assert "https://api.example/v1?***" in log.getvalue()
    assert "secret" not in log.getvalue()


def test_the_access_log_of_an_application_keeps_its_fields() -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(AccessFormatter("%(client_addr)s %(request_line)s %(status_code)s"))
    logger = logging.getLogger("uvicorn.access")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        for target in ("/ask?question=refund", "/ask?api_key=abcd1234efgh5678"):
            logger.info('%s - "%s %s HTTP/%s" %d', "127.0.0.1:1", "POST", target, "1.1", 200)
    finally:
        logger.removeHandler(handler)
    assert written.getvalue().splitlines() == [
        "127.0.0.1:1 POST /ask?question=refund HTTP/1.1 200 OK",
        "127.0.0.1:1 POST /ask?api_key=*** HTTP/1.1 200 OK",
    ]


@pytest.mark.parametrize(
    ("message", "args", "expected"),
    [
        ("%(name)s failed: %(reason)s", {"name": "a", "reason": KEY}, "a failed: ***"),
        ("%s: %s", (ValueError(KEY), 3), "***: 3"),
        ("api_key=%s", ("abcd1234efgh5678",), "api_key=***"),
        (f"failed: {KEY}", (), "failed: ***"),
        ("100 %", (), "100 %"),
    ],
)
def test_a_secret_in_any_part_of_a_log_record_is_redacted(
    log: io.StringIO, message: str, args: tuple[object, ...] | dict[str, object], expected: str
) -> None:
    get_logger("agentkit.testing").warning(message, *([args] if isinstance(args, dict) else args))
    assert log.getvalue() == f"{expected}\n"


def test_every_logger_of_the_package_redacts() -> None:
    package = Path(agentkit.__file__).parent
    plain = [
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "logging.getLogger(__name__)" in path.read_text(encoding="utf-8")
    ]
    assert plain == []
