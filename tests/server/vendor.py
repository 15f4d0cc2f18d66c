"""Copy the page's libraries from npm: `python -m tests.server.vendor`.

Each library is one ES module (or script) in agentkit/server/static/vendor, unchanged but for import
paths; versions.json records its release, licence, npm integrity and the SHA-256 of each file, and
LICENSES.txt the licence texts. `--check` only compares the files with versions.json.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "agentkit" / "server" / "static" / "vendor"
VERSIONS = "versions.json"
LICENSES = "LICENSES.txt"
_SOURCE_MAP = re.compile(rb"\n?//# sourceMappingURL=\S+\s*$")
_OLD_FONTS = re.compile(rb',url\(fonts/[^)]+\.(?:woff|ttf)\) format\("[a-z]+"\)')


@dataclass(frozen=True, slots=True)
class Library:
    """A release on npm and its files that the page loads, as {path in the package: file name}."""

    package: str
    version: str
    files: dict[str, str]
    license_file: str = "LICENSE"


LIBRARIES = (
    Library(
        "preact",
        "11.2.0",
        {"dist/preact.mjs": "preact.js", "hooks/dist/hooks.mjs": "preact-hooks.js"},
    ),
    Library("htm", "3.1.1", {"dist/htm.mjs": "htm.js"}),
    Library("marked", "18.2.1", {"lib/marked.esm.js": "marked.js"}),
    Library("dompurify", "3.5.0", {"dist/purify.es.mjs": "purify.js"}),
    Library("@highlightjs/cdn-assets", "11.12.0", {"es/highlight.min.js": "highlight.js"}),
    Library(
        "katex",
        "0.19.1",
        {
            "dist/katex.min.js": "katex.js",
            "dist/katex.min.css": "katex.css",
            "dist/fonts/*.woff2": "fonts/",
        },
    ),
)


def main(arguments: list[str]) -> int:
    if "--check" in arguments:
        differences = list(changed_files())
        print("\n".join(differences) or "The vendored files are those of versions.json.")
        return min(len(differences), 1)
    with tempfile.TemporaryDirectory() as folder:
        entries = [_copy(library, Path(folder)) for library in LIBRARIES]
    licenses = "\n\n".join(f"{entry['package']}\n\n{entry.pop('text')}" for entry in entries)
    (FOLDER / LICENSES).write_text(licenses, encoding="utf-8")
    (FOLDER / VERSIONS).write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    print(f"{len(entries)} libraries in {FOLDER.relative_to(ROOT)}")
    return 0


def changed_files() -> Iterator[str]:
    """Name the files that versions.json does not list, or lists with another content."""
    entries = json.loads((FOLDER / VERSIONS).read_text(encoding="utf-8"))
    recorded = {name: digest for entry in entries for name, digest in entry["sha256"].items()}
    present = {
        path.relative_to(FOLDER).as_posix(): _sha256(path.read_bytes())
        for path in FOLDER.rglob("*")
        if path.is_file() and path.name not in (VERSIONS, LICENSES)
    }
    for name in sorted({*recorded, *present}):
        if recorded.get(name) != present.get(name):
            yield f"{name}: differs from {VERSIONS}. Run: python -m tests.server.vendor"


def _copy(library: Library, folder: Path) -> dict[str, Any]:
    """Download a release, copy its files, and describe it."""
    name = f"{library.package}@{library.version}"
    packed = subprocess.run(
        ["npm", "pack", "--json", name], cwd=folder, capture_output=True, text=True, check=True
    )
    listed = json.loads(packed.stdout)
    release = listed[0] if isinstance(listed, list) else listed[library.package]
    digests = {}
    with tarfile.open(folder / release["filename"].replace("@", "").replace("/", "-")) as archive:
        members = {m.name.partition("/")[2]: m for m in archive.getmembers() if m.isfile()}

        def content(path: str) -> bytes:
            file = archive.extractfile(members[path])
            assert file is not None
            return file.read()

        for path, target in _targets(library, members):
            data = _adapted(content(path))
            (FOLDER / target).parent.mkdir(parents=True, exist_ok=True)
            (FOLDER / target).write_bytes(data)
            digests[target] = _sha256(data)
        manifest = json.loads(content("package.json"))
        text = content(library.license_file).decode("utf-8")
    return {
        "package": library.package,
        "version": library.version,
        "license": manifest["license"],
        "integrity": release["integrity"],
        "sha256": digests,
        "text": text.strip(),
    }


def _targets(library: Library, members: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Pair each path in the package with its file name; `*` stands for every file in a folder."""
    for path, target in library.files.items():
        if "*" not in path:
            yield path, target
            continue
        start, _, end = path.partition("*")
        for member in sorted(members):
            if member.startswith(start) and member.endswith(end):
                yield member, target + member[len(start) :]


def _adapted(data: bytes) -> bytes:
    """Import by relative path, for a browser without an import map; drop what is not vendored."""
    data = _SOURCE_MAP.sub(b"\n", data)
    data = _OLD_FONTS.sub(b"", data)
    return data.replace(b'from"preact"', b'from"./preact.js"')


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
