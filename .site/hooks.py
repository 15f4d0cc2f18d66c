"""Hooks of MkDocs: README as the first page, the API reference, and files outside docs/.

A link is resolved as in the repository, and then points to where the site has its target.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "repository"
"""The folder of the site with the files outside docs/."""

INDEX = "README.md"
GROUPS = {
    "Agents": ("agent", "answers"),
    "Events": ("events",),
    "Messages": ("messages",),
    "Tools": ("tools",),
    "Models": ("backends", "answering"),
    "Knowledge": ("knowledge", "documents"),
    "MCP": ("mcp",),
    "Projects": ("project",),
    "Errors": ("errors",),
}
"""The modules and packages of each section of the API reference."""
_LINK = re.compile(r"(?<!!)\[([^\]\[]+)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the first page, the API reference and the files that pages link to outside docs/."""
    from mkdocs.structure.files import File

    readme = (ROOT / INDEX).read_text(encoding="utf-8").replace("](docs/images/", "](images/")
    files.append(File.generated(config, "index.md", content=readme))
    files.append(File.generated(config, "reference.md", content=_reference()))
    targets = {
        target
        for page in files.documentation_pages()
        for _, link, _ in _LINK.findall(page.content_string)
        if not (target := _target(page.src_uri, link)).startswith("docs/")
    }
    for target in sorted(targets - {INDEX}):
        if (ROOT / target).is_file():
            path = str(ROOT / target)
            files.append(File.generated(config, f"{FOLDER}/{target}", abs_src_path=path))
    return files


def _reference() -> str:
    """The page of the API reference: an entry for each public name, by the module it is from."""
    stub = (ROOT / "agentkit" / "__init__.pyi").read_text(encoding="utf-8")
    names = re.findall(r"^from \.([\w.]+) import (\w+) as", stub, re.MULTILINE)
    lines = [
        "# API reference",
        "Everything that `from agentkit import …` offers. [The agent](agent.md) and [documents and "
        "search](knowledge.md) explain how the parts work together; what is not listed here may "
        "change without notice.",
    ]
    for title, modules in GROUPS.items():
        lines.append(f"## {title}")
        lines += [f"::: agentkit.{m}.{n}" for m, n in names if m.split(".")[0] in modules]
    return "\n\n".join(lines) + "\n"


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Point each link to a file of the repository to the site's file; drop links to folders."""
    source = page.file.src_uri

    def moved(match: re.Match[str]) -> str:
        text, link, anchor = match[1], match[2], match[3] or ""
        target = _in_site(_target(source, link))
        if files.get_file_from_path(target) is None:
            return text
        relative = os.path.relpath(target, PurePosixPath(source).parent)
        return f"[{text}]({relative}{anchor})"

    return _LINK.sub(moved, markdown)


def _target(source: str, link: str) -> str:
    """The path in the repository of what a page of the site links to."""
    if source == "index.md":
        source = INDEX
    elif source.startswith(f"{FOLDER}/"):
        source = source.removeprefix(f"{FOLDER}/")
    else:
        source = f"docs/{source}"
    path = os.path.normpath(PurePosixPath(source).parent / link)
    return f"{path}/{INDEX}" if (ROOT / path / INDEX).is_file() else path


def _in_site(path: str) -> str:
    """The path in the site of a file of the repository."""
    if path == INDEX:
        return "index.md"
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{FOLDER}/{path}"
