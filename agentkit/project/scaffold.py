"""Make a folder a project: settings, a place for documents, a sample tool, an example of a server.
The settings' schema lies beside them, for editors.

Nothing that is there is written over. What this makes is trusted at once, unless the folder holds
code or settings of another origin that the user has not trusted yet.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentkit.errors import ConfigError, TrustError
from agentkit.project.trust import guarded_files, is_trusted, trust
from agentkit.settings.schema import FILE_NAME, write_schema

TEMPLATES = Path(__file__).with_name("templates")

_KNOWLEDGE = "knowledge"
_DOCUMENTS = (
    ".md", ".markdown", ".txt", ".rst", ".pdf", ".html", ".htm", ".docx", ".pptx", ".xlsx",
    ".epub", ".csv", ".ipynb", ".eml",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a new project: where it goes, its template, and what it is for. A `sample` is left
    out where its folder holds something already."""

    path: str
    template: str
    about: str
    sample: bool = False


PARTS = (
    Part(FILE_NAME, "agentkit.toml", "every setting, explained"),
    Part("knowledge/welcome.md", "welcome.md", "a sample note: your documents go there", True),
    Part("tools/split_bill.py", "split_bill.py.txt", "a sample tool", True),
    Part("mcp_servers/mcp.json", "mcp.json", "an example of an MCP server, disabled", True),
    Part(".gitignore", "gitignore", "leaves the index and keys out of git"),
)


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a folder: the parts that are new, those that were there or not needed, and
    whether the folder is trusted now."""

    folder: Path
    new: tuple[Part, ...]
    kept: tuple[Part, ...]
    trusted: bool


def is_project(folder: Path) -> bool:
    """Whether a folder has anything of a project: documents, settings, or an index."""
    places = (folder / _KNOWLEDGE, folder / ".agentkit" / "index")
    return any(map(os.path.isdir, places)) or os.path.isfile(folder / FILE_NAME)


def make_project(folder: Path, take_in: Sequence[Path] = ()) -> Made:
    """Write the parts that a folder lacks, and move the documents `take_in` into its knowledge/.
    Raises ConfigError where that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _KNOWLEDGE).mkdir(exist_ok=True)
        for document in take_in:
            _move(document, folder / _KNOWLEDGE / document.name)
        ours = _is_ours(folder)
        missing = [part for part in PARTS if _is_missing(folder, part)]
        new = tuple(part for part in missing if _written(folder, part))
        write_schema(folder)
    except OSError as error:
        raise ConfigError(
            f"{error.filename or folder} cannot be made: {error.strerror}. Name another folder."
        ) from error
    kept = tuple(part for part in PARTS if part not in new)
    return Made(folder, new, kept, ours and _trusted(folder))


def loose_documents(folder: Path) -> list[Path]:
    """The documents that lie directly in a folder, where no search sees them; sorted."""
    return sorted(path for path in _files(folder) if path.suffix.lower() in _DOCUMENTS)


def _move(document: Path, target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise ConfigError(f"{target} is there already. Rename {document}, then try again.")
    shutil.move(document, target)


def _is_ours(folder: Path) -> bool:
    """Whether nothing there needs trust that it does not have."""
    try:
        return is_trusted(folder)
    except TrustError:
        return False


def _trusted(folder: Path) -> bool:
    """Trust what was just made; False where that cannot be remembered."""
    try:
        trust(folder)
    except TrustError:
        return False
    return any(guarded_files(folder))


def _is_missing(folder: Path, part: Part) -> bool:
    path = folder / part.path
    if part.sample and path.parent.is_dir() and any(path.parent.iterdir()):
        return False
    return not (path.exists() or path.is_symlink())


def _written(folder: Path, part: Part) -> bool:
    """Write a part; False where another program was quicker."""
    path = folder / part.path
    path.parent.mkdir(exist_ok=True)
    try:
        with path.open("xb") as file:
            file.write((TEMPLATES / part.template).read_bytes())
    except FileExistsError:
        return False
    return True


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
            yield path
