"""Load a .zip of documents as one document, each file a part under its name.

An archive inside an archive is not opened. The number of files and their size are bounded.
"""

from __future__ import annotations

import re
import zipfile
from io import BytesIO
from pathlib import PurePosixPath

from agentkit.documents import Document, Part
from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.archive import checked
from agentkit.knowledge.loaders.files import Loaded, is_supported, parse
from agentkit.knowledge.loaders.text import decoded
from agentkit.text.terms import clean

_MOST_FILES = 500
_MOST_CHARACTERS = 20_000_000
_IS_UTF_8 = 0x800
_WIDE = re.compile(rb"(?:[\x81-\xfe][\x40-\xfe]){2}")


def load_bundle(content: bytes, source: str) -> Loaded:
    """Files of kinds that are not read are counted in a warning. Raises KnowledgeError where no
    other is in it."""
    checked(content, ".zip")
    text, parts, warnings = "", list[Part](), list[str]()
    unread = 0
    with zipfile.ZipFile(BytesIO(content)) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        for entry in sorted(entries, key=lambda entry: entry.filename)[:_MOST_FILES]:
            name = _name(entry)
            if not is_supported(name) or name.lower().endswith(".zip") or _is_hidden(name):
                unread += 1
                continue
            try:
                loaded = parse(archive.read(entry), name)
            except (KnowledgeError, ValueError, RuntimeError) as error:
                warnings.append(str(error))
                continue
            warnings += [f"{name}: {warning}" for warning in loaded.warnings]
            written = loaded.document.text.strip()
            if written:
                text += "\n\n" if text else ""
                whole = f"# {name}\n\n{written}"
                parts.append(
                    Part("file", name.replace(", ", " "), len(text), len(text) + len(whole))
                )
                text += whole
            if len(text) > _MOST_CHARACTERS:
                raise KnowledgeError(f"more than {_MOST_CHARACTERS:,} characters: unpack it")
        unread += max(0, len(entries) - _MOST_FILES)
    if not parts:
        raise KnowledgeError("; ".join(warnings[:3]) or "no file in it is of a kind that is read")
    if unread:
        warnings.append(f"{unread} files in it were not read")
    document = Document(source, text, PurePosixPath(source).stem, parts=tuple(parts))
    return Loaded(document, tuple(warnings[:20]))


def _name(entry: zipfile.ZipInfo) -> str:
    """A file's name: one that is not marked as UTF-8 is in the code page of the system that packed
    it, and two characters of two bytes in a row are hardly Latin."""
    if entry.flag_bits & _IS_UTF_8:
        return clean(entry.filename)
    raw = entry.filename.encode("cp437", errors="replace")
    return clean(decoded(raw) if _WIDE.search(raw) else entry.filename)


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)
