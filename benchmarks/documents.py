"""Download the documents that the question sets are about, and read the questions.

    python benchmarks/documents.py                # every collection, into build/documents
    python benchmarks/documents.py debian_en      # one collection
    python benchmarks/documents.py --check        # and check that each quote is in its file

The documents are files of Debian packages and READMEs of Python packages, in the versions that
questions/documents.json names with the SHA-256 of each file. Debian's are downloaded with apt-get
(no root needed) and unpacked with dpkg-deb, which needs Debian 12 or its container image; Python's
are read from the metadata of wheels, downloaded with uv or pip. Files already there are kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

QUESTIONS = Path(__file__).parent / "questions"
REPOSITORY = Path(__file__).parent.parent
DOCUMENTS = REPOSITORY / "build" / "documents"
_TIMEOUT = 300
_BLOCK = re.compile(
    r"address|article|aside|blockquote|body|br|caption|d[dlt]|div|fig(caption|ure)|foot(er)?|form|h\d|"
    r"head(er)?|hr|html|li|main|nav|[ou]l|option|p|pre|section|t(able|body|[dhr]|foot|head|itle)"
)


_EMPHASIS = re.compile(r"(?<![\w*])\*{1,2}(?=[^\s*])|(?<=[^\s*])\*{1,2}(?![\w*])")


class DocumentsError(Exception):
    """Documents could not be downloaded, or differ from those that the questions are about."""


@dataclass(frozen=True, slots=True)
class DocumentQuestion:
    """A question on a collection. `facts` lists what a right answer contains, each as a group of
    spellings; `quote` is the passage that answers, as in `visible_text` of the file `source`. An
    unanswerable question has neither."""

    id: str
    language: str
    kind: str
    question: str
    facts: tuple[tuple[str, ...], ...] = ()
    source: str = ""
    quote: str = ""

    @property
    def answerable(self) -> bool:
        return self.kind != "unanswerable"

    def is_answered_by(self, text: str) -> bool:
        """Whether a text contains one spelling of each fact; case, white space and the asterisks
        of Markdown do not matter."""
        plain = _plain(text)
        return all(any(_plain(one) in plain for one in group) for group in self.facts)


def questions(collection: str) -> list[DocumentQuestion]:
    """Read the questions on a collection. Raises DocumentsError."""
    return [_question(row) for row in _rows(collection)]


def collections() -> list[str]:
    """Return the names of the collections with documents to download."""
    return list(_manifest())


def own_collections() -> list[str]:
    """Return the names of the collections on documents of this repository."""
    return [path.stem for path in sorted(QUESTIONS.glob("*.jsonl")) if path.stem not in _manifest()]


def document_paths(collection: str) -> list[Path]:
    """Return the files and folders that a collection is about, downloading what is missing. Raises
    DocumentsError."""
    if collection in _manifest():
        return [download(collection)]
    names = [name for row in _rows(collection) for name in row["documents"]]
    return [REPOSITORY / name for name in dict.fromkeys(names)]


def download(collection: str, folder: Path = DOCUMENTS) -> Path:
    """Return the folder with the documents of a collection, downloading what is missing. Raises
    DocumentsError."""
    target = folder / collection
    for package in _manifest()[collection]["packages"]:
        if _differing(package, target / package["package"]):
            _download_package(package, target / package["package"])
    return target


@cache
def visible_text(path: Path) -> str:
    """Return the text of a file with white space collapsed, without the markup of HTML."""
    text = path.read_text(encoding="utf-8")
    if path.suffix in (".html", ".htm"):
        parser = _TextParser()
        parser.feed(text)
        parser.close()
        text = "".join(parser.parts)
    return " ".join(text.split())


def locate(quote: str, text: str) -> tuple[int, int] | None:
    """Return where a quote begins and ends in the same document as another program read it: marks,
    white space and the numbers of list items may differ, letters and digits may not."""
    between = r"[\W_]*(?:(?<=\s)\d{1,3}\.\s[\W_]*)?"
    found = re.search(between.join(re.findall(r"[^\W_]", quote)), text)
    return found and found.span()


def misplaced(collection: str, folder: Path) -> list[str]:
    """Return the ids of the questions whose quote is not in its file."""
    return [
        one.id
        for one in questions(collection)
        if one.answerable and one.quote not in visible_text(folder / one.source)
    ]


class _TextParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._hidden += tag in ("script", "style")
        if _BLOCK.fullmatch(tag):
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style") and self._hidden:
            self._hidden -= 1
        if _BLOCK.fullmatch(tag):
            self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def _plain(text: str) -> str:
    return " ".join(_EMPHASIS.sub("", text).casefold().split())


def _rows(collection: str) -> list[dict[str, Any]]:
    path = QUESTIONS / f"{collection}.jsonl"
    if not path.is_file():
        names = ", ".join([*collections(), *own_collections()])
        raise DocumentsError(f"No questions are named {collection!r}. There are: {names}.")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _question(row: dict[str, Any]) -> DocumentQuestion:
    return DocumentQuestion(
        row["id"],
        row["language"],
        row["kind"],
        row["question"],
        tuple(tuple(group) for group in row.get("facts", ())),
        row.get("source", ""),
        row.get("quote", ""),
    )


@cache
def _manifest() -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((QUESTIONS / "documents.json").read_text("utf-8"))
    return manifest


def _differing(package: dict[str, Any], folder: Path) -> list[str]:
    """Return the names of the files that are missing or are not those of the manifest."""
    return [name for name, sha in package["files"].items() if _sha256(folder / name) != sha]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _download_package(package: dict[str, Any], target: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        if package["index"] == "debian":
            unpacked = _unpack_debian(package, Path(scratch))
        else:
            unpacked = _unpack_readme(package, Path(scratch))
        for name in package["files"]:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(unpacked / name, target / name)
    if differing := _differing(package, target):
        raise DocumentsError(
            f"{package['package']} {package['version']} has other files than the questions were "
            f"written on: {', '.join(differing[:5])}. Update questions/documents.json and check "
            "the quotes."
        )


def _unpack_debian(package: dict[str, Any], folder: Path) -> Path:
    """Return the folder with the package's files."""
    name = f"{package['package']}={package['version']}"
    _run(
        ["apt-get", "download", name],
        folder,
        hint="Run apt-get update; the versions are those of Debian 12.",
    )
    (archive,) = folder.glob("*.deb")
    _run(["dpkg-deb", "-x", archive.name, "unpacked"], folder, hint="Free some disk space.")
    return folder / "unpacked" / str(package["folder"])


