"""Mail and mailboxes: what a person reads of them."""

from base64 import encodebytes
from email.message import EmailMessage
from email.mime.image import MIMEImage
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

import pytest

from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.mail import load_mail, load_mailbox
from tests.knowledge.loaders.parts import assert_in_order, texts


def _message(subject: str = "会议纪要", body: str = "周三下午三点开会。\n") -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = "李雷 <lilei@example.org>"
    message["To"] = "hanmeimei@example.org"
    message["Date"] = "Tue, 05 Mar 2024 10:00:00 +0800"
    message.set_content(body)
    return message


def test_the_subject_is_the_title_and_the_headers_are_metadata() -> None:
    document = load_mail(bytes(_message()), "a.eml").document
    assert document.title == "会议纪要"
    assert document.metadata == {
        "from": "李雷 <lilei@example.org>",
        "to": "hanmeimei@example.org",
        "date": "2024-03-05T10:00:00+08:00",
    }
    assert document.text.startswith("Subject: 会议纪要\nFrom: 李雷")
    assert document.text.endswith("\n\n周三下午三点开会。")


@pytest.mark.parametrize(
    ("plain", "html", "right"),
    [
        ("The price is 99 EUR.", "<p>The price is <b>99</b> EUR.</p>", "The price is 99 EUR."),
        ("Your program shows no HTML.", "<h1>Price</h1><p>99 EUR</p>", "# Price\n\n99 EUR"),
        ("See below.", "<p>See below.</p><table><tr><td>Pump<td>99 EUR</table>", "Pump | 99 EUR"),
    ],
)
def test_of_alternatives_the_plain_text_is_read_unless_the_html_says_more(
    plain: str, html: str, right: str
) -> None:
    both = _message(body=plain)
    both.add_alternative(html, subtype="html")
    text = load_mail(bytes(both), "a.eml").document.text
    assert right in text
    assert text.count("99 EUR") == 1


@pytest.mark.parametrize(
    "html",
    [
        "<p>Please view this message in your browser</p>",
        "<p>hello world</p>",
        '<p>Bezahlen Sie <a href="https://shop.example/pay?id=14">online</a></p>',
    ],
)
def test_of_alternatives_that_differ_both_are_read(html: str) -> None:
    both = _message(body="Your invoice of 14 March is due: 420 EUR until Friday.\n")
    both.add_alternative(html, subtype="html")
    text = load_mail(bytes(both), "a.eml").document.text
    assert "420 EUR until Friday" in text
    assert html.partition(">")[2].split()[0] in text


def test_a_report_of_a_failed_delivery_has_its_reason_and_its_fields() -> None:
    report = (
        b"Subject: Returned mail\nContent-Type: multipart/report; boundary=b\n\n"
        b"--b\nContent-Type: message/delivery-status\n\nIt was not delivered: mailbox full.\n\n"
        b"--b\nContent-Type: message/delivery-status\n\nAction: failed\nStatus: 5.2.2\n\n--b--\n"
    )
    text = load_mail(report, "a.eml").document.text
    assert text.endswith("It was not delivered: mailbox full.\n\nAction: failed\nStatus: 5.2.2")


def test_a_mail_of_html_alone_is_markdown() -> None:
    only = _message()
    only.set_content("<h1>Title</h1><p>html words</p><script>x</script>", subtype="html")
    document = load_mail(bytes(only), "a.eml").document
    assert document.text.endswith("# Title\n\nhtml words")
    assert document.format == "markdown"


def _multipart(kind: str, *parts: Any) -> bytes:
    mail = MIMEMultipart(kind)
    mail["Subject"] = "Quote"
    for part in parts:
        mail.attach(part)
    return mail.as_bytes()


