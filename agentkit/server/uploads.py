"""Uploaded files: a safe name in knowledge/, a kind judged by the content, and an atomic write."""

from __future__ import annotations

import os
import re
import secrets
import unicodedata
import zipfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from agentkit.errors import file_fault
from agentkit.knowledge.loaders.files import SUFFIXES, is_supported
from agentkit.server.errors import ApiError

MOST_NAME_BYTES = 200
"""File systems take 255; a temporary name is a little longer."""

_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)")
"""Names that are devices on Windows, where the folder may be shared."""

_START = 4096
_OFFICE = {"word/": ".docx", "xl/": ".xlsx", "ppt/": ".pptx"}
_MAGIC: tuple[tuple[bytes, tuple[str, ...]], ...] = (
    (b"{\\rtf", (".rtf",)),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", (".doc", ".xls", ".ppt", ".msg")),
    (b"\x89PNG\r\n\x1a\n", (".png",)),
    (b"\xff\xd8\xff", (".jpg", ".jpeg")),
    (b"II*\0", (".tif", ".tiff")),
    (b"MM\0*", (".tif", ".tiff")),
)
_BINARY = frozenset(
    (".pdf", ".zip", ".docx", ".pptx", ".xlsx", ".xlsm", ".epub", ".odt", ".ods", ".odp", ".doc")
) | frozenset((".xls", ".ppt", ".msg", ".rtf", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp"))
"""Suffixes of kinds that are recognised by their content."""


def safe_name(name: str) -> str:
    """The name of an uploaded file as one in knowledge/: without folders, in composed form. Raises
    ApiError for one that cannot be used."""
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2].strip()
    is_plain = not any(
        unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for c in last
    )
    last = last.rstrip(". ")
    if (
        not last
        or last.startswith(".")
        or not is_plain
        or re.search(r'[<>:"|?*]', last)
        or _RESERVED.match(last)
        or len(last.encode()) > MOST_NAME_BYTES
    ):
        raise ApiError(
            422, f"{last[:80]!a} cannot be the name of a file here. Rename it.", "invalid_name"
        )
    return last


def named_by_content(name: str, content: BinaryIO) -> str:
    """The name, with the suffix of the content's kind where it has none that is known. Raises
    ApiError where the content is of another kind than the name says, or of no known kind."""
    content.seek(0)
    start = content.read(_START)
    kinds = _kinds(start, content)
    suffix = PurePosixPath(name).suffix.lower()
    if kinds:
        if suffix in kinds:
            is_known = suffix in SUFFIXES
            return name if is_known else _refuse_unknown(name)
        if suffix in SUFFIXES:
            raise ApiError(
                415,
                f"{name} is a {kinds[0][1:].upper()} file by its content. Rename it to "
                f"{PurePosixPath(name).stem}{kinds[0]}.",
                "wrong_kind",
            )
        return f"{name}{kinds[0]}" if kinds[0] in SUFFIXES else _refuse_unknown(name)
    if suffix in _BINARY:
        raise ApiError(
            415,
            f"{name} is not a {suffix[1:].upper()} file by its content. Save it anew.",
            "wrong_kind",
        )
    if is_supported(name) and not _is_binary(start):
        return name
    return _refuse_unknown(name)


def _kinds(start: bytes, content: BinaryIO) -> tuple[str, ...]:
    """The suffixes of the kind of a binary file, none for text and unknown kinds."""
    if b"%PDF-" in start[:1024]:
        return (".pdf",)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_kinds(content)
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return (".webp",)
    return next((kinds for magic, kinds in _MAGIC if start.startswith(magic)), ())


def _zip_kinds(content: BinaryIO) -> tuple[str, ...]:
    """The kind of a ZIP archive by the names of its members; their content is not unpacked."""
    try:
        with zipfile.ZipFile(content) as archive:
            names = archive.namelist()
            kind = b""
            if names[:1] == ["mimetype"] and archive.getinfo("mimetype").file_size < 200:
                kind = archive.read("mimetype")
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError):
        return (".zip",)
    if kind.startswith(b"application/epub+zip"):
        return (".epub",)
    for ending, suffix in (
        (b".text", ".odt"),
        (b".spreadsheet", ".ods"),
        (b".presentation", ".odp"),
    ):
        if kind.startswith(b"application/vnd.oasis.opendocument") and ending in kind:
            return (suffix,)
    if "[Content_Types].xml" in names:
        for folder, suffix in _OFFICE.items():
            if any(name.startswith(folder) for name in names):
                return (suffix, ".xlsm") if suffix == ".xlsx" else (suffix,)
    return (".zip",)


def _is_binary(start: bytes) -> bool:
    """Whether the start of a file holds no text of any encoding."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16
        return False
    return b"\0" in start


def _refuse_unknown(name: str) -> str:
    raise ApiError(
        415,
        f"{name} is of no kind that can be read. Choose a text, Markdown, web page, code, PDF, "
        "office document, e-mail, archive or image.",
        "unsupported_kind",
    )


def store(content: BinaryIO, folder: Path, name: str) -> Path:
    """Write a file into a folder, whole or not at all, in place of one of that name. Raises
    ApiError where it cannot be written."""
    path = folder / name
    part = folder / f".{secrets.token_hex(8)}.part"  # hidden, so that it is not indexed
    content.seek(0)
    try:
        if path.is_dir():
            raise ApiError(409, f"{name} is a folder in knowledge/. Rename the file.", "name_taken")
        with part.open("xb") as file:
            while piece := content.read(1 << 20):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)  # replaces a symbolic link, not its target
    except OSError as error:
        reason, step = file_fault(path, error, "written")
        status = 507 if error.errno == 28 else 500
        raise ApiError(
            status, f"{name} cannot be stored: {reason}. {step}", "not_stored"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return path
