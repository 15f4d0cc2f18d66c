"""Archives made to do harm are refused, by what they unpack to and not by what they say."""

import struct
import zipfile
from io import BytesIO
from typing import Any

import docx
import pytest

from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.archive import checked
from agentkit.knowledge.loaders.files import parse


def _archive(entries: Any, of: bytes = b"") -> bytes:
    buffer = BytesIO(of)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _word() -> bytes:
    buffer = BytesIO()
    docx.Document().save(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", ["docx", "pptx", "xlsx", "epub"])
def test_a_zip_bomb_is_refused_in_every_kind(suffix: str) -> None:
    bomb = _archive({"word/media/image.bin": bytes(30_000_000)}, of=_word())
    with pytest.raises(KnowledgeError, match="a zip bomb: it unpacks to more than 20 MB"):
        parse(bomb, f"a.{suffix}")


def test_a_header_that_lies_of_the_size_helps_no_bomb() -> None:
    size = 30_000_000
    bomb = _archive({"a.xml": bytes(size)})
    with pytest.raises(KnowledgeError, match=r"damaged|zip bomb"):
        checked(bomb.replace(struct.pack("<I", size), struct.pack("<I", 10)), ".docx")
    with pytest.raises(KnowledgeError, match="zip bomb"):
        checked(bomb.replace(struct.pack("<I", size), struct.pack("<I", size * 2)), ".docx")


def test_an_archive_inside_an_archive_is_not_opened() -> None:
    inner = _archive({"a.bin": bytes(30_000_000)})
    checked(_archive({"inner.zip": inner}), ".docx")


def test_too_many_entries_are_a_bomb() -> None:
    with pytest.raises(KnowledgeError, match="more than 10,000 entries"):
        checked(_archive(dict.fromkeys(map(str, range(10_001)), b"")), ".docx")


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
LAUGHS = f'<!DOCTYPE b [<!ENTITY l0 "ha">{LAUGHS}]><b>&l9;</b>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("suffix", ["docx", "pptx", "xlsx", "epub"])
def test_xml_that_defines_entities_is_refused(suffix: str, encoding: str) -> None:
    content = LAUGHS.encode(encoding)
    for name in ("word/document.xml", "OEBPS/chapter", "_rels/.rels"):
        with pytest.raises(KnowledgeError, match="XML bomb"):
            parse(_archive({name: content}), f"a.{suffix}")


def test_xml_in_an_encoding_that_hides_entities_is_refused() -> None:
    hidden = b'<?xml version="1.0" encoding="utf-7"?>' + LAUGHS.replace("<", "+ADw-").encode()
    with pytest.raises(KnowledgeError, match="XML bomb"):
        checked(_archive({"a.xml": hidden}), ".docx")


def test_entities_across_the_seam_of_two_blocks_are_found() -> None:
    text = b"<a>" + b" " * ((1 << 20) - 6) + LAUGHS.encode()
    with pytest.raises(KnowledgeError, match="XML bomb"):
        checked(_archive({"a.xml": text}), ".docx")
