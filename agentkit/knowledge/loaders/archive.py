"""Check ZIP-based files (Word, PowerPoint, Excel, EPUB) before they are parsed; Office metadata.

Every entry is unpacked once and counted, so a wrong header does not help an attacker. An archive
inside an archive is not opened, XML that defines entities is rejected.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
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
_STRICT_NAME = re.compile(rb"http://purl.oclc.org/ooxml/(\w+)/")
_TYPES = "[Content_Types].xml"
_PACKAGE = "{http://schemas.openxmlformats.org/package/2006/%s}"
EMBEDDED = "application/x-docx"
"""The type that a Word file inside a Word file is given: it would be taken for the main part."""
_OFFICE = "application/vnd.openxmlformats-officedocument."
_MAIN_TYPES = {
    ".docx": f"{_OFFICE}wordprocessingml.document.main+xml",
    ".pptx": f"{_OFFICE}presentationml.presentation.main+xml",
    ".xlsx": f"{_OFFICE}spreadsheetml.sheet.main+xml",
}
_PROPERTIES = re.compile(r"(?:^|/)core\.xml$|\.psmdcp$", re.IGNORECASE)
_DUBLIN = "{http://purl.org/dc/%s/}%s"
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_MEDIA = (
    ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".emf", ".wmf", ".svg",
    ".mp3", ".mp4", ".m4a", ".m4v", ".mov", ".wav", ".wmv", ".avi",
    ".ttf", ".otf", ".woff", ".woff2", ".css", ".js", ".bin", ".zip",
)  # fmt: skip
"""Everything else counts as XML, since a part may have any name."""
_UNREAD = re.compile(r"\AdocProps/|/media/")


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


def repacked(
    content: bytes, kind: str, rewrite: Callable[[str, bytes], bytes] = lambda name, data: data
) -> bytes:
    """An Office file as the libraries know it (ECMA-376-2), which refuse much that Office opens.

    ISO Strict name spaces become the transitional ones; templates, slide shows and files with
    macros become documents and presentations; names are spelt as they are listed; relations to
    missing parts, pictures and the properties are left out. `rewrite` changes a part."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        entries = {_part_name(entry.filename): entry for entry in archive.infolist()}
        data = {name: archive.read(entries[name]) for name in entries if _is_listing(name)}
        is_strict = any(_STRICT_NAME.search(listing) for listing in data.values())
        data = {name: _transitional(listing) for name, listing in data.items()}
        names = {name.casefold(): name for name in entries if not _UNREAD.search(name)}
        types = parsed(data[_TYPES])
        names |= {
            name.casefold(): name
            for override in types.iter(_PACKAGE % "content-types" + "Override")
            if (name := override.get("PartName", "").lstrip("/")).casefold() in names
        }
        relations = {name: _relations(name, data[name], names) for name in data if name != _TYPES}
        main = dict(_related(relations["_rels/.rels"]))["officeDocument"]
        _retype(types, names, f"/{main}", _MAIN_TYPES[kind])
        written = BytesIO()
        with zipfile.ZipFile(written, "w") as copy:
            copy.writestr(_TYPES, _serialised(types))
            for name, tree in relations.items():
                copy.writestr(name, _serialised(tree))
            for name, entry in entries.items():
                if name in data or name.casefold() not in names:
                    continue
                part = archive.read(entry)
                part = _transitional(part) if is_strict and name.endswith(".xml") else part
                copy.writestr(names[name.casefold()], rewrite(name, part))
    return written.getvalue()


def _part_name(name: str) -> str:
    """A name in the archive as the format wants it: some programs write backslashes."""
    name = name.replace("\\", "/").lstrip("/")
    return _TYPES if name.casefold() == _TYPES.casefold() else name


def _is_listing(name: str) -> bool:
    return name == _TYPES or name.endswith(".rels")


def _transitional(data: bytes) -> bytes:
    return _STRICT_NAME.sub(rb"http://schemas.openxmlformats.org/\1/2006/", data)


def parsed(data: bytes) -> Any:
    """The tree of a part, read as far as it goes; None where nothing can be read."""
    from lxml import etree

    return etree.fromstring(data, etree.XMLParser(resolve_entities=False, recover=True))


def _serialised(tree: Any) -> bytes:
    from lxml import etree

    return bytes(etree.tostring(tree, encoding="UTF-8", standalone=True))


def _relations(name: str, data: bytes, names: Mapping[str, str]) -> Any:
    """The relations of a part to parts that are there, which `names` gives by their folded name."""
    root = parsed(data)
    folder = posixpath.dirname(posixpath.dirname(name))
    for relation in list(root if root is not None else ()):
        if relation.get("TargetMode") == "External":
            continue
        path = posixpath.join(f"/{folder}", relation.get("Target", "").replace("\\", "/"))
        part = names.get(posixpath.normpath(path).lstrip("/").casefold())
        if part is None:
            root.remove(relation)
        else:
            relation.set("Target", f"/{part}")
    return root


def relations_of(archive: zipfile.ZipFile, part: str) -> Iterator[tuple[str, str]]:
    """(kind, part) of the relations of a part of a repacked file, such as ("comments", …)."""
    folder, name = posixpath.split(part)
    listing = f"{folder}/_rels/{name}.rels".lstrip("/")
    if listing in archive.namelist():
        yield from _related(parsed(archive.read(listing)))


def _related(relations: Any) -> Iterator[tuple[str, str]]:
    for relation in relations:
        if relation.get("TargetMode") != "External":
            yield (
                relation.get("Type", "").rpartition("/")[2],
                relation.get("Target", "").lstrip("/"),
            )


def _family(content_type: str) -> str:
    """The program of a type: templates and files with macros have types of their own."""
    programs = {"word": "Word", "presentation": "PowerPoint", "powerpoint": "PowerPoint",
                "spreadsheet": "Excel", "excel": "Excel"}  # fmt: skip
    return next((program for name, program in programs.items() if name in content_type), "")


def _retype(types: Any, names: Mapping[str, str], main: str, main_type: str) -> None:
    """Give each part a type, and the main part that of its kind; types of missing parts go."""
    tag = _PACKAGE % "content-types"
    known = {"rels", "xml"}
    for element in list(types):
        extension = element.get("Extension", "").casefold()
        part = element.get("PartName", "")
        known.add(extension)
        if part == main and _family(element.get("ContentType", "")) not in ("", _family(main_type)):
            raise ValueError("a file of another Office program")
        if part == main or (part and part.lstrip("/").casefold() not in names):
            types.remove(element)
        elif extension == "docx" or part.endswith(".docx"):
            element.set("ContentType", EMBEDDED)
    types.append(types.makeelement(f"{tag}Override", PartName=main, ContentType=main_type))
    for extension in {name.rpartition(".")[2] for name in names} - known:
        types.append(
            types.makeelement(
                f"{tag}Default", Extension=extension, ContentType="application/octet-stream"
            )
        )


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


def core_metadata(content: bytes) -> dict[str, Any]:
    """Title, author and the date of the last change (ISO) of an Office file, without empty fields
    and what is broken."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        name = next(filter(_PROPERTIES.search, archive.namelist()), "")
        root = parsed(archive.read(name)) if name else None
    if root is None:
        return {}

    def text(kind: str, *names: str) -> str:
        texts = (clean(root.findtext(_DUBLIN % (kind, name)) or "").strip() for name in names)
        return next(filter(None, texts), "")

    day = _DAY.match(text("terms", "modified", "created"))
    found = {
        "title": text("elements/1.1", "title"),
        "author": text("elements/1.1", "creator"),
        "date": day[0] if day else "",
    }
    return {key: value for key, value in found.items() if value}
