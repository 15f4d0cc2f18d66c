"""Messages that Outlook saved: texts in any encoding, people, dates and attached messages."""

from struct import pack

import pytest

from agentkit.knowledge.loaders.files import parse
from tests.knowledge.loaders.parts import compound_file

SENT = 0x01D4_4B6C_0000_0000
"""The moment 2018-09-13 in units of 100 ns since 1601."""


def _listing(head: int, **numbers: int) -> bytes:
    entries = (pack("<HHIQ", 3, int(tag[1:], 16), 6, value) for tag, value in numbers.items())
    return bytes(head) + b"".join(entries) + bytes(4096)


def _text(tag: str, text: str, encoding: str = "") -> tuple[str, bytes]:
    kind = "001E" if encoding else "001F"
    wide = text.ljust(2048).encode("utf-16-le")
    return f"__substg1.0_{tag}{kind}", text.encode(encoding) if encoding else wide


@pytest.mark.parametrize(
    ("encoding", "code_page", "text"),
    [
        ("", 1252, "Grüße 中文"),
        ("cp1251", 1251, "Тема: автоматически"),
        ("cp950", 950, "會議通知：明天早上九點"),
        ("gbk", 936, "会议通知：明天早上九点"),
        ("cp932", 932, "会議のお知らせ"),
        ("iso8859-2", 28592, "Příští týden"),
        ("utf-8", 65001, "Über die Brücke"),
    ],
)
def test_texts_are_in_the_encoding_that_the_message_names(
    encoding: str, code_page: int, text: str
) -> None:
    streams = dict([_text("0037", text, encoding), _text("1000", f"{text} Body", encoding)])
    streams["__properties_version1.0"] = _listing(32, x3FFD=code_page)
    document = parse(compound_file(streams), "a.msg").document
    assert document.title == text
    assert document.text.endswith(f"{text} Body")


def test_an_attached_message_is_read_with_its_headers_and_a_file_is_named() -> None:
    folder = "__attach_version1.0_#0000000"
    inner = f"{folder}0/__substg1.0_3701000D"
    streams = {
        **dict([_text("0037", "Fwd: Offer"), _text("1000", "See below."), _text("0C1A", "Ada")]),
        **dict([_text("0C1F", "/O=FIRM/CN=ADA"), _text("007D", "From: Ada <ada@firm.example>")]),
        "__properties_version1.0": _listing(32, x0039=SENT),
        "__recip_version1.0_#00000000/__properties_version1.0": _listing(8, x0C15=2),
        "__recip_version1.0_#00000000/" + _text("3001", "Bob")[0]: _text("3001", "Bob")[1],
        f"{inner}/__properties_version1.0": _listing(24),
        f"{inner}/{_text('0037', '')[0]}": _text("0037", "Offer")[1],
        f"{inner}/{_text('1000', '')[0]}": _text("1000", "It costs 420 EUR.")[1],
        f"{folder}1/{_text('3707', '')[0]}": _text("3707", "plan.dwg")[1],
    }
    loaded = parse(compound_file(streams), "a.msg")
    sent = loaded.document.metadata["date"]
    assert loaded.document.text.split("\n\n") == [
        f"Subject: Fwd: Offer\nFrom: Ada <ada@firm.example>\nCc: Bob\nDate: {sent}",
        "See below.",
        "Forwarded message\nSubject: Offer",
        "It costs 420 EUR.",
    ]
    assert str(sent).startswith("2018-09-1")
    assert loaded.warnings == ("attachments not read: plan.dwg",)
