"""Mail: a message (.eml, .msg), or a mailbox with a part for each. Attachments are named, not read.

All parts with text are read in their order: of alternatives the plain text, or the HTML where that
says more (RFC 2046, 5.1.4); a forwarded message with its own headers; an invitation with its time
and place. No more than 20,000 messages of a mailbox are read.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage, Message
from email.parser import BytesParser
from email.policy import EmailPolicy
from email.utils import parsedate_to_datetime
from io import BytesIO
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from agentkit.documents import Document, Part
from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.files import Loaded, escaped
from agentkit.knowledge.loaders.html import markdown_of
from agentkit.knowledge.loaders.text import decoded
from agentkit.text.terms import clean

_MOST_MESSAGES = 20_000
_MOST_PARTS = 200
_MOST_SEPARATORS = 5000
_MOST_HEADER = 1000
_MOST_PARSED = 4000
_MOST_WARNINGS = 20
_MOST_INNER = 2000
_DEEPEST = 5
_FIRST_MOMENT = datetime(1601, 1, 1, tzinfo=UTC)
_MOST_NAMES = 20
_UNREAD = ("text/rtf", "text/css", "text/javascript", "text/x-amp-html")
_MARKED_UP = ("text/enriched", "text/richtext")
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SNIFFED = 200
_TAG = re.compile(r"</?[A-Za-z-]{1,40}>")
_EVENTS = ("VEVENT", "VTODO", "VJOURNAL")
_PERSON = re.compile(r';CN=("[^"]*"|[^;:"]*)', re.IGNORECASE)
_WORD = re.compile(r"\w+")
_ADDRESS = re.compile(r"[^\s/@]+@[^\s/@]+")
_URL = re.compile(r"\b(?:https?|mailto):[^\s<>()]*")
_EVENT_FIELDS = {
    "SUMMARY": "Event",
    "DTSTART": "Start",
    "DTEND": "End",
    "LOCATION": "Location",
    "ORGANIZER": "Organizer",
    "ATTENDEE": "Attendee",
    "DESCRIPTION": "Description",
    "RRULE": "Repeats",
    "STATUS": "Status",
}
_MOMENT = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(?:\d\d)?(Z?))?")
_FOLDED = re.compile(r"\n[ \t]")
_ESCAPED = re.compile(r"\\([\\;,nN])")
_FROM_LINE = re.compile(rb"(?:\A|(?<=\n\n)|(?<=\n\r\n))From [^\r\n]*(?:\r?\n|\Z)")
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)


class _Bounded(EmailPolicy):
    """Truncates headers: the standard parser takes minutes for one of a megabyte."""

    def header_fetch_parse(self, name: str, value: str) -> Any:
        return super().header_fetch_parse(name, value[:_MOST_PARSED])


_POLICY = _Bounded()


@dataclass(frozen=True, slots=True)
class _Mail:
    headers: dict[str, str]
    body: str
    is_html: bool
    attachments: tuple[str, ...]

    @property
    def text(self) -> str:
        """The main headers, a blank line, the body."""
        lines = [f"{name.capitalize()}: {value}" for name, value in self.headers.items()]
        return "\n\n".join(block for block in ("\n".join(lines), self.body) if block)

    @property
    def warning(self) -> str:
        """The attachments in a line, "" where there are none."""
        if not self.attachments:
            return ""
        more = len(self.attachments) - _MOST_NAMES
        named = ", ".join(self.attachments[:_MOST_NAMES]) + (
            f" and {more} more" if more > 0 else ""
        )
        return f"attachments not read: {named}"


def load_mail(content: bytes, source: str) -> Loaded:
    """The subject is the title; sender, receiver and date (ISO) are metadata."""
    return _document(_mail(content), source)


def _document(mail: _Mail, source: str) -> Loaded:
    title = mail.headers.get("subject") or PurePosixPath(source).stem
    metadata = {name: value for name, value in mail.headers.items() if name != "subject"}
    document = Document(source, mail.text, title, metadata=metadata, format="text")
    document = replace(document, format="markdown") if mail.is_html else document
    return Loaded(document, (mail.warning,) if mail.warning else ())


def load_outlook(content: bytes, source: str) -> Loaded:
    """A message that Outlook saved (.msg): its headers and text, messages attached to it, and the
    names of what else is attached."""
    try:
        from olefile import OleFileIO
    except ImportError as error:
        raise KnowledgeError('needs pip install "agentkit-rag[office]"') from error

    try:
        with OleFileIO(BytesIO(content)) as file:
            attached: list[str] = []
            mail = _outlook(_Properties(file, [], 32), attached)
    except Exception as error:  # The library raises whatever a broken container makes it raise.
        raise KnowledgeError("damaged: open it in Outlook and save it again") from error
    return _document(replace(mail, attachments=tuple(attached)), source)


class _Properties:
    """The properties of a message, recipient or attachment ([MS-OXMSG], 2.4); `head` is the length
    before the entries of its list. Texts of 8 bits are in the code page that the message names."""

    def __init__(self, file: Any, folder: list[str], head: int, code_page: str = "") -> None:
        self._file, self._folder, self._fixed = file, folder, dict[int, bytes]()
        listing = self._stream("__properties_version1.0") or b""
        for at in range(head, len(listing) - 15, 16):
            tag = int.from_bytes(listing[at + 2 : at + 4], "little")
            self._fixed[tag] = listing[at + 8 : at + 16]
        self._code_page = code_page or _code_page(self.number(0x3FDE) or self.number(0x3FFD))

    def _stream(self, name: str) -> bytes | None:
        path = [*self._folder, name]
        is_stream = self._file.get_type(path) == 2
        return bytes(self._file.openstream(path).read()) if is_stream else None

    def number(self, tag: int) -> int:
        """A number or moment, 0 where it is not set."""
        return int.from_bytes(self._fixed.get(tag, b""), "little")

    def text(self, *tags: int) -> str:
        """The first of these texts that is not empty."""
        for tag in tags:
            if wide := self._stream(f"__substg1.0_{tag:04X}001F"):
                return clean(wide.decode("utf-16-le", errors="replace"))
            for kind in ("001E", "0102"):
                if narrow := self._stream(f"__substg1.0_{tag:04X}{kind}"):
                    return clean(decoded(narrow.rstrip(b"\0"), self._code_page))
        return ""

    def inner(self, prefix: str, head: int = 8) -> Iterator[_Properties]:
        """What stands in the folders whose name begins so."""
        depth = len(self._folder)
        paths = (path for path in self._file.listdir(streams=False, storages=True))
        for path in islice((p for p in paths if p[:depth] == self._folder), _MOST_INNER):
            if len(path) == depth + 1 and path[depth].startswith(prefix):
                yield _Properties(self._file, path, head, self._code_page)


def _code_page(number: int) -> str:
    if 28591 <= number <= 28606:
        return f"iso8859-{number - 28590}"
    return {65001: "utf-8", 20127: "ascii", 20866: "koi8-r"}.get(number, f"cp{number}")


def _outlook(message: _Properties, attached: list[str], depth: int = 0) -> _Mail:
    body = _Body(message.text(0x1000).strip())
    if html := message.text(0x1013):
        body = _richer(body, _Body(markdown_of(html)[0], True))
    to: dict[bool, list[str]] = {True: [], False: []}
    for recipient in message.inner("__recip_version1.0_"):
        named = _person(recipient, (0x3001,), (0x39FE, 0x3003))
        to[recipient.number(0x0C15) == 2] += [named] if named else []
    sender = _person(message, (0x0C1A, 0x0042), (0x5D01, 0x0C1F, 0x0065))
    if "@" not in sender and (sent_as := message.text(0x007D)):
        transported = BytesParser(policy=_POLICY).parsebytes(sent_as.encode(), headersonly=True)
        sender = _headers(transported).get("from", sender)
    sent = message.number(0x0039) or message.number(0x0E06)
    written = {
        "subject": message.text(0x0037),
        "from": sender,
        "to": ", ".join(to[False]),
        "cc": ", ".join(to[True]),
        "date": (_FIRST_MOMENT + timedelta(seconds=sent // 10**7)).isoformat() if sent else "",
    }
    bodies = [body]
    for attachment in message.inner("__attach_version1.0_"):
        inside = next(attachment.inner("__substg1.0_3701000D", 24), None)
        inner = inside and depth < _DEEPEST and _outlook(inside, attached, depth + 1)
        if inner and inner.text:
            bodies.append(_Body(f"Forwarded message\n{inner.text}", inner.is_html))
        else:
            name = attachment.text(0x3707, 0x3704, 0x3001, 0x370E)
            attached.append(" ".join(name.split()) or "a file")
    headers = {
        name: " ".join(value[:_MOST_HEADER].split()) for name, value in written.items() if value
    }
    return _Mail(headers, *_joined(bodies), ())


def _person(found: _Properties, names: Sequence[int], addresses: Sequence[int]) -> str:
    """A name with its address; entries of a directory (Exchange) are left out."""
    name = found.text(*names)
    address = next((a for tag in addresses if _ADDRESS.fullmatch(a := found.text(tag))), "")
    return f"{name} <{address}>" if address and name and name != address else address or name


def load_mailbox(content: bytes, source: str) -> Loaded:
    """The messages of an mbox file in order, each with its subject in its text."""
    pieces: list[str] = []
    parts: list[Part] = []
    warnings: list[str] = []
    length = 0
    messages = _messages(content)
    for number, raw in enumerate(islice(messages, _MOST_MESSAGES), start=1):
        try:
            mail = _mail(_QUOTED_FROM.sub(rb"\1", raw))
        except KnowledgeError as error:
            warnings.append(f"message {number}: {error}")
            continue
        parts.append(Part("message", str(number), length, length + len(mail.text)))
        pieces.append(f"{mail.text}\n\n")
        length += len(pieces[-1])
        if mail.warning:
            warnings.append(f"message {number}: {mail.warning}")
    if warnings and not parts:
        raise KnowledgeError(f"not a mailbox: {warnings[0]}")
    hidden = len(warnings) - _MOST_WARNINGS
    rest = [f"{hidden} more messages were not read whole"] if hidden > 0 else []
    if next(messages, None) is not None:
        rest.append(f"only the first {_MOST_MESSAGES} messages were read: split the file")
    stem = PurePosixPath(source).stem
    document = Document(source, "".join(pieces), stem, format="text", parts=tuple(parts))
    return Loaded(document, (*warnings[:_MOST_WARNINGS], *rest))


def _messages(content: bytes) -> Iterator[bytes]:
    """Between the lines that begin with "From " after a blank one."""
    begin: int | None = None
    for line in _FROM_LINE.finditer(content):
        if begin is not None:
            yield content[begin : line.start()]
        begin = line.end()
    if content.strip():
        yield content[begin or 0 :]


def _mail(content: bytes) -> _Mail:
    if content.startswith(_WIDE) or b"\0" in content[:_SNIFFED]:
        with suppress(KnowledgeError):
            content = decoded(content).encode()
    if content.count(b"\n--") - content.count(b"\n--- ") > _MOST_SEPARATORS:
        raise KnowledgeError(f"a mail of more than {_MOST_SEPARATORS} parts: save its text alone")
    try:
        message = BytesParser(policy=_POLICY).parsebytes(content)
        if sum(1 for _ in islice(message.walk(), _MOST_PARTS + 1)) > _MOST_PARTS:
            raise KnowledgeError(f"a mail of more than {_MOST_PARTS} parts: save its text alone")
        attached: list[str] = []
        body = _body(message, attached)
    except RecursionError as error:
        raise KnowledgeError("a mail nested too deep: forward its text") from error
    if content.strip() and not (message.keys() or body.text):
        raise KnowledgeError("not a mail: it has neither headers nor text")
    return _Mail(_headers(message), clean(body.text), body.is_markdown, tuple(attached))


class _Body(NamedTuple):
    """The text of a part, and whether it is Markdown."""

    text: str
    is_markdown: bool = False


_NOTHING = _Body("")


def _body(part: Message, attached: list[str]) -> _Body:
    """What a person reads of a part and the parts in it. The names of the others are added to
    `attached`."""
    kind = _kind(part)
    if kind == "message/rfc822":
        return _forwarded(part, attached)
    if kind == "message/delivery-status":
        return _Body(_fields(part))
    if part.is_multipart():
        inside = list(part.iter_parts()) if isinstance(part, EmailMessage) else []
        if kind == "multipart/alternative":
            return _best(inside, attached)
        return _joined([_body(piece, attached) for piece in inside])
    # A multipart without a boundary is the text that it holds.
    is_text = kind.startswith(("text/", "multipart/")) and kind not in _UNREAD
    if _quietly(part.get_content_disposition) == "attachment" or not is_text:
        attached.append(_file_name(part))
        return _NOTHING
    text = _text(part)
    if kind == "text/html":
        return _Body(markdown_of(text)[0], True)
    text = _TAG.sub("", text) if kind in _MARKED_UP else text
    return _Body(_calendar(text) if kind == "text/calendar" else text.strip())


def _fields(part: Message) -> str:
    """The fields of a delivery report: why a message was not delivered (RFC 3464)."""
    blocks = part.get_payload()
    messages = [b for b in blocks if isinstance(b, Message)] if isinstance(blocks, list) else []
    texts = (
        text
        for message in messages
        for text in ("\n".join(f"{n}: {v}" for n, v in message.raw_items()), _text(message))
    )
    return clean("\n\n".join(filter(None, map(str.strip, texts))))


def _best(alternatives: Sequence[Message], attached: list[str]) -> _Body:
    """The plain alternative or the richest one, and an invitation beside it."""
    bodies = [(_kind(part), _body(part, attached)) for part in alternatives]
    events = [body for kind, body in bodies if kind == "text/calendar"]
    bodies = [pair for pair in bodies if pair[0] != "text/calendar" and pair[1].text]
    plain = next((body for kind, body in bodies if kind == "text/plain"), None)
    richest = next((body for kind, body in reversed(bodies) if kind != "text/plain"), _NOTHING)
    return _joined([richest if plain is None else _richer(plain, richest), *events])


def _richer(plain: _Body, rich: _Body) -> _Body:
    """The plain text where it has four fifths of the words of the rich one, else that; both where
    the rich one is something else, such as a line that asks to see it elsewhere."""
    rich_words, words = (set(_WORD.findall(_URL.sub("", b.text))) for b in (rich, plain))
    both = len(rich_words & words)
    if both >= 0.8 * len(rich_words):
        return plain
    return rich if both >= 0.5 * len(words) else _joined([plain, rich])


def _joined(bodies: Sequence[_Body]) -> _Body:
    """Parts below each other; plain text among Markdown is escaped."""
    mixed = any(body.is_markdown for body in bodies)
    texts = (escaped(b.text) if mixed and not b.is_markdown else b.text for b in bodies)
    return _Body("\n\n".join(text for text in texts if text), mixed)


def _forwarded(part: Message, attached: list[str]) -> _Body:
    inner = part.get_payload()
    message = inner[0] if isinstance(inner, list) and inner else None
    if not isinstance(message, Message):
        return _NOTHING
    if not message.keys():  # It is encoded as a whole, against the rules.
        message["Content-Transfer-Encoding"] = str(part.get("Content-Transfer-Encoding", "7bit"))
        content = _quietly(lambda: message.get_payload(decode=True))
        message = BytesParser(policy=_POLICY).parsebytes(content or b"")
    mail = _Mail(_headers(message), *_body(message, attached), ())
    return _Body(f"Forwarded message\n{mail.text}", mail.is_html)


def _headers(message: Message) -> dict[str, str]:
    headers = {name: _header(message, name) for name in ("subject", "from", "to", "cc")}
    headers["date"] = _date(_header(message, "date"))
    return {name: value for name, value in headers.items() if value}


def _calendar(text: str) -> str:
    """The events of an invitation, a field in a line (RFC 5545), without alarms and time zones."""
    lines: list[str] = []
    inside = [""]
    for line in _FOLDED.sub("", text.replace("\r\n", "\n")).split("\n"):
        name, _, value = line.partition(":")
        if name.upper() in ("BEGIN", "END"):
            inside = [*inside, value.strip().upper()] if name.upper() == "BEGIN" else inside[:-1]
        field = _EVENT_FIELDS.get(name.partition(";")[0].upper())
        if field is None or not inside or inside[-1] not in _EVENTS:
            continue
        if person := _PERSON.search(name):
            value = f"{person[1].strip(chr(34))} <{value.strip().removeprefix('mailto:')}>"
        moment = _MOMENT.fullmatch(value.strip())
        if moment:
            year, month, day, hour, minute, zone = moment.groups("")
            value = f"{year}-{month}-{day}" + (f" {hour}:{minute}{zone}" if hour else "")
        if value.strip():
            lines.append(f"{field}: {_ESCAPED.sub(_unescaped, value.strip())}")
    return "\n".join(lines)


def _unescaped(match: re.Match[str]) -> str:
    return " " if match[1] in "nN" else match[1]


def _kind(part: Message) -> str:
    return str(_quietly(part.get_content_type))


def _file_name(part: Message) -> str:
    name = " ".join(str(_quietly(part.get_filename) or _kind(part)).split())
    return clean(name[:_MOST_HEADER])


def _text(part: Message) -> str:
    payload = _quietly(lambda: part.get_payload(decode=True))
    try:
        text = decoded(payload, str(_quietly(part.get_content_charset) or ""))
    except (KnowledgeError, TypeError):
        return ""
    return text.replace("\r\n", "\n")


def _header(message: Message, name: str) -> str:
    """A decoded header; the encoding of one sent as raw bytes, against the rules, is guessed."""
    raw = next((str(value) for key, value in message.raw_items() if key.lower() == name), "")
    try:
        plain = raw.encode("ascii", errors="surrogateescape")
        value = str(message[name] or "") if plain.isascii() else decoded(plain)
    except Exception:  # the standard parser fails on broken headers in many ways
        value = raw
    return " ".join(clean(value[:_MOST_HEADER]).split())


def _date(value: str) -> str:
    try:
        found: datetime = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""
    return found.isoformat()


def _quietly(ask: Any) -> Any:
    """The result of the standard parser, None where a broken header makes it fail."""
    try:
        return ask()
    except Exception:
        return None
