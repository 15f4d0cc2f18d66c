"""Source code and configuration, as they stand. The language says where functions begin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from agentkit.documents import Document
from agentkit.knowledge.loaders.base import Loaded
from agentkit.knowledge.loaders.decoding import decoded

LANGUAGES: Mapping[str, str] = {
    ".py": "python",
    ".js": "javascript",
    ".jsx": "javascript",
    ".ts": "typescript",
    ".tsx": "tsx",
    ".java": "java",
    ".go": "go",
    ".rs": "rust",
    ".c": "c",
    ".h": "c",
    ".cpp": "cpp",
    ".hpp": "cpp",
    ".cs": "csharp",
    ".rb": "ruby",
    ".php": "php",
    ".swift": "swift",
    ".kt": "kotlin",
    ".scala": "scala",
    ".sh": "bash",
    ".sql": "sql",
    ".lua": "lua",
    ".r": "r",
    ".jl": "julia",
}
CONFIGURATION = (".toml", ".yaml", ".yml", ".ini", ".cfg")


def load_code(content: bytes, source: str) -> Loaded:
    """The title is the file's whole name: model.py and model.h are not the same."""
    path = PurePosixPath(source)
    language = LANGUAGES.get(path.suffix.lower(), "")
    metadata = {"language": language}
    text = decoded(content)
    if language:
        return Loaded(Document(source, text, path.name, metadata=metadata, format="code"))
    return Loaded(Document(source, text, path.name, format="text"))
