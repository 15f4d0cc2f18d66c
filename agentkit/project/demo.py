"""The bundled demo project: lecture notes, tools, servers and questions."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

from agentkit.errors import ConfigError

_PARTS = ("agentkit.toml", "knowledge", "tools", "mcp_servers", "questions.jsonl")


def demo_path() -> Path:
    """Return the demo's folder: inside an installed package, else the repository's root. Treat it
    as read-only; `copy_demo` creates a folder to work in."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "demo"
    return inside if inside.is_dir() else package.parent


def demo_questions() -> list[str]:
    """The questions that the demo answers, which `agentkit serve` shows on a first visit."""
    settings = tomllib.loads((demo_path() / "agentkit.toml").read_text(encoding="utf-8"))
    return [str(question) for question in settings["serve"]["examples"]]


def copy_demo(folder: Path) -> Path:
    """Copy the demo to a folder, unless it is there already. Raises ConfigError if the folder
    has other contents."""
    source = demo_path()
    if folder.exists() and any(folder.iterdir()):
        if not (folder / "knowledge" / "lecture_notes").is_dir():
            raise ConfigError(f"{folder} has other contents. Name another folder for the demo.")
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _PARTS:
            _copy(source / name, folder / name)
    except OSError as error:
        raise ConfigError(f"The demo cannot be copied to {folder}: {error.strerror}.") from error
    return folder


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    else:
        shutil.copyfile(source, target)
