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
from datetime import datetime
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
_MOST_NAMES = 20
_UNREAD = ("text/rtf", "text/css", "text/javascript", "text/x-amp-html")
_MARKED_UP = ("text/enriched", "text/richtext")
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SNIFFED = 200
_TAG = re.compile(r"</?[A-Za-z-]{1,40}>")
_EVENTS = ("VEVENT", "VTODO", "VJOURNAL")
_PERSON = re.compile(r';CN=("[^"]*"|[^;:"]*)', re.IGNORECASE)
_WORD = re.compile(r"\w+")
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
    """A message that Outlook saved (.msg): its headers, text and the names of what is attached."""
    try:
        import oxmsg
    except ImportError as error:
        raise KnowledgeError('needs pip install "agentkit-rag[office]"') from error

    try:
        message = oxmsg.Message.load(BytesIO(content))
        body = _Body((message.body or "").strip())
        if message.html_body:
            body = _richer(body, _Body(markdown_of(message.html_body)[0], True))
        sent = message.sent_date.isoformat() if message.sent_date else ""
        to = ", ".join(f"{r.name} <{r.email_address}>" for r in message.recipients)
        written = {"subject": message.subject, "from": message.sender, "to": to, "date": sent}
        attached = [clean(a.file_name or a.mime_type or "a file") for a in message.attachments]
    except Exception as error:  # The library raises whatever a broken container makes it raise.
        raise KnowledgeError("damaged: open it in Outlook and save it again") from error
    headers = {
        name: " ".join(clean(value[:_MOST_HEADER]).split())
        for name, value in written.items()
        if value
    }
    return _document(_Mail(headers, clean(body.text), body.is_markdown, tuple(attached)), source)


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
    fields = ("\n".join(f"{name}: {value}" for name, value in m.raw_items()) for m in messages)
    return clean("\n\n".join(filter(None, fields)))


def _best(alternatives: Sequence[Message], attached: list[str]) -> _Body:
    """The plain alternative if it has four fifths of the words of the richest one, else that; and
    an invitation beside it."""
    bodies = [(_kind(part), _body(part, attached)) for part in alternatives]
    events = [body for kind, body in bodies if kind == "text/calendar"]
    bodies = [pair for pair in bodies if pair[0] != "text/calendar" and pair[1].text]
    plain = next((body for kind, body in bodies if kind == "text/plain"), None)
    richest = next((body for kind, body in reversed(bodies) if kind != "text/plain"), _NOTHING)
    return _joined([richest if plain is None else _richer(plain, richest), *events])


def _richer(plain: _Body, rich: _Body) -> _Body:
    """The plain text where it has four fifths of the words of the rich one, else that."""
    words = set(_WORD.findall(rich.text))
    return plain if len(words & set(_WORD.findall(plain.text))) >= 0.8 * len(words) else rich


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
