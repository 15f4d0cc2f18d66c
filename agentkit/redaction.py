"""Remove secrets from text that is printed, logged or given to a model: keys and tokens by their
forms, values of variables that are named like a secret, private keys, and what URLs carry besides
their place.

The forms of keys are those of gitleaks' rules (github.com/gitleaks/gitleaks). What a user writes
and what a tool returns as its result is not changed: redaction is for errors, logs and settings.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlsplit

HIDDEN = "***"

_LogArguments = tuple[object, ...] | Mapping[str, object] | None

_KEYS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(?:\b|(?<=%[0-9A-F]{2}))(?:"
    r"sk-(?:ant|proj|svcacct|admin|or|lf)-[\w*.-]{8,}"
    r"|(?:sk|gsk|pk|rk|xai|hf|nvapi|npm|pypi|whsec|glpat|dop_v1|r8|tvly|pplx|csk|fw"
    r"|pcsk|ntn|lin_api|sbp|shp(?:at|ss|ca|pa)|vercel_blob_rw|co|pa)[-_]"
    # A long part, or a cut by asterisks: names such as hf-notes-2024 have neither.
    r"(?=(?:[\w.-]{0,40}[-_.])?(?:(?=[a-zA-Z]{0,40}\d)[a-zA-Z0-9]{16}|[a-zA-Z0-9]{30})"
    r"|[\w.-]{0,40}\*)[\w*.-]{8,}"
    r"|AIza[\w-]{30,}|ya29\.[\w-]{16,}"
    r"|gh[oprsu]_\w{16,}|github_pat_\w{20,}|xox[a-z]-[\w-]{10,}|SG\.[\w-]{16,}\.[\w-]{16,}"
    r"|(?:AKIA|ASIA|ABIA|ACCA|AIDA|AROA)[A-Z0-9]{12,}"
    r"|AGE-SECRET-KEY-1\w{16,}|1//0[\w-]{20,}|(?:SK|dapi)[0-9a-f]{32}|pat\w{14}\.[0-9a-f]{64}"
    r"|dp\.(?:pt|st|ct)\.\w{20,}|\d{8,10}:AA[\w-]{30,}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}\.?[\w-]*)"
    r"|(?<=bot)\d{8,10}:AA[\w-]{30,}|(?<=hooks\.slack\.com/services/)[\w/]+"
    r"|(?<=/api/webhooks/)\d+/[\w-]+",
    re.DOTALL,
)
_HEADERS = re.compile(
    r"(?P<head>\b(?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?(?:bearer|basic|token|digest)?\s*"
    r"|\b(?:bearer|basic)\s+"
    r"(?=(?-i:[\w.~+/=-]+[A-Z*])|(?=(?-i:[a-z]*[^a-z\s]))[\w.~+/=-]{16}))[\w.~+/=*-]{8,}",
    re.IGNORECASE,
)
_COOKIES = re.compile(
    r"(?P<head>\b(?:set-)?cookie[\"']?\s*[:=]\s*[\"']?)(?=[\w.-]+=)[^\r\n\"']{8,}", re.IGNORECASE
)
_NAME = (
    r"(?:api|access|sharedaccess|secret|private|account|auth|signing|encryption|subscription)[ _-]?"
    r"key(?:[_-]id)?"
    r"|(?:access|auth|refresh|id|session|bearer|api|security)?[_-]?token|(?:client)?[_-]?secret"
    r"|passw(?:or)?d|passphrase|pwd|credentials?|sig|signature"
)
_ASSIGNED = re.compile(
    rf"(?P<head>(?<![a-z])(?:[\w-]{{0,40}}[_-])?(?:{_NAME})\\?[\"']?\s*"
    rf"(?:(?:provided|for '[^'\n]{{0,200}}')?(?:=>|[:=])\s*(?:\w{{1,20}}\()?\\?[\"']?"
    rf"|(?<=[\"']),\s*b?[\"'])"
    rf"|%3A%2F%2F[\w.]*%3A(?=[^\s%]+%40)|\s(?:-u|--user)[ =][\"']?[^\s:]+:"
    rf"|[?&](?:key|code|auth|session|sid)=|--[\w-]{{0,40}}(?:{_NAME})[ =])"
    rf"(?=\S*\d|\S{{20}})[^\s\"',;&)}}\]\\]{{8,}}",
    re.IGNORECASE,
)
_URL = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s\"'<>`|\\]+", re.IGNORECASE)
_PASSWORD = re.compile(r"^[a-z][a-z0-9+.-]{1,20}://[^\s/@:]*:([^\s/@]+)@", re.IGNORECASE)
_URL_END = ").,;:!?]}"
_HARMLESS = re.compile(r"api-version=[\w.-]{1,30}", re.IGNORECASE)
_VARIABLE = re.compile(
    r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|(?<![A-Z])PASS|PASSPHRASE|CREDENTIALS?|AUTHORIZATION)"
    r"(_ID|_BASE|_?\d+)?$",
    re.IGNORECASE,
)
_SHORT, _LONG = 4, 16
_FLAG = re.compile(rf"--?[\w-]*(?:{_NAME})$", re.IGNORECASE)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text without secrets: those given, which the caller knows, those of environment
    variables, and what looks like one. URLs lose user info, query and the values of fragments."""
    known = {line for secret in secrets for line in secret.splitlines() if len(line) >= _SHORT}
    known.update(line for secret in _variables() for line in secret.splitlines())
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    if "://" in text:
        text = _URL.sub(_redact_url, text)
    for pattern in (_HEADERS, _COOKIES, _ASSIGNED):
        text = pattern.sub(lambda found: found["head"] + HIDDEN, text)
    return _KEYS.sub(HIDDEN, text)