IMAGE = MIMEImage(b"\x89PNG\r\n\x1a\n", "png")
INNER = _message("Delivery", "The delivery is on 14 March.\n")
INVITATION = """BEGIN:VCALENDAR
BEGIN:VTIMEZONE
BEGIN:STANDARD
DTSTART:16010101T030000
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
SUMMARY:Review\\, part
  two
DTSTART;TZID=Europe/Berlin:20250314T093000
LOCATION:Room 4
ATTENDEE;CN="Lee, Bob";PARTSTAT=ACCEPTED:mailto:bob@example.org
BEGIN:VALARM
DESCRIPTION:Reminder
END:VALARM
END:VEVENT
END:VCALENDAR
"""


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (_multipart("mixed", MIMEText("Hi"), MIMEText("<p>42 EUR</p>", "html")), ["Hi", "42 EUR"]),
        (_multipart("mixed", MIMEText("Hi"), IMAGE, MIMEText("<p>9 EUR</p>", "html")), ["9 EUR"]),
        (
            _multipart("alternative", MIMEText("Offer"), MIMEMultipart("related", _subparts=[
                MIMEText("<p>Offer</p>", "html"), IMAGE, MIMEText("<p>until 1 May</p>", "html"),
            ])),
            ["until 1 May"],
        ),
        (
            _multipart("mixed", MIMEText("FYI"), MIMEMessage(INNER)),
            ["FYI", "From: ", "lilei@example.org", "Date: 2024-03-05T10:00:00+08:00", "14 March"],
        ),
        (
            _multipart("mixed", MIMEMessage(_message("Fwd", "outer")), MIMEText("# 5 items")),
            ["outer", "# 5 items"],
        ),
        (
            _multipart("alternative", MIMEText("Join"), MIMEText(INVITATION, "calendar")),
            ["Join", "Event: Review, part two", "Start: 2025-03-14 09:30", "Location: Room 4"],
        ),
        (_multipart("signed", MIMEText("Signed"), MIMEText("x", "x-signature")), ["Signed"]),
        (_multipart("mixed", MIMEText("Hi"), MIMEText("**9 EUR**", "markdown")), ["**9 EUR**"]),
        (_multipart("mixed", MIMEText("<bold>9 EUR</bold>", "enriched")), ["9 EUR"]),
        (
            _multipart("alternative", MIMEText("<p>Now 9 EUR</p>", "html"), MIMEText("Offer")),
            ["9 EUR"],
        ),
        (b"Content-Type: multipart/mixed\n\n--Q\n\n9 EUR\n--Q--\n", ["9 EUR"]),
        (b"Cc: gina@example.org\n\nHi", ["Cc: gina@example.org"]),
        (
            b'Content-Type: multipart/report; boundary="Q"\n\n--Q\n\nFailed\n--Q\nContent-Type: '
            b"message/delivery-status\n\nReporting-MTA: dns; x\n\nFinal-Recipient: rfc822; b@x\n"
            b"Status: 5.1.1\n\n--Q--\n",
            ["Failed", "Final-Recipient: rfc822; b@x", "Status: 5.1.1"],
        ),
        (
            b'Content-Type: multipart/mixed; boundary="Q"\n\n--Q\nContent-Type: message/rfc822\n'
            b"Content-Transfer-Encoding: base64\n\n"
            + encodebytes(b"From: carol@example.org\n\nOn 14 March.\n") + b"\n--Q--\n",
            ["carol@example.org", "14 March"],
        ),
    ],
)  # fmt: skip
def test_all_parts_with_text_are_read(content: bytes, wanted: list[str]) -> None:
    text = load_mail(content, "a.eml").document.text
    assert [right for right in wanted if right not in text] == []


def test_an_invitation_has_its_people_and_neither_alarms_nor_time_zones() -> None:
    content = _multipart("mixed", MIMEText(INVITATION, "calendar"))
    text = load_mail(content, "a.eml").document.text
    assert "Attendee: Lee, Bob <bob@example.org>" in text
    assert "1601" not in text
    assert "Reminder" not in text


def test_attachments_are_named_and_not_read() -> None:
    message = _message()
    message.add_attachment(b"secret", maintype="application", subtype="pdf", filename="报价.pdf")
    message.add_attachment("notes inside", filename="notes.txt")
    loaded = load_mail(bytes(message), "a.eml")
    assert loaded.warnings == ("attachments not read: 报价.pdf, notes.txt",)
    assert "notes inside" not in loaded.document.text


