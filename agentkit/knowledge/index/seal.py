"""Mark the files of a local Chroma when a writer has closed them, and recognise them unchanged.

A damaged HNSW file can end the process that opens it. Files that bear the mark are as Chroma left
them; others, after a kill or a fault of the disk, are checked in a child before they are written.
"""

from __future__ import annotations

import hashlib
from contextlib import closing, suppress
from pathlib import Path

from agentkit._child import Bounds, ChildFailed
from agentkit._child.process import Child

_SEAL = "agentkit-seal"
_COMPARE = "agentkit.knowledge.index.consistency:compare_folder"
_CHECK_SECONDS = 300.0


def is_sealed(chroma: Path) -> bool:
    """Whether the HNSW files in Chroma's folder are those that were sealed; also where there is no
    Chroma yet."""
    try:
        return (chroma / _SEAL).read_text(encoding="ascii") == _fingerprint(chroma)
    except (OSError, ValueError):
        return not (chroma / "chroma.sqlite3").exists()


def seal(chroma: Path) -> None:
    """Mark the files as they are now. A folder that cannot be written stays without the mark."""
    with suppress(OSError):
        (chroma / _SEAL).write_text(_fingerprint(chroma), encoding="ascii")


def break_seal(chroma: Path) -> None:
    """Remove the mark, before the files are written."""
    with suppress(OSError):
        (chroma / _SEAL).unlink(missing_ok=True)


def read_in_child(chroma: Path) -> None:
    """Read all of Chroma in a child, which damage may end. Raises ChildFailed where it does, or
    where vectors are other than the catalog's beside the folder."""
    with suppress(OSError), closing(Child()) as child:
        arguments = {"index": str(chroma.parent)}
        counts = child.call(_COMPARE, arguments, bounds=Bounds(seconds=_CHECK_SECONDS))
        if counts["different"]:
            raise ChildFailed("raised", f"{counts['different']} vectors are damaged")


def _fingerprint(chroma: Path) -> str:
    """A hash of the names, sizes and times of the files of Chroma's segments."""
    found = sorted(
        (path.relative_to(chroma).as_posix(), path.stat()) for path in chroma.glob("*/*")
    )
    text = "\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in found)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