def _unpack_readme(package: dict[str, Any], folder: Path) -> Path:
    """Return a folder with the package's README, the body of a wheel's METADATA."""
    _run(
        [
            *_installer(),
            *("install", "--quiet", "--no-deps", "--only-binary=:all:", "--target=unpacked"),
            f"{package['package']}=={package['version']}",
        ],
        folder,
        hint="Check the connection to the package index.",
    )
    (metadata,) = folder.glob("unpacked/*.dist-info/METADATA")
    (name,) = package["files"]
    (folder / name).write_bytes(metadata.read_bytes().partition(b"\n\n")[2])
    return folder


def _installer() -> list[str]:
    """Return the command of uv, beside this interpreter or in PATH, else of pip."""
    uv = shutil.which("uv", path=Path(sys.executable).parent) or shutil.which("uv")
    return [uv, "pip"] if uv else [sys.executable, "-m", "pip"]


def _run(command: list[str], folder: Path, hint: str) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except FileNotFoundError as error:
        raise DocumentsError(
            f"{command[0]} is not installed. Run this on Debian 12 or in its container image."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise DocumentsError(
            f"{command[0]} took longer than {_TIMEOUT} s. Check the connection and run this again."
        ) from error
    if done.returncode:
        raise DocumentsError(f"{' '.join(command)} failed: {done.stderr.strip()[-300:]}. {hint}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("collections", nargs="*", metavar="collection", help="default: all")
    parser.add_argument("--check", action="store_true", help="check that each quote is in its file")
    options = parser.parse_args()
    for name in options.collections or collections():
        try:
            folder = download(name)
        except DocumentsError as error:
            sys.exit(str(error))
        files = [path for path in folder.rglob("*") if path.is_file()]
        size = sum(len(visible_text(path).encode()) for path in files) // 1000
        print(f"{folder}: {len(files)} files, {size} KB of text")
        if options.check and (wrong := misplaced(name, folder)):
            sys.exit(f"The quotes of these questions are not in their files: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
