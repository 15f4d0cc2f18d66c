"""Check ZIP-based files (Word, PowerPoint, Excel, EPUB) before they are parsed; Office metadata.

Every entry is unpacked once and counted, so a wrong header does not help an attacker. An archive
inside an archive is not opened, XML that defines entities is rejected.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from agentkit.errors import KnowledgeError
from agentkit.text.terms import clean

_MOST_ENTRIES = 10_000
_MOST_BYTES = 400_000_000
_MOST_XML_BYTES = 100_000_000
_MOST_RATIO = 200
_SMALL = 20_000_000
"""Below it an archive may be packed as well as it likes."""
_BLOCK = 1 << 20
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENTITY = tuple("<!ENTITY".encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be"))
_ENCODING = re.compile(rb"""\A[^<]{0,8}<\?xml[^>]{0,200}encoding\s*=\s*["']([\w-]{1,40})""")
_PLAIN = re.compile(rb"utf-?(8|16)|us-ascii|iso-8859-\d+|windows-\d+|gb\w+|big5|euc-\w+", re.I)
_STRICT = b"http://purl.oclc.org/ooxml/"
_STRICT_NAME = re.compile(_STRICT + rb"(\w+)/")
_TYPES = "[Content_Types].xml"
EMBEDDED = "application/x-docx"
"""The type that a Word file inside a Word file is given."""
_PART_NAME = re.compile(rb'PartName="/([^"<>]{1,200})"')
_OFFICE = rb"vnd.openxmlformats-officedocument."
_VARIANTS = {
    re.compile(
        _OFFICE + rb"wordprocessingml\.template\.main|vnd\.ms-word\.\w+\.macroEnabled\w*\.main"
    ): _OFFICE + rb"wordprocessingml.document.main",
    re.compile(
        _OFFICE + rb"presentationml\.(?:slideshow|template)\.main"
        rb"|vnd\.ms-powerpoint\.\w+\.macroEnabled\w*\.main"
    ): _OFFICE + rb"presentationml.presentation.main",
    # A document inside a document would be taken for the main part.
    re.compile(
        rb'((?:PartName="/[^"]{1,200}\.docx"|Extension="docx")\s+ContentType=")'
        rb"application/vnd[^\"]+"
    ): rb"\1" + EMBEDDED.encode(),
}
"""The types of templates, slide shows and files with macros, and of what they are read as."""
_MEDIA = (
    ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".emf", ".wmf", ".svg",
    ".mp3", ".mp4", ".m4a", ".m4v", ".mov", ".wav", ".wmv", ".avi",
    ".ttf", ".otf", ".woff", ".woff2", ".css", ".js", ".bin", ".zip",
)  # fmt: skip
"""Everything else counts as XML, since a part may have any name."""


def checked(content: bytes, kind: str, marks: tuple[bytes, ...] = ()) -> Mapping[bytes, bool]:
    """Unpack an archive once to check its limits; returns which of the marks its XML contains.
    Raises KnowledgeError for an encrypted or damaged file and for a bomb. `kind` is its suffix."""
    if content.startswith(_OLE):
        raise KnowledgeError(_compound(content, kind))
    found = dict.fromkeys(marks, False)
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            _check(archive, len(content), found)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        raise KnowledgeError(f"damaged: open it in its program and save it as {kind}") from error
    except NotImplementedError as error:
        raise KnowledgeError(f"packed in an unusual way: save it again as {kind}") from error
    return found


def _compound(content: bytes, kind: str) -> str:
    """Office wraps an encrypted file in the container of its old formats."""
    if "EncryptedPackage".encode("utf-16-le") in content:
        return "encrypted: save it without a password"
    return f"old format: save it as {kind}"


