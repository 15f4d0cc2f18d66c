"""Which file is which document: the folders and files that an index was made from.

A file has one document. Its source is its path below the outermost folder that was indexed, after
that folder's prefix, with "/" between the parts and names in Unicode's composed form (NFC). Paths
are compared resolved, so that a relative path, a symbolic link and another working directory name
the same file.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from agentkit._files import real_path
from agentkit.knowledge.loaders.files import discover, is_listed
from agentkit.text.terms import clean


@dataclass(frozen=True, slots=True)
class Root:
    """A folder or a single file that documents came from: its path, the folders in it resolved,
    and the prefix of its sources."""

    path: Path
    prefix: str = ""
    is_file: bool = False

    @property
    def folder(self) -> Path:
        """The folder from which sources are relative."""
        return self.path.parent if self.is_file else self.path

    def holds(self, path: Path) -> bool:
        """Whether a listing of this folder covers a resolved path below it, which may be gone."""
        if self.is_file or path == self.path or not path.is_relative_to(self.path):
            return False
        return is_listed(path, self.path, is_file=path.is_file())

    def source(self, path: Path) -> str:
        """The source of a file below the root's folder."""
        return source_name(f"{self.prefix}{path.relative_to(self.folder).as_posix()}")

    def file(self, source: str) -> Path:
        """The file of a source, where its name is stored in the form that it has on disk."""
        return self.folder / source.removeprefix(self.prefix)

    def has(self, source: str) -> bool:
        """Whether the file of a source exists."""
        return self.file(source).exists()

    def origin(self, index: Path) -> str:
        """The root as the catalog stores it: its path from the index, so that both may be moved
        together, and the prefix."""
        try:
            path = Path(os.path.relpath(self.path, index.resolve())).as_posix()
        except ValueError:  # another drive
            path = self.path.as_posix()
        path = path.replace("%", "%25").replace("|", "%7C")
        return f"{'|' if self.is_file else ''}{path}|{self.prefix}"


def read_root(origin: str, index: Path) -> Root:
    """The root of which `origin` is the stored form."""
    path, _, prefix = origin.removeprefix("|").partition("|")
    path = path.replace("%7C", "|").replace("%25", "%")
    absolute = Path(os.path.normpath(index.resolve() / path))
    return Root(absolute, prefix, is_file=origin.startswith("|"))


@dataclass(frozen=True, slots=True)
class Selection:
    """What one call indexes: a path as it was given, which may be gone, its resolved path, and the
    root that it belongs to."""

    path: Path
    resolved: Path
    root: Root

    @property
    def is_whole(self) -> bool:
        """Whether it is the root itself."""
        return self.resolved == self.root.path

    def files(self) -> Iterator[Path]:
        """The files at or below the path."""
        return discover(self.path, self.root.path) if self.path.exists() else iter(())

    def source(self, path: Path) -> str:
        """The source of one of the files."""
        return self.root.source(self.resolved / path.relative_to(self.path))

    def covers(self, source: str) -> bool:
        """Whether a document of the root is at or below the path."""
        key = "" if self.is_whole else self.root.source(self.resolved)
        return not key or source == key or source.startswith(f"{key}/")

    def replaces(self, other: Root, present: set[str]) -> bool:
        """Whether the files of another root are listed here now. `present` are the sources of the
        files at the path."""
        mine = self.root
        if not self.is_whole or other == mine:
            return False
        if not other.is_file:
            return other.path == mine.path or mine.holds(other.path)
        file = real_path(other.path) if mine.is_file or other.path.is_symlink() else other.path
        if mine.is_file:
            return file == real_path(mine.path)
        is_gone = not file.exists() and mine.holds(file)
        return is_gone or (file.is_relative_to(mine.path) and mine.source(file) in present)

    def renamed(self, other: Root, source: str) -> str:
        """The source that the file of a replaced root's document has here."""
        file, mine = other.file(source), self.root
        if mine.is_file:
            return mine.source(mine.path)
        return mine.source(file if file.is_relative_to(mine.path) else real_path(file))


def select(path: Path, prefix: str, known: Iterable[Root]) -> Selection:
    """The part of a known folder that a path is, else a root of its own with the prefix."""
    path = _as_on_disk(path)
    if found := _within(path, known):
        return found
    absolute = _absolute(path)
    root = Root(absolute, source_name(prefix), is_file=not path.is_dir())
    return Selection(path, absolute, root)


def select_known(path: Path, known: Iterable[Root]) -> Selection | None:
    """The root, or the part of a known folder, that a path is; None for one that is in none."""
    path, roots = _as_on_disk(path), list(known)
    same = [root for root in roots if root.path in (_absolute(path), real_path(path))]
    own = Selection(path, same[0].path, same[0]) if same else None
    return _within(path, roots) or own


def source_name(name: str) -> str:
    """A source as it is stored: composed (NFC), with "/" on every system."""
    if os.sep == "\\":
        name = name.replace("\\", "/")
    return clean(unicodedata.normalize("NFC", name))


def _within(path: Path, known: Iterable[Root]) -> Selection | None:
    """The path as a part of the outermost known folder that lists it: the target of a symbolic
    link, or the link where it leads to a file in the folder that is not listed itself."""
    roots = sorted(known, key=lambda root: (len(root.path.parts), root.prefix))
    target = real_path(path)
    for place in (target, _absolute(path)):
        for root in roots:
            if root.holds(place) and target.is_relative_to(root.path):
                return Selection(path, place, root)
    return None


def _absolute(path: Path) -> Path:
    """The absolute path without symbolic links in its folders. A file keeps its own name, a folder
    has that of its target."""
    if path.is_dir():
        return real_path(path)
    absolute = Path(os.path.abspath(path))
    return absolute.parent.resolve() / absolute.name


def _as_on_disk(path: Path) -> Path:
    """The path, or the one of the same name in another Unicode form where only that exists."""
    if os.path.lexists(path) or not os.access(path.parent, os.R_OK):
        return path
    wanted = unicodedata.normalize("NFC", path.name)
    for each in path.parent.iterdir():
        if unicodedata.normalize("NFC", each.name) == wanted:
            return each
    return path