@pytest.mark.parametrize("charset", ["gb2312", "big5", "utf-8", "no-such-charset", "us-ascii"])
def test_the_charset_is_honoured_and_a_wrong_one_survived(charset: str) -> None:
    text = (
        "圖書館在星期一休息，請勿前來。" if charset == "big5" else "图书馆在星期一休息，请不要来。"
    )
    encoding = charset if charset in ("big5", "utf-8") else "gb18030"
    content = f"Content-Type: text/plain; charset={charset}\n\n{text}".encode(encoding)
    assert load_mail(content, "a.eml").document.text == text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_mail_saved_in_wide_characters_is_read(encoding: str) -> None:
    content = "Subject: Quote\nFrom: a@example.org\n\n9 EUR\n".encode(encoding)
    assert load_mail(content, "a.eml").document.text.endswith("\n\n9 EUR")


def test_a_subject_in_bare_bytes_is_read() -> None:
    content = "Subject: 关于明天会议的通知\n\nx".encode("gb18030")
    assert load_mail(content, "a.eml").document.title == "关于明天会议的通知"


def test_a_mailbox_has_a_part_for_each_message() -> None:
    messages = [_message("一"), _message("二", "first line\n\nFrom here on, quoted.\n")]
    messages[0].add_attachment(b"x", maintype="image", subtype="png", filename="a.png")
    content = b"".join(
        b"From a Tue Mar  5 10:00:00 2024\n" + bytes(m).replace(b"\nFrom ", b"\n>From ") + b"\n"
        for m in messages
    )
    loaded = load_mailbox(content, "inbox.mbox")
    assert_in_order(loaded.document)
    first, second = texts(loaded.document)
    assert first.startswith("Subject: 一\n")
    assert second.endswith("first line\n\nFrom here on, quoted.")
    assert [part.name for part in loaded.document.parts] == ["1", "2"]
    assert loaded.warnings == ("message 1: attachments not read: a.png",)


def test_the_messages_past_the_limit_are_stated_to_be_left_out() -> None:
    loaded = load_mailbox(b"From a\n\nx\n\n" * 20_001, "a.mbox")
    assert len(loaded.document.parts) == 20_000
    assert "20000" in loaded.warnings[-1]


@pytest.mark.parametrize("load", [load_mail, load_mailbox])
def test_an_empty_file_is_an_empty_text(load: Any) -> None:
    assert load(b"", "a.eml").document.text == ""


@pytest.mark.parametrize("load", [load_mail, load_mailbox])
def test_binary_data_is_no_mail(load: Any) -> None:
    with pytest.raises(KnowledgeError, match="not a mail"):
        load(bytes(range(256)), "a.eml")


NESTED = b"".join(
    b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (n, n) for n in range(2000)
)


@pytest.mark.parametrize(
    "content",
    [
        NESTED,
        b"Content-Type: " + b"(" * 100_000 + b"\n\nx",
        b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 6000,
    ],
)
def test_a_mail_without_end_is_refused(content: bytes) -> None:
    with pytest.raises(KnowledgeError, match="a mail"):
        load_mail(content, "a.eml")


@pytest.mark.parametrize(
    "header",
    [
        b"To: " + b"a@b.c, " * 100_000,
        b"From: " + b"(" * 100_000,
        b"Subject: " + b"=?utf-8?b?5Lit?= " * 10_000,
        b"Subject: =?utf-8?b?7aCA?= =?x?q?\xff?=",
        b"Date: yesterday",
        b"Date: Tue, 99 Mar 99999 99:99:99 +9999",
        b"Content-Disposition: attachment; filename*=x''%ff",
    ],
)
def test_hostile_headers_cost_the_header_only(header: bytes) -> None:
    document = load_mail(header + b"\n\nbody", "a.eml").document
    document.text.encode()
    assert all(len(value) <= 1000 for value in document.metadata.values())