def _check(archive: zipfile.ZipFile, packed: int, found: dict[bytes, bool]) -> None:
    entries = archive.infolist()
    if len(entries) > _MOST_ENTRIES:
        raise KnowledgeError(f"a zip bomb: it has more than {_MOST_ENTRIES:,} entries")
    most = min(_MOST_BYTES, max(_SMALL, _MOST_RATIO * packed))
    unpacked = xml = 0
    for entry in entries:
        if entry.flag_bits & 1:
            raise KnowledgeError("encrypted: save it without a password")
        is_xml = not entry.filename.lower().endswith(_MEDIA)
        size = _read(archive, entry, most - unpacked, is_xml, found)
        unpacked += size
        xml += size if is_xml else 0
        if unpacked > most or xml > _MOST_XML_BYTES:
            reached = most if unpacked > most else _MOST_XML_BYTES
            raise KnowledgeError(f"a zip bomb: it unpacks to more than {reached / 1e6:.0f} MB")


def _read(
    archive: zipfile.ZipFile,
    entry: zipfile.ZipInfo,
    most: int,
    is_xml: bool,
    found: dict[bytes, bool],
) -> int:
    """The size of an entry, up to `most`; its XML is searched across block boundaries."""
    size, before = 0, b""
    with archive.open(entry) as file:
        while size <= most and (block := file.read(_BLOCK)):
            if is_xml:
                _search(before + block, size == 0, found)
            size += len(block)
            before = block[-64:]
    return size


def _search(text: bytes, is_head: bool, found: dict[bytes, bool]) -> None:
    declared = _ENCODING.match(text) if is_head else None
    odd = declared is not None and not _PLAIN.fullmatch(declared[1])
    if odd or any(mark in text for mark in _ENTITY):
        raise KnowledgeError("an XML bomb: it defines entities or hides them. Save it again")
    for mark in found:
        found[mark] = found[mark] or mark in text


def transitional(content: bytes) -> bytes:
    """An Office file as the libraries know it: ISO Strict name spaces are replaced by the
    transitional ones (ISO/IEC 29500-1 and -4), templates, slide shows and files with macros are
    documents and presentations, and parts are spelt as they are listed (names do not differ in case
    alone, ISO/IEC 29500-2); any other file unchanged."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        names = [entry for entry in archive.infolist() if entry.filename.endswith(".rels")]
        types = archive.read(_TYPES) if _TYPES in archive.namelist() else b""
        is_strict = any(_STRICT in archive.read(entry) for entry in names)
        spelt = _listed_names(types, archive.namelist())
        if not (is_strict or spelt or any(pattern.search(types) for pattern in _VARIANTS)):
            return content
        rewritten = BytesIO()
        with zipfile.ZipFile(rewritten, "w", zipfile.ZIP_DEFLATED) as copy:
            for entry in archive.infolist():
                data = archive.read(entry)
                if entry.filename == _TYPES:
                    for pattern, usual in _VARIANTS.items():
                        data = pattern.sub(usual, data)
                elif is_strict and entry.filename.endswith((".xml", ".rels")):
                    data = _STRICT_NAME.sub(rb"http://schemas.openxmlformats.org/\1/2006/", data)
                copy.writestr(spelt.get(entry.filename, entry.filename), data)
        return rewritten.getvalue()


def _listed_names(types: bytes, names: list[str]) -> dict[str, str]:
    """The entries that the list of types spells in another case, with its spelling."""
    present = {name.casefold(): name for name in names}
    listed = (found.decode(errors="replace") for found in _PART_NAME.findall(types))
    return {
        present[name.casefold()]: name
        for name in listed
        if name.casefold() in present and name not in names
    }


@contextmanager
def reading(suffix: str, program: str) -> Iterator[None]:
    """Turn what a library raises into a KnowledgeError with the next step."""
    try:
        yield
    except KnowledgeError:
        raise
    except ImportError as error:
        raise KnowledgeError('needs pip install "agentkit-rag[office]"') from error
    except Exception as error:
        # The libraries raise whatever lxml, zipfile and their own code raise on a broken file.
        raise KnowledgeError(f"damaged: open it in {program} and save it as {suffix}") from error


def core_metadata(properties: Any) -> dict[str, Any]:
    """Title, author and the date of the last change (ISO), without empty fields."""
    author = getattr(properties, "author", None) or getattr(properties, "creator", None)
    changed = properties.modified or properties.created
    found = {
        "title": clean(properties.title or "").strip(),
        "author": clean(author or "").strip(),
        "date": changed.date().isoformat() if changed else "",
    }
    return {key: value for key, value in found.items() if value}