def redact_arguments(arguments: Sequence[str]) -> list[str]:
    """Redact a command line, also the argument after an option such as --api-key."""
    return [
        HIDDEN if _FLAG.fullmatch(before) and not each.startswith("-") else redact(each)
        for before, each in zip(("", *arguments), arguments, strict=False)
    ]


def is_secret_name(name: str) -> bool:
    """Whether a variable or setting is named like a secret."""
    return bool(_VARIABLE.search(name))


def display_url(url: str) -> str:
    """Return a URL as messages name it: without user name, password, query and fragment."""
    parts = urlsplit(url)
    netloc = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=netloc, query="", fragment="").geturl()


def get_logger(name: str) -> logging.Logger:
    """The logger of that name, whose records and tracebacks are redacted."""
    logger = logging.getLogger(name)
    if not any(isinstance(each, _RedactingFilter) for each in logger.filters):
        logger.addFilter(_RedactingFilter())
    return logger


class _RedactingFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if (text := redact(record.getMessage())) != record.getMessage():
            record.args = _redact_values(record.args)
            if record.getMessage() != redact(record.getMessage()):  # a secret across arguments
                record.msg, record.args = text, ()
        if record.exc_info and not record.exc_text:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        return True


for _library in (
    *("httpx", "httpx2", "openai._base_client", "mcp.client.streamable_http", "mcp.client.sse"),
    *("uvicorn.access", "hypercorn.access", "aiohttp.access"),
):
    get_logger(_library)


def _redact_values(args: _LogArguments) -> _LogArguments:
    """Redact each argument of a log record. Their number and kinds stay, which formatters such as
    uvicorn's unpack; an object whose text has a secret becomes that text, redacted."""
    if isinstance(args, Mapping):
        return {name: _redact_value(value) for name, value in args.items()}
    return tuple(map(_redact_value, args or ()))


def _redact_value(value: object) -> object:
    text = str(value)
    return value if (redacted := redact(text)) == text else redacted


def _variables() -> list[str]:
    """The values of environment variables that are secrets by their names, and no plain words, and
    the passwords of those that are URLs."""
    found = [
        value
        for name, value in os.environ.items()
        if is_secret_name(name) and not os.path.isabs(value)
    ]
    found += [match[1] for value in os.environ.values() if (match := _PASSWORD.search(value))]
    return [
        value
        for value in found
        if len(value) >= _LONG or (len(value) >= 8 and any(map(str.isdigit, value)))
    ]


def _redact_url(found: re.Match[str]) -> str:
    url = found.group()
    ending = url[len(url.rstrip(_URL_END)) :]
    place, question, query = url[: len(url) - len(ending)].partition("?")
    place, hash_, fragment = place.partition("#")
    query = query.partition("#")[0] if question else query
    scheme, _, rest = place.partition("://")
    host, slash, path = rest.partition("/")
    place = f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
    place += hash_ + (HIDDEN if "=" in fragment else fragment)
    kept = query if not query or _HARMLESS.fullmatch(query) else HIDDEN
    return f"{place}{question}{kept}{ending}"
