"""Create a project in a folder: settings with their schema, documents, sample tool and server.

Existing files are never overwritten. The result is trusted, unless the folder already had code or
settings that the user has not trusted.
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
_MAX_FOLDERS = 1000
_DOCUMENTS = (
    ".md", ".markdown", ".txt", ".rst", ".pdf", ".html", ".htm", ".docx", ".pptx", ".xlsx",
    ".epub", ".csv", ".ipynb", ".eml",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """A file of a new project: its path, its template and its purpose. A sample is omitted if the
    folder that it is a `sample_of` already has files."""

    path: str
    template: str
    about: str
    sample_of: str = ""


FILES = (
    ProjectFile(FILE_NAME, "agentkit.toml", "every setting, explained"),
    ProjectFile(
        "knowledge/welcome.md", "welcome.md", "a sample note: your documents go there", _KNOWLEDGE
    ),
    ProjectFile("tools/split_bill.py", "split_bill.py.txt", "a sample tool", "tools"),
    ProjectFile(
        "mcp_servers/mcp.json", "mcp.json", "an example of an MCP server, disabled", "mcp_servers"
    ),
    ProjectFile("questions.jsonl", "questions.jsonl", "sample questions for eval", _KNOWLEDGE),
    ProjectFile(".gitignore", "gitignore", "leaves the index and keys out of git"),
)


@dataclass(frozen=True, slots=True)
class NewProject:
    """The result of `make_project`: files created, files that existed or were not needed, and
    whether the folder is trusted now."""

    folder: Path
    new: tuple[ProjectFile, ...]
    kept: tuple[ProjectFile, ...]
    trusted: bool


def make_project(folder: Path, documents: Sequence[Path] = ()) -> NewProject:
    """Write the files that a project lacks, and move documents into its knowledge/. Raises
    ConfigError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _KNOWLEDGE).mkdir(exist_ok=True)
        for document in documents:
            _move(document, folder / _KNOWLEDGE / document.relative_to(folder))
        was_trusted = _is_trusted(folder)
        missing = [file for file in FILES if _is_missing(folder, file)]
        new = tuple(file for file in missing if _write(folder, file))
        write_schema(folder)
    except OSError as error:
        raise ConfigError(
            f"{error.filename or folder} cannot be created: {error.strerror}. Name another folder."
        ) from error
    kept = tuple(file for file in FILES if file not in new)
    return NewProject(folder, new, kept, was_trusted and _trust(folder))


def is_sample_questions(path: Path) -> bool:
    """Whether a file is the sample of questions.jsonl, unchanged."""
    sample = (TEMPLATES / "questions.jsonl").read_bytes()
    return path.is_file() and path.read_bytes() == sample


def loose_documents(folder: Path) -> list[Path]:
    """Return the documents in a folder and its subfolders that are not in knowledge/, where they
    would be searched; sorted. Hidden folders and those of installed packages are left out."""
    return sorted(
        path
        for path in _walk(folder)
        if path.suffix.lower() in _DOCUMENTS
        and path.is_file()
        and not path.is_symlink()
        and not path.name.startswith(".")
    )


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files of at most _MAX_FOLDERS folders that may hold documents."""
    for number, (place, folders, files) in enumerate(os.walk(folder)):
        here = Path(place)
        skipped = {_KNOWLEDGE, "tools", "mcp_servers"} if here == folder else set()
        folders[:] = sorted(
            name
            for name in folders
            if name not in skipped | {"node_modules", "site-packages"}
            and not name.startswith((".", "__"))
            and not (here / name / "pyvenv.cfg").exists()
        )
        yield from (here / name for name in files)
        if number >= _MAX_FOLDERS:
            return


def _move(document: Path, target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise ConfigError(f"{target} already exists. Rename {document}, then try again.")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(document, target)


def _is_trusted(folder: Path) -> bool:
    try:
        return is_trusted(folder)
    except TrustError:
        return False


def _trust(folder: Path) -> bool:
    """Trust a new project; False if that cannot be stored or nothing needs it."""
    try:
        trust(folder)
    except TrustError:
        return False
    return any(guarded_files(folder))


def _is_missing(folder: Path, file: ProjectFile) -> bool:
    path, filled = folder / file.path, folder / file.sample_of
    if file.sample_of and filled.is_dir() and any(filled.iterdir()):
        return False
    return not (path.exists() or path.is_symlink())


def _write(folder: Path, file: ProjectFile) -> bool:
    """Write a file; False if another program created it meanwhile."""
    path = folder / file.path
    path.parent.mkdir(exist_ok=True)
    try:
        with path.open("xb") as target:
            target.write((TEMPLATES / file.template).read_bytes())
    except FileExistsError:
        return False
    return True
